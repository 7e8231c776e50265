/** Values that an MTA tells a filter, as callers give them. Re-exported by `MilterClient`. */

/**
 * Text goes out as UTF-8, bytes as they are.
 *
 * @category models
 * @since 0.1.0
 */
export type Text = string | Uint8Array

/**
 * The client of an SMTP session. `address` is an IPv4 or IPv6 address in any spelling (it is sent as it stands), or a path
 * for a UNIX socket; without one the client is unknown.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connect {
  readonly hostname: string
  readonly address?: string
  readonly port?: number
}

/**
 * Values of macros by name, `i` and `{mail_addr}` or `mail_addr`. Text goes out as UTF-8, bytes as they are.
 *
 * @category models
 * @since 0.1.0
 */
export type MacroValues = { readonly [name: string]: Text }

/**
 * What becomes of mail while a filter cannot be reached, breaks the protocol or does not answer. It holds from then to the
 * end of the SMTP session: MTAs do not reconnect.
 *
 * - `tempFail`: the client is told to try again later, 451
 * - `reject`: the client is refused, 550
 * - `accept`: mail passes without this filter
 * - `quarantine`: mail passes without this filter, but is held
 * - `shutdown`: the client is told to try again later and its session ends, 421
 *
 * Postfix calls this `milter_default_action`, Sendmail has a flag of `F=` for it.
 *
 * @category models
 * @since 0.1.0
 */
export type DefaultAction = "tempFail" | "reject" | "accept" | "quarantine" | "shutdown"
