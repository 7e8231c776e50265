/** Several filters in a row, as an MTA asks them. Re-exported by `MilterClient`. */
import type * as Effect from "effect/Effect"
import type { InvalidValue } from "../../InvalidValue.ts"
import type * as Packet from "../../Packet.ts"
import type { Reply } from "../../Reply.ts"
import type { ByStage } from "../../Verdict.ts"
import type { ClientError } from "./clientError.ts"
import type { Failure } from "./clientTypes.ts"
import type { Message, Options, Outcome, Recipient } from "./clientTypes.ts"
import type { Connect, DefaultAction, MacroValues, Text } from "./clientValues.ts"

/**
 * A filter of a chain: where it is, and what is different for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilterOptions
  extends Pick<Options, "timeouts" | "maxFrameLength" | "maxModifications" | "maxModificationBytes">
{
  readonly address: string
  readonly onFailure?: DefaultAction
}

/**
 * Options of a chain, for all filters that have none of their own.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChainOptions
  extends Pick<Options, "as" | "timeouts" | "maxFrameLength" | "maxModifications" | "maxModificationBytes">
{
  /**
   * What the MTA says of itself: macros of connect in place of those of the MTA that it behaves like, such as `j` (its host
   * name), `v`, `{daemon_name}`, `{daemon_addr}`. Filters write `j` into header fields, and opendmarc reads only
   * Authentication-Results with that name.
   */
  readonly macros?: MacroValues
  /** Otherwise what the MTA does that it behaves like: `tempFail`, from Postfix 3.11 `shutdown`. */
  readonly onFailure?: DefaultAction
  /** Sees each packet as it is sent to a filter and as it is taken in. Must not throw. */
  readonly observe?: (
    filter: string,
    from: "mta" | "filter",
    packet: Packet.MtaPacket | Packet.FilterPacket
  ) => void
}

/**
 * The SMTP client is to be told no.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refused {
  readonly _tag: "Refused"
  /** What it reads. */
  readonly reply: Reply
  /** Whether its session ends with that. */
  readonly closes: boolean
  /** The filter that refused. */
  readonly filter: string
  /** Why, if it was the policy for a filter that failed. */
  readonly failure: ClientError | undefined
}

/**
 * What an SMTP server is to do with a command: answer it as it would without filters, or refuse it. A filter that discards
 * the message lets the server go on; the outcome of the message then says so.
 *
 * @category models
 * @since 0.1.0
 */
export type Decision = { readonly _tag: "Continue" } | Refused

/**
 * One SMTP session before several filters. Each of them has one connection, as long as the session. A command is put to
 * one after the other; the first that refuses has decided it, and the others are not asked. The content of a message goes
 * to the first filter as a whole, then to the second with the changes of the first, and so on.
 *
 * Filters that fail are the affair of their {@link DefaultAction}: the methods fail only with `InvalidValue`, for a value that
 * fits into no packet. Steps go one at a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Chain {
  /** The addresses of the filters. */
  readonly filters: ReadonlyArray<string>
  /** Those that have failed so far. */
  readonly failures: ReadonlyArray<Failure>
  /**
   * Macros for the next command of a stage, beside those that the MTA sends anyway; who is authenticated for instance
   * (`mail`, `{auth_authen}`).
   */
  readonly macros: (stage: keyof ByStage, values: MacroValues) => Effect.Effect<void, InvalidValue>
  /** A client has connected. A refusal holds for the whole session: each later command gives it again. */
  readonly connect: (client: Partial<Connect>) => Effect.Effect<Decision, InvalidValue>
  /** HELO or EHLO; ends the message in progress. A refusal holds for the whole session. */
  readonly helo: (name: Text) => Effect.Effect<Decision, InvalidValue>
  /** MAIL FROM; gets angle brackets if it has none. */
  readonly mail: (sender: Text, parameters?: ReadonlyArray<Text>) => Effect.Effect<Decision, InvalidValue>
  /** RCPT TO; a refusal is about this recipient. `refused`: the server has refused it already, and will not go back on it. */
  readonly rcpt: (
    recipient: Text,
    parameters?: ReadonlyArray<Text>,
    options?: { readonly refused?: Recipient["refused"] }
  ) => Effect.Effect<Decision, InvalidValue>
  /** DATA, before 354. */
  readonly data: () => Effect.Effect<Decision, InvalidValue>
  /** The whole message, when it has come in: what the filters decide, and what is to be delivered to whom. */
  readonly message: (content: Pick<Message, "headers" | "body">) => Effect.Effect<Outcome, InvalidValue>
  /** A command that the server does not know. */
  readonly unknown: (line: Text) => Effect.Effect<Decision, InvalidValue>
  /** RSET, or the client has gone in the middle of a message. */
  readonly reset: () => Effect.Effect<void>
  /** The SMTP session is over. */
  readonly quit: () => Effect.Effect<void>
  /** A whole message, with connect and HELO if they have not been yet, then from MAIL to the end. */
  readonly sendMessage: (message: Message) => Effect.Effect<Outcome, InvalidValue>
}
