/** What a transaction needs of the conversation that it belongs to. */
import type * as Verdict from "../../Verdict.ts"
import type { Edits } from "../filter/editor.ts"
import type { AnsweredStage, StageRow } from "../protocol/stageTable.ts"
import type { Plan } from "./contentPasses.ts"
import type { FilterSession } from "./filterSession.ts"
import type { HookCall } from "./hookCall.ts"
import type { Action } from "./machine.ts"
import type { Program, Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

/**
 * What follows a reply.
 *
 * - `wait`: the next command.
 * - `settle`: the message has this verdict; its scopes close.
 * - `close`: its scopes close.
 * - `endMessage`: the message is over, whatever was settled before.
 */
export type AfterReply = "wait" | "settle" | "close" | "endMessage"

export interface TransactionOwner {
  readonly program: Program
  readonly session: SmtpSession
  readonly filters: ReadonlyArray<FilterSession>
  readonly plan: Plan
  readonly offeredActions: number
  /** The stage of the command that is being answered. */
  readonly stage: StageRow<AnsweredStage>
  readonly mta: "postfix" | "sendmail"
  readonly now: number
  /** The one call of the connection, which the transaction prepares. */
  readonly call: HookCall
  readonly hasStep: (bit: number) => boolean
  readonly answers: (stage: StageRow<AnsweredStage>) => boolean
  readonly reply: (
    stage: StageRow<AnsweredStage>,
    verdict: Verdict.Verdict,
    by: Unit | undefined,
    after?: AfterReply
  ) => Action
  readonly replyWithEdits: (edits: Edits, verdict: Verdict.OfMessage) => Action
}
