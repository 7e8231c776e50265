/** Delays a filter's refusals before RCPT, and gives them to each recipient that is not exempt. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type { Envelope } from "../../Stage.ts"
import type { Rcpt, Session, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import { allStages } from "../protocol/stageTable.ts"
import { type At, type Definition, Failed } from "./definition.ts"
import type { Filter, Made } from "./filterTypes.ts"
import { mapped } from "./filterValue.ts"
import {
  decide,
  goesOn,
  inside,
  madeFrom,
  type StateAt,
  type StateHook,
  type StateHooks,
  wrapWithState
} from "./wrapping.ts"

type RefusingVerdict = Verdict.Reject | Verdict.TempFail

/** The inner filter in one SMTP session. */
interface DelayedSession {
  readonly state: unknown
  /** The refusals that are held: of connect, and of the latest HELO. */
  atConnect: RefusingVerdict | undefined
  atHelo: RefusingVerdict | undefined
  /** The filter has accepted the connection after a refusal at connect. The refusal stays. */
  isDone: boolean
}

/** The inner filter in one message. */
interface DelayedMessage {
  readonly state: unknown
  refusal: RefusingVerdict | undefined
  /** A later verdict on the whole message, held until all recipients are known. */
  last: Verdict.Verdict | undefined
  /** A recipient was exempt. */
  hasRecipient: boolean
}

const isRefusal = (verdict: Verdict.Verdict | Failed): verdict is RefusingVerdict =>
  !(verdict instanceof Failed) && (verdict._tag === "Reject" || verdict._tag === "TempFail")

type DelayedHook<K extends Stage = Stage> = StateHook<DelayedSession, DelayedMessage, K>
type DelayedHooks = StateHooks<DelayedSession, DelayedMessage>

