/**
 * The order of commands on one connection, as a pure state machine: which phase a session is in, and what has to happen
 * when a command arrives. Tolerant of what Postfix and Sendmail do, strict elsewhere: what does not fit is a
 * `ProtocolError`, never swallowed in silence, since the MTA might wait for an answer.
 */
import * as Data from "effect/Data"
import type * as Packet from "../Packet.ts"

export type Command = Packet.MtaPacket["_tag"]

/**
 * Where a session is. `idle` is everything between messages; from `mail` on a message is open. A message with a final
 * verdict is over, so the session is idle again.
 */
export type Phase = "new" | "idle" | "mail" | "rcpt" | "data" | "header" | "endOfHeaders" | "body"

/** What the engine does on a command, in this order. */
export type Action =
  | "negotiate"
  | "macro"
  | "abortMessage"
  | "abort"
  | "newConnection"
  | "connect"
  | "helo"
  | "mail"
  | "rcpt"
  | "data"
  | "header"
  | "endOfHeaders"
  | "body"
  | "endOfMessage"
  | "unknown"
  | "quit"

export interface Transition {
  readonly phase: Phase
  readonly actions: ReadonlyArray<Action>
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

const inMessage = (phase: Phase): boolean => phase !== "new" && phase !== "idle"

const beforeContent = ["mail", "rcpt", "data"] as const
// A filter that takes no headers, or no end of headers, sees the later stages follow at once: steps may be left out
// going forward, none may come back.
const allowedIn: Readonly<
  Record<"Rcpt" | "Data" | "Header" | "EndOfHeaders" | "Body" | "EndOfMessage", ReadonlyArray<Phase>>
> = {
  // A recipient may come after a DATA that was refused.
  Rcpt: beforeContent,
  // So may a second DATA.
  Data: beforeContent,
  Header: [...beforeContent, "header"],
  EndOfHeaders: [...beforeContent, "header"],
  Body: [...beforeContent, "header", "endOfHeaders", "body"],
  EndOfMessage: [...beforeContent, "header", "endOfHeaders", "body"]
}

const compute = (phase: Phase, command: Command): Transition | undefined => {
  if (phase === "new") {
    if (command === "Negotiate") return { phase: "idle", actions: ["negotiate"] }
    if (command === "Quit") return { phase: "new", actions: ["quit"] }
    return undefined
  }
  const abort: ReadonlyArray<Action> = inMessage(phase) ? ["abortMessage"] : []
  switch (command) {
    case "Negotiate":
      return undefined
    case "Macro":
      return { phase, actions: ["macro"] }
    case "Connect":
      return phase === "idle" ? { phase, actions: ["connect"] } : undefined
    case "Helo":
      // Postfix sends a repeated EHLO first and the abort after it.
      return { phase: "idle", actions: [...abort, "helo"] }
    case "Mail":
      return { phase: "mail", actions: [...abort, "mail"] }
    case "Unknown":
      return { phase, actions: ["unknown"] }
    case "Abort":
      // Postfix aborts after every message and at the end of the session, also when none is open.
      return { phase: "idle", actions: [...abort, "abort"] }
    case "Quit":
      return { phase: "idle", actions: ["quit"] }
    case "QuitNewConnection":
      return { phase: "idle", actions: [...abort, "newConnection"] }
    case "Rcpt":
      return step(phase, command, "rcpt", "rcpt")
    case "Data":
      return step(phase, command, "data", "data")
    case "Header":
      return step(phase, command, "header", "header")
    case "EndOfHeaders":
      return step(phase, command, "endOfHeaders", "endOfHeaders")
    case "Body":
      return step(phase, command, "body", "body")
    case "EndOfMessage":
      return step(phase, command, "idle", "endOfMessage")
  }
}

const step = (
  phase: Phase,
  command: keyof typeof allowedIn,
  next: Phase,
  action: Action
): Transition | undefined => allowedIn[command].includes(phase) ? { phase: next, actions: [action] } : undefined

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

/** Whether a message is open. */
export const hasMessage = inMessage
