/** Sends what a filter edited, and the verdict that follows. */
import * as Effect from "effect/Effect"
import * as Packet from "../../Packet.ts"
import type * as Verdict from "../../Verdict.ts"
import type { Writer } from "../../Wire.ts"
import type { Edits } from "../filter/editor.ts"
import { maxPayload } from "../wire/packetDefinition.ts"
import type { Host } from "./host.ts"

// More than this is not put together into one write.
const oneWrite = 262_144

/**
 * Sends edits and verdict: at once if that is little, else piece by piece as fast as the MTA takes them. The body comes
 * last and in one run, since Postfix fails the message when anything comes between two pieces.
 */
export const sendEdits = (
  edits: Edits,
  verdict: Verdict.OfMessage,
  writer: Writer,
  host: Pick<Host, "send" | "sendAndWait">
): Effect.Effect<void> | undefined => {
  const { body, packets } = edits
  for (const packet of packets) Packet.write(writer, packet)
  const last: Packet.FilterPacket = { _tag: verdict._tag === "AcceptMessage" ? "Accept" : "Continue" }
  if (body === undefined) {
    Packet.write(writer, last)
    host.send(writer.take())
    return undefined
  }
  const flush = Effect.suspend(() => host.sendAndWait(writer.take()))
  const piece = (bytes: Uint8Array): Effect.Effect<void> =>
    Effect.suspend(() => {
      Packet.write(writer, { _tag: "ReplaceBody", bytes })
      return body.length > oneWrite ? flush : Effect.void
    })
  return Effect.andThen(
    body.pieces(maxPayload, piece),
    Effect.suspend(() => {
      Packet.write(writer, last)
      return flush
    })
  )
}
