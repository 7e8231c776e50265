/** A circuit breaker around the hooks of a filter, on Effect's own. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { InvalidValue } from "../../InvalidValue.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import { resolve } from "./definition.ts"
import type { Filter, Made } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"
import type { CircuitBreakerOptions } from "./guardedDefinition.ts"

export type { CircuitBreakerOptions } from "./guardedDefinition.ts"

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
 * - Another milter (see {@link remote}) fails once in an SMTP session, and counts once. That it continues says nothing before the
 *   end of a message: it may be one that can be reached and hangs later.
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
    const { failures } = options
    if (!Number.isInteger(failures) || failures < 1) {
      throw new InvalidValue({
        what: "failures of a circuit breaker",
        value: String(failures),
        reason: "expected a whole number of at least 1"
      })
    }
    return fromResolve(Effect.flatMap(resolve(self), (definitions) =>
      Effect.flatMap(
        // Effect's circuit breaker comes with its Schema, Config and Redis: a filter without one does not load it.
        Effect.promise(() => import("./guardedDefinition.ts")),
        ({ guarded }) => Effect.forEach(definitions, (definition) => guarded(definition, options))
      )))
  }
)
