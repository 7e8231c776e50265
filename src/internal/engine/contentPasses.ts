/** How the filters of a sequence share a message: who sees its content when, and what has to be kept for that. */
import { InvalidValue } from "../../InvalidValue.ts"
import { actionOf, type Capability } from "../../Modification.ts"
import type { Definition, Definitions } from "../filter/definition.ts"

/**
 * Filters take part in passes over the content. In the first one, 0, header and body come as the MTA sends them; behind a
 * filter that can edit them another pass begins, over the message as it is then.
 */
export interface Plan {
  /** The pass of each filter. */
  readonly passes: ReadonlyArray<number>
  readonly lastPass: number
  readonly keepsHeaders: boolean
  readonly keepsBody: boolean
}

const editsHeaders: ReadonlySet<Capability> = new Set(["addHeader", "insertHeader", "changeHeader", "deleteHeader"])

const isContent = (capability: Capability): boolean => editsHeaders.has(capability) || capability === "replaceBody"

/** What a filter can do on this connection. */
const capabilitiesOf = (definition: Definition, offeredActions: number): ReadonlyArray<Capability> => [
  ...definition.modify,
  ...definition.modifyIfOffered.filter((capability) => (offeredActions & actionOf[capability]) !== 0)
]

export const hasHook = ({ answers, observes }: Definition, stage: "header" | "body"): boolean =>
  answers[stage] !== undefined || observes[stage] !== undefined

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

const alone: Plan = { passes: [0], lastPass: 0, keepsHeaders: false, keepsBody: false }

export const planOf = (definitions: Definitions, offeredActions: number): Plan => {
  if (definitions.length === 1) return alone
  const passes: Array<number> = []
  let pass = 0
  let headerEditors = 0
  let keepsHeaders = false
  let keepsBody = false
  for (const definition of definitions) {
    passes.push(pass)
    if (pass > 0) {
      keepsHeaders ||= hasHook(definition, "header")
      keepsBody ||= hasHook(definition, "body")
    }
    const capabilities = capabilitiesOf(definition, offeredActions)
    if (capabilities.some((capability) => editsHeaders.has(capability))) headerEditors++
    if (capabilities.some(isContent)) pass++
  }
  return { passes, lastPass: passes.at(-1) ?? 0, keepsHeaders: keepsHeaders || headerEditors > 1, keepsBody }
}
