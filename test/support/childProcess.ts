/** Processes of their own, for what concerns a whole process: signals, its exit code, what systemd gives it. */
import type { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import type * as Net from "node:net"
import { fileURLToPath } from "node:url"

/** What processes/server.ts does. */
export interface Program {
  /** A filter for each, by its name. */
  readonly servers: { readonly [name: string]: Omit<NodeMilterServer.Options, "onReload"> }
  readonly reload?: "works" | "fails"
  /** Releasing something never ends: before the servers stop, or after. */
  readonly hangs?: "first" | "last"
  readonly overrun?: boolean
  /** Without it nobody listens to SIGTERM but the library. */
  readonly runMain?: false
}

export interface Options {
  readonly env?: { readonly [name: string]: string }
  /** Descriptors that the process gets as 3, 4 and so on, with systemd's variables. */
  readonly pass?: ReadonlyArray<number>
  readonly user?: number
  /** How many descriptors it may have. */
  readonly descriptors?: number
}

/** For a busy machine; milliseconds. */
const patience = 20_000

export class Child {
  readonly process: ChildProcess.ChildProcess
  output = ""
  private ended: string | number | undefined
  private watchers: Array<() => void> = []

  constructor(child: ChildProcess.ChildProcess) {
    this.process = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text
        this.notify()
      })
    }
    child.once("close", (code, signal) => {
      this.ended = code ?? signal ?? "?"
      this.notify()
    })
  }

  private notify(): void {
    for (const watcher of this.watchers.splice(0)) watcher()
  }

  private until<A>(look: () => A | undefined): Effect.Effect<A> {
    return Effect.callback<A>((resume) => {
      const check = (): void => {
        const found = look()
        if (found === undefined) this.watchers.push(check)
        else resume(Effect.succeed(found))
      }
      check()
    })
  }

  /** Waits until all that was printed matches; dies when the process ends without it. */
  shows(pattern: RegExp): Effect.Effect<RegExpExecArray> {
    const look = (): RegExpExecArray | "never" | undefined =>
      pattern.exec(this.output) ?? (this.ended === undefined ? undefined : "never")
    return this.until(look).pipe(
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed("never" as const) }),
      Effect.flatMap((found) =>
        found === "never" ? Effect.die(new Error(`no ${pattern.source} in\n${this.output}`)) : Effect.succeed(found)
      )
    )
  }

  /** The exit code, or the signal that ended it. */
  get exit(): Effect.Effect<string | number> {
    return this.until(() => this.ended).pipe(
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.die(new Error(`runs on\n${this.output}`)) })
    )
  }

  signal(signal: NodeJS.Signals): Effect.Effect<void> {
    return Effect.sync(() => void this.process.kill(signal))
  }
}

/** Starts a program, which is killed with the scope. */
export const spawn = (command: string, args: ReadonlyArray<string>, options: Options = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { NOTIFY_SOCKET: _, ...environment } = process.env
      return new Child(ChildProcess.spawn(command, args, {
        env: { ...environment, ...options.env },
        stdio: ["ignore", "pipe", "pipe", ...options.pass ?? []],
        ...(options.user === undefined ? {} : { uid: options.user, gid: options.user })
      }))
    }),
    (child) => Effect.andThen(child.signal("SIGKILL"), child.exit)
  )

const script = fileURLToPath(new URL("./processes/server.ts", import.meta.url))

const node = (program: Program): ReadonlyArray<string> => [
  process.execPath,
  "-C",
  "effect-milter-source",
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
    ? ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...node(program)]
    : pass === undefined
    ? node(program)
    : withSockets(pass.length, node(program))
  return spawn(command!, args, options)
}

/** {@link start}, twice, the second when the first has ended; the sockets stay open all the time. */
export const startTwice = (program: Program, options: Options & { readonly pass: ReadonlyArray<number> }) =>
  Effect.acquireRelease(
    spawn("sh", ["-c", `"$@"; "$@"`, "sh", ...withSockets(options.pass.length, node(program))], options),
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
