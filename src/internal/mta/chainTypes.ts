/** Types for several filters that an MTA asks one after the other. Re-exported by `MilterClient`. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InvalidValue } from "../../InvalidValue.ts"
import type * as Packet from "../../Packet.ts"
import type { Reply } from "../../Reply.ts"
import type { ByStage } from "../../Verdict.ts"
import type { ClientError } from "./clientError.ts"
import type { Failure } from "./clientTypes.ts"
import type { Message, Options, Outcome, Recipient, StreamedOutcome } from "./clientTypes.ts"
import type { Connect, DefaultAction, MacroValues, Text } from "./clientValues.ts"

/**
 * A filter of a chain: its address, and the options that it does not share with the other filters.
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
 * Options of a chain. They hold for each filter that does not set its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChainOptions
  extends Pick<Options, "as" | "timeouts" | "maxFrameLength" | "maxModifications" | "maxModificationBytes">
{
  /**
   * Macros by which the MTA describes itself at connect, such as `j` (its host name), `v`, `{daemon_name}` and
   * `{daemon_addr}`. They replace those of the MTA in `as`. Filters write `j` into header fields, and opendmarc reads only
   * Authentication-Results with that name.
   */
  readonly macros?: MacroValues
  /** What becomes of mail when a filter fails; the MTA's default if not given: `tempFail`, from Postfix 3.11 on `shutdown`. */
  readonly onFailure?: DefaultAction
  /** Called with each packet that is sent to a filter or received from one. Must not throw. */
  readonly observe?: (
    filter: string,
    from: "mta" | "filter",
    packet: Packet.MtaPacket | Packet.FilterPacket
  ) => void
}

/**
 * A refusal for the SMTP client, by a filter or by the policy for a filter that failed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refused {
  readonly _tag: "Refused"
  /** The reply for the SMTP client. */
  readonly reply: Reply
  /** Whether the SMTP session ends with that reply. */
  readonly closes: boolean
  /** The filter that refused. */
  readonly filter: string
  /** The failure of the filter, if its policy refused. */
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
 * One SMTP session that goes through several filters. Each filter has one connection for the whole session. A command is
 * sent to one filter after the other; the first refusal decides, and the filters after it are not asked. The content of a
 * message goes to the first filter as a whole, then to the second with the changes of the first, and so on.
 *
 * What happens when a filter fails depends on its {@link DefaultAction}. The methods themselves fail only with
 * `InvalidValue`, for a value that does not fit into a packet. Steps run one at a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Chain {
  /** The addresses of the filters. */
  readonly filters: ReadonlyArray<string>
  /** The filters that have failed so far. */
  readonly failures: ReadonlyArray<Failure>
  /**
   * Defines macros for the next command of a stage, in addition to those that the MTA sends anyway; for instance the
   * authenticated user (`mail`, `{auth_authen}`).
   */
  readonly macros: (stage: keyof ByStage, values: MacroValues) => Effect.Effect<void, InvalidValue>
  /** A client has connected. A refusal holds for the whole session: each later command gives it again. */
  readonly connect: (client: Partial<Connect>) => Effect.Effect<Decision, InvalidValue>
  /** HELO or EHLO; ends the message in progress. A refusal holds for the whole session. */
  readonly helo: (name: Text) => Effect.Effect<Decision, InvalidValue>
  /** MAIL FROM; gets angle brackets if it has none. */
  readonly mail: (sender: Text, parameters?: ReadonlyArray<Text>) => Effect.Effect<Decision, InvalidValue>
  /** RCPT TO; a refusal concerns this recipient only. `refused`: the server itself has refused the recipient, for good. */
  readonly rcpt: (
    recipient: Text,
    parameters?: ReadonlyArray<Text>,
    options?: { readonly refused?: Recipient["refused"] }
  ) => Effect.Effect<Decision, InvalidValue>
  /** DATA, before 354. */
  readonly data: () => Effect.Effect<Decision, InvalidValue>
  /** The whole message, once the server has received it. Gives the filters' decision, and what is to be delivered to whom. */
  readonly message: (content: Pick<Message, "headers" | "body">) => Effect.Effect<Outcome, InvalidValue>
  /**
   * The same for a message whose body is still arriving. The filters get it piece by piece; it is kept for them and for
   * `delivered` until the Scope closes: up to 256 KiB in memory, more in a temporary file if the `Dialer` is that of
   * `NodeMilterClient`, otherwise in memory too. No filter is told of the end of the message, and no message is accepted,
   * before the stream has ended. Once the message is refused or discarded, the stream is pulled for one more piece at most.
   * If the stream fails, so does the effect; the message is still open at the filters then: call `reset`.
   */
  readonly streamMessage: <E, R>(
    content: Pick<Message, "headers"> & { readonly body: Stream.Stream<Uint8Array, E, R> }
  ) => Effect.Effect<StreamedOutcome, InvalidValue | E, R | Scope.Scope>
  /** A command that the server does not know. */
  readonly unknown: (line: Text) => Effect.Effect<Decision, InvalidValue>
  /** RSET, or the client has disconnected in the middle of a message. */
  readonly reset: () => Effect.Effect<void>
  /** The SMTP session is over. */
  readonly quit: () => Effect.Effect<void>
  /** A whole message from MAIL to the end, with connect and HELO before it unless they were sent already. */
  readonly sendMessage: (message: Message) => Effect.Effect<Outcome, InvalidValue>
}
