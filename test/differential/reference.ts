/** The filter in C: compiling it against libmilter, and running it. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import type { Variant } from "./filter.ts"

/** The filter in C cannot be compiled or started. */
export class CannotRun extends Data.TaggedError("CannotRun")<{
  readonly message: string
}> {}

/** Why the filter in C cannot be built here, or undefined. */
export const missingPrerequisite = (): string | undefined => {
  const { error, status, stderr } = ChildProcess.spawnSync("cc", ["-E", "-o", Os.devNull, "-x", "c", "-"], {
    input: "#include <libmilter/mfapi.h>\n",
    encoding: "latin1"
  })
  if (error !== undefined) return "there is no C compiler (Debian: apt-get install gcc libc6-dev libmilter-dev)"
  return status === 0
    ? undefined
    : `libmilter's headers cannot be used (Debian: apt-get install libmilter-dev libc6-dev): ${stderr.split("\n")[0]}`
}

/** A directory of its own under the system's, short enough for the path of a UNIX socket. */
export const temporaryDirectory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

/** What the compiler is told of a libmilter that scripts/buildSendmail.sh has built. */
const builtIn = (root: string): ReadonlyArray<string> => [
  "-D_FFR_MDS_NEGOTIATE",
  `-I${Path.join(root, "usr", "include")}`,
  `-L${Path.join(root, "usr", "lib")}`
]

/** Compiles filter.c into the directory and gives the program's path; with the libmilter below `root` if that is given. */
export const compile = (directory: string, root?: string): Effect.Effect<string, CannotRun> =>
  Effect.callback((resume) => {
    const source = fileURLToPath(new URL("./filter.c", import.meta.url))
    const program = Path.join(directory, "filter")
    const child = ChildProcess.execFile(
      "cc",
      [
        "-O1",
        "-Wall",
        "-Wextra",
        ...root === undefined ? [] : builtIn(root),
        "-o",
        program,
        source,
        root === undefined ? "-lmilter" : "-l:libmilter.a",
        "-lpthread"
      ],
      (error, _, stderr) =>
        resume(
          error === null
            ? Effect.succeed(program)
            : Effect.fail(new CannotRun({ message: `filter.c does not compile: ${stderr}` }))
        )
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Runs the program as this variant until the scope closes; it listens on the socket when this has succeeded. */
export const start = (
  program: string,
  socket: string,
  { actions, mode, steps }: Variant
): Effect.Effect<void, CannotRun, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.callback<ChildProcess.ChildProcess, CannotRun>((resume) => {
      // Its standard input is a pipe that closes with this process, whatever becomes of it.
      const child = ChildProcess.spawn(program, [socket, String(steps), String(actions), mode], {
        stdio: ["pipe", "pipe", "pipe"]
      })
      let complaint = ""
      child.stderr.on("data", (chunk: Buffer) => {
        complaint += chunk.toString("latin1")
      })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
      const failed = (reason: string) =>
        resume(Effect.fail(new CannotRun({ message: `${program} ${reason} ${complaint}` })))
      child.once("error", (error) => failed(error.message))
      child.once("close", (status, signal) => failed(`ended with ${String(status ?? signal)}`))
      return Effect.sync(() => child.kill("SIGKILL"))
    }),
    // smfi_main looks only every five seconds whether it should end.
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("close", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  ))
