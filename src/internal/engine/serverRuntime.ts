/** What all connections of a server share. */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type { Network } from "../../ClientAddress.ts"
import type { OpenFile } from "../bytes/spool.ts"
import type { Definition } from "../filter/definition.ts"
import type { FilterMonitor, Monitor } from "../observe/monitor.ts"

/** Milliseconds. */
export interface Timeouts {
  /** From the arrival of a command to its answer, before end of message. */
  readonly command: number
  /** The same for end of message. */
  readonly endOfMessage: number
  /** From its arrival to the first sign of life at end of message, and from one to the next. */
  readonly progress: number
  /** Between two commands. */
  readonly idle: number
  /** From the first byte of a frame to its last. */
  readonly frame: number
  /** For an MTA that does not take our answer. */
  readonly write: number
  /** For a hook that was interrupted to stop. */
  readonly stop: number
}

export interface Limits {
  readonly connections: number
  readonly frameLength: number
  readonly headers: number
  readonly headerBytes: number
  readonly recipients: number
  readonly bodyBytes: number
  readonly modifications: number
  readonly macros: number
  readonly macroBytes: number
  /** Commands waiting behind a running hook before reading pauses. */
  readonly queuedPackets: number
  /** What becomes of a message with too many headers or too large a body. */
  readonly tooLarge: "reject" | "pass"
}

/** Connections as the server's sweeper sees them. */
export interface Swept {
  /** Looks at its deadlines. */
  readonly tick: (now: number) => void
  /** Closes the socket, with what was written and not taken. */
  readonly destroy: () => void
}

/** A filter of the program. */
export interface Unit {
  readonly definition: Definition
  /** The services that its hooks run with. */
  readonly context: Context.Context<never>
  readonly monitor: FilterMonitor
}

export interface Program {
  /** For the log: of its filter, or of all in the sequence. */
  readonly name: string
  /** In their order; one, unless it is a sequence. */
  readonly units: ReadonlyArray<Unit>
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly timeouts: Timeouts
  readonly limits: Limits
  /** Who may connect; everybody if undefined. */
  readonly peers: Network | undefined
  readonly monitor: Monitor
  readonly openFile: OpenFile | undefined
  readonly nextId: () => string
  /** Those whose sockets are open, sessions that are over included. */
  readonly connections: Set<Swept>
  /** The server is about to stop: messages in progress end, none begins. */
  draining: boolean
}