/** Wraps each definition. Without `except` nobody is exempt, and a filter that has refused is not asked any more. */
const delayed = (except: DelayRejectOptions["except"]): (inner: Definition) => Definition => {
  const make = (inner: Definition): Definition => {
    const own = (at: StateAt<DelayedSession, DelayedMessage>): At => ({
      ...at,
      connection: at.connection.state,
      message: at.message.state
    })

    /** Whether nothing that the filter could still say would count. */
    const isOver = ({ atConnect, isDone }: DelayedSession): boolean =>
      isDone || (atConnect !== undefined && except === undefined)

    const isSettled = ({ last, refusal }: DelayedMessage): boolean =>
      last !== undefined || (refusal !== undefined && except === undefined)

    const outsideMessage = (stage: "connect" | "helo"): DelayedHook => (event, at) => {
      const session = at.connection
      if (stage === "helo") session.atHelo = undefined
      if (isOver(session)) return goesOn
      return Effect.map(
        decide(inner, stage, event, { session: at.session, connection: session.state }),
        (decision) => {
          if (isRefusal(decision)) {
            if (stage === "connect") session.atConnect = decision
            else session.atHelo = decision
            return Verdict.continue
          }
          if (decision instanceof Failed || decision._tag === "Continue" || session.atConnect === undefined) {
            return decision
          }
          session.isDone = true
          return Verdict.continue
        }
      )
    }

    /** A verdict for the whole message waits until all recipients have had theirs. */
    const wait = (message: DelayedMessage) => (decision: Verdict.Verdict | Failed): Verdict.Verdict | Failed => {
      if (message.refusal === undefined || decision instanceof Failed || decision._tag === "Continue") return decision
      if (isRefusal(decision)) return decision
      message.last = decision
      return Verdict.continue
    }

    const mail: DelayedHook = (event, at) => {
      const message = at.message
      if (isSettled(message)) return goesOn
      return Effect.map(decide(inner, "mail", event, own(at)), (decision) => {
        if (!isRefusal(decision)) return wait(message)(decision)
        message.refusal ??= decision
        return Verdict.continue
      })
    }

    const rcpt: DelayedHook<"rcpt"> = (event, at) => {
      const message = at.message
      const { refusal } = message
      if (refusal === undefined) return decide(inner, "rcpt", event, own(at))
      const { envelope, session } = at
      // There is an envelope at rcpt.
      const exempt = except?.(event, { session, envelope: envelope! }) ?? false
      return Effect.flatMap(Effect.isEffect(exempt) ? exempt : Effect.succeed(exempt), (isExempt) => {
        if (!isExempt) return Effect.succeed(refusal)
        message.hasRecipient = true
        return message.last === undefined ? Effect.map(decide(inner, "rcpt", event, own(at)), wait(message)) : goesOn
      })
    }

    const later = (stage: Stage): DelayedHook => (event, at) => {
      const message = at.message
      if (message.last !== undefined) return Effect.succeed(message.last)
      // An MTA that goes on without recipients.
      if (message.refusal !== undefined && !message.hasRecipient) return Effect.succeed(message.refusal)
      return decide(inner, stage, event, own(at))
    }

    const rejectedRecipient: DelayedHook = (event, at) =>
      isSettled(at.message) ? goesOn : decide(inner, "rejectedRecipient", event, own(at))

    const unknown: DelayedHook = (event, at) => {
      const session = at.connection
      if (isOver(session)) return goesOn
      return decide(inner, "unknown", event, { session: at.session, connection: session.state })
    }

    const special: { readonly [K in Stage]?: DelayedHook } = {
      connect: outsideMessage("connect"),
      helo: outsideMessage("helo"),
      rejectedRecipient,
      unknown
    }

    /** Stages that are answered whether or not the inner filter has a hook there. */
    const always = { mail, rcpt, endOfMessage: later("endOfMessage") }

    const hooks = (record: Definition["answers"]): DelayedHooks =>
      Object.fromEntries(
        allStages.filter((stage) => Object.hasOwn(record, stage) && !Object.hasOwn(always, stage))
          .map((stage) => [stage, special[stage] ?? later(stage)])
      )

    const build = inner.connection
    return wrapWithState<DelayedSession, DelayedMessage>(inner, {
      connection: (session) =>
        Effect.map(
          build === undefined ? Effect.undefined : inside(inner, undefined, () => build(session)),
          (state): DelayedSession | Failed =>
            state instanceof Failed ? state : { state, atConnect: undefined, atHelo: undefined, isDone: false }
        ),
      message: (mail, { connection, session }) => {
        const refusal = connection.atConnect ?? connection.atHelo
        const { message } = inner
        return Effect.map(
          message === undefined || connection.isDone || (refusal !== undefined && except === undefined)
            ? Effect.undefined
            : inside(inner, undefined, () => message(mail, { session, connection: connection.state })),
          (state): DelayedMessage | Failed =>
            state instanceof Failed
              ? state
              : { state, refusal, last: connection.isDone ? Verdict.acceptMessage : undefined, hasRecipient: false }
        )
      },
      answers: { ...hooks(inner.answers), ...always },
      observes: hooks(inner.observes)
    })
  }
  return (inner) => madeFrom(inner, make)
}

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

const optionNames = keysOf<DelayRejectOptions>({ at: true, except: true })

/**
 * Delays a reject or tempFail of connect, helo or mail and gives it to each recipient instead, as Postfix does with its own
 * restrictions. So the MTA's log shows sender and recipients of refused mail, and some recipients can be exempt, such as
 * postmaster.
 *
 * **Details**
 *
 * For an exempt recipient the filter goes on as if it had answered continue: its later hooks run, and may refuse. Without
 * `except` the filter is not asked again about mail that it has refused. All other verdicts of the filter count at once.
 *
 * **Gotchas**
 *
 * - Answers for failures (`onFailure`, `onDefect`) are not delayed.
 * - An accept or discard after a refusal takes effect when all recipients have their answer, since it covers the whole message.
 * - A message with an exempt recipient reaches the later stages. A filter without hooks there lets it pass to that recipient.
 *
 * @see {@link when} to exempt sessions or messages
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
  /** Delays a reject or tempFail of connect, helo or mail, and gives it to each recipient that is not exempt. */
  <R2 = never>(options: DelayRejectOptions<R2>): <E, R>(self: Filter<E, R>) => Made<E, R | R2>
  /** Delays a reject or tempFail of connect, helo or mail, and gives it to each recipient that is not exempt. */
  <E, R, R2 = never>(self: Filter<E, R>, options: DelayRejectOptions<R2>): Made<E, R | R2>
} = dual(
  2,
  // What `except` needs is in the type of the result.
  (self: Filter<never, never>, options: DelayRejectOptions): Made<never, never> => {
    checkKeys("option of delayReject", options, optionNames)
    return mapped(self, delayed(options.except))
  }
)
