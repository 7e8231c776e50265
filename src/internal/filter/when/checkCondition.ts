/** Checks a condition: JavaScript does not read the types. */
import { InvalidValue } from "../../../InvalidValue.ts"
import { checkKeys } from "../../bytes/knownKeys.ts"
import { isContent, macroStages } from "../../protocol/stageTable.ts"
import type { Condition, DataCondition, RecipientCondition } from "./conditionTypes.ts"

/** The stages at which a condition can be asked. */
const stages: ReadonlyArray<string> = macroStages.filter((stage) => !isContent(stage))

const optionNames = ["recipients", "mixed"]

const ofRecipients: { readonly [K in keyof RecipientCondition]?: ReadonlyArray<RecipientCondition[K]> } = {
  recipients: ["any", "each"],
  mixed: ["apply", "separate", undefined]
}

const ofData: { readonly [K in keyof DataCondition]?: ReadonlyArray<DataCondition[K]> } = {
  mixed: ["apply", "skip", undefined]
}

const valuesOf = (stage: string, option: string): ReadonlyArray<unknown> => {
  const options = new Map<string, ReadonlyArray<unknown>>(
    Object.entries(stage === "rcpt" ? ofRecipients : stage === "data" ? ofData : {})
  )
  return options.get(option) ?? [undefined]
}

/** Throws an `InvalidValue` for a condition that says nothing, says two things, or has an option of another stage. */
export const checkCondition = (condition: Condition): void => {
  const given = new Map<string, unknown>(Object.entries(condition).filter(([, value]) => value !== undefined))
  const value = [...given.keys()].join(", ")
  checkKeys("key of a condition", condition, [...stages, ...optionNames])
  const invalid = (expected: string): InvalidValue =>
    new InvalidValue({ what: "condition", value, reason: `expected ${expected}` })
  const asked = stages.filter((stage) => given.has(stage))
  const [stage] = asked
  if (stage === undefined || asked.length > 1) throw invalid(`one of ${stages.join(", ")}`)
  if (typeof given.get(stage) !== "function") throw invalid(`a function at ${stage}`)
  for (const option of optionNames) {
    const values = valuesOf(stage, option)
    if (values.includes(given.get(option))) continue
    const known = values.filter((value) => value !== undefined).map((value) => JSON.stringify(value))
    throw invalid(
      known.length === 0 ? `no ${option} with ${stage}` : `${option} with ${stage} to be ${known.join(" or ")}`
    )
  }
}
