/** Lets a filter take part only where a condition holds; earlier events are held for the filter. Re-exported by `Milter`. */
import { dual } from "effect/Function"
import type { Definition } from "../definition.ts"
import type { Filter, Made } from "../filterTypes.ts"
import { mapped } from "../filterValue.ts"
import { madeFrom } from "../wrapping.ts"
import { askOnce, askOnceOfEnvelope } from "./asking.ts"
import { checkCondition } from "./checkCondition.ts"
import type { Condition } from "./conditionTypes.ts"
import { atData, atRcpt } from "./recipientConditions.ts"
import { atConnect, atHelo, atMail } from "./sessionConditions.ts"

/** How a definition is wrapped: made once for all filters of a sequence, so that they get the same answers. */
const wrapperOf = (condition: Condition): (inner: Definition) => Definition => {
  checkCondition(condition)
  if (condition.connect !== undefined) return atConnect(askOnce(condition.connect))
  if (condition.helo !== undefined) return atHelo(askOnce(condition.helo))
  if (condition.mail !== undefined) return atMail(askOnce(condition.mail))
  if (condition.rcpt !== undefined) return atRcpt(askOnce(condition.rcpt), condition)
  return atData(askOnceOfEnvelope(condition.data, condition.mixed ?? "apply"))
}

const conditioned = (condition: Condition): (inner: Definition) => Definition => {
  const make = wrapperOf(condition)
  return (inner) => madeFrom(inner, make)
}

/**
 * Limits a filter to the sessions, messages or recipients for which a condition is true. For others no hook runs and no state is
 * built, and a circuit breaker or failure policy is not involved.
 *
 * **When to use**
 *
 * Use it for a filter that is not for everybody: clients of some networks, users who have not authenticated, recipients who
 * have asked for it. Ask as early as you can: what a condition of connect leaves out costs nothing more in that session.
 *
 * **Details**
 *
 * Events before the stage of the condition are held. Once the condition is true, the state of the connection is built, and the
 * hooks of connect and helo run, the latter for the latest HELO only, with the session as it is then. At a recipient or at DATA
 * the state of the message and the hook of mail follow. The negotiation with the MTA comes before any condition and does not
 * depend on it.
 *
 * Conditions on recipients count those that neither the MTA nor an earlier filter has refused; see {@link RecipientCondition}
 * and {@link DataCondition}. RSET, HELO and the next message begin anew.
 *
 * **Gotchas**
 *
 * - The held hooks decide late: a reject at MAIL refuses the message, and the next messages, too. `acceptConnection` at MAIL lets
 *   pass this message and all later ones of the session. Hooks that fail run again for the next message.
 * - Under a condition of rcpt a held reject refuses this recipient and further ones (`"each"`: those for which the condition is
 *   true), as {@link delayReject} does, and no recipient of before. Hooks that fail run again for the next such recipient.
 *   Under a condition of data a held reject refuses the message. An accept or discard is for the whole message, as ever.
 * - All that is held runs within the time for one answer.
 * - An MTA keeps one copy of a message, so edits reach all of its recipients; see the option `mixed`.
 * - Macros, such as the name of an authenticated user, are what the peer says. Restrict who may connect (the server's option
 *   `peers`, or the mode of a UNIX socket) before a condition exempts a user from a filter.
 * - The hook of unknown commands does not see those before the filter takes part, nor those between messages if the condition
 *   is one of mail, rcpt or data.
 *
 * @see {@link delayReject} to exempt recipients from a refusal
 *
 * **Example** (By network, and by user)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Greylist = Milter.make("greylist").on({ rcpt: () => Effect.succeed(Verdict.tempFail()) })
 *
 * const FromOutside = Milter.when(Greylist, {
 *   connect: ({ client }) => !client.isLoopback && !client.isWithin("10.0.0.0/8")
 * })
 *
 * const NotForUsers = Greylist.pipe(
 *   Milter.when({ mail: (_, { session }) => session.macros.authentication === undefined })
 * )
 * ```
 *
 * **Example** (For recipients who have asked for it)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Greylist = Milter.make("greylist").on({ rcpt: () => Effect.succeed(Verdict.tempFail()) })
 *
 * const ForSome = Milter.when(Greylist, {
 *   rcpt: ({ recipient }) => recipient.domain === "example.net",
 *   recipients: "each"
 * })
 *
 * const Tag = Milter.make("tag", { modify: ["addHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
 * })
 *
 * // Recipients of other domains get the message without the field, in a message of their own.
 * const TagForSome = Milter.when(Tag, {
 *   rcpt: ({ recipient }) => recipient.domain === "example.net",
 *   recipients: "any",
 *   mixed: "separate"
 * })
 *
 * const SmallMessages = Milter.when(Tag, { data: (_, { envelope }) => envelope.recipients.length < 10 })
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const when: {
  /** Limits a filter to the sessions, messages or recipients for which a condition is true. */
  <R2 = never>(condition: Condition<R2>): <E, R>(self: Filter<E, R>) => Made<E, R | R2>
  /** Limits a filter to the sessions, messages or recipients for which a condition is true. */
  <E, R, R2 = never>(self: Filter<E, R>, condition: Condition<R2>): Made<E, R | R2>
} = dual(
  2,
  // What the condition needs is in the type of the result.
  (self: Filter<never, never>, condition: Condition): Made<never, never> => mapped(self, conditioned(condition))
)
