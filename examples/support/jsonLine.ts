/** JSON for logs: one line, whatever is in it. */

// JSON keeps these, and terminals and readers obey them: C1 controls, line separators, marks that turn text around or hide.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

const escape = (characters: string): string =>
  characters.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * A value as JSON on one line, without a final line break. It reads back as the same value, but for texts that are longer than
 * the longest: of those the beginning.
 */
export const jsonLine = (value: unknown, longest = Infinity): string =>
  JSON.stringify(
    value,
    (_, part) => typeof part === "string" && part.length > longest ? `${part.slice(0, longest)}…` : part
  ).replace(unsafe, escape)
