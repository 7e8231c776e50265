/** The types of filters. Re-exported by `Milter`. */
import type { Pipeable } from "effect/Pipeable"
import type { Reject, TempFail } from "../../Verdict.ts"

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
 * A filter that needs `R` and may fail with `E`. Only one with `E = never` can be served; see {@link onFailure} and
 * {@link NoFailure}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filter<out E, out R> {
  readonly [TypeId]: { readonly _E: () => E; readonly _R: () => R }
}

/**
 * The failures of a filter that can be served: none are left, see {@link onFailure}. `never` belongs to every type, to this one
 * too; any other failure does not, and the compiler's message shows this text.
 *
 * @category models
 * @since 0.1.0
 */
export type NoFailure = "handle its failures with Milter.onFailure"

/**
 * What `make(…).on(…)` gives: a {@link Filter} that can be piped.
 *
 * @category models
 * @since 0.1.0
 */
export interface Made<out E, out R> extends Filter<E, R>, Pipeable {}

/**
 * A filter, whatever it needs and however it fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyFilter {
  // No `Filter<unknown, unknown>`: a filter that is made in its place would be inferred to fail with `unknown`.
  readonly [TypeId]: object
}

/**
 * The failures of a filter.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure<F> = F extends Filter<infer E, infer _R> ? E : never

/**
 * What a filter needs.
 *
 * @category models
 * @since 0.1.0
 */
export type Needs<F> = F extends Filter<infer _E, infer R> ? R : never

/**
 * What to answer when a filter cannot decide: refuse, refuse for now, or `"pass"`, which lets this message go on without
 * this filter in the form that is legal at the stage.
 *
 * @category models
 * @since 0.1.0
 */
export type FailurePolicy = Reject | TempFail | "pass"
