/**
 * What a hook decides. The set of verdicts is closed. The name of a verdict says what it applies to: the command, the
 * message or the connection. {@link ByStage} says which verdicts are legal at which stage, and the compiler checks it.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import type { ByteString } from "./internal/bytes/byteString.ts"
import * as Reply from "./Reply.ts"

/**
 * The filter has no objection. The MTA goes on with the next command; at end of message the MTA takes the message, with
 * the modifications of the hook. The value is `Verdict.continue`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Continue {
  readonly _tag: "Continue"
}

/**
 * The filter refuses for good (SMTP 5xx). At rcpt the verdict refuses *this recipient* only; at mail, and from data on,
 * the message; at connect and helo the SMTP session. Made by {@link reject}.
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
 * The filter refuses for now (SMTP 4xx), so that the sender tries again. The verdict applies to the same as {@link Reject}.
 * Made by {@link tempFail}.
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
 * The whole SMTP session passes this filter unseen: the MTA ends the milter session, and the filter is shown none of the
 * messages that follow. Legal at connect and helo. The value is {@link acceptConnection}.
 *
 * @category models
 * @since 0.1.0
 */
export interface AcceptConnection {
  readonly _tag: "AcceptConnection"
}

/**
 * The *whole message* passes, and the filter is shown no more of it. The value is {@link acceptMessage}.
 *
 * @category models
 * @since 0.1.0
 */
export interface AcceptMessage {
  readonly _tag: "AcceptMessage"
}

/**
 * The client is told that the message was accepted, and the MTA throws the *whole message* away. The value is
 * {@link discardMessage}.
 *
 * @category models
 * @since 0.1.0
 */
export interface DiscardMessage {
  readonly _tag: "DiscardMessage"
}

/**
 * The filter has no objection and does not need the rest of the body: the next stage is end of message. Legal at body. An
 * MTA that did not offer to skip sends the rest all the same, and the library ignores it. The value is {@link skipBody}.
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
 * The verdicts that are legal at every stage. At unknown no other verdict is legal: accept and discard crash the smtpd of
 * Postfix there.
 *
 * @category models
 * @since 0.1.0
 */
export type Basic = Continue | Reject | TempFail

/**
 * The verdicts that are legal at connect and helo. Discard is not one of them: Postfix treats it as continue, and Sendmail
 * lets the mail of the session pass unfiltered.
 *
 * @category models
 * @since 0.1.0
 */
export type OfConnection = Basic | AcceptConnection

/**
 * The verdicts that are legal from mail to end of message.
 *
 * @category models
 * @since 0.1.0
 */
export type OfMessage = Basic | AcceptMessage | DiscardMessage

/**
 * The verdicts that are legal at body.
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
  // Written out: the compiler's message about an illegal verdict then names the legal ones, not a union's name.
  readonly connect: Continue | Reject | TempFail | AcceptConnection
  readonly helo: Continue | Reject | TempFail | AcceptConnection
  readonly mail: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly rcpt: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly data: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly header: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly endOfHeaders: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly body: Continue | Reject | TempFail | AcceptMessage | DiscardMessage | SkipBody
  readonly endOfMessage: Continue | Reject | TempFail | AcceptMessage | DiscardMessage
  readonly unknown: Continue | Reject | TempFail
}

const continue_: Continue = { _tag: "Continue" }

export {
  /**
   * Lets the command pass; at end of message, the message. See {@link Continue}.
   *
   * **Gotchas**
   *
   * At rcpt this is the verdict for "this recipient is fine". {@link acceptMessage} lets pass the whole message there, with
   * its content unseen.
   *
   * At end of message it is no proof of delivery: the MTA or a later filter may still refuse the message.
   *
   * @category constructors
   * @since 0.1.0
   */
  continue_ as continue
}

/**
 * Lets the whole SMTP session pass this filter. See {@link AcceptConnection}.
 *
 * **Gotchas**
 *
 * A client can send any number of messages in one session: this verdict covers all of them. Who has logged in is not known
 * at connect and helo yet. To let single messages pass, return {@link acceptMessage} at mail.
 *
 * The verdict does not make the MTA deliver: its own restrictions and other filters still apply.
 *
 * @see {@link acceptMessage} for one message
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptConnection: AcceptConnection = { _tag: "AcceptConnection" }

/**
 * Lets the whole message pass, and shows the filter no more of it. See {@link AcceptMessage}.
 *
 * **Gotchas**
 *
 * At rcpt the verdict is not about the recipient: later recipients, header and body pass unseen. Return `Verdict.continue`
 * to accept one recipient.
 *
 * Before end of message the filter gives up its modifications: its hook of end of message does not run.
 *
 * @see {@link acceptConnection} for all messages of a session
 *
 * @category constructors
 * @since 0.1.0
 */
