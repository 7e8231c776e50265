/** What the hooks and options of filters mean for the negotiation, and the answer to each offer. */
import * as Result from "effect/Result"
import { type MacroStage, stages } from "../../Macros.ts"
import { actionOf, type Capability } from "../../Modification.ts"
import { type Agreement, negotiate, type NegotiationError, Step, type Wanted } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import type { Definition, Definitions } from "../filter/definition.ts"
import { payloadSteps } from "../protocol/negotiationBits.ts"
import { answeredStages, isContent, stageTable, usualMacrosOf } from "../protocol/stageTable.ts"
import { type Plan, planOf } from "./contentPasses.ts"
import type { Limits, Program } from "./serverRuntime.ts"

/** The answer to an offer. */
export interface NegotiationAnswer {
  readonly agreement: Agreement
  readonly plan: Plan
  /** The packet of the answer. */
  readonly bytes: Uint8Array
}

/** The MTAs of a server make one or two different offers. Peers that invent more must not fill the memory. */
const maxAnswers = 16

/** An answer that was given before. */
interface KnownAnswer extends NegotiationAnswer {
  readonly offered: Packet.Negotiate
  readonly isOverloaded: boolean
}

const answersOf = new WeakMap<Program, Array<KnownAnswer>>()

/** The answer of a server's filters to an offer; the same object for the same offer. */
export const answerTo = (
  program: Program,
  offered: Packet.Negotiate,
  isOverloaded: boolean
): Result.Result<NegotiationAnswer, NegotiationError> => {
  let answers = answersOf.get(program)
  if (answers === undefined) answersOf.set(program, answers = [])
  for (const known of answers) {
    const { actions, steps, version } = known.offered
    if (
      actions === offered.actions && steps === offered.steps && version === offered.version &&
      known.isOverloaded === isOverloaded
    ) return Result.succeed(known)
  }
  const definitions = program.units.map(({ definition }) => definition)
  const plan = planOf(definitions, offered.actions)
  const wanted = wantedOf(definitions, plan, program.limits)
  // The refusal at connect needs an answer there.
  const steps = isOverloaded ? wanted.steps & ~stageTable.connect.noReply : wanted.steps
  return Result.map(negotiate({ ...wanted, steps }, offered), (agreement) => {
    const bytes = Packet.encode({ _tag: "Negotiated", ...agreement })
    const answer = { agreement, plan, bytes, offered, isOverloaded }
    if (answers.length < maxAnswers) answers.push(answer)
    return answer
  })
}

const actionsOf = (capabilities: ReadonlyArray<Capability>): number =>
  capabilities.reduce((actions, capability) => actions | actionOf[capability], 0)

const optionalStages = answeredStages.filter((stage) => !stageTable[stage].isRequired)

/**
 * The steps, actions and macros to ask for. A stage without a hook is not requested; a stage whose hooks only watch is not
 * answered. Connect, helo and rcpt are always received, so that client, HELO name and recipients are known. MAIL is always
 * answered too, since failure policy and message boundaries need it: without an answer to MAIL, Sendmail sends no abort
 * after RSET, and two messages would run into one.
 */
export const wantedOf = (
  definitions: Definitions,
  plan: Plan,
  limits: Pick<Limits, "recipients" | "frameLength"> = { recipients: Infinity, frameLength: 0 }
): Wanted => {
  let steps: number = Step.skip | Step.leadingSpace | payloadSteps(limits.frameLength)
  for (const stage of optionalStages) {
    const { no, noReply } = stageTable[stage]
    // A filter that sees the content in a later pass answers at end of message.
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
 * The macros to ask for. An MTA that is asked for macros at a stage no longer sends its own selection there. So where only
 * some filters ask, that selection is asked for too, and in any case the macros that the library needs.
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

/** Macros for the library: they mark refused recipients, and say which MTA's rules the edits of several filters follow. */
const neededOf = (definitions: Definitions, stage: MacroStage): ReadonlyArray<string> =>
  stage === "rcpt" && definitions.some(({ rejectedRecipients }) => rejectedRecipients)
    ? ["rcpt_mailer", "rcpt_host", "rcpt_addr"]
    : stage === "connect" && definitions.length > 1
    ? ["v"]
    : []
