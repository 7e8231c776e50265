/** A circuit breaker around the hooks of a filter, on Effect's own. Re-exported by `Milter`. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Scope from "effect/Scope"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import { type Definition, Failed, resolve } from "./definition.ts"
import type { FailurePolicy, Filter, Made } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"
import { mapInner } from "./wrapping.ts"

/** The defect of a hook that took too long: inside the breaker, so that it counts as a failure. */
const tooSlow = "effect-milter/CircuitBreaker/tooSlow"

const guarded = (
  definition: Definition,
  options: CircuitBreakerOptions
): Effect.Effect<Definition, never, Scope.Scope> =>
  Effect.map(
    CircuitBreaker.make({
      tripPolicy: CircuitBreaker.consecutive(options.failures),
      openDuration: options.openFor
    }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory())),
    (breaker) => {
      const { timeout } = options
      const open = new Failed(options.whileOpen, Cause.empty)
      return mapInner(definition, (definition) => {
        const inner = definition.guard
        return {
          ...definition,
          guard: (effect) => {
            const guarded = inner === undefined ? effect : inner(effect)
            const bounded = timeout === undefined
              ? guarded
              : Effect.timeoutOrElse(guarded, { duration: timeout, orElse: () => Effect.die(tooSlow) })
            return Effect.catch(
              breaker.execute(bounded, { key: definition.name }),
              (error) => error instanceof CircuitBreaker.CircuitBreakerError ? Effect.succeed(open) : Effect.fail(error)
            )
          }
        }
      })
    }
  )

/**
 * Options of {@link circuitBreaker}.
 *
 * - `failures`: how many hooks must fail or die in a row before the circuit opens
 * - `openFor`: how long the filter is left alone then; after that one hook is tried
 * - `whileOpen`: the answer to each message while the circuit is open
 * - `timeout`: a hook that takes longer dies, and counts as failed. It must be shorter than the server's own timeouts: those
 *   interrupt slow hooks, which does not count
 *
 * @category models
 * @since 0.1.0
 */
export interface CircuitBreakerOptions {
  readonly failures: number
  readonly openFor: Duration.Input
  readonly whileOpen: FailurePolicy
  readonly timeout?: Duration.Input
}

const optionNames = keysOf<CircuitBreakerOptions>({ failures: true, openFor: true, whileOpen: true, timeout: true })

/**
 * Stops calling a filter for a while after it has failed several times in a row, so that the services that it needs can recover
 * and mail does not wait for them.
 *
 * **Gotchas**
 *
 * - All connections of a server share one circuit.
 * - Slow hooks count only with the option `timeout`, which must be shorter than the server's time limits: the server interrupts
 *   a hook at its own limit, and an interrupted hook does not count.
 * - With `whileOpen: "pass"` mail passes without this filter while the circuit is open.
 *
 * @see {@link onFailure} for the answer to a single failure
 *
 * **Example** (On without the filter while its database is down)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Lookup = Milter.make("lookup").on({ rcpt: () => Effect.succeed(Verdict.continue) })
 *
 * const Protected = Milter.circuitBreaker(Lookup, {
 *   failures: 5,
 *   openFor: "30 seconds",
 *   timeout: "3 seconds",
 *   whileOpen: "pass"
 * })
 * ```
 *
 * @category error handling
 * @since 0.1.0
 */
export const circuitBreaker: {
  /** Stops calling a filter for a while after it has failed several times in a row. */
  (options: CircuitBreakerOptions): <E, R>(self: Filter<E, R>) => Made<E, R>
  /** Stops calling a filter for a while after it has failed several times in a row. */
  <E, R>(self: Filter<E, R>, options: CircuitBreakerOptions): Made<E, R>
} = dual(
  2,
  (self: Filter<never, never>, options: CircuitBreakerOptions): Made<never, never> => {
    checkKeys("option of a circuit breaker", options, optionNames)
    return fromResolve(Effect.flatMap(resolve(self), Effect.forEach((definition) => guarded(definition, options))))
  }
)
