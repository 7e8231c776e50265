/** Verdicts as bytes, and which commands get one. */
import { Step } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import type * as Verdict from "../../Verdict.ts"

export type AnsweredStage = keyof Verdict.ByStage

/** The step with which a filter gives up its answer at a stage. End of message is always answered. */
export const noReply: { readonly [K in AnsweredStage]: number } = {
  connect: Step.noReplyConnect,
  helo: Step.noReplyHelo,
  mail: Step.noReplyMail,
  rcpt: Step.noReplyRcpt,
  data: Step.noReplyData,
  header: Step.noReplyHeader,
  endOfHeaders: Step.noReplyEndOfHeaders,
  body: Step.noReplyBody,
  endOfMessage: 0,
  unknown: Step.noReplyUnknown
}

const stages: { readonly [K in Packet.MtaPacket["_tag"]]?: AnsweredStage } = {
  Connect: "connect",
  Helo: "helo",
  Mail: "mail",
  Rcpt: "rcpt",
  Data: "data",
  Header: "header",
  EndOfHeaders: "endOfHeaders",
  Body: "body",
  EndOfMessage: "endOfMessage",
  Unknown: "unknown"
}

/** The stage of a command that expects a verdict. */
export const stageOf = (command: Packet.MtaPacket["_tag"]): AnsweredStage | undefined => stages[command]

const single = (code: string): Uint8Array => Uint8Array.of(0, 0, 0, 1, code.charCodeAt(0))

const plain = {
  Continue: single("c"),
  AcceptConnection: single("a"),
  AcceptMessage: single("a"),
  Reject: single("r"),
  TempFail: single("t"),
  DiscardMessage: single("d"),
  SkipBody: single("s")
}

/** A sign of life while end of message is awaited. */
export const progress = single("p")

/** A temporary refusal in the MTA's words. */
export const tempFail = plain.TempFail

/** Whether a hook really gave a verdict, which plain JavaScript does not guarantee. */
export const isVerdict = (u: unknown): u is Verdict.Verdict =>
  typeof u === "object" && u !== null && "_tag" in u && typeof u._tag === "string" && Object.hasOwn(plain, u._tag)

/** The packet of a verdict. */
export const encode = (verdict: Verdict.Verdict): Uint8Array =>
  (verdict._tag === "Reject" || verdict._tag === "TempFail") && verdict.wire !== undefined
    ? Packet.encode({ _tag: "ReplyCode", text: verdict.wire })
    : plain[verdict._tag]
