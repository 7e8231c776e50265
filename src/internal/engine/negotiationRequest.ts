/** What the hooks and options of filters mean for the negotiation. */
import { type MacroStage, stages } from "../../Macros.ts"
import { actionOf, type Capability } from "../../Modification.ts"
import { Step, type Wanted } from "../../Negotiation.ts"
import type { Definition, Definitions } from "../filter/definition.ts"
import { answeredStages, isContent, stageTable, usualMacrosOf } from "../protocol/stageTable.ts"
import type { Plan } from "./contentPasses.ts"
import type { Limits } from "./serverRuntime.ts"

const actionsOf = (capabilities: ReadonlyArray<Capability>): number =>
  capabilities.reduce((actions, capability) => actions | actionOf[capability], 0)

const optionalStages = answeredStages.filter((stage) => !stageTable[stage].isRequired)

/**
 * A stage that nobody looks at is not requested, one that is only watched is not answered. Connect, helo and rcpt are
 * always received, so that client, HELO name and recipients are known; MAIL is always answered too: failure policy and
 * message boundaries need it (without an answer to MAIL, Sendmail sends no abort after RSET, and two messages would run
 * into one).
 */
export const wantedOf = (
  definitions: Definitions,
  plan: Plan,
  limits: Pick<Limits, "recipients"> = { recipients: Infinity }
): Wanted => {
  let steps: number = Step.skip | Step.leadingSpace
  for (const stage of optionalStages) {
    const { no, noReply } = stageTable[stage]
    // Who sees the content in a later pass answers at end of message.
    const now = isContent(stage) ? definitions.filter((_, index) => plan.passes[index] === 0) : definitions
    if (now.some(({ answers }) => answers[stage] !== undefined)) continue
    const isKept = (stage === "header" && plan.keepsHeaders) || (stage === "body" && plan.keepsBody)
    steps |= isKept || now.some(({ observes }) => observes[stage] !== undefined) ? noReply : no
  }
  if (!definitions.some(answersConnect)) steps |= stageTable.connect.noReply
  if (!definitions.some(answersHelo)) steps |= stageTable.helo.noReply
  // A recipient over the limit is refused at rcpt.
  if (!definitions.some(({ answers }) => answers.rcpt !== undefined) && limits.recipients === Infinity) {
    steps |= stageTable.rcpt.noReply
  }
  if (definitions.some(({ rejectedRecipients }) => rejectedRecipients)) steps |= Step.rejectedRecipients
  return {
    actions: actionsOf(definitions.flatMap(({ modify }) => modify)),
    optionalActions: actionsOf(definitions.flatMap(({ modifyIfOffered }) => modifyIfOffered)),
    steps,
    macros: macrosOf(definitions)
  }
}

const answersConnect = ({ answers, connection, observes, refuseConnection }: Definition): boolean =>
  answers.connect !== undefined || (refuseConnection && (connection !== undefined || observes.connect !== undefined))

const answersHelo = ({ answers, observes, refuseConnection }: Definition): boolean =>
  answers.helo !== undefined || (refuseConnection && observes.helo !== undefined)

/**
 * What one filter asks for at a stage must not take away from another what the MTA sends by itself: where only some ask,
 * the MTAs' own selections are asked for too. Nor from the library what it goes by.
 */
const macrosOf = (definitions: Definitions): Wanted["macros"] => {
  const wanted: { [K in MacroStage]?: ReadonlyArray<string> } = {}
  for (const stage of stages) {
    const lists = definitions.map(({ macros }) => macros[stage] ?? [])
    const asked = lists.filter((names) => names.length > 0)
    if (asked.length === 0) continue
    const names = new Set(asked.flat())
    if (asked.length < lists.length) { for (const name of usualMacrosOf(stage)) names.add(name) }
    for (const name of neededOf(definitions, stage)) names.add(name)
    wanted[stage] = Array.from(names)
  }
  return wanted
}

/** Recipients that the MTA has refused are told apart by their macros; edits are shown to others as the MTA does them. */
const neededOf = (definitions: Definitions, stage: MacroStage): ReadonlyArray<string> =>
  stage === "rcpt" && definitions.some(({ rejectedRecipients }) => rejectedRecipients)
    ? ["rcpt_mailer", "rcpt_host", "rcpt_addr"]
    : stage === "connect" && definitions.length > 1
    ? ["v"]
    : []
