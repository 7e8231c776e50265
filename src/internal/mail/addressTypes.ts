/** Addresses in header fields. Re-exported by `Message`. */

/**
 * An address in a header field. `name` is the display name or comment beside it, decoded; `""` without one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly name: string
  readonly address: string
}

/**
 * A group of addresses: `Team: a@example.org, b@example.org;`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group {
  readonly name: string
  readonly members: ReadonlyArray<Address>
}
