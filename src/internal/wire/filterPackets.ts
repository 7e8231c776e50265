/** Every reply of the filter, declared once. Re-exported by `Packet`. */
import * as Wire from "../../Wire.ts"
import { packet } from "./packetDefinition.ts"
import { macroLists } from "./packetFields.ts"

/**
 * `O`, the answer to {@link Negotiate}: what the filter requests.
 *
 * `macros` lists the macros that the filter requests at a stage, instead of those that the MTA is configured to send. The names
 * are separated by spaces (or commas). `stage` is 0 connect, 1 helo, 2 mail, 3 rcpt, 4 data, 5 end of message, 6 end of headers.
 *
 * **Gotchas**
 *
 * Append lists only if the MTA offers the action 0x100: Postfix 2.3 and 2.4 treat them as a protocol error.
 *
 * @category replies
 * @since 0.1.0
 */
export const Negotiated = packet("Negotiated", "O", {
  version: Wire.u32,
  actions: Wire.flags,
  steps: Wire.flags,
  macros: macroLists
}, {
  documentation: "What the filter wants."
})
/**
 * What a {@link Negotiated} packet holds.
 *
 * @category replies
 * @since 0.1.0
 */
export type Negotiated = typeof Negotiated.schema.Type

/**
 * `c`: go on. At the end of the message: accept it.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Continue = packet("Continue", "c", {}, { documentation: "Go on." })
/**
 * What a {@link Continue} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Continue = typeof Continue.schema.Type

/**
 * `a`: accept without further questions; at connect and helo the rest of the session, otherwise the message (also at rcpt).
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Accept = packet("Accept", "a", {}, { documentation: "Accept without further questions." })
/**
 * What a {@link Accept} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Accept = typeof Accept.schema.Type

/**
 * `r`: refuse for good, with a 5xx text of the MTA's.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Reject = packet("Reject", "r", {}, { documentation: "Refuse for good." })
/**
 * What a {@link Reject} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Reject = typeof Reject.schema.Type

/**
 * `t`: refuse for now, with a 4xx text of the MTA's.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const TempFail = packet("TempFail", "t", {}, { documentation: "Refuse for now." })
/**
 * What a {@link TempFail} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type TempFail = typeof TempFail.schema.Type

/**
 * `d`: tell the client that all is well and drop the message. Not legal at connect and helo.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Discard = packet("Discard", "d", {}, { documentation: "Drop the message silently." })
/**
 * What a {@link Discard} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Discard = typeof Discard.schema.Type

/**
 * `y`: refuse, with this SMTP reply: `550 5.7.1 no thanks`, lines joined by CRLF, each `%` doubled, no CRLF at the end.
 *
 * The layout requires only the NUL at the end. `Reply` makes a text that both MTAs understand.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const ReplyCode = packet("ReplyCode", "y", { text: Wire.text }, {
  documentation: "Refuse with this SMTP reply."
})
/**
 * What a {@link ReplyCode} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type ReplyCode = typeof ReplyCode.schema.Type

/**
 * `s`: send no more pieces of this body. Only in answer to {@link Body}: at other stages Sendmail skips the filter for the rest
 * of the session.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Skip = packet("Skip", "s", {}, { since: 6, documentation: "Send no more of the body." })
/**
 * What a {@link Skip} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Skip = typeof Skip.schema.Type

/**
 * `p`: still working; restarts the MTA's timer. Only at the end of the message, and not between two {@link ReplaceBody}.
 *
 * @category replies
 * @since 0.1.0
 */
export const Progress = packet("Progress", "p", {}, { since: 2, documentation: "Still working." })
/**
 * What a {@link Progress} packet holds.
 *
 * @category replies
 * @since 0.1.0
 */
export type Progress = typeof Progress.schema.Type

/**
 * `h`: adds a header field. At the end of the message, as all modifications.
 *
 * Lines of the value are joined by LF, never CRLF, and the later ones begin with a space or tab. If the leading-space step
 * was negotiated, the value includes the space after the colon.
 *
 * @category modifications
 * @since 0.1.0
 */
export const AddHeader = packet("AddHeader", "h", { name: Wire.name, value: Wire.text }, {
  documentation: "Add a header field."
})
/**
 * What a {@link AddHeader} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type AddHeader = typeof AddHeader.schema.Type

/**
 * `i`: inserts a header field before the one at `index`, counted from 0 over all fields of the message as delivered.
 *
 * @category modifications
 * @since 0.1.0
 */
