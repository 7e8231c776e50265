/** The library's server in several processes. */
import type { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as ChildProcess from "../../testbed/childProcess.ts"
import * as Listeners from "./listeners.ts"

/** What processes/workers.ts does. */
export interface Program extends Omit<NodeMilterServer.WorkersOptions, "onReload"> {
  /** What the filter answers; `broken` ends a process that starts, `late` does so after a second, `slow` is never done with its start. */
  readonly file: string
  readonly maxConnections?: number
  readonly maxSilentConnections?: number
  readonly drainTimeout?: `${number} millis`
}

const script = fileURLToPath(new URL("./processes/workers.ts", import.meta.url))

/** A place for a socket, for pages and for the file of a program. */
export const place = Effect.map(Listeners.directory, (directory) => {
  const file = Path.join(directory, "name")
  Fs.writeFileSync(file, "first")
  return { directory, file, http: `unix:${directory}/http.sock`, listen: `unix:${directory}/filter.sock` }
})

export interface Options extends ChildProcess.Options {
  /** What runs it; Node if not given. */
  readonly runtime?: ReadonlyArray<string>
}

const node = [process.execPath, "-C", "effect-milter-source"]

const command = (program: Program, { runtime = node }: Options): ReadonlyArray<string> => [
  ...runtime,
  script,
  // Tests may hand over a whole `place`.
  JSON.stringify({ ...program, directory: undefined })
]

/** Changes what the file of a program says, at once: a process that starts in the meantime never reads half of it. */
export const become = (file: string, name: string): void => {
  Fs.writeFileSync(`${file}.new`, name)
  Fs.renameSync(`${file}.new`, file)
}

/** Starts processes/workers.ts. The sockets of `pass` come as systemd passes them. */
export const start = (program: Program, options: Options = {}) => {
  const [first, ...rest] = options.pass === undefined
    ? command(program, options)
    : ["sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=${options.pass.length} exec "$@"`, "sh", ...command(program, options)]
  return ChildProcess.spawn(first!, rest, options)
}
