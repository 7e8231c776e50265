/** A filter under a condition, in one SMTP session: events before the condition is true are held for it. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { OutsideMessage, Session } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { type Definition, Failed } from "../definition.ts"
import { decide, inside, type WrappedResult } from "../wrapping.ts"

/** The inner filter in one SMTP session. */
export class ConditionalSession {
  private readonly inner: Definition
  /** The scope of the connection, since at MAIL hooks run with the scope of the message. */
  private readonly scope: Scope.Scope
  /** Whether the filter takes part in the session, or in the open message; undefined before that is known. */
  takesPart: boolean | undefined
  /** Whether the state of the connection is built. */
  isOpen = false
  state: unknown
  /** Events that are held. */
  connect: unknown
  helo: unknown
  /** What the held hooks have decided: for the session, and since the latest HELO. */
  private verdict: Verdict.Verdict | undefined
  private heloVerdict: Verdict.Verdict | undefined

  constructor(inner: Definition, scope: Scope.Scope) {
    this.inner = inner
    this.scope = scope
  }

  /** Builds the state and runs the held hooks, once; gives the verdict in force. After a failure the next call tries again. */
  enter(session: Session): Effect.Effect<WrappedResult, unknown> {
    if (this.isOpen) return this.greet(session)
    return Effect.flatMap(
      this.open(session),
      (failed) => failed === undefined ? this.greet(session) : Effect.succeed(failed)
    )
  }

  private open(session: Session): Effect.Effect<Failed | undefined, unknown> {
    return Effect.flatMap(Scope.fork(this.scope), (scope) =>
      this.build(session).pipe(
        Effect.provideService(Scope.Scope, scope),
        // After a failure, nothing that was acquired is of use any more.
        Effect.onExit((exit): Effect.Effect<void> => {
          this.isOpen = Exit.isSuccess(exit) && exit.value === undefined
          return this.isOpen ? Effect.void : Scope.close(scope, exit)
        })
      ))
  }

  private readonly build = Effect.fnUntraced(function*(this: ConditionalSession, session: Session) {
    const { connection } = this.inner
    const state = connection === undefined ? undefined : yield* inside(this.inner, undefined, () => connection(session))
    if (state instanceof Failed) return state
    this.state = state
    if (this.connect === undefined) return undefined
    const decision = yield* this.hook("connect", this.connect, session)
    if (decision instanceof Failed) return decision
    this.verdict = decision._tag === "Continue" ? undefined : decision
    return undefined
  })

  private readonly greet = Effect.fnUntraced(function*(this: ConditionalSession, session: Session) {
    if (this.verdict !== undefined) return this.verdict
    if (this.helo === undefined) return this.heloVerdict ?? Verdict.continue
    const decision = yield* Effect.provideService(this.hook("helo", this.helo, session), Scope.Scope, this.scope)
    if (decision instanceof Failed) return decision
    this.helo = undefined
    if (decision._tag === "AcceptConnection") this.verdict = decision
    else this.heloVerdict = decision
    return decision
  })

  /** Runs a hook outside messages. */
  hook(stage: OutsideMessage, event: unknown, session: Session): Effect.Effect<WrappedResult, unknown> {
    return decide(this.inner, stage, event, { session, connection: this.state })
  }

  /** Whether a held hook has accepted the connection. */
  get hasAccepted(): boolean {
    return this.verdict?._tag === "AcceptConnection"
  }

  get isIn(): boolean {
    return this.takesPart === true && this.isOpen && this.verdict === undefined
  }
}

export const newSession = (inner: Definition): Effect.Effect<ConditionalSession, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => new ConditionalSession(inner, scope))
