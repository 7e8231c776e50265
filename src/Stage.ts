/**
 * The stages of an SMTP session as a filter sees them, what a hook receives at each, and what it can look up meanwhile.
 *
 * @since 0.1.0
 */
import type { ClientAddress } from "./ClientAddress.ts"
import type { Mailbox, Parameters } from "./Envelope.ts"
import type { ByteString } from "./internal/bytes/byteString.ts"
import type { Macros } from "./Macros.ts"

/**
 * A client has connected to the MTA; it has not been greeted yet.
 *
 * @category events
 * @since 0.1.0
 */
export interface Connect {
  /** The client's verified name, or what the MTA puts in its place: `[192.0.2.1]`, or `unknown`. */
  readonly hostname: string
  readonly client: ClientAddress
}

/**
 * The client said HELO or EHLO. A client may say it again, and must after STARTTLS.
 *
 * @category events
 * @since 0.1.0
 */
export interface Helo {
  /** The argument as typed: any text, unchecked. */
  readonly name: string
  readonly raw: ByteString
}

/**
 * MAIL FROM: a message begins.
 *
 * @category events
 * @since 0.1.0
 */
export interface Mail {
  readonly sender: Mailbox
  /** ESMTP parameters such as SIZE and BODY. */
  readonly parameters: Parameters
}

/**
 * RCPT TO: one recipient that the MTA itself has not refused.
 *
 * @category events
 * @since 0.1.0
 */
export interface Rcpt {
  readonly recipient: Mailbox
  /** ESMTP parameters such as NOTIFY and ORCPT. */
  readonly parameters: Parameters
}

/**
 * DATA, or the first BDAT. The client has not sent the message yet. A client may repeat a DATA that was refused.
 *
 * @category events
 * @since 0.1.0
 */
export interface Data {}

/**
 * One header field, in the order of the message. The MTA has received the whole message by now. Its own Received field
 * is not shown.
 *
 * @category events
 * @since 0.1.0
 */
export interface Header {
  readonly name: string
  /** The text after the colon without the one leading space, folds as LF and white space; U+FFFD where it is not UTF-8. */
  readonly value: string
  /** False where `value` had to replace bytes that are not UTF-8. */
  readonly wellFormed: boolean
  /** The bytes after the colon, as the MTA gave them; with the leading space if the MTA offered to keep it. */
  readonly raw: ByteString
}

/**
 * The empty line after the header.
 *
 * @category events
 * @since 0.1.0
 */
export interface EndOfHeaders {}

/**
 * A piece of the body, at most 65535 bytes, cut anywhere (in the middle of a line or of CR LF). Line ends are CR LF.
 *
 * @category events
 * @since 0.1.0
 */
export interface Body {
  /** A view of a buffer that the server writes to again after the hook: copy the bytes that are kept. */
  readonly bytes: Uint8Array
}

/**
 * The whole message has been seen. The only stage that is always answered, and the only one that can modify.
 *
 * @category events
 * @since 0.1.0
 */
export interface EndOfMessage {}

/**
 * An SMTP command that the MTA does not know.
 *
 * @category events
 * @since 0.1.0
 */
export interface Unknown {
  /** The line as typed. Postfix before 3.8 gives the verb only. */
  readonly line: string
  readonly raw: ByteString
}

/**
 * A recipient that the MTA has already refused. A filter cannot change that. Sendmail never shows these.
 *
 * @category events
 * @since 0.1.0
 */
export interface RejectedRecipient {
  readonly recipient: Mailbox
  readonly parameters: Parameters
  /** The MTA's enhanced status code, such as `5.1.1`; empty if it gave none. */
  readonly enhanced: string
  /** The MTA's reply text; empty if it gave none. */
  readonly text: string
}

/**
 * What a hook receives, by stage.
 *
 * @category models
 * @since 0.1.0
 */
export interface Events {
  readonly connect: Connect
  readonly helo: Helo
  readonly mail: Mail
  readonly rcpt: Rcpt
  readonly data: Data
  readonly header: Header
  readonly endOfHeaders: EndOfHeaders
  readonly body: Body
  readonly endOfMessage: EndOfMessage
  readonly unknown: Unknown
  readonly rejectedRecipient: RejectedRecipient
}

/**
 * The names of the stages.
 *
 * @category models
 * @since 0.1.0
 */
export type Stage = keyof Events

/**
 * The stages at which no message exists: state of a message is not available there.
 *
 * @category models
 * @since 0.1.0
 */
export type OutsideMessage = "connect" | "helo" | "unknown"

/**
 * The SMTP session, as far as it is known at the stage.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Short, and unique in this process. It is in log lines, and in the texts of replies that the library writes itself. */
  readonly id: string
  /** The client's verified name, as in {@link Connect}. */
  readonly hostname: string
  readonly client: ClientAddress
  /** The latest HELO or EHLO argument, if there was one. */
  readonly heloName: string | undefined
  /** `local` for mail that did not come by SMTP, such as from the sendmail command. */
  readonly origin: "smtp" | "local"
  /** The macros that the MTA has sent so far, about itself and this session. */
  readonly macros: Macros
  /** Version, action bits and step bits that filter and MTA have agreed on. */
  readonly agreed: { readonly version: number; readonly actions: number; readonly steps: number }
}

/**
 * The envelope of the message in progress.
 *
 * @category models
 * @since 0.1.0
 */
export interface Envelope extends Mail {
  /** The recipients so far that neither the MTA nor this filter has refused. */
  readonly recipients: ReadonlyArray<Rcpt>
}

/**
 * How a message ended, for the finalizers of its scope; see `Milter.outcome`. `Accepted` means handed back to the MTA,
 * which is no proof of delivery: the MTA or a later filter may still refuse.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Accepted" }
  | { readonly _tag: "Rejected"; readonly by: string }
  | { readonly _tag: "TempFailed"; readonly by: string }
  | { readonly _tag: "Discarded"; readonly by: string }
