/** Answers of a filter as an MTA understands them. Re-exported by `MilterClient`. */
import type * as Reply from "../../Reply.ts"

/**
 * The result of one command.
 *
 * - `Continue`: go on; at end of message the filter has no objection
 * - `Accept`: the filter sees no more of the session (at connect and helo) or of the message (later, at rcpt too)
 * - `Reject`, `TempFail`: refused, the MTA words the reply. At rcpt this recipient only
 * - `Reply`: refused with the filter's own words; `code` begins with 4 or 5
 * - `Discard`: the client is told that all is well and the message is thrown away
 * - `Skip`: go on without more commands of this kind
 * - `NotSent`: the filter was not asked. `because` it does not want this command (`step`), its version does not know it
 *   (`version`), it said skip (`skip`), it has given its verdict on the message or the session (`decided`), or the MTA
 *   has refused the recipient itself (`refused`)
 * - `NotAnswered`: sent; the filter said in the negotiation that it does not answer this command
 *
 * @category models
 * @since 0.1.0
 */
export type Answer =
  | { readonly _tag: "Continue" }
  | { readonly _tag: "Accept" }
  | { readonly _tag: "Reject" }
  | { readonly _tag: "TempFail" }
  | Replied
  | { readonly _tag: "Discard" }
  | { readonly _tag: "Skip" }
  | { readonly _tag: "NotSent"; readonly because: NotSentBecause }
  | { readonly _tag: "NotAnswered" }

/**
 * Why a command was not sent; see {@link Answer}.
 *
 * @category models
 * @since 0.1.0
 */
export type NotSentBecause = "step" | "version" | "skip" | "decided" | "refused"

/**
 * A refusal in the filter's own words.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replied extends Reply.Reply {
  readonly _tag: "Reply"
}
