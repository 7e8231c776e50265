/** What all connections of a server share. */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type { Network } from "../../ClientAddress.ts"
import type { OpenFile } from "../bytes/spool.ts"
import type { Definition } from "../filter/definition.ts"
import type { FilterMonitor, Monitor } from "../observe/monitor.ts"
import type { Visible } from "../protocol/macroStore.ts"
import type { OpenConnections } from "./openConnections.ts"
import type { StageHooks } from "./stageHooks.ts"

/** Milliseconds. */
export interface ServerTimeouts {
  /** From the arrival of a command to its answer, before end of message. */
  readonly command: number
  /** The same for end of message. */
  readonly endOfMessage: number
  /** From the arrival of end of message to the first sign of life, and from one to the next. */
  readonly progress: number
  /** From the arrival of a connection to its negotiation. */
  readonly negotiation: number
  /** Between two commands. */
  readonly idle: number
  /** From the first byte of a frame to its last. */
  readonly frame: number
  /** How long an MTA may take to read an answer. */
  readonly write: number
  /** How long a hook may take to stop after its interruption. */
  readonly stop: number
}

export interface Limits {
  readonly connections: number
  /** Connections before their negotiation. */
  readonly silentConnections: number
  readonly frameLength: number
  readonly headers: number
  readonly headerBytes: number
  readonly recipients: number
  readonly bodyBytes: number
  readonly modifications: number
  readonly macros: number
  readonly macroBytes: number
  /** Commands that may wait for a running hook before reading pauses. */
  readonly queuedPackets: number
  /** What becomes of a message with too many headers or too large a body. */
  readonly tooLarge: "reject" | "pass"
}

/** A filter of the program. */
export interface Unit {
  readonly definition: Definition
  readonly hooks: StageHooks
  /** The macros that it may see where other filters have asked for more; all if undefined. */
  readonly visible: Visible | undefined
  /** The services that its hooks run with. */
  readonly context: Context.Context<never>
  readonly monitor: FilterMonitor
}

export interface Program {
  /** For the log: the name of the filter, or the names of all in the sequence. */
  readonly name: string
  /** In their order; one, unless it is a sequence. */
  readonly units: ReadonlyArray<Unit>
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly timeouts: ServerTimeouts
  readonly limits: Limits
  /** Who may connect; everybody if undefined. */
  readonly peers: Network | undefined
  readonly monitor: Monitor
  readonly openFile: OpenFile | undefined
  /** Whether the bytes of a command are overwritten once it has been handled. */
  readonly overwrites: boolean
  readonly nextId: () => string
  /** The connections whose sockets are open, even if their sessions are over. */
  readonly connections: OpenConnections
  /** The server is about to stop: messages in progress end, none begins. */
  draining: boolean
}
