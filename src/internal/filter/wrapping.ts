/**
 * Filters around filters: `Milter.when`, `shadow` and `delayReject` make a definition whose hooks run those of another.
 * What is done to it later, by `onFailure` or `circuitBreaker`, is meant for what its author wrote and is done there: a
 * circuit breaker must not count what a filter does when it takes no part.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { type Around, type At, type Definition, Failed, type FailureHandler } from "./definition.ts"

/** Changes the innermost definition. */
export const mapInner = (definition: Definition, f: (inner: Definition) => Definition): Definition => {
  const { around, services, signer, verifier } = definition
  return around === undefined
    ? f(definition)
    // What has been said of it since it was made goes with it.
    : { ...madeFrom(mapInner(around.inner, f), around.make), services, signer, verifier }
}

/** Makes a definition from another, and remembers how. */
export const madeFrom = (inner: Definition, make: Around["make"]): Definition => ({
  ...make(inner),
  around: { inner, make }
})

/** The inner definition as the outer one begins: what stands around its own hooks does not stand around those of the outer. */
export const outside = (inner: Definition): Definition => {
  const { onFailure, services } = inner
  if (services === undefined) return { ...inner, guard: undefined }
  const handler: FailureHandler | undefined = onFailure === undefined
    ? undefined
    : (error, at) => withServices(services, onFailure(error, at))
  return { ...inner, guard: undefined, services: undefined, onFailure: handler }
}

const withServices = <A, E>(services: Context.Context<never>, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.updateContext(effect, (context: Context.Context<never>) => Context.merge(context, services))

/** An effect of the inner filter, with its guard and the services of its layer; what it gives may be a `Failed`. */
export const inside = (
  inner: Definition,
  make: () => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  // Without a guard the engine deals with a throw, and an effect that is done already is not wrapped.
  const guarded = inner.guard === undefined ? make() : inner.guard(Effect.suspend(make))
  return inner.services === undefined ? guarded : withServices(inner.services, guarded)
}

/** Handles the failures of an effect as the filter says; not under its guard, which has to see them. */
export const handled = (
  { onFailure }: Pick<Definition, "onFailure">,
  stage: Stage,
  effect: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  onFailure === undefined ? effect : Effect.catch(
    effect,
    (error) => Effect.map(onFailure(error, { stage }), (policy) => new Failed(policy, Cause.fail(error)))
  )

export type Decision = Verdict.Verdict | Failed

/** What the inner filter says to a stage; continue where it only watches or has no hook. */
export const decide = (inner: Definition, stage: Stage, event: unknown, at: At): Effect.Effect<Decision, unknown> => {
  const answer = inner.answers[stage]
  // That it is a verdict is checked where it arrives.
  if (answer !== undefined) return inside(inner, () => answer(event, at)) as Effect.Effect<Decision, unknown>
  const observe = inner.observes[stage]
  return observe === undefined ? goesOn : Effect.map(inside(inner, () => observe(event, at)), orContinue)
}

export const goesOn: Effect.Effect<Verdict.Continue> = Exit.succeed(Verdict.continue)

const orContinue = (given: unknown): Decision => given instanceof Failed ? given : Verdict.continue
