/** Cuts the stream of a body into pieces that fill packets. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { concat } from "../bytes/concat.ts"
import { maxPayload } from "../wire/maxPayload.ts"
import type { Answer } from "./answerTypes.ts"

/**
 * Sends a body until the filter gives a verdict or skips the rest; the stream is not pulled any further then. Gives the last
 * answer, or the one that stopped the body.
 */
export const inPackets = <E, R, E2>(
  body: Stream.Stream<Uint8Array, E, R>,
  send: (bytes: Uint8Array) => Effect.Effect<Answer, E2>
): Effect.Effect<Answer, E | E2, R> =>
  Effect.suspend(() => {
    let held: Array<Uint8Array> = []
    let size = 0
    let last: Answer | undefined
    const flush = (length: number): Effect.Effect<void, E2> => {
      const bytes = concat(held)
      held = [bytes.subarray(length)]
      size -= length
      return Effect.map(send(bytes.subarray(0, length)), (answer) => {
        // The answer that stopped the body says more than the NotSent of what follows.
        if (last === undefined || (length > 0 && answer._tag !== "NotSent")) last = answer
      })
    }
    return body.pipe(
      Stream.takeUntil(() => last !== undefined && last._tag !== "Continue" && last._tag !== "NotAnswered"),
      Stream.runForEach((chunk) => {
        held.push(chunk)
        size += chunk.length
        return size < maxPayload ? Effect.void : flush(size - size % maxPayload)
      }),
      Effect.andThen(Effect.suspend(() => flush(size))),
      Effect.map(() => last!) // set by the last flush at the latest
    )
  })