export const acceptMessage: AcceptMessage = { _tag: "AcceptMessage" }

/**
 * Swallows the whole message: the client reads that it was accepted, and nobody gets it. See {@link DiscardMessage}.
 *
 * **Gotchas**
 *
 * The mail is lost without a bounce, also at rcpt, where the verdict covers all recipients and not the one at hand. Use
 * {@link reject} unless the sender must not learn of the refusal.
 *
 * The modifications of the hook are not sent. Forwarding a message with `addRecipient` and then discarding it delivers
 * nothing.
 *
 * @see {@link reject} to refuse with a reply
 *
 * @category constructors
 * @since 0.1.0
 */
export const discardMessage: DiscardMessage = { _tag: "DiscardMessage" }

/**
 * Skips the rest of the body. See {@link SkipBody}.
 *
 * **Gotchas**
 *
 * The message is not decided yet: end of message follows, and its hook gives the verdict.
 *
 * @category constructors
 * @since 0.1.0
 */
export const skipBody: SkipBody = { _tag: "SkipBody" }

const plainReject: Reject = { _tag: "Reject", reply: undefined, wire: undefined }
const plainTempFail: TempFail = { _tag: "TempFail", reply: undefined, wire: undefined }

/**
 * Refuses for good (SMTP 5xx).
 *
 * **Details**
 *
 * Without an argument the MTA words the reply (`550 5.7.1 Command rejected`). With an argument the SMTP client reads its
 * text, in one line or several. The library escapes `%` and wraps long lines.
 *
 * **Gotchas**
 *
 * - At rcpt one recipient is refused, and the message goes on to the others. To refuse the message for all, refuse it at a
 *   later stage, or at mail.
 * - At connect the text does not reach the client as its greeting: Postfix gives it in reply to MAIL, and Sendmail drops it
 *   unless it was compiled to use it. Refuse at mail or later, or use `Milter.delayReject`.
 * - Code 521 closes the SMTP session with Postfix only; code 421, of {@link tempFail}, with both MTAs.
 * - A client may send DATA again after a refusal at data, and the data hook runs again.
 * - A refused message loses its modifications, a quarantine included.
 * - Postfix 3.10 and later do not pass on a reject of an unknown command.
 * - An argument that cannot be an SMTP reply makes the function throw `InvalidValue`. A wrong constant fails when its module
 *   loads. A text built inside a hook, from data of others, is a defect that the filter's `onDefect` answers: pass such text
 *   through `Reply.sanitize`.
 *
 * **Example** (Refusing with a reason)
 *
 * ```ts
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const spam = Verdict.reject({ code: "554", enhanced: "5.7.1", text: "This looks like spam" })
 * ```
 *
 * @see {@link tempFail} to have the sender try again
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (reply?: Reply.ReplyInput<"5">): Reject =>
  reply === undefined ? plainReject : { _tag: "Reject", reply, wire: Result.getOrThrow(Reply.render(reply, "5")) }

/**
 * Refuses for now (SMTP 4xx), so that the sender tries again later.
 *
 * **When to use**
 *
 * Whenever the filter cannot decide: a lookup failed, a service is down. No mail is lost, because the sender keeps it.
 *
 * **Details**
 *
 * Without an argument the MTA words the reply (`451 4.7.1 Service unavailable - try again later`).
 *
 * **Gotchas**
 *
 * - Code 421 also closes the SMTP session.
 * - A sender gives up after some days and bounces the mail: a filter that fails for ever refuses for good.
 * - The verdict applies to the same as that of {@link reject}: at rcpt to one recipient. An argument that cannot be an SMTP
 *   reply makes the function throw `InvalidValue`, too.
 *
 * **Example** (Greylisting)
 *
 * ```ts
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const later = Verdict.tempFail({ enhanced: "4.7.1", text: "Greylisted, please come back in five minutes" })
 * ```
 *
 * @see {@link reject} to refuse for good
 *
 * @category constructors
 * @since 0.1.0
 */
export const tempFail = (reply?: Reply.ReplyInput<"4">): TempFail =>
  reply === undefined ? plainTempFail : { _tag: "TempFail", reply, wire: Result.getOrThrow(Reply.render(reply, "4")) }
