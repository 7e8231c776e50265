/** Filters as values: their types, and how they are made of definitions. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import type { Pipeable } from "effect/Pipeable"
import { pipeArguments } from "effect/Pipeable"
import { type Definition, type Definitions, type Resolvable, resolve } from "./definition.ts"

/**
 * Marks filters.
 *
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId: TypeId = "~effect-milter/Milter/Filter"

/**
 * Marks filters.
 *
 * @category type IDs
 * @since 0.1.0
 */
export type TypeId = "~effect-milter/Milter/Filter"

/**
 * A filter that needs `R` and may fail with `E`. Only one with `E = never` can be served; see {@link onFailure}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filter<out E, out R> {
  readonly [TypeId]: { readonly _E: () => E; readonly _R: () => R }
}

/**
 * What `make(…).on(…)` gives: a {@link Filter} that can be piped.
 *
 * @category models
 * @since 0.1.0
 */
export interface Made<out E, out R> extends Filter<E, R>, Pipeable {}

// The types E and R are phantoms: whoever builds a filter says what they are.
export const fromResolve = (resolve: Resolvable["resolve"]): Made<never, never> & Resolvable => ({
  [TypeId]: variance,
  resolve,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

export const variance = { _E: () => undefined as never, _R: () => undefined as never }

export const fromDefinitions = (definitions: Definitions) => fromResolve(Effect.succeed(definitions))

/** Another filter, or sequence of filters, made from one. */
export const mapped = (self: Filter<unknown, unknown>, f: (definition: Definition) => Definition): Made<never, never> =>
  fromResolve(Effect.map(resolve(self), (definitions) => definitions.map(f)))