export const InsertHeader = packet("InsertHeader", "i", { index: Wire.u32, name: Wire.name, value: Wire.text }, {
  since: 2,
  documentation: "Insert a header field."
})
/**
 * What a {@link InsertHeader} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type InsertHeader = typeof InsertHeader.schema.Type

/**
 * `m`: changes the field that is number `index`, counted from 1, among those of that name; deletes it if the value is empty.
 *
 * @category modifications
 * @since 0.1.0
 */
export const ChangeHeader = packet("ChangeHeader", "m", { index: Wire.u32, name: Wire.name, value: Wire.text }, {
  since: 2,
  documentation: "Change or delete a header field."
})
/**
 * What a {@link ChangeHeader} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type ChangeHeader = typeof ChangeHeader.schema.Type

/**
 * `b`: a piece of the new body, at most 65535 bytes. Postfix does not accept another packet between two of them.
 *
 * @category modifications
 * @since 0.1.0
 */
export const ReplaceBody = packet("ReplaceBody", "b", { bytes: Wire.bytes }, {
  documentation: "A piece of the new body."
})
/**
 * What a {@link ReplaceBody} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type ReplaceBody = typeof ReplaceBody.schema.Type

/**
 * `+`: adds a recipient. One address: Sendmail reads a comma as a list.
 *
 * @category modifications
 * @since 0.1.0
 */
export const AddRecipient = packet("AddRecipient", "+", { recipient: Wire.text }, { documentation: "Add a recipient." })
/**
 * What a {@link AddRecipient} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type AddRecipient = typeof AddRecipient.schema.Type

/**
 * `2`: adds a recipient with ESMTP parameters, all in one string, separated by spaces. libmilter leaves the string out if
 * there are none.
 *
 * @category modifications
 * @since 0.1.0
 */
export const AddRecipientWithParameters = packet("AddRecipientWithParameters", "2", {
  recipient: Wire.text,
  parameters: Wire.optionalText
}, {
  since: 6,
  documentation: "Add a recipient with ESMTP parameters."
})
/**
 * What a {@link AddRecipientWithParameters} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type AddRecipientWithParameters = typeof AddRecipientWithParameters.schema.Type

/**
 * `-`: removes a recipient, in the form in which the client gave it.
 *
 * @category modifications
 * @since 0.1.0
 */
export const DeleteRecipient = packet("DeleteRecipient", "-", { recipient: Wire.text }, {
  documentation: "Remove a recipient."
})
/**
 * What a {@link DeleteRecipient} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type DeleteRecipient = typeof DeleteRecipient.schema.Type

/**
 * `e`: changes the envelope sender; `<>` is the null sender.
 *
 * `parameters` are ESMTP parameters in one string. For Sendmail an empty string is not the same as a missing one: it
 * clears the parameters that came with MAIL.
 *
 * @category modifications
 * @since 0.1.0
 */
export const ChangeSender = packet("ChangeSender", "e", { sender: Wire.text, parameters: Wire.optionalText }, {
  since: 6,
  documentation: "Change the envelope sender."
})
/**
 * What a {@link ChangeSender} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type ChangeSender = typeof ChangeSender.schema.Type

/**
 * `q`: holds the message in quarantine. A verdict has to follow. Only at the end of the message: sent earlier, it makes
 * Postfix hold every later message of the session.
 *
 * @category modifications
 * @since 0.1.0
 */
export const Quarantine = packet("Quarantine", "q", { reason: Wire.text }, {
  since: 2,
  documentation: "Hold the message in quarantine."
})
/**
 * What a {@link Quarantine} packet holds.
 *
 * @category modifications
 * @since 0.1.0
 */
export type Quarantine = typeof Quarantine.schema.Type

/**
 * `f`: defined, but refused by both Sendmail and Postfix. Decoded, never sent.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const ConnectionFail = packet("ConnectionFail", "f", {}, { documentation: "Defined, but no MTA takes it." })
/**
 * What a {@link ConnectionFail} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type ConnectionFail = typeof ConnectionFail.schema.Type

/**
 * `4`: an MTA-internal verdict. Decoded, never sent: up to Postfix 3.10 it loses mail. For a 421 use {@link ReplyCode}.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const Shutdown = packet("Shutdown", "4", {}, { documentation: "MTA-internal; loses mail with Postfix." })
/**
 * What a {@link Shutdown} packet holds.
 *
 * @category verdicts
 * @since 0.1.0
 */
export type Shutdown = typeof Shutdown.schema.Type

/**
 * A packet that changes the message, sent in answer to end of message.
 *
 * @category models
 * @since 0.1.0
 */
export type ModificationPacket =
  | AddHeader
  | InsertHeader
  | ChangeHeader
  | ReplaceBody
  | AddRecipient
  | AddRecipientWithParameters
  | DeleteRecipient
  | ChangeSender
  | Quarantine
