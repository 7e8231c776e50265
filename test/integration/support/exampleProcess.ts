/** Examples as people run them: processes with flags and an environment. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import { fileURLToPath } from "node:url"
import { spawn } from "../../support/childProcess.ts"
import { realTime } from "./realTime.ts"

type Environment = { readonly [name: string]: string }

const command = (name: string, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "-C",
  "effect-milter-source",
  fileURLToPath(new URL(`../../../examples/${name}/main.ts`, import.meta.url)),
  ...args
]

/** Starts an example on a free port, until the scope closes. */
export const serve = Effect.fnUntraced(function*(name: string, args: ReadonlyArray<string>, env: Environment = {}) {
  const child = yield* spawn(process.execPath, command(name, ["--listen", "inet:0", ...args]), { env })
  const [, port] = yield* realTime(child.shows(/listens on inet:(\d+)@127\.0\.0\.1/))
  return { child, milter: `inet:127.0.0.1:${port}` }
})

/** Runs it to its end. */
export const run = (
  name: string,
  args: ReadonlyArray<string>,
  options: { readonly env?: Environment; readonly input?: string } = {}
): Effect.Effect<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> =>
  Effect.callback((resume) => {
    const child = ChildProcess.spawn(process.execPath, command(name, args), { env: { ...process.env, ...options.env } })
    const output = { stdout: "", stderr: "" }
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text))
    child.on("close", (code) => resume(Effect.succeed({ code, ...output })))
    child.stdin.on("error", () => undefined)
    child.stdin.end(options.input)
    return Effect.sync(() => child.kill("SIGKILL"))
  })
