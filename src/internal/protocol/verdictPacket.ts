/** Verdicts as bytes. */
import * as Result from "effect/Result"
import * as Packet from "../../Packet.ts"
import * as Reply from "../../Reply.ts"
import type * as Verdict from "../../Verdict.ts"
import { ofParts } from "../bytes/byteString.ts"

const plain = {
  Continue: Packet.encode({ _tag: "Continue" }),
  AcceptConnection: Packet.encode({ _tag: "Accept" }),
  AcceptMessage: Packet.encode({ _tag: "Accept" }),
  Reject: Packet.encode({ _tag: "Reject" }),
  TempFail: Packet.encode({ _tag: "TempFail" }),
  DiscardMessage: Packet.encode({ _tag: "Discard" }),
  SkipBody: Packet.encode({ _tag: "Skip" })
}

/** A sign of life while end of message is awaited. */
export const progress = Packet.encode({ _tag: "Progress" })

/** A temporary refusal in the MTA's words. */
export const tempFail = plain.TempFail

/**
 * Whether a text is an SMTP reply of this class. Another one would make an acceptance of a refusal, or write lines of its own
 * into the SMTP session.
 */
const isReply = (wire: unknown, replyClass: "4" | "5"): boolean =>
  typeof wire === "string" && wire.startsWith(replyClass) && !/[^\t\r\n -~]/.test(wire) &&
  Result.isSuccess(Reply.parse(ofParts(wire)))

/** Whether a hook really gave a verdict, which plain JavaScript does not guarantee. */
export const isVerdict = (u: unknown): u is Verdict.Verdict => {
  if (typeof u !== "object" || u === null || !("_tag" in u) || typeof u._tag !== "string") return false
  if (!Object.hasOwn(plain, u._tag)) return false
  const wire = "wire" in u ? u.wire : undefined
  return wire === undefined || u._tag !== "Reject" && u._tag !== "TempFail" ||
    isReply(wire, u._tag === "Reject" ? "5" : "4")
}

/** The packet of a verdict. A policy made by hand may have a text that is no reply: the MTA words the refusal then. */
export const encode = (verdict: Verdict.Verdict): Uint8Array =>
  (verdict._tag === "Reject" || verdict._tag === "TempFail") && verdict.wire !== undefined && isVerdict(verdict)
    ? Packet.encode({ _tag: "ReplyCode", text: verdict.wire })
    : plain[verdict._tag]
