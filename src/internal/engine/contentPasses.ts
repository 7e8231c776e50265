/** How the filters of a sequence share a message: when each sees its content, and what must be kept for that. */
import { actionOf, type Capability } from "../../Modification.ts"
import { type Definition, type Definitions, editsContent, editsHeaders } from "../filter/definition.ts"

/**
 * Filters take part in passes over the content. In the first pass, 0, header and body come as the MTA sends them. After a
 * filter that can edit them another pass begins, over the edited message.
 */
export interface Plan {
  /** The pass of each filter. */
  readonly passes: ReadonlyArray<number>
  readonly lastPass: number
  readonly keepsHeaders: boolean
  readonly keepsBody: boolean
}

/** What a filter can do on this connection. */
const capabilitiesOf = (definition: Definition, offeredActions: number): ReadonlyArray<Capability> => [
  ...definition.modify,
  ...definition.modifyIfOffered.filter((capability) => (offeredActions & actionOf[capability]) !== 0)
]

const hasHook = ({ answers, observes }: Definition, stage: "header" | "body"): boolean =>
  answers[stage] !== undefined || observes[stage] !== undefined

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
    if (capabilities.some(editsContent)) pass++
  }
  return { passes, lastPass: passes.at(-1) ?? 0, keepsHeaders: keepsHeaders || headerEditors > 1, keepsBody }
}
