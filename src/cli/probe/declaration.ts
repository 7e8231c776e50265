/** What a milter has asked for in the negotiation, as the declaration of `Milter.remote`. */
import { ByteString } from "../../internal/bytes/byteString.ts"
import { escapeInvisible } from "../../internal/bytes/invisible.ts"
import { answeredStages, stageTable } from "../../internal/protocol/stageTable.ts"
import * as Macros from "../../Macros.ts"
import type { RemoteOptions } from "../../Milter.ts"
import { actionOf, type Capability } from "../../Modification.ts"
import { type Agreement, Step } from "../../Negotiation.ts"
import type { Stage } from "../../Stage.ts"

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of the table are all capabilities
const capabilities = Object.keys(actionOf) as ReadonlyArray<Capability>

const stagesOf = ({ steps, version }: Agreement): ReadonlyArray<Stage> => {
  const stages: ReadonlyArray<Stage> = answeredStages.filter((stage) => {
    const { command, no } = stageTable[stage]
    return version >= command.since && (steps & no) === 0
  })
  return (steps & Step.rejectedRecipients) === 0 ? stages : [...stages, "rejectedRecipient"]
}

const macrosOf = ({ macros }: Agreement): NonNullable<RemoteOptions["macros"]> =>
  Object.fromEntries(macros.flatMap(({ names, stage: number }) => {
    const stage = Macros.stages.find((stage) => Macros.stageNumber[stage] === number)
    const wanted = ByteString.toText(names).split(/[ ,]+/).filter((name) => name !== "").map(Macros.normalize)
    return stage === undefined || wanted.length === 0 ? [] : [[stage, wanted]]
  }))

/** The least declaration with which the milter gets what it has asked for. */
export const declared = (address: string, agreed: Agreement): RemoteOptions => {
  const stages = stagesOf(agreed)
  const macros = macrosOf(agreed)
  const isUsual = stages.length === answeredStages.length && !stages.includes("rejectedRecipient")
  return {
    to: address,
    modify: capabilities.filter((capability) => (agreed.actions & actionOf[capability]) !== 0),
    ...(isUsual ? {} : { stages }),
    ...(Object.keys(macros).length === 0 ? {} : { macros })
  }
}

// As the formatters of most projects.
const width = 100

const list = (label: string, texts: ReadonlyArray<string>, indent = "  "): string => {
  // A milter has chosen the names of macros.
  const quoted = texts.map((text) => escapeInvisible(JSON.stringify(text)))
  const line = `${indent}${label}: [${quoted.join(", ")}]`
  return line.length <= width
    ? line
    : `${indent}${label}: [\n${quoted.map((text) => `${indent}  ${text}`).join(",\n")}\n${indent}]`
}

/** A name for the filter: that of its socket. */
const nameOf = (address: string): string =>
  /([^/.:]+)(?:\.[^/.]*)?$/.exec(address.split("/").slice(1).join("/"))?.[1] ?? "milter"

/** The stages at which the milter is sent a command that it does not answer. */
const silent = ({ steps }: Agreement): ReadonlyArray<string> =>
  answeredStages.filter((stage) => (steps & stageTable[stage].noReply) !== 0 && (steps & stageTable[stage].no) === 0)

/** The declaration as TypeScript. */
export const declarationOf = (address: string, agreed: Agreement): string => {
  const { macros, modify, stages, to } = declared(address, agreed)
  const properties = [
    `  to: ${JSON.stringify(to)}`,
    list("modify", modify),
    ...(stages === undefined ? [] : [list("stages", stages)]),
    ...(macros === undefined ? [] : [
      `  macros: {\n${Object.entries(macros).map(([stage, names]) => list(stage, names, "    ")).join(",\n")}\n  }`
    ]),
    // No negotiation tells.
    ...(modify.includes("insertHeader") ? ["  signs: false // true if it signs mail"] : [])
  ]
  const unanswered = silent(agreed)
  return `// version ${agreed.version}${unanswered.length === 0 ? "" : `; no answer at ${unanswered.join(", ")}`}
Milter.remote(${JSON.stringify(nameOf(address))}, {
${properties.join(",\n")}
})
`
}
