/**
 * The stages of the protocol, one row each. Every other list of stages, command letters, NO* and NR* bits is derived from
 * these rows.
 */
import type * as Packet from "../../Packet.ts"
import * as Commands from "../wire/commandLetters.ts"
import { Step } from "./negotiationBits.ts"

type Command = Packet.MtaPacket["_tag"]

/** A row of the table. */
interface Row {
  /** Its place in an SMTP session, from 0 without gaps. */
  readonly number: number
  /** The declaration of its packet, which has its letter and the version that introduced it; `undefined` if it shares one. */
  readonly command: { readonly name: Command; readonly code: number; readonly since: number } | undefined
  /**
   * The part that the stage belongs to: the SMTP session, whatever its messages; the envelope of a message; or its content, which
   * the MTA has received by then.
   */
  readonly part: "session" | "envelope" | "content"
  /** Whether something begins that lasts beyond the stage: a session, a greeting, a message. */
  readonly begins: boolean
  /** Whether the filter is sent the stage even without a hook for it. */
  readonly isRequired: boolean
  /** The bit (NO*) with which a filter asks not to be sent the command; 0 if it cannot. */
  readonly no: number
  /** The bit (NR*) with which a filter gives up its answer; 0 if it cannot. */
  readonly noReply: number
  /**
   * The stage whose macro list is in force; `undefined` if no list of the negotiation covers it. Postfix sends macros with
   * headers and pieces of the body too, which belong to the lists of the ends that follow.
   */
  readonly macroStage: string | undefined
  /** Of a stage with a macro list of its own: its number in the negotiation. */
  readonly macroList: number | undefined
  /**
   * The macros that MTAs send at this stage if no filter requests any, with their default configuration. Of Postfix 3.7 and
   * Sendmail 8.17 together: an MTA ignores a name that it does not know.
   */
  readonly usualMacros: ReadonlyArray<string>
  /** The tags of the legal verdicts; empty for a stage without an answer. */
  readonly verdicts: ReadonlyArray<string>
}

const basic = ["Continue", "Reject", "TempFail"] as const
const ofConnection = [...basic, "AcceptConnection"] as const
const ofMessage = [...basic, "AcceptMessage", "DiscardMessage"] as const

/** In the order of an SMTP session; end of headers is 6 among the macro lists because it was added later. */
export const stageTable = {
  connect: {
    number: 0,
    command: Commands.Connect,
    part: "session",
    begins: true,
    isRequired: true,
    no: Step.noConnect,
    noReply: Step.noReplyConnect,
    macroStage: "connect",
    macroList: 0,
    usualMacros: ["j", "_", "v", "daemon_name", "daemon_addr", "if_name", "if_addr"],
    verdicts: ofConnection
  },
  helo: {
    number: 1,
    command: Commands.Helo,
    part: "session",
    begins: true,
    isRequired: true,
    no: Step.noHelo,
    noReply: Step.noReplyHelo,
    macroStage: "helo",
    macroList: 1,
    usualMacros: ["tls_version", "cipher", "cipher_bits", "cert_subject", "cert_issuer"],
    verdicts: ofConnection
  },
  mail: {
    number: 2,
    command: Commands.Mail,
    part: "envelope",
    begins: true,
    isRequired: true,
    no: Step.noMail,
    noReply: Step.noReplyMail,
    macroStage: "mail",
    macroList: 2,
    usualMacros: ["i", "auth_type", "auth_authen", "auth_ssf", "auth_author", "mail_mailer", "mail_host", "mail_addr"],
    verdicts: ofMessage
  },
  rcpt: {
    number: 3,
    command: Commands.Rcpt,
    part: "envelope",
    begins: false,
    isRequired: true,
    no: Step.noRcpt,
    noReply: Step.noReplyRcpt,
    macroStage: "rcpt",
    macroList: 3,
    usualMacros: ["i", "rcpt_mailer", "rcpt_host", "rcpt_addr"],
    verdicts: ofMessage
  },
  data: {
    number: 4,
    command: Commands.Data,
    part: "envelope",
    begins: false,
    isRequired: false,
    no: Step.noData,
    noReply: Step.noReplyData,
    macroStage: "data",
    macroList: 4,
    usualMacros: ["i"],
    verdicts: ofMessage
  },
  header: {
    number: 5,
    command: Commands.Header,
    part: "content",
    begins: false,
    isRequired: false,
    no: Step.noHeaders,
    noReply: Step.noReplyHeader,
    macroStage: "endOfHeaders",
    macroList: undefined,
    usualMacros: [],
    verdicts: ofMessage
  },
  endOfHeaders: {
    number: 6,
    command: Commands.EndOfHeaders,
    part: "content",
    begins: false,
    isRequired: false,
    no: Step.noEndOfHeaders,
    noReply: Step.noReplyEndOfHeaders,
    macroStage: "endOfHeaders",
    macroList: 6,
    usualMacros: ["i"],
    verdicts: ofMessage
  },
  body: {
    number: 7,
    command: Commands.Body,
    part: "content",
    begins: false,
    isRequired: false,
    no: Step.noBody,
    noReply: Step.noReplyBody,
    macroStage: "endOfMessage",
    macroList: undefined,
    usualMacros: [],
    verdicts: [...ofMessage, "SkipBody"]
  },
  endOfMessage: {
    number: 8,
    command: Commands.EndOfMessage,
    part: "content",
    begins: false,
    isRequired: true,
    no: 0,
    noReply: 0,
    macroStage: "endOfMessage",
    macroList: 5,
    usualMacros: ["i", "msg_id"],
    verdicts: ofMessage
  },
  unknown: {
    number: 9,
    command: Commands.Unknown,
    part: "session",
    begins: false,
    isRequired: false,
    no: Step.noUnknown,
    noReply: Step.noReplyUnknown,
    macroStage: undefined,
    macroList: undefined,
    usualMacros: [],
    verdicts: basic
  },
  rejectedRecipient: {
    number: 10,
    // It comes as a Rcpt whose macros show the refusal. The MTA ignores the answer.
    command: undefined,
    part: "envelope",
    begins: false,
    isRequired: false,
    no: 0,
    noReply: Step.noReplyRcpt,
    macroStage: "rcpt",
    macroList: undefined,
    usualMacros: [],
    verdicts: []
  }
} as const satisfies { readonly [stage: string]: Row }

