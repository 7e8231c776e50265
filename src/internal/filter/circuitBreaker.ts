/** A circuit breaker around the hooks of a filter, on Effect's own. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Scope from "effect/Scope"
import type { CircuitBreakerOptions } from "../../Milter.ts"
import { type Definition, Failed } from "./definition.ts"
import { mapInner } from "./wrapping.ts"

/** What a hook that took too long fails with inside the breaker, so that it counts. */
const tooSlow = "effect-milter/CircuitBreaker/tooSlow"

export const guarded = (
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
