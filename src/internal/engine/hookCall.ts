/** Calls a filter's own code, and reads the result: whatever goes wrong in it becomes a failure policy. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Verdict from "../../Verdict.ts"
import { type At, Failed, type Hook } from "../filter/definition.ts"
import type { FailurePolicy } from "../filter/filterTypes.ts"
import { handled } from "../filter/wrapping.ts"
import { errorOf } from "../observe/failures.ts"
import { type StageRow, stages } from "../protocol/stageTable.ts"
import * as replies from "../protocol/verdictPacket.ts"
import { isExit } from "./isExit.ts"
import * as libraryReplies from "./libraryReplies.ts"
import type { Call, Fork, Forking } from "./machine.ts"
import type { Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** The result of a hook; undefined if the hook only watches, or the filter has none. */
export type HookResult = Verdict.Verdict | Failed | undefined

/** A builder of state, with up to two arguments. */
type Builder = (first: never, second: never) => Effect.Effect<unknown, unknown>

/** What is called: a hook that answers, one that only watches, or a builder of state. */
type Kind = "answer" | "observer" | "connectionState" | "messageState"

/** One object for each connection, which has one call at a time: so a packet allocates nothing here. */
export class HookCall implements Call {
  readonly _tag = "Call"
  kind: Kind = "answer"
  stage: StageRow = stages.connect
  unit: Unit
  private forking: Forking
  private body!: Hook
  private first: unknown
  private second: unknown

  constructor(unit: Unit, forking: Forking) {
    this.unit = unit
    this.forking = forking
  }

  get fork(): Fork {
    return this.forking.fork
  }

  /** Prepares the hook of a stage; false if the filter has none. */
  prepareHook(unit: Unit, stage: StageRow, event: unknown, at: At, forking: Forking): boolean {
    const hook = unit.hooks[stage.number]
    if (hook === undefined) return false
    this.prepare(hook.isAnswer ? "answer" : "observer", unit, stage, forking)
    this.body = hook.body
    this.first = event
    this.second = at
    return true
  }

  /** Prepares a builder of state. */
  prepareState(
    kind: "connectionState" | "messageState",
    unit: Unit,
    build: Builder,
    first: unknown,
    second: unknown,
    forking: Forking
  ): void {
    this.prepare(kind, unit, kind === "connectionState" ? stages.connect : stages.mail, forking)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- called with what it takes
    this.body = build as Hook
    this.first = first
    this.second = second
  }

  private prepare(kind: Kind, unit: Unit, stage: StageRow, forking: Forking): void {
    this.kind = kind
    this.unit = unit
    this.stage = stage
    this.forking = forking
  }

  /** Builds the effect, with the filter's guard and failure handler around it. An exit that has succeeded stays one. */
  make(): Effect.Effect<unknown, unknown> {
    const { first, second } = this
    const { definition } = this.unit
    // A connection that waits for its next message must not keep the last one.
    this.first = this.second = undefined
    let effect: Effect.Effect<unknown, unknown> | null | undefined
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- given together with the body that takes it
      effect = this.body(first, second as At)
    } catch (defect) {
      effect = Exit.die(defect)
    }
    // Plain JavaScript may forget to return one.
    effect ??= Exit.die(new TypeError(`expected an Effect, the function returned ${String(effect)}`))
    if (definition.guard !== undefined) {
      const isHook = this.kind === "answer" || this.kind === "observer"
      effect = definition.guard(effect, isHook ? this.stage.name : undefined)
    } else if (definition.onFailure === undefined || (isExit(effect) && Exit.isSuccess(effect))) return effect
    return handled(definition, this.stage.name, effect)
  }

  /** Lets go of the message: a connection that waits for its next one must not keep the envelope of the last. */
  release(session: SmtpSession): void {
    this.forking = session
  }

  /** Reads the exit of the call: a {@link HookResult}, or the state that was built. */
  resultOf(exit: Exit.Exit<unknown, unknown>, session: SmtpSession): unknown {
    this.release(session)
    if (Exit.isFailure(exit)) return this.defect(exit.cause, session)
    const { value } = exit
    // The usual verdict needs no check.
    if (value === Verdict.continue && this.kind === "answer") return value
    if (value instanceof Failed) {
      this.note(errorOf(value.cause), session)
      return value
    }
    if (this.kind === "observer") return undefined
    if (this.kind !== "answer" || replies.isVerdict(value)) return value
    const cause = Cause.die(new TypeError(`the hook gave no verdict but a value of type ${typeof value}`))
    return this.defect(cause, session)
  }

  /** The time for the answer is over. Scopes close with an interruption, since the hook is interrupted. */
  expire(session: SmtpSession): Failed {
    this.release(session)
    const { definition, monitor } = this.unit
    monitor.error("CommandTimeout")
    session.log(Effect.logWarning(`CommandTimeout: ${definition.name} did not answer ${this.stage.name} in time`))
    this.note("CommandTimeout: no answer in time", session)
    return new Failed(this.onDefect(session), Cause.interrupt(), true)
  }

  private defect(cause: Cause.Cause<unknown>, session: SmtpSession): Failed {
    const { definition, monitor } = this.unit
    monitor.error("Defect")
    session.log(Effect.logError(`${definition.name} failed at ${this.stage.name}`, cause))
    this.note(errorOf(cause), session)
    return new Failed(this.onDefect(session), cause)
  }

  /** For the list of the last failures. */
  private note(error: string | undefined, session: SmtpSession): void {
    if (error !== undefined) this.unit.monitor.failed(error, this.stage.name, session.queueId())
  }

  private onDefect(session: SmtpSession): FailurePolicy {
    return this.unit.definition.onDefect ?? libraryReplies.notNow(session)
  }
}
