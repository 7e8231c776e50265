/** The negotiation with another milter: the offer that its declaration and the MTA's own make, and the check of the answer. */
import * as Result from "effect/Result"
import * as Macros from "../../../Macros.ts"
import { actionOf } from "../../../Modification.ts"
import { Action, type Agreement, NegotiationError, type Offer, Step } from "../../../Negotiation.ts"
import type { Session } from "../../../Stage.ts"
import { ByteString } from "../../bytes/byteString.ts"
import { answeredStages, stageTable } from "../../protocol/stageTable.ts"
import { type RemoteOptions, stagesOf } from "./remoteOptions.ts"

// What Postfix 2.3 to 2.5 offer with version 2; the steps of version 6.
const oldSteps = 0x7f
const newSteps = 0x1fffff

const declaresMacros = ({ macros = {} }: RemoteOptions): boolean =>
  Object.values(macros).some((names) => names.length > 0)

/**
 * The offer to the milter: what is declared and the MTA has given. Steps that make a session shorter (stages that are not
 * sent or not answered, skip) are always offered, since the filter carries them out itself.
 */
export const offerOf = (options: RemoteOptions, { agreed }: Session): Offer => {
  const actions = options.modify.reduce((all, capability) => all | actionOf[capability], 0)
  const lists = declaresMacros(options) ? Action.setMacroLists : 0
  const given = agreed.steps &
    (Step.leadingSpace | (stagesOf(options).has("rejectedRecipient") ? Step.rejectedRecipients : 0))
  return {
    version: agreed.version,
    actions: agreed.actions & (actions | lists),
    steps: agreed.version < 6 ? oldSteps : (newSteps & ~(Step.leadingSpace | Step.rejectedRecipients)) | given
  }
}

/** Fails if the milter wants a stage or a macro that is not declared; `missing` has the words of the declaration. */
export const checkAnswer = (
  options: RemoteOptions,
  offered: Offer,
  agreed: Agreement
): Result.Result<Agreement, NegotiationError> => {
  const stages = stagesOf(options)
  const missing = answeredStages
    .filter((stage) => {
      const { command, no } = stageTable[stage]
      return !stages.has(stage) && agreed.version >= command.since && (agreed.steps & no) === 0
    })
    .map((stage) => `stage ${stage}`)
  for (const { names, stage: number } of agreed.macros) {
    const stage = Macros.stages.find((stage) => Macros.stageNumber[stage] === number)
    if (stage === undefined) continue
    const declared = new Set((options.macros?.[stage] ?? []).map(Macros.normalize))
    for (const name of ByteString.toText(names).split(/[ ,]+/)) {
      if (name !== "" && !declared.has(Macros.normalize(name))) missing.push(`macro ${name} at ${stage}`)
    }
  }
  return missing.length === 0 ? Result.succeed(agreed) : Result.fail(new NegotiationError({ missing, offered }))
}
