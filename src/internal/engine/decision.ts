/** What a verdict does at each stage: the table of the engine's decisions. */
import * as Verdict from "../../Verdict.ts"
import type { FailurePolicy } from "../filter/filterTypes.ts"
import { type AnsweredStage, byStage, type StageRow } from "../protocol/stageTable.ts"

/**
 * - `goOn`: the next filter is asked.
 * - `skipBody`: this filter gets no more of the body.
 * - `leaveMessage`: this filter gets nothing more of the message.
 * - `leaveSession`: this filter gets nothing more of the SMTP session.
 * - `refuseSession`: the answer here, and at each MAIL of the session.
 * - `refuseCommand`: the answer here, and no more than that.
 * - `refuseRecipient`: the answer here; the message goes on without the recipient.
 * - `refuseData`: the answer here, and to what follows, unless the client tries DATA again.
 * - `endMessage`: the verdict on the message.
 */
export type Consequence =
  | "goOn"
  | "skipBody"
  | "leaveMessage"
  | "leaveSession"
  | "refuseSession"
  | "refuseCommand"
  | "refuseRecipient"
  | "refuseData"
  | "endMessage"

type Row = { readonly [K in Verdict.Verdict["_tag"]]: Consequence }

// Plain JavaScript can return verdicts that the types refuse. They have no effect, since the MTA must not get them: accept
// and discard crash Postfix's smtpd at an unknown command, and after a skip elsewhere than at body Sendmail leaves the
// filter out of the whole SMTP session.

const ofConnection: Row = {
  Continue: "goOn",
  Reject: "refuseSession",
  TempFail: "refuseSession",
  AcceptConnection: "leaveSession",
  AcceptMessage: "goOn",
  DiscardMessage: "goOn",
  SkipBody: "goOn"
}

const ofMessage: Row = {
  Continue: "goOn",
  Reject: "endMessage",
  TempFail: "endMessage",
  AcceptConnection: "leaveMessage",
  AcceptMessage: "leaveMessage",
  DiscardMessage: "endMessage",
  SkipBody: "goOn"
}

const consequences: { readonly [K in AnsweredStage]: Row } = {
  connect: ofConnection,
  helo: ofConnection,
  mail: ofMessage,
  rcpt: { ...ofMessage, Reject: "refuseRecipient", TempFail: "refuseRecipient" },
  data: { ...ofMessage, Reject: "refuseData", TempFail: "refuseData" },
  header: ofMessage,
  endOfHeaders: ofMessage,
  body: { ...ofMessage, SkipBody: "skipBody" },
  endOfMessage: ofMessage,
  unknown: {
    Continue: "goOn",
    Reject: "refuseCommand",
    TempFail: "refuseCommand",
    AcceptConnection: "goOn",
    AcceptMessage: "goOn",
    DiscardMessage: "goOn",
    SkipBody: "goOn"
  }
}

const consequencesAt: ReadonlyArray<Row | undefined> = byStage((stage) =>
  stage === "rejectedRecipient" ? undefined : consequences[stage]
)

/** What a verdict does at a stage. */
export const consequenceOf = (stage: StageRow<AnsweredStage>, verdict: Verdict.Verdict): Consequence =>
  consequencesAt[stage.number]![verdict._tag]

/**
 * What a failed hook of a message leads to.
 *
 * - `decide`: its policy is the verdict here.
 * - `postpone`: nothing can be answered here, so its policy is the filter's verdict at the next stage that is answered.
 * - `postponeForAll`: the same, but the time is over, so the later filters were not asked and the message may not pass.
 */
export type FailureConsequence = "decide" | "postpone" | "postponeForAll"

/** `leavesNoTime`: the hook's time was over, and there are other filters that may not have been asked. */
export const failureConsequence = (isAnswered: boolean, leavesNoTime: boolean): FailureConsequence =>
  isAnswered ? "decide" : leavesNoTime ? "postponeForAll" : "postpone"

/** The verdict of a policy on a message. */
export const verdictOf = (policy: FailurePolicy): Verdict.Reject | Verdict.TempFail | Verdict.AcceptMessage =>
  policy === "pass" ? Verdict.acceptMessage : policy
