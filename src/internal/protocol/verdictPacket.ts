/** Encodes verdicts as packets. */
import * as Result from "effect/Result"
import * as Packet from "../../Packet.ts"
import * as Reply from "../../Reply.ts"
import * as Verdict from "../../Verdict.ts"
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

const goOn = plain.Continue

/** A sign of life while the MTA waits for the answer to end of message. */
export const progress = Packet.encode({ _tag: "Progress" })

/** A temporary refusal with the MTA's own text. */
export const tempFail = plain.TempFail

/**
 * Whether a text is an SMTP reply of this class. A reply of another class could turn a refusal into an acceptance, and other text
 * could add lines to the SMTP session.
 */
const isReply = (wire: unknown, replyClass: "4" | "5"): boolean =>
  typeof wire === "string" && wire.startsWith(replyClass) && !/[^\t\r\n -~]/.test(wire) &&
  Result.isSuccess(Reply.parse(ofParts(wire)))

/** Whether a value is a verdict, which plain JavaScript does not guarantee for the result of a hook. */
export const isVerdict = (u: unknown): u is Verdict.Verdict => {
  if (typeof u !== "object" || u === null || !("_tag" in u) || typeof u._tag !== "string") return false
  if (!Object.hasOwn(plain, u._tag)) return false
  const wire = "wire" in u ? u.wire : undefined
  return wire === undefined || u._tag !== "Reject" && u._tag !== "TempFail" ||
    isReply(wire, u._tag === "Reject" ? "5" : "4")
}

/** The packet of a verdict. If its text is not a valid reply, as in a verdict made by hand, the MTA words the refusal. */
export const encode = (verdict: Verdict.Verdict): Uint8Array =>
  verdict === Verdict.continue
    ? goOn
    : (verdict._tag === "Reject" || verdict._tag === "TempFail") && verdict.wire !== undefined && isVerdict(verdict)
    ? Packet.encode({ _tag: "ReplyCode", text: verdict.wire })
    : plain[verdict._tag]
