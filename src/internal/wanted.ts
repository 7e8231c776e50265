/** What a filter's hooks and options mean for the negotiation. */
import { actionOf, type Capability } from "../Modification.ts"
import { Step, type Wanted } from "../Negotiation.ts"
import type { Definition } from "./definition.ts"
import type { Limits } from "./program.ts"

const actionsOf = (capabilities: ReadonlyArray<Capability>): number =>
  capabilities.reduce((actions, capability) => actions | actionOf[capability], 0)

const optionalStages = [
  ["data", Step.noData, Step.noReplyData],
  ["header", Step.noHeaders, Step.noReplyHeader],
  ["endOfHeaders", Step.noEndOfHeaders, Step.noReplyEndOfHeaders],
  ["body", Step.noBody, Step.noReplyBody],
  ["unknown", Step.noUnknown, Step.noReplyUnknown]
] as const

/**
 * A stage that nobody looks at is not requested, one that is only watched is not answered. Connect, helo and rcpt are
 * always received, so that client, HELO name and recipients are known; MAIL is always answered too: failure policy and
 * message boundaries need it (without an answer to MAIL, Sendmail sends no abort after RSET, and two messages would run
 * into one).
 */
export const wantedOf = (
  definition: Definition,
  limits: Pick<Limits, "recipients"> = { recipients: Infinity }
): Wanted => {
  const { answers, observes } = definition
  let steps: number = Step.skip | Step.leadingSpace
  for (const [stage, no, noReply] of optionalStages) {
    if (answers[stage] !== undefined) continue
    steps |= observes[stage] !== undefined ? noReply : no
  }
  const canRefuse = definition.refuseConnection && definition.connection !== undefined
  if (answers.connect === undefined && !canRefuse && !(definition.refuseConnection && observes.connect !== undefined)) {
    steps |= Step.noReplyConnect
  }
  if (answers.helo === undefined && !(definition.refuseConnection && observes.helo !== undefined)) {
    steps |= Step.noReplyHelo
  }
  // A recipient over the limit is refused at rcpt.
  if (answers.rcpt === undefined && limits.recipients === Infinity) steps |= Step.noReplyRcpt
  if (definition.rejectedRecipients) steps |= Step.rejectedRecipients
  return {
    actions: actionsOf(definition.modify),
    optionalActions: actionsOf(definition.modifyIfOffered),
    steps,
    macros: definition.macros
  }
}
