/** Filters made from filters: in a row, under a condition, without effect, with later refusals. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Envelope, Events, Rcpt, Session } from "../../Stage.ts"
import { resolve } from "./definition.ts"
import * as delayRejects from "./delayReject.ts"
import { type Filter, fromResolve, type Made, mapped, type TypeId } from "./filterValue.ts"
import * as shadows from "./shadow/shadowFilter.ts"
import * as whens from "./when.ts"

/**
 * A filter, whatever it needs and however it fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyFilter {
  // No `Filter<unknown, unknown>`: a filter that is made in its place would be inferred to fail with `unknown`.
  readonly [TypeId]: object
}

/**
 * The failures of a filter.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure<F> = F extends Filter<infer E, infer _R> ? E : never

/**
 * What a filter needs.
 *
 * @category models
 * @since 0.1.0
 */
export type Needs<F> = F extends Filter<infer _E, infer R> ? R : never

/**
 * Several filters as one, in this order, as if each were a milter of its own behind the MTA:
 *
 * - The first final verdict on a message counts; filters behind it are not asked any more. A filter that accepts is out,
 *   the others go on.
 * - Each filter sees what it would see alone. A recipient that one refuses is not shown to those behind it.
 * - Behind a filter that can edit headers or body (that names such a modification in `modify`, or in `modifyIfOffered`
 *   where the MTA offers it), header, body and end of message come once that one has edited the message, as it is then:
 *   a scanner or signer sees what will be sent. Other filters see the stages as they come.
 * - The MTA gets one set of modifications, worked out from the message that came and the one that results.
 * - The finalizers of a message run after the verdict on all of it, and learn of that.
 * - The time limit for an answer is one for all of them together.
 *
 * Sequences in a sequence are laid out flat. What signs mail comes last: a filter that edits behind one that signs is
 * refused when the server starts.
 *
 * **Example** (Two filters, the second as a service)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * class Greylist extends Milter.Service<Greylist>()("app/Greylist") {}
 *
 * const Tag = Milter.make("tag", { modify: ["addHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
 * })
 *
 * const Both = Milter.sequence([Greylist, Tag])
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const sequence = <const Filters extends ReadonlyArray<AnyFilter>>(
  filters: Filters
): Made<Failure<Filters[number]>, Needs<Filters[number]>> =>
  fromResolve(Effect.map(Effect.forEach(filters, resolve), (definitions) => definitions.flat()))

/**
 * What {@link when} asks at one stage: whether the filter takes part, as a boolean or an effect that gives one. It can
 * look up what the session has said so far; its own failures it has to handle itself.
 *
 * @category models
 * @since 0.1.0
 */
export type ConditionAt<K extends "connect" | "helo" | "mail", R> = (
  event: Events[K],
  at: { readonly session: Session }
) => Effect.Effect<boolean, never, R> | boolean

/**
 * A condition of {@link when}: one function, under the name of the stage at which it can be told.
 *
 * - `connect`: once for the SMTP session
 * - `helo`: at each HELO or EHLO, of which there are two where the client uses STARTTLS. For a client that sends mail
 *   without either the name is empty.
 * - `mail`: for each message
 *
 * @category models
 * @since 0.1.0
 */
export type Condition<R = never> =
  | { readonly connect: ConditionAt<"connect", R>; readonly helo?: never; readonly mail?: never }
  | { readonly connect?: never; readonly helo: ConditionAt<"helo", R>; readonly mail?: never }
  | { readonly connect?: never; readonly helo?: never; readonly mail: ConditionAt<"mail", R> }

/**
 * A filter that takes part only where a condition holds. Where it does not the filter is not there: no hook runs, no state
 * is built, and a circuit breaker or a policy for failures has nothing to do with it.
 *
 * What comes before the stage of the condition is held: once it holds, the state of the connection is built, and the hooks
 * of connect and helo run, the latter for the latest HELO only, with the session as it is by then. What they decide counts
 * there: a reject at MAIL refuses the message, and the next one too; `acceptConnection` at MAIL lets pass this message and
 * all that follow in the session. If they fail they are tried again for the next message. Unknown commands before that, or
 * between messages that the condition of `mail` is asked for, are not shown.
 *
 * What is agreed with the MTA is the same whatever the condition says, since nobody can ask it that early.
 *
 * Macros such as the name of an authenticated user are what the peer says: a condition that spares somebody a filter is
 * worth as much as the list of peers who may connect (the server's option `peers`, or the mode of a UNIX socket).
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
 * @category combining
 * @since 0.1.0
 */
