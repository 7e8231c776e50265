/** Names of macros, with braces and without. */

/**
 * The name without braces, as this package stores and compares names. Postfix 3.1 puts even single letters into braces.
 *
 * @category names
 * @since 0.1.0
 */
export const normalize = (name: string): string =>
  name.length > 2 && name[0] === "{" && name[name.length - 1] === "}" ? name.slice(1, -1) : name
