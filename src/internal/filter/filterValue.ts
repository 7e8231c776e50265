/** Makes filters from definitions. */
import * as Effect from "effect/Effect"
import { pipeArguments } from "effect/Pipeable"
import { type Definition, type Definitions, type Resolvable, resolve } from "./definition.ts"
import { type Filter, type Made, TypeId } from "./filterTypes.ts"

// The types E and R are phantoms: the public functions state them.
export const fromResolve = (resolve: Resolvable["resolve"]): Made<never, never> & Resolvable => ({
  [TypeId]: variance,
  resolve,
  pipe() {
    return pipeArguments(this, arguments)
  }
})

// Only the types of these functions matter.
const noValue = (): never => {
  throw new Error("the types of a filter have no values")
}

export const variance = { _E: noValue, _R: noValue }

export const fromDefinitions = (definitions: Definitions) => fromResolve(Effect.succeed(definitions))

/** Makes another filter by changing each definition of one. */
export const mapped = (self: Filter<unknown, unknown>, f: (definition: Definition) => Definition): Made<never, never> =>
  fromResolve(Effect.map(resolve(self), (definitions) => definitions.map(f)))
