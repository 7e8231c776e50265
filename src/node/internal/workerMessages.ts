/**
 * What a supervisor and its workers say to each other, over the channel of node:child_process. A reload after an upgrade starts
 * workers of another version than the supervisor's, so a later version only adds to these messages.
 */
import type { Failure } from "../../internal/observe/failures.ts"
import type { Snapshot } from "../../internal/observe/mergeMetrics.ts"
import type { Status } from "../../MilterServer.ts"

/** What a worker is told with its environment. */
export interface Assignment {
  /** From 0 on; the worker that takes the place of another one has its number. */
  readonly index: number
  readonly count: number
  readonly sockets: ReadonlyArray<AssignedSocket>
}

export interface AssignedSocket {
  readonly descriptor: number
  readonly path?: string | undefined
  readonly isPassed: boolean
}

export type ToWorker =
  /** Asks for a {@link Report}. */
  | { readonly _tag: "Ask"; readonly question: number }
  /** Takes connections from now on. */
  | { readonly _tag: "Open" }
  /** Runs `onReload`. */
  | { readonly _tag: "Reload" }
  /** Takes no more connections, lets sessions go on for a while, and ends. */
  | { readonly _tag: "Retire" }
  /** Drains and ends. */
  | { readonly _tag: "Stop" }

export interface Report {
  readonly metrics: ReadonlyArray<Snapshot>
  readonly servers: ReadonlyArray<Status>
  /** The last failures of the process. */
  readonly failures: ReadonlyArray<Failure>
  readonly residentBytes: number
  readonly cpuSeconds: number
  readonly openFiles: number
}

export interface Ready {
  readonly _tag: "Ready"
  readonly addresses: ReadonlyArray<string>
  /** The version of the worker's program: after an upgrade not that of the supervisor. */
  readonly version?: string | undefined
  /** What the program wants to have printed, once for all workers. */
  readonly text: string
}

export type FromWorker =
  /** The server is built: the worker asks whether it may take connections, since one that has none is killed at a stop. */
  | { readonly _tag: "AskToOpen" }
  | Ready
  /** The files that the worker has loaded: a change of one asks for a new worker. */
  | { readonly _tag: "Loaded"; readonly files: ReadonlyArray<string> }
  | { readonly _tag: "Report"; readonly question: number; readonly report: Report }

const variable = "EFFECT_MILTER_WORKER"

/** What the service manager says to the supervisor alone: workers neither report nor take its sockets by themselves. */
const ofSupervisor = new Set([
  "LISTEN_FDNAMES",
  "LISTEN_FDS",
  "LISTEN_PID",
  "NOTIFY_SOCKET",
  "WATCHDOG_PID",
  "WATCHDOG_USEC"
])

/** The environment of a worker. */
export const environmentOf = (assignment: Assignment): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !ofSupervisor.has(name))),
  [variable]: JSON.stringify(assignment)
})

let found: Assignment | undefined

/** What this process is to do, if it is a worker. */
export const assignment = (): Assignment | undefined => {
  const text = process.env[variable]
  if (text !== undefined) {
    // Programs that a filter starts are no workers.
    delete process.env[variable]
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `environmentOf`
    if (process.send !== undefined) found = JSON.parse(text) as Assignment
  }
  return found
}
