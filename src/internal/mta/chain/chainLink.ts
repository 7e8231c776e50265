/** The filters that a chain is made of, and the ways in which its messages end. */
import type { AnsweredStage } from "../../protocol/stageTable.ts"
import type { Answer } from "../answerTypes.ts"
import type { Decision, Refused } from "../chainTypes.ts"
import type { Client } from "../client.ts"
import type { ClientError } from "../clientError.ts"
import type * as MilterClient from "../clientTypes.ts"
import type { DefaultAction } from "../clientValues.ts"

/** A filter of the chain. */
export interface Link {
  readonly address: string
  /** Undefined if the connection or the negotiation failed. */
  readonly client: Client | undefined
  /** What becomes of mail if the filter fails; undefined passes the failure on to the caller. */
  readonly policy: DefaultAction | undefined
  failure: ClientError | undefined
}

/** The decision about a command, and the answer that it rests on. */
export interface Asked {
  readonly decision: Decision
  readonly answer: Answer
}

export const goOn: Decision = { _tag: "Continue" }

export const decisionOf = ({ decision }: Asked): Decision => decision

export const notAsked: Asked = { decision: goOn, answer: { _tag: "NotSent", because: "decided" } }

/** How a message has ended. */
export type Ended = Pick<MilterClient.Outcome, "_tag" | "stage" | "reply" | "filter" | "closes">

export const refusedAt = (
  stage: AnsweredStage,
  { closes, filter, reply }: Omit<Refused, "_tag" | "failure">
): Ended => ({
  _tag: reply.code.startsWith("5") ? "Rejected" : "TempFailed",
  stage,
  reply,
  filter,
  closes
})

export const discardedAt = ({ filter, stage }: { readonly stage: AnsweredStage; readonly filter: string }): Ended => ({
  _tag: "Discarded",
  stage,
  reply: undefined,
  filter,
  closes: false
})

export const nobodyLeft: Ended = { _tag: "Rejected", stage: "rcpt", reply: undefined, filter: undefined, closes: false }