export const when: {
  <R2 = never>(condition: Condition<R2>): <E, R>(self: Filter<E, R>) => Made<E, R | R2>
  <E, R, R2 = never>(self: Filter<E, R>, condition: Condition<R2>): Made<E, R | R2>
} = dual(
  2,
  // What the condition needs is in the type of the result.
  (self: Filter<never, never>, condition: Condition): Made<never, never> => mapped(self, whens.made(condition))
)

/**
 * A filter on trial: it sees real mail, and nothing that it decides or edits has an effect.
 *
 * The log has a line for each message: `shadow rejected` and the like, with the same fields as the server's own line for
 * the message, and also `reply` (the text the client would have read), `refused` (recipients, with their replies),
 * `modifications` and `error`. One filter of a sequence does not see what another would have edited or refused.
 *
 * Nobody waits for its hooks: they run later, one after the other, on copies of what has been said. They may fail; what
 * `onFailure` does not handle is logged. A filter that is too slow for the mail that comes gives up on a message, with a
 * warning, when more than 1 MiB waits for it in one SMTP session; a hook that takes more than 4 minutes is interrupted.
 * When a message is given up by the client its hooks are interrupted, and its scope closes as it would for any filter.
 *
 * The MTA is asked for the stages that the filter looks at and for no modification. Where a filter ahead in the sequence
 * decides on a message the shadow does not see the rest and has no outcome: the line says `shadow aborted`.
 *
 * **Example** (Trying a filter before it counts)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Proven = Milter.make("proven").on({ rcpt: () => Effect.succeed(Verdict.continue) })
 * const Strict = Milter.make("strict").on({ helo: ({ name }) => Effect.fail(`what is ${name}?`) })
 *
 * const Both = Milter.sequence([Proven, Milter.shadow(Strict)])
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const shadow = <E, R>(self: Filter<E, R>): Made<never, R> =>
  fromResolve(Effect.flatMap(
    resolve(self),
    (definitions) => Effect.map(shadows.makeShadows, (all) => definitions.map(shadows.made(all)))
  ))

/**
 * Options of {@link delayReject}.
 *
 * - `at`: where refusals are given
 * - `except`: recipients for whom they are not given
 *
 * @category models
 * @since 0.1.0
 */
export interface DelayRejectOptions<R = never> {
  readonly at: "rcpt"
  readonly except?: (
    rcpt: Rcpt,
    at: { readonly session: Session; readonly envelope: Envelope }
  ) => Effect.Effect<boolean, never, R> | boolean
}

/**
 * Gives a reject or tempFail of connect, helo or mail to each recipient instead, as Postfix does with its own
 * restrictions: so the MTA's log shows sender and recipient of what was refused, and some recipients can be exempt, such as
 * postmaster.
 *
 * For an exempt recipient it goes on as if the filter had said continue: its later hooks run, and what they refuse is
 * refused. Without `except` the filter is not asked any more about mail that it has refused.
 *
 * Everything else a filter says counts at once. Only an accept or discard that comes after a refusal waits until all
 * recipients have had their answer, since it would free or swallow the whole message. Policies for failures are not
 * delayed: they say that the filter has no opinion.
 *
 * **Example** (Everybody may write to postmaster)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Blocked = Milter.make("blocked").on({
 *   connect: ({ client }) => Effect.succeed(client.isWithin("192.0.2.0/24") ? Verdict.reject() : Verdict.continue)
 * })
 *
 * const Polite = Milter.delayReject(Blocked, {
 *   at: "rcpt",
 *   except: ({ recipient }) => recipient.localPart.toLowerCase() === "postmaster"
 * })
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const delayReject: {
  <R2 = never>(options: DelayRejectOptions<R2>): <E, R>(self: Filter<E, R>) => Made<E, R | R2>
  <E, R, R2 = never>(self: Filter<E, R>, options: DelayRejectOptions<R2>): Made<E, R | R2>
} = dual(
  2,
  // What `except` needs is in the type of the result.
  (self: Filter<never, never>, options: DelayRejectOptions): Made<never, never> =>
    mapped(self, delayRejects.made(options.except))
)
