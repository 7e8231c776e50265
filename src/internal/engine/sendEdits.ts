/** Sends the answer to end of message with the edits of the filters. */
import * as Effect from "effect/Effect"
import * as Packet from "../../Packet.ts"
import type * as Verdict from "../../Verdict.ts"
import type { Writer } from "../../Wire.ts"
import type { Edits } from "../filter/editor.ts"
import * as replies from "../protocol/verdictPacket.ts"
import type { Output } from "./machine.ts"

// A longer body goes out in several writes.
const oneWrite = 262_144

/**
 * Writes edits and verdict: as bytes if there is no body, else as an effect that sends a long body piece by piece, as fast
 * as the MTA takes it. The body comes last and in one run, since Postfix fails the message when anything comes between two
 * pieces. A piece has at most `largest` bytes.
 */
export const answerWithEdits = (
  edits: Edits,
  verdict: Verdict.OfMessage,
  writer: Writer,
  output: Output,
  largest: number
): Uint8Array | Effect.Effect<void> => {
  const { body, packets } = edits
  for (const packet of packets) Packet.write(writer, packet)
  const last = replies.encode(verdict)
  if (body === undefined) {
    writer.raw(last)
    return writer.take()
  }
  const flush = Effect.suspend(() => output.sendAndWait(writer.take()))
  const piece = (bytes: Uint8Array): Effect.Effect<void> =>
    Effect.suspend(() => {
      Packet.write(writer, { _tag: "ReplaceBody", bytes })
      return body.length > oneWrite ? flush : Effect.void
    })
  return Effect.andThen(
    body.pieces(largest, piece),
    Effect.suspend(() => {
      writer.raw(last)
      return flush
    })
  )
}
