/** Examples as people run them: processes with flags and an environment. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import { type Child, spawn } from "../../../testbed/childProcess.ts"
import { realTime } from "../../../testbed/realTime.ts"
import * as FilterServer from "./filterServer.ts"

type Environment = { readonly [name: string]: string }

const pathOf = (file: string): string => fileURLToPath(new URL(`../../../examples/${file}`, import.meta.url))

const command = (name: string, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "-C",
  "effect-milter-source",
  pathOf(`${name}/main.ts`),
  ...args
]

/** A filter that runs: its address as the examples and Sendmail write it, and as Postfix does. */
export interface Served {
  readonly child: Child
  readonly address: string
  readonly milter: string
}

const started = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: Environment) {
  const child = yield* spawn(process.execPath, args, { env })
  const [, address] = yield* child.shows(/ listens on ([^\s"]+)/)
  const served: Served = { child, address: address!, milter: FilterServer.forPostfix(address!) }
  return served
}, realTime)

/** Starts an example on a free port, until the scope closes. */
export const serve = (name: string, args: ReadonlyArray<string>, env: Environment = {}) =>
  started(command(name, ["--listen", "inet:0", ...args]), env)

/** The same as `npm run example -- NAME ARGS` does it; the arguments may say where to listen. */
export const serveByName = (name: string, args: ReadonlyArray<string> = [], env: Environment = {}) =>
  started(["-C", "effect-milter-source", pathOf("run.ts"), name, ...args], { MILTER_LISTEN: "inet:0", ...env })

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

/** What debug_log_all has logged. */
export const eventsIn = (output: string) =>
  [...output.matchAll(/: (\w+) (\{.*\}) macros (\{.*\}) \{/g)].map(
    ([, name, details, macros]) => ({ name, details: JSON.parse(details!), macros: JSON.parse(macros!) })
  )

/** What json_log has written to a file, once there are as many lines; none if there never are. */
export const linesOf = Effect.fnUntraced(function*(log: string, count: number) {
  for (let turn = 0; turn < 500; turn++) {
    const found = Fs.readFileSync(log, "utf8").split("\n").slice(0, -1)
    if (found.length >= count) return found.map((line) => JSON.parse(line))
    yield* Effect.sleep(10)
  }
  return []
}, realTime)
