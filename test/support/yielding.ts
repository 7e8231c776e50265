/**
 * Tests whose fibers yield after a random number of operations, 3 to 64: whatever waits must hear of what happened while
 * it yielded. A failure prints seed and budget; EFFECT_MILTER_SEED repeats them.
 */
import { it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { MaxOpsBeforeYield } from "effect/References"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Random from "./random.ts"

export const seed: number = Number(process.env["EFFECT_MILTER_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

// Effect 4.1 makes no progress with a budget of 1 or 2.
const random = Random.make(seed)

/** Runs the effect with the next random budget, for all fibers that it starts. */
export const withRandomBudget = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const budget = random.between(3, 64)
    return effect.pipe(
      Effect.provideService(MaxOpsBeforeYield, budget),
      Effect.onError(() =>
        Effect.sync(() => process.stderr.write(`MaxOpsBeforeYield ${budget}, EFFECT_MILTER_SEED=${seed}\n`))
      )
    )
  })

/** `it.effect` of @effect/vitest with such a budget. */
export const effect = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, Scope.Scope>,
  timeout = 60_000
): void => it.effect(name, () => withRandomBudget(test()), timeout)

/** Long enough for every fiber to come to where it waits, whatever its budget. */
export const quiet: Effect.Effect<void> = Effect.repeat(Effect.yieldNow, { times: 300 })

/** Moves the test's clock when everybody waits. */
export const adjust = (duration: Duration.Input): Effect.Effect<void> =>
  Effect.andThen(quiet, TestClock.adjust(duration))
