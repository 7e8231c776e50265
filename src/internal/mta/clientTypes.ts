/** Types for one filter as an MTA sees it: options, values and the client. Re-exported by `MilterClient`. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Agreement, Offer } from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import type { Reply } from "../../Reply.ts"
import type { ByStage } from "../../Verdict.ts"
import type { Delivered } from "../delivery/deliveryTypes.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type { Answer } from "./answerTypes.ts"
import type { ClientError } from "./clientError.ts"
import type { Connect, DefaultAction, MacroValues, Text } from "./clientValues.ts"
import type { Manners, mannersKey } from "./manners/mtaManners.ts"

/**
 * An MTA to behave like: what it offers, which macros it sends at which stage, how it aborts, how long it waits, what it
 * tells the SMTP client, how it changes a message. One of {@link postfix}, {@link sendmail} and their like, or a copy with
 * another offer: `{ ...MilterClient.postfix, offer }`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mta {
  readonly name: string
  readonly offer: Offer
  /** How the MTA speaks; only this package can make one. */
  readonly [mannersKey]: Manners
}

/**
 * Options of {@link dial}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The MTA to behave like, in each step and in {@link Client.sendMessage}. If not given, steps send only what they are told
   * to send, and messages are sent as by {@link postfix}.
   */
  readonly as?: Mta
  /** How long to wait; as the MTA does unless given here (in brackets: Postfix and Sendmail). */
  readonly timeouts?: {
    /** For the connection (30 s; 5 min). */
    readonly connect?: Duration.Input
    /** For answers up to DATA (30 s; 10 s). Every packet of an answer restarts the time, progress included. */
    readonly command?: Duration.Input
    /** For answers to header, body and end of message (5 min; 10 s). Every packet restarts the time. */
    readonly content?: Duration.Input
    /** For the whole answer to end of message, whatever progress comes (Postfix has no limit, here 1 h; 5 min). */
    readonly total?: Duration.Input
  }
  /** The longest frame taken from the filter, in bytes without its length field; 1 MiB if not given. */
  readonly maxFrameLength?: number
  /**
   * The most modifications taken for one message, 10,000 if not given; pieces of a new body do not count. The client gives
   * up a filter that sends more, with `TooManyModifications`.
   */
  readonly maxModifications?: number
  /**
   * The most bytes taken for the modifications of one message, a new body included; 64 MiB if not given. Each packet counts
   * 256 bytes more than it holds, about what it costs in memory. The client gives up a filter that sends more.
   */
  readonly maxModificationBytes?: number
  /** Called with each packet that is sent or received. Must not throw. */
  readonly observe?: (from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket) => void
}

/**
 * The answer to end of message. The modifications are in their order of arrival, and count only if the verdict lets the
 * message pass.
 *
 * @category models
 * @since 0.1.0
 */
export interface EndOfMessage {
  readonly verdict: Answer
  readonly modifications: ReadonlyArray<ModificationPacket>
}

/**
 * A recipient of a {@link Message}: an address, ESMTP parameters, and the reason why the MTA itself refuses it, if it does.
 * Refused recipients are shown only to a filter that asked for them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recipient {
  readonly address: Text
  readonly parameters?: ReadonlyArray<Text>
  readonly refused?: { readonly enhanced: string; readonly text: string }
}

/**
 * A message and its envelope. Addresses get angle brackets where they have none; `""` is the null sender. Header values
 * are what follows the colon and its space, with folds as line breaks before white space. A third member of a header field
 * says what is between colon and value: a space if left out, nothing for `""`. `RawMessage.parse` sets it, so that a message
 * keeps the bytes of its sender. The body gets the line ends of SMTP, as from the MTA.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly from: Text
  readonly to: Text | Recipient | ReadonlyArray<Text | Recipient>
  readonly headers?: ReadonlyArray<readonly [name: Text, value: Text, space?: "" | " "]>
  readonly body?: Text
  /** ESMTP parameters of MAIL. */
  readonly parameters?: ReadonlyArray<Text>
  /** The SMTP client; client.example.org [192.0.2.1] if not given. Used for the first message of a connection only. */
  readonly client?: Partial<Connect>
  /** The name that the client gives at HELO; its host name if not given. */
  readonly helo?: Text
  /** Macros in addition to those that the MTA sends anyway, or in place of them. */
  readonly macros?: { readonly [K in keyof ByStage]?: MacroValues }
}

/**
 * How a message ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  /** `Accepted`: the message passes, with the `modifications`; `Discarded`: it is dropped, though the client is told 250. */
  readonly _tag: "Accepted" | "Rejected" | "TempFailed" | "Discarded"
  /** The stage that settled it. */
  readonly stage: keyof ByStage
  /** What the SMTP client reads if the message is refused; undefined if the MTA refused all recipients itself. */
  readonly reply: Reply | undefined
  /** The address of the filter that refused or discarded it. */
  readonly filter: string | undefined
  /** Whether the MTA ends the SMTP session with that reply. */
  readonly closes: boolean
  readonly recipients: ReadonlyArray<{ readonly address: Text; readonly answer: Answer }>
  /** In their order of arrival, one filter's after the other's; empty unless the message is accepted. */
  readonly modifications: ReadonlyArray<ModificationPacket>
  /** What the MTA would deliver, and to whom; undefined unless the message is accepted. */
  readonly delivered: Delivered | undefined
  /** The filters that have failed so far in this session, and the policy applied to each. */
  readonly failures: ReadonlyArray<Failure>
  /** The name of the MTA that was imitated. */
  readonly mta: string
}

