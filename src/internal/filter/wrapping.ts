/**
 * Filters around filters: `Milter.when`, `shadow` and `delayReject` make a definition whose hooks run those of another. A
 * later `onFailure` or `circuitBreaker` applies to the inner definition, the author's own hooks: a circuit breaker must not
 * count hooks of a filter that takes no part.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Events, Mail, Session, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { type Around, type At, type Definition, Failed, type FailureHandler, type Hook } from "./definition.ts"

/** Changes the innermost definition. */
export const mapInner = (definition: Definition, f: (inner: Definition) => Definition): Definition => {
  const { around, services, signer, verifier } = definition
  return around === undefined
    ? f(definition)
    // Marks that were set on the outer definition later are kept.
    : { ...madeFrom(mapInner(around.inner, f), around.make), services, signer, verifier }
}

/** Makes a definition from another, and remembers how. */
export const madeFrom = (inner: Definition, make: Around["make"]): Definition => ({
  ...make(inner),
  around: { inner, make }
})

/** The inner definition as a base for the outer one: its guard and services do not wrap the outer hooks. */
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

/** What hooks with a state of their own get in addition to their event. */
export type StateAt<S, M> = Omit<At, "connection" | "message"> & { readonly connection: S; readonly message: M }

/** A {@link Hook} of {@link wrapWithState}. Outside messages there is no `message`. */
export type StateHook<S, M, K extends Stage = Stage> = (event: Events[K], at: StateAt<S, M>) => ReturnType<Hook>

/** Hooks by stage. */
export type StateHooks<S, M> = { readonly [K in Stage]?: StateHook<S, M, K> }

/** What a wrapper defines: builders of its own state, run with their scopes, and hooks. */
interface Wrap<S, M> {
  readonly connection: (session: Session) => Effect.Effect<S | Failed, unknown, Scope.Scope>
  readonly message: (
    mail: Mail,
    at: { readonly session: Session; readonly connection: S }
  ) => Effect.Effect<M | Failed, unknown, Scope.Scope>
  readonly answers: StateHooks<S, M>
  readonly observes: StateHooks<S, M>
}

/**
 * Wraps a definition in one with a state of its own: `S` in each SMTP session, `M` in each message. Hooks of definitions get
 * their states as `unknown`; here they get what the builders have built.
 */
export const wrapWithState = <S, M>(inner: Definition, wrap: Wrap<S, M>): Definition =>
  // The engine hands to hooks what the builders gave, and runs these with a Scope.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- definitions hold states as unknown and effects without needs
  ({ ...outside(inner), ...wrap }) as Definition

/**
 * Runs a hook of the inner filter, or a builder of state, with its guard and the services of its layer; the result may be a
 * `Failed`.
 */
export const inside = (
  inner: Definition,
  hook: Stage | undefined,
  make: () => Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  // Without a guard the engine deals with a throw, and an effect that is done already is not wrapped.
  const guarded = inner.guard === undefined ? make() : inner.guard(Effect.suspend(make), hook)
  return inner.services === undefined ? guarded : withServices(inner.services, guarded)
}

/** Handles the failures of an effect with the filter's handler; outside the guard, which must see the failures. */
export const handled = (
  { onFailure }: Pick<Definition, "onFailure">,
  stage: Stage,
  effect: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  onFailure === undefined ? effect : Effect.catch(
    effect,
    (error) => Effect.map(onFailure(error, { stage }), (policy) => new Failed(policy, Cause.fail(error)))
  )

export type WrappedResult = Verdict.Verdict | Failed

/** Runs the inner filter's hook at a stage; gives continue if it only watches or has none. */
export const decide = (
  inner: Definition,
  stage: Stage,
  event: unknown,
  at: At
): Effect.Effect<WrappedResult, unknown> => {
  const answer = inner.answers[stage]
  if (answer !== undefined) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- that it is a verdict is checked where it arrives
    return inside(inner, stage, () => answer(event, at)) as Effect.Effect<WrappedResult, unknown>
  }
  const observe = inner.observes[stage]
  return observe === undefined ? goesOn : Effect.map(inside(inner, stage, () => observe(event, at)), orContinue)
}

export const goesOn: Effect.Effect<Verdict.Continue> = Exit.succeed(Verdict.continue)

const orContinue = (given: unknown): WrappedResult => given instanceof Failed ? given : Verdict.continue
