/**
 * The order of commands on one connection, as a pure state machine: the phase of a session, and what must happen when a
 * command arrives. It tolerates what Postfix and Sendmail do, and is strict elsewhere: any other order is a `ProtocolError`. No
 * command is silently ignored, since the MTA might wait for an answer.
 *
 *     new ── Negotiate ──> idle ── Mail ──> mail ──> rcpt, data ──> header ──> endOfHeaders ──> body ── EndOfMessage ──> idle
 *
 * Rcpt and Data come in any order and number, Header and Body any number of times, and each stage may be left out going
 * forward. Mail, Helo, Abort and QuitNewConnection end the message that is open, from wherever it is.
 */
import * as Data from "effect/Data"
import * as Packet from "../../Packet.ts"
import { isContent, type MessageStage, messageStages, stageTable } from "./stageTable.ts"

export type Command = Packet.MtaPacket["_tag"]

/**
 * `idle` is everything between messages; from `mail` on a message is open, and the name is that of its latest stage. A message
 * with a final verdict is over, so the session is idle again.
 */
export type PhaseName = "new" | "idle" | Exclude<MessageStage, "endOfMessage">

/** The phase of a session. There is one object for each name. */
export interface Phase {
  readonly name: PhaseName
  /** Dense, from 0. */
  readonly number: number
  /** Whether a message is open. */
  readonly hasMessage: boolean
}

export interface Transition {
  readonly phase: Phase
  /** The command first ends the open message. */
  readonly endsMessage: boolean
}

/**
 * A command that the session's phase does not allow. The connection is closed, since the state of the peer is unknown. No other
 * session is affected.
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  readonly state: PhaseName
  readonly command: Command
  /** The start of its frame, in bytes from the start of the stream. */
  readonly offset: number
}> {
  override get message(): string {
    const what = this.state === "new"
      ? `${this.command} before the negotiation`
      : this.command === "Negotiate"
      ? "a second negotiation"
      : `${this.command} out of order, after ${this.state},`
    return `${what} at byte ${this.offset}`
  }
}

const isOpen = (stage: MessageStage): stage is Exclude<MessageStage, "endOfMessage"> => stage !== "endOfMessage"

const openStages = messageStages.filter(isOpen)

/** All phases, by number. */
export const phases: ReadonlyArray<Phase> = (["new", "idle", ...openStages] as const).map((name, number) => ({
  name,
  number,
  hasMessage: name !== "new" && name !== "idle"
}))

const named = (name: PhaseName): Phase => phases.find((phase) => phase.name === name)!

/** Before the negotiation. */
export const initial: Phase = named("new")

const idle = named("idle")
const mail = named("mail")

/**
 * A filter that takes no headers, or no end of headers, sees the later stages follow at once: stages may be left out going
 * forward, none may come back. Only headers and pieces of the body repeat. Recipients may follow a DATA that was refused, and so
 * may another DATA.
 */
const follows = (stage: MessageStage, { name }: Phase): boolean => {
  if (name === "new" || name === "idle") return false
  if (!isContent(name)) return true
  if (!isContent(stage)) return false
  const ahead = stageTable[stage].number - stageTable[name].number
  return ahead > 0 || (ahead === 0 && (stage === "header" || stage === "body"))
}

const compute = (phase: Phase, command: Command): Transition | undefined => {
  if (phase === initial) {
    if (command === "Negotiate") return { phase: idle, endsMessage: false }
    return command === "Quit" ? { phase, endsMessage: false } : undefined
  }
  switch (command) {
    case "Negotiate":
      return undefined
    case "Macro":
    case "Unknown":
      return { phase, endsMessage: false }
    case "Connect":
      return phase === idle ? { phase, endsMessage: false } : undefined
    // Postfix sends a repeated EHLO first and the abort after it. It aborts after every message and at the end of the session,
    // also when none is open.
    case "Helo":
    case "Abort":
    case "QuitNewConnection":
      return { phase: idle, endsMessage: phase.hasMessage }
    case "Mail":
      return { phase: mail, endsMessage: phase.hasMessage }
    // An open message ends with the connection.
    case "Quit":
      return { phase: idle, endsMessage: false }
    case "EndOfMessage":
      return follows("endOfMessage", phase) ? { phase: idle, endsMessage: false } : undefined
    default: {
      const stage = openStages.find((stage) => stageTable[stage].command.name === command)
      return stage !== undefined && follows(stage, phase) ? { phase: named(stage), endsMessage: false } : undefined
    }
  }
}

const codes = 256

// One array for all pairs: handling a packet needs no lookup by name and no allocation.
const table = Array.from<Transition | undefined>({ length: phases.length * codes })
for (const phase of phases) {
  for (const { code, name } of Packet.mtaDefinitions) table[phase.number * codes + code] = compute(phase, name)
}

/** What happens when the command with this code byte arrives in `phase`; `undefined` is a violation. */
export const transition = (phase: Phase, code: number): Transition | undefined => table[phase.number * codes + code]