type Table = typeof stageTable

/** The names of the stages; `Stage.Stage` in public. */
export type StageName = keyof Table

/** The stages that are answered; the keys of `Verdict.ByStage` in public. */
export type AnsweredStage = { [K in StageName]: Table[K]["verdicts"] extends readonly [] ? never : K }[StageName]

/** The answered stages of a message. */
export type MessageStage = { [K in AnsweredStage]: Table[K]["part"] extends "session" ? never : K }[AnsweredStage]

/** The stages with a macro list of their own; `Macros.MacroStage` in public. */
export type MacroStageName = { [K in StageName]: Table[K]["macroList"] extends number ? K : never }[StageName]

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of an object literal are those of its type
const names = Object.keys(stageTable) as ReadonlyArray<StageName>

/** All stages; a stage's place is its number. */
export const allStages: ReadonlyArray<StageName> = names.toSorted((a, b) => stageTable[a].number - stageTable[b].number)

const isAnswered = (stage: StageName): stage is AnsweredStage => stageTable[stage].verdicts.length > 0

/** The answered stages, in the order of an SMTP session. */
export const answeredStages: ReadonlyArray<AnsweredStage> = allStages.filter(isAnswered)

/** The stages of a message's content. */
export type ContentStage = { [K in MessageStage]: Table[K]["part"] extends "content" ? K : never }[MessageStage]

/** The answered stages outside messages; `Stage.OutsideMessage` in public. */
export type SessionStage = Exclude<AnsweredStage, MessageStage>

/** The stages at which something begins. */
export type BeginningStage = { [K in StageName]: Table[K]["begins"] extends true ? K : never }[StageName]

/** Whether the stage belongs to a message. */
export const isOfMessage = (stage: StageName): boolean => stageTable[stage].part !== "session"

/** Whether the stage belongs to the content of a message. */
export const isContent = (stage: StageName): boolean => stageTable[stage].part === "content"

/** The answered stages outside messages, in order. */
export const sessionStages: ReadonlyArray<SessionStage> = answeredStages.filter((stage): stage is SessionStage =>
  !isOfMessage(stage)
)

/** Whether something begins at the stage that lasts beyond it. */
export const isBeginning = (stage: StageName): stage is BeginningStage => stageTable[stage].begins

/** The answered stages of a message, in order. */
export const messageStages: ReadonlyArray<MessageStage> = answeredStages.filter((stage): stage is MessageStage =>
  isOfMessage(stage)
)

/** The stages with a macro list, in order. */
export const macroStages: ReadonlyArray<MacroStageName> = allStages.filter((stage): stage is MacroStageName =>
  stageTable[stage].macroList !== undefined
)

/** A value for each stage with a macro list, by its name. */
export const byMacroStage = <A>(f: (stage: MacroStageName) => A): { readonly [K in MacroStageName]: A } =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys are all that there are
  Object.fromEntries(macroStages.map((stage) => [stage, f(stage)])) as { readonly [K in MacroStageName]: A }

/**
 * A stage as the engine passes it on. What the engine knows of each stage stands in arrays at the stage's number, so that on
 * a packet's way nothing is looked up by name.
 */
export interface StageRow<out K extends StageName = StageName> {
  readonly name: K
  readonly number: number
  /** Whether the stage belongs to a message. */
  readonly isOfMessage: boolean
  /** Whether it belongs to the content of a message. */
  readonly isContent: boolean
  /** The bit (NR*) with which a filter gives up its answer; 0 if it cannot. */
  readonly noReply: number
}

/** The rows for the engine, which writes `stages.mail`. */
export const stages: { readonly [K in StageName]: StageRow<K> } =
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys are all that there are
  Object.fromEntries(
    allStages.map((name) => {
      const { noReply, number } = stageTable[name]
      return [name, { name, number, isOfMessage: isOfMessage(name), isContent: isContent(name), noReply }]
    })
  ) as { readonly [K in StageName]: StageRow<K> }

/** A value for each stage, at its number. */
export const byStage = <A>(f: (stage: StageName) => A): ReadonlyArray<A> => allStages.map(f)

const byCommand: ReadonlyMap<Command, AnsweredStage> = new Map(
  answeredStages.map((stage) => [stageTable[stage].command.name, stage])
)

// By the letter of the command.
const byLetter = Array.from<StageRow<AnsweredStage> | undefined>({ length: 256 })
for (const stage of answeredStages) byLetter[stageTable[stage].command.code] = stages[stage]

/** The row of a command's stage, by the code of its letter; `undefined` if it is not a stage. */
export const rowOfCode = (code: number): StageRow<AnsweredStage> | undefined => byLetter[code]

/** The stage of a command, by the tag of its packet; `undefined` if it is not a stage. Rejected recipients come as `rcpt`. */
export const stageOf = (command: Command): AnsweredStage | undefined => byCommand.get(command)

/** The letter of the stage's command, which also names the stage in macro packets. */
export const letterOf = (stage: AnsweredStage): string => String.fromCharCode(stageTable[stage].command.code)

/** The macros of a stage that MTAs send without a request. */
export const usualMacrosOf = (stage: MacroStageName): ReadonlyArray<string> => stageTable[stage].usualMacros
