/** Filters that sign mail stand last in a sequence: whoever edits behind one breaks its signature. */
import * as Effect from "effect/Effect"
import type { Made } from "../Milter.ts"
import { type Definition, type Definitions, type Resolvable, resolve } from "./definition.ts"

/** Marks a filter as one that signs. */
export const signing = <E, R>(kind: NonNullable<Definition["signer"]>, filter: Made<E, R>): Made<E, R> => {
  const marked: Resolvable = {
    resolve: Effect.map(
      resolve(filter),
      (definitions): Definitions => definitions.map((definition) => ({ ...definition, signer: kind }))
    )
  }
  return { ...filter, ...marked }
}
