/** Filters that sign mail stand last in a sequence: whoever edits behind one breaks its signature. */
import type { Definition } from "./definition.ts"
import { type Made, mapped } from "./filterValue.ts"

/** Marks a filter as one that signs. */
export const signing = <E, R>(kind: NonNullable<Definition["signer"]>, filter: Made<E, R>): Made<E, R> =>
  mapped(filter, (definition) => ({ ...definition, signer: kind }))
