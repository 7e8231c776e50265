/**
 * What a hook decides. The set is closed, each verdict says its scope (this command, the recipient, the message, the
 * connection), and which ones are legal depends on the stage; {@link ByStage} is that table, checked by the compiler.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Reply from "./Reply.ts"
import type { ByteString } from "./Wire.ts"

/**
 * No objection; go on with the next command. At end of message: hand the message back to the MTA.
 *
 * @category models
 * @since 0.1.0
 */
export interface Continue {
  readonly _tag: "Continue"
}

/**
 * Refuse for good (SMTP 5xx). At rcpt it refuses *this recipient* only; at mail and later stages the message; at connect
 * and helo the SMTP session. Made by {@link reject}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reject {
  readonly _tag: "Reject"
  readonly reply: Reply.ReplyInput<"5"> | undefined
  /** The complete SMTP reply as the packet carries it; `undefined` leaves the wording to the MTA. */
  readonly wire: ByteString | undefined
}

/**
 * Refuse for now (SMTP 4xx), so that the sender tries again. Same scopes as {@link Reject}. Made by {@link tempFail}.
 *
 * @category models
 * @since 0.1.0
 */
export interface TempFail {
  readonly _tag: "TempFail"
  readonly reply: Reply.ReplyInput<"4"> | undefined
  /** The complete SMTP reply as the packet carries it; `undefined` leaves the wording to the MTA. */
  readonly wire: ByteString | undefined
}

/**
 * Let everything of this SMTP session pass, unfiltered: the MTA closes the milter connection and this filter sees none of
 * the messages that follow. Only at connect and helo.
 *
 * @category models
 * @since 0.1.0
 */
export interface AcceptConnection {
  readonly _tag: "AcceptConnection"
}

/**
 * This filter is content with the *whole message* and wants to see no more of it. At rcpt too: it does not mean "this
 * recipient is fine" (say {@link Continue} for that).
 *
 * @category models
 * @since 0.1.0
 */
export interface AcceptMessage {
  readonly _tag: "AcceptMessage"
}

/**
 * The client is told that all went well and the *whole message* is thrown away, at rcpt too.
 *
 * @category models
 * @since 0.1.0
 */
export interface DiscardMessage {
  readonly _tag: "DiscardMessage"
}

/**
 * No objection, and the rest of the body is not wanted; next comes end of message. Only at body. Where the MTA did not
 * offer to skip, it sends the rest all the same and the library ignores it.
 *
 * @category models
 * @since 0.1.0
 */
export interface SkipBody {
  readonly _tag: "SkipBody"
}

/**
 * Any verdict of any stage.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = Continue | Reject | TempFail | AcceptConnection | AcceptMessage | DiscardMessage | SkipBody

/**
 * Legal at every stage. At unknown nothing else is: Postfix's smtpd panics on accept and discard there.
 *
 * @category models
 * @since 0.1.0
 */
export type Basic = Continue | Reject | TempFail

/**
 * Legal at connect and helo. Discard is not: Postfix treats it as continue, Sendmail lets the mail through unfiltered.
 *
 * @category models
 * @since 0.1.0
 */
export type OfConnection = Basic | AcceptConnection

/**
 * Legal from mail to end of message.
 *
 * @category models
 * @since 0.1.0
 */
export type OfMessage = Basic | AcceptMessage | DiscardMessage

/**
 * Legal at body.
 *
 * @category models
 * @since 0.1.0
 */
export type OfBody = OfMessage | SkipBody

/**
 * The legal verdicts of each stage that gives one.
 *
 * @category models
 * @since 0.1.0
 */
export interface ByStage {
  readonly connect: OfConnection
  readonly helo: OfConnection
  readonly mail: OfMessage
  readonly rcpt: OfMessage
  readonly data: OfMessage
  readonly header: OfMessage
  readonly endOfHeaders: OfMessage
  readonly body: OfBody
  readonly endOfMessage: OfMessage
  readonly unknown: Basic
}

const continue_: Continue = { _tag: "Continue" }

export {
  /**
   * No objection. See {@link Continue}.
   *
   * @category constructors
   * @since 0.1.0
   */
  continue_ as continue
}

/**
 * Let the whole SMTP session pass unfiltered. See {@link AcceptConnection}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptConnection: AcceptConnection = { _tag: "AcceptConnection" }

/**
 * Let the whole message pass. See {@link AcceptMessage}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptMessage: AcceptMessage = { _tag: "AcceptMessage" }

/**
 * Swallow the whole message. See {@link DiscardMessage}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const discardMessage: DiscardMessage = { _tag: "DiscardMessage" }

/**
 * Spare the filter the rest of the body. See {@link SkipBody}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const skipBody: SkipBody = { _tag: "SkipBody" }

const plainReject: Reject = { _tag: "Reject", reply: undefined, wire: undefined }
const plainTempFail: TempFail = { _tag: "TempFail", reply: undefined, wire: undefined }

/**
 * Refuse for good. Without an argument the MTA words the reply (`550 5.7.1 Command rejected`); with one, the SMTP client
 * reads this text, one line or several. `%`, line breaks and lengths are taken care of. Sendmail ignores the text at
 * connect unless it was compiled to use it; with Postfix, code 521 also closes the SMTP session.
 *
 * Throws `InvalidValue` for a text or code that cannot be an SMTP reply, so a constant that is wrong fails when its
 * module loads, and one built inside a hook is a defect that the filter's `onDefect` answers.
 *
 * **Example** (Refusing with a reason)
 *
 * ```ts
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const spam = Verdict.reject({ code: "554", enhanced: "5.7.1", text: "This looks like spam" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (reply?: Reply.ReplyInput<"5">): Reject =>
  reply === undefined ? plainReject : { _tag: "Reject", reply, wire: Result.getOrThrow(Reply.render(reply, "5")) }

/**
 * Refuse for now, so that the sender tries again later. Without an argument the MTA words the reply
 * (`451 4.7.1 Service unavailable - try again later`); code 421 also closes the SMTP session.
 *
 * Throws `InvalidValue` as {@link reject} does.
 *
 * **Example** (Greylisting)
 *
 * ```ts
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const later = Verdict.tempFail({ enhanced: "4.7.1", text: "Greylisted, please come back in five minutes" })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const tempFail = (reply?: Reply.ReplyInput<"4">): TempFail =>
  reply === undefined ? plainTempFail : { _tag: "TempFail", reply, wire: Result.getOrThrow(Reply.render(reply, "4")) }
