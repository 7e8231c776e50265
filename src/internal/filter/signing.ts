/** The order of filters that check signatures, edit, and sign: an edit before the check or after the signature breaks it. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../InvalidValue.ts"
import { type Definition, type Definitions, editsContent } from "./definition.ts"
import type { Made } from "./filterTypes.ts"
import { mapped } from "./filterValue.ts"

/** Marks a filter as one that signs. */
export const signing = <E, R>(kind: NonNullable<Definition["signer"]>, filter: Made<E, R>): Made<E, R> =>
  mapped(filter, (definition) => ({ ...definition, signer: kind }))

/** Marks a filter as one that checks signatures. */
export const verifying = <E, R>(filter: Made<E, R>): Made<E, R> =>
  mapped(filter, (definition) => ({ ...definition, verifier: true }))

/**
 * Checks the order: verify, edit, sign, seal. An edit of the body before the check would break the signatures of the sender,
 * an edit after a signer breaks the new signature, and a seal covers the signatures before it.
 */
export const checkOrder = (definitions: Definitions): Result.Result<Definitions, InvalidValue> => {
  if (definitions.length === 0) {
    return Result.fail(new InvalidValue({ what: "sequence", value: "", reason: "expected at least one filter" }))
  }
  const invalid = (reason: string): Result.Result<never, InvalidValue> =>
    Result.fail(new InvalidValue({ what: "sequence", value: definitions.map(({ name }) => name).join(" + "), reason }))
  let signer: Definition | undefined
  let bodyEditor: Definition | undefined
  for (const definition of definitions) {
    const capabilities = [...definition.modify, ...definition.modifyIfOffered]
    const isEditor = capabilities.some(editsContent)
    const isLate = definition.signer === undefined ? isEditor : definition.signer === "dkim" && signer?.signer === "arc"
    if (signer !== undefined && isLate) {
      return invalid(`expected ${definition.name} in front of ${signer.name}, whose signature it would break`)
    }
    if (definition.verifier && bodyEditor !== undefined) {
      return invalid(
        `expected ${definition.name} in front of ${bodyEditor.name}, which may edit the body and break the signatures to verify`
      )
    }
    if (capabilities.includes("replaceBody")) bodyEditor ??= definition
    if (definition.signer !== undefined) signer = definition
  }
  return Result.succeed(definitions)
}
