/** The MTAs that can be imitated. Re-exported by `MilterClient`. */
import type { Mta } from "../clientTypes.ts"
import { mtaOf } from "./mtaManners.ts"
import * as postfixManners from "./postfixManners.ts"
import * as sendmailManners from "./sendmailManners.ts"

/**
 * Postfix 3.7: macros ahead of nearly every command, no queue id before the first recipient, an abort after each message,
 * only the verb of commands that it does not know.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const postfix: Mta = mtaOf(postfixManners.postfix37)

/**
 * Postfix 2.3, the first with milters: version 2, in which there is no DATA, no changed body, no choice of macros. The end
 * of the body comes with end of message.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const postfix23: Mta = mtaOf(postfixManners.postfix23)

/**
 * Postfix 2.6, the first that speaks version 6 unless told otherwise. It tells less of itself at connect.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const postfix26: Mta = mtaOf(postfixManners.postfix26)

/**
 * Postfix 3.8 to 3.10. 3.8 is the first that shows unknown commands as a whole. Its refusal of them has the last word, unless the filter
 * puts the client off.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const postfix38: Mta = mtaOf(postfixManners.postfix38)

/**
 * Postfix 3.11, the first that ends the SMTP session when a filter fails, unless told otherwise.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const postfix311: Mta = mtaOf(postfixManners.postfix311)

/**
 * Sendmail 8.17: macros only where it has some, none with headers and body, IPv6 addresses prefixed and written in full,
 * an abort only for a message that is cut short and ahead of HELO, ten seconds for each answer.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const sendmail: Mta = mtaOf(sendmailManners.sendmail817)

/**
 * Sendmail 8.18.2, which appends an added To, Cc or Bcc to the field that is there, and crashes where the filter has deleted
 * that one.
 *
 * @category MTAs
 * @since 0.1.0
 */
export const sendmail818: Mta = mtaOf(sendmailManners.sendmail818)
