/** Filters that sign mail stand last in a sequence: whoever edits behind one breaks its signature. */
import { InvalidValue } from "../../InvalidValue.ts"
import { type Definition, type Definitions, isContent } from "./definition.ts"
import type { Made } from "./filterTypes.ts"
import { mapped } from "./filterValue.ts"

/** Marks a filter as one that signs. */
export const signing = <E, R>(kind: NonNullable<Definition["signer"]>, filter: Made<E, R>): Made<E, R> =>
  mapped(filter, (definition) => ({ ...definition, signer: kind }))

/**
 * Who signs comes last: an edit behind it would break the signature, and a seal covers the signatures before it. Throws
 * `InvalidValue`.
 */
export const checkOrder = (definitions: Definitions): Definitions => {
  if (definitions.length === 0) {
    throw new InvalidValue({ what: "sequence", value: "", reason: "expected at least one filter" })
  }
  let signer: Definition | undefined
  for (const definition of definitions) {
    const isEditor = [...definition.modify, ...definition.modifyIfOffered].some(isContent)
    const isLate = definition.signer === undefined ? isEditor : definition.signer === "dkim" && signer?.signer === "arc"
    if (signer !== undefined && isLate) {
      throw new InvalidValue({
        what: "sequence",
        value: definitions.map(({ name }) => name).join(" + "),
        reason: `expected ${definition.name} in front of ${signer.name}, whose signature it would break`
      })
    }
    if (definition.signer !== undefined) signer = definition
  }
  return definitions
}
