/** One filter's part in one message. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Envelope, Mail, Outcome } from "../../Stage.ts"
import type { At, Failed } from "../filter/definition.ts"
import type { Edits } from "../filter/editor.ts"
import type { MessageMonitor } from "../observe/monitor.ts"
import { type StageRow, stages } from "../protocol/stageTable.ts"
import type { FilterSession } from "./filterSession.ts"
import type { HookCall } from "./hookCall.ts"
import type { Fork, Forking } from "./machine.ts"
import { exitOf } from "./outcome.ts"
import type { Closing } from "./scopeCloser.ts"

/** What hooks of a message get in addition to their event. */
type AtMessage = Required<Omit<At, "edit">>

export class FilterMessage implements Forking {
  readonly filter: FilterSession
  private readonly monitor: MessageMonitor
  private _fork: Fork | undefined
  /** The pass in which the filter sees the content; see `Plan`. */
  readonly pass: number
  private at: AtMessage
  private scope: Scope.Closeable | undefined
  private _pending: Failed | undefined
  private _hasLeft = false
  private _hasSkipped = false
  private _failure: Failed | undefined
  private _edits: Edits | undefined

  constructor(filter: FilterSession, pass: number, envelope: Envelope, monitor: MessageMonitor) {
    this.filter = filter
    this.pass = pass
    this.monitor = monitor
    const { connection, session } = filter.at
    this.at = { session, connection, message: undefined, envelope }
  }

  /** Made for the first effect: many filters of a sequence only give verdicts. */
  get fork(): Fork {
    if (this._fork === undefined) {
      this.scope = Scope.makeUnsafe()
      const context = Context.add(this.filter.services, Scope.Scope, this.scope)
      this._fork = Effect.runForkWith(this.monitor.inside(context as Context.Context<never>)) // for hooks, not for their types
    }
    return this._fork
  }

  // --- calls

  /** Prepares the builder of the message state; false if the filter has none. */
  prepareState(call: HookCall, mail: Mail): boolean {
    const { filter } = this
    const build = filter.definition.message
    if (build === undefined) return false
    call.prepareState("messageState", filter.unit, build, mail, filter.at, this)
    return true
  }

  endState(state: unknown): void {
    const { connection, envelope, session } = this.at
    this.at = { session, connection, message: state, envelope }
  }

  /** Prepares the hook of a stage; false if the filter has none. */
  prepareHook(call: HookCall, stage: StageRow, event: unknown): boolean {
    return call.prepareHook(this.filter.unit, stage, event, this.at, this)
  }

  /** The same with an editor, at end of message. */
  prepareEditingHook(call: HookCall, stage: StageRow, event: unknown, edit: unknown): boolean {
    const { connection, envelope, message, session } = this.at
    return call.prepareHook(this.filter.unit, stage, event, { session, connection, message, envelope, edit }, this)
  }

  // --- what it has decided

  /** A failure at a stage without an answer, kept for the next stage that has one. */
  get pending(): Failed | undefined {
    return this._pending
  }

  postpone(failure: Failed): void {
    this._pending ??= failure
  }

  /** Whether the filter has accepted the message, or is passed over after a failure. */
  get hasLeft(): boolean {
    return this._hasLeft
  }

  leave(failure: Failed | undefined): void {
    this._hasLeft = true
    this._failure = failure
  }

  /** Whether the filter wants no more of the body. */
  get hasSkipped(): boolean {
    return this._hasSkipped
  }

  skipBody(): void {
    this._hasSkipped = true
  }

  get isDoneWithBody(): boolean {
    return this._hasLeft || this._hasSkipped || this.filter.unit.hooks[stages.body.number] === undefined
  }

  /** The failure for which the filter was passed over, or from which its verdict came. */
  get failure(): Failed | undefined {
    return this._failure
  }

  /** Sets the failure that the filter's verdict came from, if it came from one. */
  blame(failure: Failed | undefined): void {
    this._failure = failure
  }

  get edits(): Edits | undefined {
    return this._edits
  }

  edit(edits: Edits): void {
    this._edits = edits
  }

  // --- the end

  /**
   * The scope to close, with the exit that finalizers get; `exit` is undefined if the message was given up. No scope if no effect
   * has run.
   */
  closing(exit: Exit.Exit<Outcome, unknown> | undefined): Closing | undefined {
    return this.scope === undefined ? undefined : {
      scope: this.scope,
      exit: exit === undefined ? Exit.interrupt() : exitOf(this._failure, exit),
      filter: this.filter.definition.name
    }
  }
}
