/** A circuit breaker around the hooks of a filter, on Effect's own. Re-exported by `Milter`. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { InvalidValue } from "../../InvalidValue.ts"
import type { Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import { type Definition, Failed, resolve } from "./definition.ts"
import type { FailurePolicy, Filter, Made } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"
import { mapInner } from "./wrapping.ts"

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

const guarded = (
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
    return fromResolve(Effect.flatMap(resolve(self), Effect.forEach((definition) => guarded(definition, options))))
  }
)
