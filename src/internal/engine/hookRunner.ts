/** Runs what a filter's author wrote, and makes a policy of whatever goes wrong in it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Stage } from "../../Stage.ts"
import type * as Verdict from "../../Verdict.ts"
import { type At, Failed } from "../filter/definition.ts"
import type { FailurePolicy as Policy } from "../filter/filterTypes.ts"
import { handled } from "../filter/wrapping.ts"
import * as replies from "../protocol/verdictPacket.ts"
import type { Fork, Host } from "./host.ts"
import * as ownReplies from "./libraryReplies.ts"
import type { Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** What a hook came to; undefined for one that only watches, or where there is none. */
export type Decision = Verdict.Verdict | Failed | undefined

/** What hooks need of the conversation they belong to. */
export interface Owner {
  readonly host: Host
  readonly session: SmtpSession
  /** Whose hook runs. */
  running: Unit
  /** The MTA gave the message up while a hook ran; what waits for that hook is not called. */
  readonly aborted: () => void
}

export class Hooks {
  private readonly unit: Unit
  private readonly owner: Owner

  constructor(unit: Unit, owner: Owner) {
    this.unit = unit
    this.owner = owner
  }

  /** Runs the hook of a stage, if there is one. */
  run(stage: Stage, event: unknown, at: At, fork: Fork, done: (decision: Decision) => void): void {
    const { answers, observes } = this.unit.definition
    const answer = answers[stage]
    if (answer === undefined) {
      const observe = observes[stage]
      if (observe === undefined) return done(undefined)
      const watched = (result: unknown): void => done(result instanceof Failed ? result : undefined)
      return this.execute(stage, () => observe(event, at), fork, watched)
    }
    this.execute(stage, () => answer(event, at), fork, (result) => {
      if (result instanceof Failed || replies.isVerdict(result)) return done(result)
      const cause = Cause.die(new TypeError(`the hook gave no verdict but a value of type ${typeof result}`))
      done(this.defect(stage, cause))
    })
  }

  /** Runs an effect of the filter and hands on what it gave, or `Failed`. */
  execute(
    stage: Stage,
    make: () => Effect.Effect<unknown, unknown>,
    fork: Fork,
    done: (result: unknown) => void
  ): void {
    const { guard } = this.unit.definition
    let effect: Effect.Effect<unknown, unknown>
    try {
      effect = make()
    } catch (defect) {
      effect = Exit.die(defect)
    }
    if (guard !== undefined) effect = guard(effect)
    else if (Exit.isExit(effect) && Exit.isSuccess(effect)) return done(effect.value)
    this.owner.running = this.unit
    this.owner.host.start(stage, handled(this.unit.definition, stage, effect), fork, (exit, cut) => {
      if (cut === "aborted") return this.owner.aborted()
      if (cut === "expired") return done(this.expired(stage))
      done(Exit.isSuccess(exit) ? exit.value : this.defect(stage, exit.cause))
    })
  }

  private defect(stage: Stage, cause: Cause.Cause<unknown>): Failed {
    const { definition, monitor } = this.unit
    monitor.error("Defect")
    this.owner.session.log(Effect.logError(`${definition.name} failed at ${stage}`, cause))
    return new Failed(this.onDefect(), cause)
  }

  /** The time for the answer is over. Its scopes learn of an interruption, since that is what happens to the hook. */
  private expired(stage: Stage): Failed {
    const { definition, monitor } = this.unit
    monitor.error("CommandTimeout")
    this.owner.session.log(Effect.logWarning(`CommandTimeout: ${definition.name} did not answer ${stage} in time`))
    return new Failed(this.onDefect(), Cause.interrupt(), true)
  }

  private onDefect(): Policy {
    return this.unit.definition.onDefect ?? ownReplies.notNow(this.owner.session)
  }
}
