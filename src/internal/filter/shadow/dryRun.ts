/** Runs the hooks of a filter as the engine would, to log what the filter would decide. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { OutsideMessage, Session, Stage } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import * as replies from "../../protocol/verdictPacket.ts"
import { type At, type Definition, Failed } from "../definition.ts"
import type { FailurePolicy } from "../filterTypes.ts"
import { handled, inside, outside } from "../wrapping.ts"

/** How long a hook may take, as at end of message in the engine. Nothing else would stop it. */
const maxHook = "4 minutes"

/** The result of a hook, unless it was continue. */
export class Decided {
  /** Undefined if the hook failed and there is no policy for that. */
  readonly verdict: Verdict.Verdict | undefined
  readonly stage: Stage
  /** The cause of the failure, if the hook failed. */
  readonly cause: Cause.Cause<unknown> | undefined

  constructor(verdict: Verdict.Verdict | undefined, stage: Stage, cause?: Cause.Cause<unknown>) {
    this.verdict = verdict
    this.stage = stage
    this.cause = cause
  }
}

const verdictOf = (policy: FailurePolicy): Verdict.Verdict => policy === "pass" ? Verdict.acceptMessage : policy

/** The filter in one SMTP session. */
export class DryRun {
  readonly inner: Definition
  private readonly scope = Scope.makeUnsafe()
  private isBuilt = false
  private state: unknown
  /** The decision for all messages to come. */
  private decided: Decided | undefined

  constructor(inner: Definition) {
    this.inner = inner
  }

  /** Runs the hook of a stage outside of messages. */
  readonly stage = Effect.fnUntraced(function*(
    this: DryRun,
    stage: OutsideMessage,
    event: unknown,
    session: Session
  ) {
    // A new HELO is a new chance.
    if (stage === "helo" && this.decided?.stage === "helo") this.decided = undefined
    const connection = yield* this.enter(session)
    if (connection instanceof Decided) return
    const decided = yield* this.run(stage, event, { session, connection }, this.scope)
    if (stage !== "unknown") this.decided = decided
  })

  /** The state of the connection, or what has been decided on it. */
  readonly enter = Effect.fnUntraced(function*(this: DryRun, session: Session) {
    const { connection } = this.inner
    if (!this.isBuilt && connection !== undefined) {
      const state = yield* this.build("connect", () => connection(session), this.scope)
      if (state instanceof Decided) this.decided = state
      else this.state = state
    }
    this.isBuilt = true
    return this.decided ?? this.state
  })

  /** Runs a hook if there is one; undefined stands for continue. */
  readonly run = Effect.fnUntraced(function*(
    this: DryRun,
    stage: Stage,
    event: unknown,
    at: At,
    scope: Scope.Scope
  ) {
    const answer = this.inner.answers[stage]
    const hook = answer ?? this.inner.observes[stage]
    if (hook === undefined) return undefined
    const result = yield* this.attempt(stage, stage, () => hook(event, at), scope)
    if (result instanceof Decided) return result
    if (answer === undefined) return undefined
    if (!replies.isVerdict(result)) {
      return yield* this.defect(stage, Cause.die(new TypeError(`the hook gave no verdict but a ${typeof result}`)))
    }
    return result._tag === "Continue" ? undefined : new Decided(result, stage)
  })

  /** Runs a builder of state; `stage` is where it runs. Gives its result, or the decision after a failure. */
  build(
    stage: Stage,
    make: () => Effect.Effect<unknown, unknown>,
    scope: Scope.Scope
  ): Effect.Effect<unknown> {
    return this.attempt(stage, undefined, make, scope)
  }

  private readonly attempt = Effect.fnUntraced(function*(
    this: DryRun,
    stage: Stage,
    hook: Stage | undefined,
    make: () => Effect.Effect<unknown, unknown>,
    scope: Scope.Scope
  ) {
    const { inner } = this
    const exit = yield* handled(outside(inner), stage, inside(inner, hook, () => Effect.suspend(make))).pipe(
      Effect.timeoutOrElse({ duration: maxHook, orElse: () => Effect.die(`no answer within ${maxHook}`) }),
      Effect.provideService(Scope.Scope, scope),
      Effect.exit
    )
    if (Exit.isFailure(exit)) return yield* this.defect(stage, exit.cause)
    const { value } = exit
    return value instanceof Failed ? new Decided(verdictOf(value.policy), stage, value.cause) : value
  })

  /** Typed failures that nobody handles have no policy. */
  private defect(stage: Stage, cause: Cause.Cause<unknown>): Effect.Effect<Decided> {
    const { name, onDefect } = this.inner
    const policy = Cause.hasFails(cause) ? undefined : verdictOf(onDefect ?? Verdict.tempFail())
    return Effect.as(
      Effect.logWarning(`the shadow of ${name} failed at ${stage}`, cause),
      new Decided(policy, stage, cause)
    )
  }

  close(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return closing(this.inner.name, this.scope, exit)
  }
}

/** Runs the finalizers, whose failures are logged. */
export const closing = (
  name: string,
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> =>
  Effect.catchCause(
    Scope.close(scope, exit),
    (cause) => Effect.logWarning(`a finalizer of the shadow of ${name} failed`, cause)
  )
