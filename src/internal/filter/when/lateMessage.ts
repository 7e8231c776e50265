/** A filter that may join a message after MAIL: at a recipient, or at DATA. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Mail, Rcpt, RejectedRecipient, Stage } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { allStages, isBeginning } from "../../protocol/stageTable.ts"
import { type Definition, Failed } from "../definition.ts"
import {
  decide,
  goesOn,
  inside,
  type StateAt,
  type StateHook,
  type StateHooks,
  type WrappedResult,
  wrapWithState
} from "../wrapping.ts"
import {
  type ConditionalMessage,
  conditionalMessage,
  hooksAfterMail,
  join,
  type MessageBuilder
} from "./conditionalMessage.ts"
import { type ConditionalSession, newSession } from "./conditionalSession.ts"
import { hasHook, held } from "./heldEvents.ts"

/** Refused recipients that are held. An MTA ends sessions with fewer; a peer that does not must not fill the memory. */
const maxRejected = 1000

export type LateAt = StateAt<ConditionalSession, LateMessage>
export type LateHook<K extends Stage = Stage> = StateHook<ConditionalSession, LateMessage, K>
type LateHooks = StateHooks<ConditionalSession, LateMessage>

/** The inner filter in one message. */
export class LateMessage {
  private readonly inner: Definition
  private readonly mail: Mail
  private readonly scope: Scope.Scope
  private rejected: Array<RejectedRecipient> = []
  /** The filter's part, since it has joined. */
  joined: ConditionalMessage | undefined
  /** Whether the filter takes part in the content, unless a held hook has decided. */
  isIn = false
  /** Whether the condition has been asked about the whole envelope. */
  isAsked = false
  private hasWarned = false

  constructor(inner: Definition, mail: Mail, scope: Scope.Scope, hasAccepted: boolean) {
    this.inner = inner
    this.mail = mail
    this.scope = scope
    // A held hook has accepted the connection, at an earlier message.
    if (hasAccepted) this.joined = conditionalMessage(Verdict.acceptMessage, undefined)
  }

  /**
   * Joins the message, once: builds the states, runs the held hooks, and shows recipients of before to hooks that only observe
   * them. After a failure the next call begins again.
   */
  join(at: LateAt, earlier: ReadonlyArray<Rcpt>): Effect.Effect<ConditionalMessage | Failed, unknown> {
    if (this.joined !== undefined) return Effect.succeed(this.joined)
    return Effect.flatMap(
      Scope.fork(this.scope),
      (scope) =>
        Effect.provideService(this.begin(at, earlier), Scope.Scope, scope).pipe(
          Effect.onExit((exit): Effect.Effect<void> => {
            if (Exit.isFailure(exit) || exit.value instanceof Failed) return Scope.close(scope, exit)
            this.joined = exit.value
            at.connection.takesPart = true
            // The time between messages matters to no other hook.
            return hasHook(this.inner, "unknown") ? Scope.addFinalizer(scope, leave(at.connection)) : Effect.void
          })
        )
    )
  }

  private readonly begin = Effect.fnUntraced(function*(this: LateMessage, at: LateAt, earlier: ReadonlyArray<Rcpt>) {
    const { inner, mail } = this
    const part = yield* join(inner, at.connection, mail, at.session)
    if (part instanceof Failed || part.verdict !== undefined) return part
    const decision = yield* this.decide("mail", mail, at, part)
    if (decision instanceof Failed) return decision
    if (decision._tag !== "Continue") return conditionalMessage(decision, undefined)
    const { rcpt } = inner.observes
    if (rcpt !== undefined) {
      for (const event of earlier) {
        const given = yield* inside(inner, "rcpt", () => rcpt(event, this.atOf(at, part)))
        if (given instanceof Failed) return given
      }
    }
    for (const event of this.rejected) {
      const given = yield* this.decide("rejectedRecipient", event, at, part)
      if (given instanceof Failed) return given
    }
    return part
  })

  private atOf(at: LateAt, { state }: ConditionalMessage) {
    return { ...at, connection: at.connection.state, message: state }
  }

  /** Runs the filter's hook. */
  decide(stage: Stage, event: unknown, at: LateAt, part: ConditionalMessage): Effect.Effect<WrappedResult, unknown> {
    return decide(this.inner, stage, event, this.atOf(at, part))
  }

  /** A recipient that the MTA has refused: shown to the filter once it has joined. */
  reject(event: RejectedRecipient, at: LateAt): Effect.Effect<WrappedResult, unknown> {
    const { joined, rejected } = this
    if (joined !== undefined) {
      return joined.verdict === undefined ? this.decide("rejectedRecipient", event, at, joined) : goesOn
    }
    if (rejected.length < maxRejected) rejected.push(event)
    return goesOn
  }

  /** Logs a warning, unless there was one about this message. */
  warnOnce(text: string): Effect.Effect<void> {
    if (this.hasWarned) return Effect.void
    this.hasWarned = true
    return Effect.logWarning(text)
  }

  /** A stage after the recipients. `refused`: what a held refusal means for it. */
  later(
    stage: Stage,
    event: unknown,
    at: LateAt,
    refused: (verdict: Verdict.Verdict) => Verdict.Verdict
  ): Effect.Effect<WrappedResult, unknown> {
    const { isIn, joined } = this
    if (joined === undefined) return leaves
    const { verdict } = joined
    if (verdict !== undefined) return Effect.succeed(isRefusal(verdict) ? refused(verdict) : verdict)
    return isIn ? this.decide(stage, event, at, joined) : leaves
  }
}

const leave = (part: ConditionalSession): Effect.Effect<void> =>
  Effect.sync(() => {
    part.takesPart = false
  })

const leaves = Effect.succeed(Verdict.acceptMessage)

export const isRefusal = ({ _tag }: Verdict.Verdict): boolean => _tag === "Reject" || _tag === "TempFail"

const beginLate = (inner: Definition): MessageBuilder<LateMessage> => (mail, { connection }) =>
  Effect.map(Effect.scope, (scope) => new LateMessage(inner, mail, scope, connection.hasAccepted))

/** Whether a hook is held whose verdict the MTA gets later. */
export const holdsAnswers = ({ answers }: Definition): boolean =>
  allStages.some((stage) => isBeginning(stage) && answers[stage] !== undefined)

/** Wraps the filter; the records hold the hooks that differ. */
export const wrapLate = (
  inner: Definition,
  inMessage: (stage: Stage) => LateHook,
  { answers, observes }: { readonly answers: LateHooks; readonly observes: LateHooks }
): Definition => {
  const rejected: LateHook<"rejectedRecipient"> = (event, at) => at.message.reject(event, at)
  const later = (record: Definition["answers"]): LateHooks => {
    const { rcpt: _, ...hooks } = hooksAfterMail(record, inMessage)
    return hooks
  }
  // No hook of the filter runs at connect or helo.
  return wrapWithState<ConditionalSession, LateMessage>({ ...inner, refuseConnection: false }, {
    connection: () => newSession(inner),
    message: beginLate(inner),
    answers: { ...later(inner.answers), ...answers },
    observes: {
      ...later(inner.observes),
      ...held(inner),
      ...(hasHook(inner, "rejectedRecipient") ? { rejectedRecipient: rejected } : {}),
      ...observes
    }
  })
}
