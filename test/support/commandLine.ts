/** Runs the program `effect-milter` in processes of its own. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import { fileURLToPath } from "node:url"

export const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

export const command = (
  args: ReadonlyArray<string>
): ReadonlyArray<string> => ["-C", "effect-milter-source", main, ...args]

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const { FORCE_COLOR: _, ...inherited } = process.env
const environment = { ...inherited, NO_COLOR: "1" }

export const runWith = (
  options: { readonly stdin?: string; readonly env?: NodeJS.ProcessEnv },
  ...args: ReadonlyArray<string>
) =>
  Effect.callback<Ran>((resume) => {
    const child = ChildProcess.execFile(
      process.execPath,
      command(args),
      { encoding: "utf8", env: { ...environment, ...options.env } },
      (_, stdout, stderr) => resume(Effect.succeed({ code: child.exitCode, stdout, stderr }))
    )
    child.stdin?.end(options.stdin ?? "")
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

export const run = (...args: ReadonlyArray<string>) => runWith({}, ...args)

const driver = fileURLToPath(new URL("processes/cli.ts", import.meta.url))

/** Several command lines in one process. */
export const runAll = (commands: ReadonlyArray<ReadonlyArray<string>>) =>
  Effect.callback<ReadonlyArray<Ran>>((resume) => {
    const child = ChildProcess.execFile(
      process.execPath,
      ["-C", "effect-milter-source", driver, JSON.stringify(commands)],
      { encoding: "utf8", env: environment },
      (error, stdout) => resume(error === null ? Effect.succeed(JSON.parse(stdout)) : Effect.die(error))
    )
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

/** It could not do it, and says so in one line on standard error and nowhere else. */
export const complains = ({ code, stderr, stdout }: Ran, line: RegExp): void => {
  assert.match(stderr, /^effect-milter: .*\n$/)
  assert.match(stderr, line)
  assert.strictEqual(stdout, "")
  assert.strictEqual(code, 1)
}
