/** The wall clock, for effects that wait for other processes. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

const clock = Context.get(Context.empty(), Clock.Clock)

/** Runs an effect by the wall clock, even where a test has a clock of its own: other processes do not wait for that. */
export const realTime = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Clock.Clock, clock)