/**
 * What the MTA would deliver of a message whose body came as a stream.
 *
 * - `body`: can be run several times, until the Scope closes in which the message was sent
 * - `bodyLength`: in bytes
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamedDelivery extends Omit<Delivered, "body"> {
  readonly body: Stream.Stream<Uint8Array>
  readonly bodyLength: number
}

/**
 * How a message ended whose body came as a stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamedOutcome extends Omit<Outcome, "delivered"> {
  /** What the MTA would deliver, and to whom; undefined unless the message is accepted. */
  readonly delivered: StreamedDelivery | undefined
}

/**
 * A session with a filter. Each method is one stage: it sends the command, preceded by the macros that go with it, in one
 * write, and gives the answer. A command that the filter does not want is not sent; neither is a command about a message or
 * a session on which the filter has given its verdict. The answer then is `NotSent`.
 *
 * Steps run one at a time. A step that is interrupted closes the connection, since its late answer would be taken for the
 * answer to the next command. So does every failure but `InvalidValue`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  /** The address of the filter. */
  readonly address: string
  /** The result of the negotiation; `undefined` before {@link Client.negotiate}. */
  readonly agreed: Agreement | undefined
  /** The first step. Offers what the MTA does: version 6, all actions and all steps unless told otherwise. */
  readonly negotiate: (offer?: Partial<Offer>) => Effect.Effect<Agreement, ClientError>
  /**
   * Defines macros for the next command of a stage, in addition to those that the MTA sends anyway. A filter that asked for
   * a list of macros at that stage gets that list, from all values given so far. The values in `onRequest` are sent only to
   * a filter that asked for them.
   */
  readonly macros: (
    stage: keyof ByStage,
    values: MacroValues,
    onRequest?: MacroValues
  ) => Effect.Effect<void, ClientError>
  /** A client has connected to the MTA. */
  readonly connect: (client: Connect) => Effect.Effect<Answer, ClientError>
  /** HELO or EHLO; ends the message in progress. */
  readonly helo: (name: Text) => Effect.Effect<Answer, ClientError>
  /** MAIL FROM: the address as the client typed it, `<a@example.org>`, and ESMTP parameters such as `SIZE=1000`. */
  readonly mail: (sender: Text, parameters?: ReadonlyArray<Text>) => Effect.Effect<Answer, ClientError>
  /** RCPT TO. `refused`: the MTA has refused it already; sent only to a filter that asked for such recipients. */
  readonly rcpt: (
    recipient: Text,
    parameters?: ReadonlyArray<Text>,
    options?: { readonly refused?: boolean | NonNullable<Recipient["refused"]> }
  ) => Effect.Effect<Answer, ClientError>
  /** DATA. */
  readonly data: () => Effect.Effect<Answer, ClientError>
  /**
   * One header field. The value is what follows the colon and the space after it; with `verbatim`, what follows the colon
   * (` a`, or `a` where the message has no space).
   */
  readonly header: (
    name: Text,
    value: Text,
    options?: { readonly verbatim?: boolean }
  ) => Effect.Effect<Answer, ClientError>
  /** The empty line after the header. */
  readonly endOfHeaders: () => Effect.Effect<Answer, ClientError>
  /** The body or a part of it, in pieces of 65535 bytes. Gives the last answer, or the one that ended it. */
  readonly body: <E = never, R = never>(
    body: Text | Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<Answer, ClientError | E, R>
  /** The end of the message: what the filter decides and what it changes. */
  readonly endOfMessage: () => Effect.Effect<EndOfMessage, ClientError>
  /** An SMTP command that the MTA does not know. */
  readonly unknown: (line: Text) => Effect.Effect<Answer, ClientError>
  /** Gives up the message, if there is one. Sendmail tells that only to a filter that has given no verdict yet. */
  readonly abort: () => Effect.Effect<void, ClientError>
  /** Ends the SMTP session: sends quit and closes. */
  readonly quit: () => Effect.Effect<void, ClientError>
  /** The SMTP session is over, another begins with connect. No MTA does this, and few filters know it. */
  readonly quitNewConnection: () => Effect.Effect<void, ClientError>
  /**
   * A whole message as the MTA of the {@link Options} takes it through the filter: negotiation, connect and HELO unless they
   * were sent already, then everything from MAIL to the verdict, with macros.
   */
  readonly sendMessage: (message: Message) => Effect.Effect<Outcome, ClientError>
  /** Completes when the filter has closed the connection. */
  readonly closed: Effect.Effect<void>
}

/**
 * A filter that failed, and the policy applied.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  readonly filter: string
  readonly policy: DefaultAction
  readonly error: ClientError
}
