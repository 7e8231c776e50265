/** The verdict on a message, the filter that gave it, and what the log and the finalizers learn of the message's end. */
import * as Exit from "effect/Exit"
import type { Outcome, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import type { Failed } from "../filter/definition.ts"
import type { MessageReport } from "../observe/monitor.ts"
import type { FilterMessage } from "./filterMessage.ts"
import { exitOf, outcomeOf } from "./outcome.ts"

export type RefusingVerdict = Verdict.Reject | Verdict.TempFail

/** The filter that has decided; undefined for the library itself. */
export type By = FilterMessage | undefined

interface Decided<V> {
  readonly verdict: V
  readonly by: By
}

export class MessageVerdict {
  private _settled: Verdict.OfMessage | undefined
  /** The verdict that is on its way out, and the one that the message ends with. */
  private concluded: Decided<Verdict.OfMessage> | undefined
  private final: Decided<Verdict.OfMessage> | undefined
  private refused: Decided<RefusingVerdict> | undefined
  private _pending: Failed | undefined
  /** The stage of the latest verdict, and that verdict unless it was continue. */
  private stage: Stage = "mail"
  private verdict: Verdict.Verdict["_tag"] | undefined
  private _queueId: string | undefined

  /** The verdict, if the message was settled before its end. An MTA that goes on all the same gets it again. */
  get settled(): Verdict.OfMessage | undefined {
    return this._settled
  }

  /** The refusal of DATA, with which the message ends unless the client tries DATA again. */
  get refusal(): RefusingVerdict | undefined {
    return this.refused?.verdict
  }

  /** A failure of the message as a whole, kept for the next stage with an answer. */
  get pending(): Failed | undefined {
    return this._pending
  }

  /** Notes a failure of the message as a whole; the first one counts. */
  postpone(failure: Failed | undefined): void {
    this._pending ??= failure
  }

  /** Whether nothing can change the outcome any more, except another DATA. */
  get isSettled(): boolean {
    return (this._settled ?? this.refused ?? this._pending) !== undefined
  }

  refuseData(verdict: RefusingVerdict, by: FilterMessage): void {
    this.refused = { verdict, by }
    this.stage = "data"
    this.verdict = verdict._tag
  }

  /** The client tries DATA again: the answer to the last DATA counts. */
  retryData(): void {
    this.refused?.by?.blame(undefined)
    this.refused = undefined
  }

  /** Content has come, so there will be no other DATA: the refusal was final. */
  settleRefusal(): void {
    this._settled = this.refused?.verdict
  }

  /** The verdict on the message is on its way out. */
  conclude(stage: Stage, verdict: Verdict.OfMessage, by: By, queueId: string | undefined): void {
    this.stage = stage
    this.verdict = verdict._tag
    this._queueId = queueId
    this.concluded = { verdict, by }
  }

  /** The verdict has been sent. */
  settle(): void {
    this.final = this.concluded
    this._settled = this.final?.verdict
  }

  /** The MTA gave up the message while a call ran: this answers the command of the call, and any that follow. */
  giveUp(): Verdict.TempFail {
    return this._settled = Verdict.tempFail()
  }

  /** The exit that finalizers get; undefined if the message was given up. `library` is named if no filter has decided. */
  exitFor(library: string): Exit.Exit<Outcome, unknown> | undefined {
    const final = this.final ?? this.refused
    return final === undefined
      ? undefined
      : Exit.succeed(outcomeOf(final.verdict, final.by?.filter.definition.name ?? library))
  }

  /** The queue id at the verdict, if the MTA had told it. */
  get queueId(): string | undefined {
    return this._queueId
  }

  /** The report for the log and the metrics. `known` is what it knows besides, and where a message is that was given up. */
  report(
    parts: ReadonlyArray<FilterMessage>,
    isSequence: boolean,
    exit: Exit.Exit<Outcome, unknown> | undefined,
    known: Omit<MessageReport, "exit" | "aborted" | "verdict" | "final" | "by">
  ): MessageReport {
    const decided = this.final ?? this.refused
    const by = decided?.by
    const failure = by === undefined ? parts.find(({ failure }) => failure !== undefined)?.failure : by.failure
    return {
      exit: exit === undefined ? Exit.interrupt() : exitOf(failure, exit),
      aborted: exit === undefined,
      stage: exit === undefined ? known.stage : this.stage,
      verdict: this.verdict,
      final: decided?.verdict,
      by: isSequence ? by?.filter.definition.name : undefined,
      recipients: known.recipients,
      refused: known.refused,
      modifications: exit === undefined ? undefined : known.modifications,
      queueId: known.queueId,
      milliseconds: known.milliseconds
    }
  }
}
