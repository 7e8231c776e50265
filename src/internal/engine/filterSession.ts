/** One filter in one SMTP session: its state, and what it has settled for messages to come. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Session } from "../../Stage.ts"
import type { Reject, TempFail } from "../../Verdict.ts"
import { type At, type Definition, Failed } from "../filter/definition.ts"
import type { FailurePolicy } from "../filter/filterTypes.ts"
import { type StageRow, stages } from "../protocol/stageTable.ts"
import { consequenceOf } from "./decision.ts"
import type { HookCall, HookResult } from "./hookCall.ts"
import type { Fork, Forking } from "./machine.ts"
import type { Closing } from "./scopeCloser.ts"
import type { Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** The stages at which the answer to all messages may be settled. */
export type GreetingStage = StageRow<"connect" | "helo">

export const isGreeting = (stage: StageRow): stage is GreetingStage => stage === stages.connect || stage === stages.helo

export class FilterSession implements Forking {
  readonly unit: Unit
  readonly definition: Definition
  private readonly session: SmtpSession
  private _services: Context.Context<never> | undefined
  private _fork: Fork | undefined
  private scope: Scope.Closeable | undefined
  private _at: At
  private isStateBuilt: boolean
  private stateFailure: Cause.Cause<unknown> | undefined
  private _hasAccepted = false
  /** The answer at each MAIL of this SMTP session, once it is settled: at connect, at helo, or by a state that failed. */
  private policy: FailurePolicy | undefined
  private isPolicyFromHelo = false
  /** A failure that could not be answered, for the next message. */
  private pending: Failed | undefined

  /** `view` is what the filter sees of the SMTP session. */
  constructor(unit: Unit, session: SmtpSession, view: Session) {
    this.unit = unit
    this.definition = unit.definition
    this.session = session
    this._at = { session: view, connection: undefined }
    this.isStateBuilt = unit.definition.connection === undefined
  }

  /** The services of the hooks, without a Scope. */
  get services(): Context.Context<never> {
    return this._services ??= this.session.servicesOf(this.unit)
  }

  /** Made for the first effect; that of a message is in `FilterMessage`. */
  get fork(): Fork {
    if (this._fork === undefined) {
      this.scope = Scope.makeUnsafe()
      const context = Context.add(this.services, Scope.Scope, this.scope)
      this._fork = Effect.runForkWith(context)
    }
    return this._fork
  }

  get at(): At {
    return this._at
  }

  /** Whether the filter has accepted the whole SMTP session. */
  get hasAccepted(): boolean {
    return this._hasAccepted
  }

  // --- the state of the connection

  /**
   * Prepares the builder of the state, once: at connect, or at the first command of an MTA that sends none. False if the
   * state has been built.
   */
  prepareState(call: HookCall): boolean {
    const build = this.definition.connection
    if (this.isStateBuilt || build === undefined) return false
    call.prepareState("connectionState", this.unit, build, this._at.session, undefined, this)
    return true
  }

  /** Takes the result of the builder. Not called if an abort has cut it short: the next message needs the state. */
  endState(result: unknown): void {
    this.isStateBuilt = true
    if (result instanceof Failed) {
      this.stateFailure = result.cause
      this.policy = result.policy
    } else {
      this._at = { session: this._at.session, connection: result }
    }
  }

  // --- connect and helo

  /**
   * Whether a hook may run at connect or helo: once all messages of the session are settled no more hooks do, and the state
   * they need may not even exist.
   */
  isOpenAt(stage: GreetingStage): boolean {
    // A new HELO is a new chance.
    if (stage === stages.helo && this.isPolicyFromHelo) {
      this.policy = undefined
      this.isPolicyFromHelo = false
    }
    return this.policy === undefined
  }

  /** Takes the decision of the hook. Returns a refusal that is to be given at once. */
  decide(stage: GreetingStage, decision: HookResult): Reject | TempFail | undefined {
    if (decision === undefined) return undefined
    if (decision instanceof Failed) {
      this.settle(decision.policy, stage)
      return this.refusalAfterFailure
    }
    switch (consequenceOf(stage, decision)) {
      case "leaveSession":
        this._hasAccepted = true
        this.policy = "pass"
        return undefined
      case "refuseSession":
        // The MTA keeps the client from going on; this is for one that sends MAIL all the same.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table gives no other verdict this consequence
        this.settle(decision as Reject | TempFail, stage)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table gives no other verdict this consequence
        return decision as Reject | TempFail
      default:
        return undefined
    }
  }

  /** Settles the answer of a filter that there was no time to ask. What was settled for the whole session stays. */
  settleUnasked(policy: FailurePolicy, stage: GreetingStage): void {
    if (this.policy === undefined || this.isPolicyFromHelo) this.settle(policy, stage)
  }

  /** Settles the answer for the messages to come; one that was settled at HELO ends with the next HELO. */
  private settle(policy: FailurePolicy, stage: GreetingStage): void {
    this.policy = policy
    this.isPolicyFromHelo = stage === stages.helo
  }

  /** The refusal to give at connect or helo after the state has failed, if the filter refuses there. */
  get refusalAfterState(): Reject | TempFail | undefined {
    return this.stateFailure === undefined ? undefined : this.refusalAfterFailure
  }

  /** A failure at connect or helo is answered there only if the filter says so. */
  private get refusalAfterFailure(): Reject | TempFail | undefined {
    const { policy } = this
    return policy === undefined || policy === "pass" || !this.definition.refuseConnection ? undefined : policy
  }

  // --- for its messages

  /** Whether the answer to all messages of the session is settled. */
  get isSettled(): boolean {
    return this.policy !== undefined
  }

  /** Takes what has been settled for the message that begins. */
  takeFailure(): Failed | undefined {
    const failure = this.policy === undefined
      ? this.pending
      : new Failed(this.policy, this.stateFailure ?? Cause.empty)
    this.pending = undefined
    return failure
  }

  /** Keeps a failure that came outside a message and could not be answered. */
  postpone(failure: Failed): void {
    this.pending ??= failure
  }

  // --- the end

  /** How the SMTP session ended for this filter: with the failure of its state, if that failed. */
  exitOf(exit: Exit.Exit<void>): Exit.Exit<void, unknown> {
    const failure = this.stateFailure
    return failure === undefined || failure.reasons.length === 0 ? exit : Exit.failCause(failure)
  }

  /** The scope to close; undefined if no effect has run. */
  closing(exit: Exit.Exit<void>): Closing | undefined {
    const { scope } = this
    return scope === undefined ? undefined : { scope, exit: this.exitOf(exit), filter: this.definition.name }
  }
}
