/** The definition of a filter with a circuit breaker. Loaded when a server or a test starts with such a filter. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { type Definition, Failed } from "./definition.ts"
import type { FailurePolicy } from "./filterTypes.ts"
import { mapInner } from "./wrapping.ts"

/**
 * Options of {@link circuitBreaker}.
 *
 * - `failures`: how many times in a row the hook of a stage, or a state, must fail or die before the circuit opens
 * - `openFor`: how long the filter is left alone then. After that it is tried, and the first failure opens the circuit again
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

/** The defect of a hook that took too long: inside the breaker, so that it counts as a failure. */
const tooSlow = "effect-milter/CircuitBreaker/tooSlow"

/** What the results of one filter's hooks say about its health. */
class Health {
  private readonly definition: Pick<Definition, "name" | "remote">
  private readonly failures: number
  /** How often each hook has failed in a row: one that succeeds says nothing about another that needs the broken service. */
  private readonly failed = new Map<Stage | undefined, number>()
  private readonly counted = new WeakSet<object>()

  constructor(definition: Pick<Definition, "name" | "remote">, failures: number) {
    this.definition = definition
    this.failures = failures
  }

  outcomeOf(hook: Stage | undefined, exit: Exit.Exit<unknown, unknown>): CircuitBreaker.Outcome {
    if (Exit.isSuccess(exit)) return this.succeeded(hook, exit.value)
    if (this.isKnown(exit.cause)) return CircuitBreaker.ignored
    this.failed.set(hook, (this.failed.get(hook) ?? 0) + 1)
    // The count of the hook that has opened the circuit stays until it succeeds: after the pause the first failure counts.
    return Math.max(...this.failed.values()) >= this.failures ? CircuitBreaker.failure() : CircuitBreaker.ignored
  }

  /** A state is built before the service that the filter needs is asked; another milter may continue until the end of message. */
  private succeeded(hook: Stage | undefined, value: unknown): CircuitBreaker.Outcome {
    this.failed.delete(hook)
    const isEarly = hook === undefined ||
      (this.definition.remote !== undefined && hook !== "endOfMessage" && value === Verdict.continue)
    return isEarly ? CircuitBreaker.ignored : CircuitBreaker.success
  }

  /** The failure of another milter is given by all later hooks of its SMTP session. */
  private isKnown(cause: Cause.Cause<unknown>): boolean {
    if (this.definition.remote === undefined) return false
    const error = Cause.findErrorOption(cause)
    if (Option.isNone(error) || !Predicate.isObject(error.value)) return false
    if (this.counted.has(error.value)) return true
    this.counted.add(error.value)
    return false
  }
}

/** Wraps the hooks of a definition in a circuit breaker. */
export const guarded = (
  definition: Definition,
  options: CircuitBreakerOptions
): Effect.Effect<Definition, never, Scope.Scope> =>
  Effect.map(
    CircuitBreaker.make({
      // The failures in a row are counted here, for each hook.
      tripPolicy: CircuitBreaker.consecutive(1),
      openDuration: options.openFor
    }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory())),
    (breaker) => {
      const { timeout } = options
      const open = new Failed(options.whileOpen, Cause.empty)
      return mapInner(definition, (definition) => {
        const inner = definition.guard
        const health = new Health(definition, options.failures)
        return {
          ...definition,
          guard: (effect, hook) => {
            const guarded = inner === undefined ? effect : inner(effect, hook)
            const bounded = timeout === undefined
              ? guarded
              : Effect.timeoutOrElse(guarded, { duration: timeout, orElse: () => Effect.die(tooSlow) })
            return Effect.catch(
              breaker.execute(bounded, { key: definition.name, classify: (exit) => health.outcomeOf(hook, exit) }),
              (error) => error instanceof CircuitBreaker.CircuitBreakerError ? Effect.succeed(open) : Effect.fail(error)
            )
          }
        }
      })
    }
  )
