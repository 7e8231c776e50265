/**
 * Starts milters that others wrote, each for one test file: with the least configuration that makes it work without a network,
 * on a UNIX socket in a directory of its own, in the foreground. Nothing is shared with what the machine may run.
 *
 * All waits are in real time: these are processes.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { describeWith } from "./prerequisite.ts"
import { realTime } from "./realTime.ts"
import { forEvent } from "./timeLimits.ts"

/** It does not start; with what it printed. */
export class DaemonError extends Data.TaggedError("DaemonError")<{ readonly message: string }> {}

/** One process. */
export interface Program {
  readonly command: string
  readonly args: ReadonlyArray<string>
  /** It is ready when somebody listens here. */
  readonly socket: string
  readonly env?: { readonly [name: string]: string }
}

// Daemons are in sbin, which is not on everybody's path.
const path = [...(process.env["PATH"] ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"]

const find = (command: string): string | undefined =>
  path.map((directory) => Path.join(directory, command)).find((file) => Fs.existsSync(file))

/** Where a set of daemons comes from: programs that must be there, and the Debian packages that have them. */
export interface Prerequisites {
  readonly commands: ReadonlyArray<string>
  readonly packages: string
  /** Accounts that they drop to, which only root can do. */
  readonly root?: boolean
}

/** Why they cannot run here, or undefined. */
export const missing = ({ commands, packages, root = false }: Prerequisites): string | undefined => {
  const absent = commands.filter((command) => find(command) === undefined)
  if (absent.length > 0) return `there is no ${absent.join(" and no ")} (Debian: apt-get install ${packages})`
  return root && process.getuid?.() !== 0 ? `${commands.join(" and ")} have to be started by root` : undefined
}

/** `describe` for what needs them: skipped with a word where they are missing, failed in continuous integration. */
export const describeDaemon = (name: string, prerequisites: Prerequisites, suite: () => void): void =>
  describeWith(missing(prerequisites), name, suite)

/** A directory for configuration and sockets. Others may enter: some daemons change to an account of their own. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const path = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-"))
    Fs.chmodSync(path, 0o755)
    return path
  }),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Writes a file and gives its path. */
export const write = (directory: string, name: string, text: string, mode = 0o644): string => {
  const file = Path.join(directory, name)
  Fs.writeFileSync(file, text, { mode })
  return file
}

const isListening = (socket: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const connection = Net.connect(socket)
    const over = (listening: boolean): void => {
      connection.destroy()
      resume(Effect.succeed(listening))
    }
    connection.once("connect", () => over(true))
    connection.once("error", () => over(false))
    return Effect.sync(() => void connection.destroy())
  })

const pause = realTime(Effect.sleep(30))

// The whole group: some fork workers, and a killed parent would leave them.
const signal = ({ pid }: ChildProcess.ChildProcess, name: NodeJS.Signals): void => {
  try {
    if (pid !== undefined) process.kill(-pid, name)
  } catch {
    // They have ended.
  }
}

const ended = (child: ChildProcess.ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Starts one and waits until it listens; it is killed with the scope. */
export const start = Effect.fnUntraced(function*(program: Program) {
  const command = find(program.command) ?? program.command
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = ChildProcess.spawn(command, program.args, {
        detached: true,
        env: { ...process.env, PATH: path.join(":"), ...program.env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          output += text
        })
      }
      child.once("error", (error) => {
        output += error.message
      })
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        // libmilter takes seconds to end by itself, and nothing here is worth keeping.
        signal(child, "SIGKILL")
        if (child.pid === undefined || ended(child)) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
      })
  )
  const started = performance.now()
  while (!(yield* isListening(program.socket))) {
    const why = child.pid === undefined || ended(child)
      ? "has ended"
      : performance.now() - started > forEvent
      ? "does not listen"
      : undefined
    if (why !== undefined) return yield* new DaemonError({ message: `${program.command} ${why}:\n${output}` })
    yield* pause
  }
})
