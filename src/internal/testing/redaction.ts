/** What is hidden in recordings. Re-exported by `Recording`. */

/**
 * What is hidden: everything below, unless a part is switched off.
 *
 * - `addresses`: mail addresses, host names, IP addresses and logins become others, the same one each time it occurs:
 *   `user1@domain1.example`, `192.0.2.1`. All else in the envelope, macros, unknown commands, replies and errors that is not
 *   of the protocol becomes `x`. In header values that are not hidden, what looks like an address becomes another.
 * - `headers`: the values of header fields become `x`, with spaces and folds as they were, and names that are not common
 *   become `X-Field-1`, the same one each time
 * - `bodies`: the same for the body, with its line ends
 *
 * @category models
 * @since 0.1.0
 */
export interface Redaction {
  readonly addresses?: boolean
  readonly headers?: boolean
  readonly bodies?: boolean
}
