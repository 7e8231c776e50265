/** Verdicts as bytes. */
import * as Packet from "../../Packet.ts"
import type * as Verdict from "../../Verdict.ts"

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

/** Whether a hook really gave a verdict, which plain JavaScript does not guarantee. */
export const isVerdict = (u: unknown): u is Verdict.Verdict =>
  typeof u === "object" && u !== null && "_tag" in u && typeof u._tag === "string" && Object.hasOwn(plain, u._tag)

/** The packet of a verdict. */
export const encode = (verdict: Verdict.Verdict): Uint8Array =>
  (verdict._tag === "Reject" || verdict._tag === "TempFail") && verdict.wire !== undefined
    ? Packet.encode({ _tag: "ReplyCode", text: verdict.wire })
    : plain[verdict._tag]
