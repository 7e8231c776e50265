/** The types of conditions. Re-exported by `Milter`. */
import type * as Effect from "effect/Effect"
import type { Envelope, Events, Session, Stage } from "../../../Stage.ts"
import type { BeginningStage } from "../../protocol/stageTable.ts"

/**
 * What a condition of `Milter.when` asks at one stage: whether the filter takes part, as a boolean or an effect that gives one.
 * The effect can look up what is known of the session so far, and must handle its own failures. At rcpt and data there is an
 * envelope: its recipients are those that neither the MTA nor a filter has refused; at rcpt the last one is the recipient that
 * the condition is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export type ConditionAt<K extends Stage, R> = (
  event: Events[K],
  at: K extends "rcpt" | "data" ? { readonly session: Session; readonly envelope: Envelope }
    : { readonly session: Session }
) => Effect.Effect<boolean, never, R> | boolean

/** The keys of all conditions; each condition leaves out those of the others. */
type Key = BeginningStage | keyof RecipientCondition | keyof DataCondition

type Only<A> = A & { readonly [K in Exclude<Key, keyof A>]?: never }

/**
 * A condition of `Milter.when`: one function, under the name of the stage at which it can be decided.
 *
 * - `connect`: once for the SMTP session
 * - `helo`: at each HELO or EHLO, of which there are two where the client uses STARTTLS. For a client that sends mail
 *   without HELO and EHLO the name is empty.
 * - `mail`: for each message
 * - `rcpt`: for each recipient, see {@link RecipientCondition}
 * - `data`: for each message once its recipients are known, see {@link DataCondition}
 *
 * @category models
 * @since 0.1.0
 */
export type Condition<R = never> =
  | Only<{ readonly connect: ConditionAt<"connect", R> }>
  | Only<{ readonly helo: ConditionAt<"helo", R> }>
  | Only<{ readonly mail: ConditionAt<"mail", R> }>
  | Only<RecipientCondition<R>>
  | Only<DataCondition<R>>

/**
 * A condition on recipients. It is asked once for each recipient that neither the MTA nor an earlier filter has refused. The
 * filter joins the message at the first recipient for which the condition is true.
 *
 * - `recipients: "each"`: the rcpt hook runs for the recipients for which the condition is true, and for no other. The hooks of
 *   the content run if the filter has accepted one of these recipients.
 * - `recipients: "any"`: after the filter has joined, its rcpt hook runs for all further recipients. Recipients before that are
 *   in the envelope and are shown to a hook that only observes rcpt; a hook that answers rcpt does not run for them.
 * - `mixed`: what happens to a message for recipients of both kinds. The MTA has one copy of it, so edits reach all of them.
 *   `"apply"`, the default: the filter takes part. `"separate"`: once the message has a recipient of one kind, those of the other
 *   get 452 4.5.3, so that the client sends to them in a message of their own. That cannot work for local submission, where the
 *   filter takes part and a warning is logged.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecipientCondition<R = never> {
  readonly rcpt: ConditionAt<"rcpt", R>
  readonly recipients: "any" | "each"
  readonly mixed?: "apply" | "separate"
}

/**
 * A condition on a whole envelope, asked when the client begins to send the content. An old MTA without that stage (Postfix
 * 2.3, Sendmail 8.13) sends no DATA: then the condition is asked at the first header field, or at end of message.
 *
 * - `mixed`: `"apply"`, the default: the condition is asked once, about all recipients. `"skip"`: it is asked about each
 *   recipient, with an envelope that has no other one, and the filter takes part if it is true for all of them.
 *
 * A filter that answers rcpt is an error at start, since it is too late then to refuse a recipient.
 *
 * @category models
 * @since 0.1.0
 */
export interface DataCondition<R = never> {
  readonly data: ConditionAt<"data", R>
  readonly mixed?: "apply" | "skip"
}
