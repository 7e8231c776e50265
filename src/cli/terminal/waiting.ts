/** Names a filter that has not answered for a while, since a silent terminal looks like a program that hangs. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as MilterClient from "../../MilterClient.ts"

/** Milliseconds without an answer until the filter is named. */
const patience = 2000

type Observe = NonNullable<MilterClient.Options["observe"]>

/** Watches the packets of a conversation with the filter at `address` until the scope closes. */
export const watching = Effect.fnUntraced(function*(address: string, observe: Observe | undefined) {
  let since = performance.now()
  let awaited = "take the connection"
  let isNoted = false
  const look = Effect.sync(() => {
    if (isNoted || performance.now() - since < patience) return
    isNoted = true
    process.stderr.write(`effect-milter: waiting for ${address} to ${awaited}; --timeout limits the wait\n`)
  })
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("500 millis")))
  const watched: Observe = (from, packet) => {
    observe?.(from, packet)
    since = performance.now()
    isNoted = false
    awaited = from === "mta" ? `answer ${packet._tag}` : "go on with its answer"
  }
  return watched
})
