/** Commands that run until they are told to stop, for which a signal is no failure. */
import * as Effect from "effect/Effect"

let started = false

/** From here on SIGINT and SIGTERM end the program with exit code 0. */
export const markEndless: Effect.Effect<void> = Effect.sync(() => {
  started = true
})

export const isEndless = (): boolean => started
