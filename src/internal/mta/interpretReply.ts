/** What the packets of a filter mean to an MTA. */
import * as Result from "effect/Result"
import { Action } from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import * as Reply from "../../Reply.ts"
import type * as Verdict from "../../Verdict.ts"
import { type AnsweredStage, isContent, stageTable } from "../protocol/stageTable.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type { Answer } from "./answerTypes.ts"
import type { ClientErrorReason } from "./clientError.ts"

/** An answer that refuses. */
export type RefusingAnswer = Extract<Answer, { readonly _tag: "Reject" | "TempFail" | "Reply" }>

export const isRefusal = (answer: Answer): answer is RefusingAnswer =>
  answer._tag === "Reject" || answer._tag === "TempFail" || answer._tag === "Reply"

type Meaning =
  | { readonly _tag: "Answer"; readonly answer: Answer }
  | { readonly _tag: "Modification"; readonly packet: ModificationPacket }
  | { readonly _tag: "Progress" }

/** Whether one of these verdicts is legal at the stage. */
const isLegal = (stage: AnsweredStage, ...verdicts: ReadonlyArray<Verdict.Verdict["_tag"]>): boolean =>
  stageTable[stage].verdicts.some((verdict) => verdicts.includes(verdict))

const answer = (answer: Answer): Result.Result<Meaning> => Result.succeed({ _tag: "Answer", answer })

const unexpected = (packet: Packet.FilterPacket, expected: string): Result.Result<never, ClientErrorReason> =>
  Result.fail({ _tag: "UnexpectedReply", packet, expected })

const progress: Result.Result<Meaning> = Result.succeed({ _tag: "Progress" })

const actionOf: { readonly [K in ModificationPacket["_tag"]]: keyof typeof Action } = {
  AddHeader: "addHeader",
  InsertHeader: "addHeader",
  ChangeHeader: "changeHeader",
  ReplaceBody: "replaceBody",
  AddRecipient: "addRecipient",
  AddRecipientWithParameters: "addRecipientWithParameters",
  DeleteRecipient: "deleteRecipient",
  ChangeSender: "changeSender",
  Quarantine: "quarantine"
}

/** Whether a packet edits the message. */
export const isModification = (packet: Packet.FilterPacket): packet is ModificationPacket =>
  Object.hasOwn(actionOf, packet._tag)

/** Says what a packet means in answer to a command. Refuses what would do harm in Postfix or in Sendmail. */
export const interpret = (
  packet: Packet.FilterPacket,
  stage: AnsweredStage,
  actions: number,
  progressEverywhere: boolean
): Result.Result<Meaning, ClientErrorReason> => {
  switch (packet._tag) {
    case "Continue":
    case "Reject":
    case "TempFail":
      return answer(packet)
    case "Accept":
      // Postfix's smtpd panics on it.
      return isLegal(stage, "AcceptConnection", "AcceptMessage")
        ? answer(packet)
        : unexpected(packet, "a verdict that is legal there")
    case "Discard":
      // There is nothing to discard; Sendmail would let the mail pass unfiltered.
      return isLegal(stage, "DiscardMessage") ? answer(packet) : unexpected(packet, "a verdict that is legal there")
    case "Skip":
      // Elsewhere Sendmail forgets the filter and Postfix takes it for continue.
      return isContent(stage) && stage !== "endOfMessage"
        ? answer(packet)
        : unexpected(packet, "a verdict that is legal there")
    case "ReplyCode":
      return Result.map(Reply.parse(packet.text), (reply): Meaning => ({
        _tag: "Answer",
        answer: { _tag: "Reply", ...reply }
      }))
    case "Progress":
      return progressEverywhere || stage === "endOfMessage" ? progress : unexpected(packet, "a verdict")
    case "AddHeader":
    case "InsertHeader":
    case "ChangeHeader":
    case "ReplaceBody":
    case "AddRecipient":
    case "AddRecipientWithParameters":
    case "DeleteRecipient":
    case "ChangeSender":
    case "Quarantine": {
      if (stage !== "endOfMessage") return unexpected(packet, "a verdict (modifications come at end of message only)")
      const action = actionOf[packet._tag]
      return (actions & Action[action]) === 0
        ? Result.fail({ _tag: "UnrequestedAction", packet, action })
        // Bodies are views of what the socket read.
        : Result.succeed({
          _tag: "Modification",
          packet: packet._tag === "ReplaceBody" ? { ...packet, bytes: packet.bytes.slice() } : packet
        })
    }
    case "Negotiated":
    case "ConnectionFail":
    case "Shutdown":
      return unexpected(packet, "a verdict")
  }
}
