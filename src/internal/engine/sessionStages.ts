/**
 * What the filters are asked outside messages: connect, helo and unknown. One filter is asked at a time; after a refusal
 * no other is asked.
 */
import * as Verdict from "../../Verdict.ts"
import { Failed } from "../filter/definition.ts"
import { type AnsweredStage, type StageRow, stages } from "../protocol/stageTable.ts"
import { consequenceOf } from "./decision.ts"
import { type FilterSession, isGreeting } from "./filterSession.ts"
import type { HookCall, HookResult } from "./hookCall.ts"
import * as libraryReplies from "./libraryReplies.ts"
import type { Action } from "./machine.ts"
import type { Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** What these stages need of the conversation that they belong to. */
export interface StagesOwner {
  readonly session: SmtpSession
  readonly filters: ReadonlyArray<FilterSession>
  /** The one call of the connection, which the stages prepare. */
  readonly call: HookCall
  /** The stage of the command that is being answered. */
  readonly stage: StageRow<AnsweredStage>
  readonly answers: (stage: StageRow<AnsweredStage>) => boolean
  readonly reply: (stage: StageRow<AnsweredStage>, verdict: Verdict.Verdict, by: Unit | undefined) => Action
  /** Keeps a failure for the message that is open, or for the next one. */
  readonly postpone: (filter: FilterSession, failure: Failed) => void
}

export class SessionStages {
  private readonly owner: StagesOwner
  // The cursor: the event of the hooks, and the index of the filter that is asked.
  private event: unknown
  private index = 0
  private hadAllAccepted = false

  constructor(owner: StagesOwner) {
    this.owner = owner
  }

  /** Connect, helo or unknown has come. */
  begin(event: unknown): Action {
    this.event = event
    this.index = 0
    this.hadAllAccepted = this.haveAllAccepted
    return this.askFilters()
  }

  /** Asks the filters from the cursor on. */
  private askFilters(): Action {
    const { call, filters, stage } = this.owner
    for (; this.index < filters.length; this.index++) {
      const filter = filters[this.index]!
      if (filter.prepareState(call)) return call
      if (isGreeting(stage)) {
        if (!filter.isOpenAt(stage)) {
          const refusal = filter.refusalAfterState
          if (refusal !== undefined) return this.owner.reply(stage, refusal, filter.unit)
          continue
        }
      } else if (filter.isSettled) continue
      if (call.prepareHook(filter.unit, stage, this.event, filter.at, filter)) return call
    }
    if (stage === stages.unknown) return this.owner.reply(stage, Verdict.continue, undefined)
    const accept = !this.hadAllAccepted && this.haveAllAccepted
    const by = filters.length === 1 ? filters[0]!.unit : undefined
    return this.owner.reply(stage, accept ? Verdict.acceptConnection : Verdict.continue, by)
  }

  private get haveAllAccepted(): boolean {
    return this.owner.filters.every(({ hasAccepted }) => hasAccepted)
  }

  /** Takes the result of the prepared call. */
  decided(result: unknown): Action {
    const { call, filters, stage } = this.owner
    const filter = filters[this.index]!
    const isState = call.kind === "connectionState"
    const isExpired = result instanceof Failed && result.expired
    if (isState) {
      filter.endState(result)
      if (!isExpired) return this.askFilters()
    }
    const refusal = !isGreeting(stage)
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the result of a call that ran a hook
      ? this.unknownRefusal(filter, isState ? undefined : result as HookResult)
      : isState
      ? filter.refusalAfterState
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the result of a call that ran a hook
      : filter.decide(stage, result as HookResult)
    // No time is left for the other filters, each of which might refuse this client.
    if (isExpired && (isGreeting(stage))) {
      for (const other of filters.slice(this.index + 1)) {
        other.settleUnasked(libraryReplies.notNow(this.owner.session), stage)
      }
    }
    if (refusal !== undefined) return this.owner.reply(stage, refusal, filter.unit)
    // The hook may still be running.
    if (isExpired) return this.owner.reply(stage, Verdict.continue, undefined)
    this.index++
    return this.askFilters()
  }

  private unknownRefusal(filter: FilterSession, decision: HookResult): Verdict.Verdict | undefined {
    const failure = decision instanceof Failed ? decision : undefined
    if (failure !== undefined && !this.owner.answers(stages.unknown)) this.owner.postpone(filter, failure)
    const verdict = decision instanceof Failed ? decision.policy : decision
    return typeof verdict === "object" && consequenceOf(stages.unknown, verdict) === "refuseCommand"
      ? verdict
      : undefined
  }
}
