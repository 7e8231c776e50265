/**
 * The order of commands on one connection, as a pure state machine: which phase a session is in, and what has to happen
 * when a command arrives. Tolerant of what Postfix and Sendmail do, strict elsewhere: what does not fit is a
 * `ProtocolError`, never swallowed in silence, since the MTA might wait for an answer.
 */
import * as Data from "effect/Data"
import type * as Packet from "../../Packet.ts"

export type Command = Packet.MtaPacket["_tag"]

/**
 * Where a session is. `idle` is everything between messages; from `mail` on a message is open. A message with a final
 * verdict is over, so the session is idle again.
 */
export type Phase = "new" | "idle" | "mail" | "rcpt" | "data" | "header" | "endOfHeaders" | "body"

export interface Transition {
  readonly phase: Phase
  /** Before anything else, the message that is open is over. */
  readonly endsMessage: boolean
}

/**
 * A command that the session's phase does not allow. The connection is closed, since nobody knows what the peer expects
 * now; no other session is touched.
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  readonly state: Phase
  readonly command: Command
  /** Where its frame begins, in bytes from the start of the stream. */
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

/** Whether a message is open. */
export const hasMessage = (phase: Phase): boolean => phase !== "new" && phase !== "idle"

type OfMessage = "Rcpt" | "Data" | "Header" | "EndOfHeaders" | "Body" | "EndOfMessage"

const beforeContent = ["mail", "rcpt", "data"] as const

// A filter that takes no headers, or no end of headers, sees the later stages follow at once: steps may be left out
// going forward, none may come back.
const allowedIn: Readonly<Record<OfMessage, ReadonlyArray<Phase>>> = {
  // A recipient may come after a DATA that was refused.
  Rcpt: beforeContent,
  // So may a second DATA.
  Data: beforeContent,
  Header: [...beforeContent, "header"],
  EndOfHeaders: [...beforeContent, "header"],
  Body: [...beforeContent, "header", "endOfHeaders", "body"],
  EndOfMessage: [...beforeContent, "header", "endOfHeaders", "body"]
}

const leadsTo: Readonly<Record<OfMessage, Phase>> = {
  Rcpt: "rcpt",
  Data: "data",
  Header: "header",
  EndOfHeaders: "endOfHeaders",
  Body: "body",
  EndOfMessage: "idle"
}

const compute = (phase: Phase, command: Command): Transition | undefined => {
  if (phase === "new") {
    if (command === "Negotiate") return { phase: "idle", endsMessage: false }
    return command === "Quit" ? { phase, endsMessage: false } : undefined
  }
  switch (command) {
    case "Negotiate":
      return undefined
    case "Macro":
    case "Unknown":
      return { phase, endsMessage: false }
    case "Connect":
      return phase === "idle" ? { phase, endsMessage: false } : undefined
    // Postfix sends a repeated EHLO first and the abort after it. It aborts after every message and at the end of the session,
    // also when none is open.
    case "Helo":
    case "Abort":
    case "QuitNewConnection":
      return { phase: "idle", endsMessage: hasMessage(phase) }
    case "Mail":
      return { phase: "mail", endsMessage: hasMessage(phase) }
    // What is open then ends with the connection.
    case "Quit":
      return { phase: "idle", endsMessage: false }
    default:
      return allowedIn[command].includes(phase) ? { phase: leadsTo[command], endsMessage: false } : undefined
  }
}

// Computed once for each pair: the way of a packet allocates nothing.
const table = new Map<Phase, Map<Command, Transition>>()

/** What happens when `command` arrives in `phase`; `undefined` is a violation. */
export const transition = (phase: Phase, command: Command): Transition | undefined => {
  let row = table.get(phase)
  if (row === undefined) table.set(phase, row = new Map())
  let found = row.get(command)
  if (found === undefined) {
    found = compute(phase, command)
    if (found !== undefined) row.set(command, found)
  }
  return found
}
