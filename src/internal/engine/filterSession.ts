/** One filter in one SMTP session: its state, and what it has settled for messages to come. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Session } from "../../Stage.ts"
import type { Reject, TempFail } from "../../Verdict.ts"
import { type At, type Definition, Failed } from "../filter/definition.ts"
import type { FailurePolicy as Policy } from "../filter/filterTypes.ts"
import { Hooks, type Owner } from "./hookRunner.ts"
import type { Fork } from "./host.ts"
import type { Unit } from "./serverRuntime.ts"

interface ConnectionAnswer {
  readonly refusal: Reject | TempFail | undefined
  readonly expired: boolean
}

const noObjection: ConnectionAnswer = { refusal: undefined, expired: false }

export class Participant {
  readonly unit: Unit
  readonly definition: Definition
  readonly hooks: Hooks
  readonly scope = Scope.makeUnsafe()
  /** What its hooks run with; those of a message have that one's scope in it. */
  readonly context: Context.Context<never>
  readonly fork: Fork
  at: At
  private stateBuilt = false
  private stateFailure: Cause.Cause<unknown> | undefined
  /** It wants nothing more to do with this SMTP session. */
  hasAccepted = false
  /** The answer at each MAIL of this SMTP session, once something before has settled that. */
  private policy: Policy | undefined
  private policyFromHelo = false
  /** A failure that could not be answered, for the next message. */
  private pending: Failed | undefined

  /** `session` is what it sees of the owner's. */
  constructor(unit: Unit, owner: Owner, session: Session, services: Context.Context<never>) {
    this.unit = unit
    this.definition = unit.definition
    this.hooks = new Hooks(unit, owner)
    this.context = Context.add(services, Scope.Scope, this.scope) as Context.Context<never> // for hooks, not for their types
    this.fork = Effect.runForkWith(this.context)
    this.at = { session, connection: undefined }
  }

  /** Builds the state of the connection, once: at connect, or at the first command of an MTA that sends none. */
  withState(next: (expired: boolean) => void): void {
    const build = this.definition.connection
    if (this.stateBuilt || build === undefined) return next(false)
    this.hooks.execute("connect", () => build(this.at.session), this.fork, (result) => {
      // Not where an abort has cut it short: the next message needs it.
      this.stateBuilt = true
      if (result instanceof Failed) {
        this.stateFailure = result.cause
        this.policy = result.policy
      } else {
        this.at = { session: this.at.session, connection: result }
      }
      next(result instanceof Failed && result.expired)
    })
  }

  /** Connect or helo. Calls back with a refusal that is to be given there, and whether the time for it was over. */
  connectionStage(stage: "connect" | "helo", event: unknown, done: (answer: ConnectionAnswer) => void): void {
    this.withState((expired) => {
      if (expired) return done({ refusal: this.refusal(true), expired })
      // A new HELO is a new chance.
      if (stage === "helo" && this.policyFromHelo) {
        this.policy = undefined
        this.policyFromHelo = false
      }
      // Once all messages of the session are settled no more hooks run; the state they need may not even exist.
      if (this.policy !== undefined) {
        return done({ refusal: this.refusal(this.stateFailure !== undefined), expired: false })
      }
      this.hooks.run(stage, event, this.at, this.fork, (decision) => {
        if (decision instanceof Failed) {
          this.settle(decision.policy, stage)
          return done({ refusal: this.refusal(true), expired: decision.expired })
        }
        switch (decision?._tag) {
          case "AcceptConnection":
            this.hasAccepted = true
            this.policy = "pass"
            return done(noObjection)
          case "Reject":
          case "TempFail":
            // The MTA keeps the client from going on; this is for one that sends MAIL all the same.
            this.settle(decision, stage)
            return done({ refusal: decision, expired: false })
          default:
            return done(noObjection)
        }
      })
    })
  }

  /** No time was left to ask it. What it has settled for the whole session stands. */
  unasked(policy: Policy, stage: "connect" | "helo"): void {
    if (this.policy === undefined || this.policyFromHelo) this.settle(policy, stage)
  }

  /** Settles the answer for the messages that come, those after another HELO not if it was settled there. */
  private settle(policy: Policy, stage: "connect" | "helo"): void {
    this.policy = policy
    this.policyFromHelo = stage === "helo"
  }

  /** A failure at connect or helo is answered there only if the filter says so. */
  private refusal(failed: boolean): Reject | TempFail | undefined {
    const { policy } = this
    if (policy === undefined || policy === "pass") return undefined
    return failed && this.definition.refuseConnection ? policy : undefined
  }

  /** Whether the answer to all messages of the session is settled. */
  get isSettled(): boolean {
    return this.policy !== undefined
  }

  /** What has been settled for the message that begins. */
  takeFailure(): Failed | undefined {
    const failure = this.policy === undefined
      ? this.pending
      : new Failed(this.policy, this.stateFailure ?? Cause.empty)
    this.pending = undefined
    return failure
  }

  /** A failure that has no message, and no answer. */
  postpone(failure: Failed): void {
    this.pending ??= failure
  }

  exitOf(exit: Exit.Exit<void>): Exit.Exit<void, unknown> {
    const failure = this.stateFailure
    return failure === undefined || failure.reasons.length === 0 ? exit : Exit.failCause(failure)
  }
}
