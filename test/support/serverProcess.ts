/** The library's server in a process of its own: signals, exit codes, and the sockets that systemd passes. */
import type { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import { fileURLToPath } from "node:url"
import * as ChildProcess from "../../testbed/childProcess.ts"

/** What processes/server.ts does. */
export interface Program {
  /** A filter for each, by its name. */
  readonly servers: { readonly [name: string]: Omit<NodeMilterServer.Options, "onReload"> }
  readonly reload?: "works" | "fails"
  /** Releasing something never ends: before the servers stop, or after. */
  readonly hangs?: "first" | "last"
  readonly overrun?: boolean
  /** It waits for something, and never listens. */
  readonly waits?: boolean
  /** On SIGUSR2 a promise is rejected, and nobody handles that. */
  readonly floats?: boolean
  /** Without it nobody listens to SIGTERM but the library. */
  readonly runMain?: false
}

export interface Options extends ChildProcess.Options {
  /** How many descriptors it may have. */
  readonly descriptors?: number
  /** What runs it; Node if not given. */
  readonly runtime?: ReadonlyArray<string>
}

const script = fileURLToPath(new URL("./processes/server.ts", import.meta.url))

const node = [process.execPath, "-C", "effect-milter-source"]

const commandOf = (program: Program, { runtime = node }: Options): ReadonlyArray<string> => [
  ...runtime,
  script,
  JSON.stringify(program)
]

/** A process must know its own number, as it does from systemd; exec keeps it. */
const withSockets = (count: number, command: ReadonlyArray<string>): ReadonlyArray<string> => [
  "sh",
  "-c",
  `LISTEN_PID=$$ LISTEN_FDS=${count} exec "$@"`,
  "sh",
  ...command
]

/** Starts processes/server.ts. */
export const start = (program: Program, options: Options = {}) => {
  const { descriptors, pass } = options
  const [command, ...args] = descriptors !== undefined
    ? ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...commandOf(program, options)]
    : pass === undefined
    ? commandOf(program, options)
    : withSockets(pass.length, commandOf(program, options))
  return ChildProcess.spawn(command!, args, options)
}

/** {@link start}, twice, the second when the first has ended; the sockets stay open all the time. */
export const startTwice = (program: Program, options: Options & { readonly pass: ReadonlyArray<number> }) =>
  Effect.acquireRelease(
    ChildProcess.spawn("sh", [
      "-c",
      `"$@"; "$@"`,
      "sh",
      ...withSockets(options.pass.length, commandOf(program, options))
    ], options),
    ({ output }) =>
      Effect.sync(() => {
        for (const [, pid] of output.matchAll(/process (\d+)/g)) stop(Number(pid))
      })
  )

const stop = (pid: number): void => {
  try {
    process.kill(pid)
  } catch {
    // It has ended.
  }
}

/** {@link start}, when all its servers listen. */
export const listening = Effect.fnUntraced(function*(program: Program, options: Options = {}) {
  const child = yield* start(program, options)
  for (const name of Object.keys(program.servers)) yield* child.shows(new RegExp(` ${name} listens on `))
  return child
})

/** The descriptor of a listening server, to pass. */
export const descriptorOf = (server: Net.Server): number =>
  // Node does not say; systemd would have made the socket itself.
  (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd
