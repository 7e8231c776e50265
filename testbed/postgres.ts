/** A PostgreSQL for one test file: a cluster of its own in a temporary directory, reached by a UNIX socket there. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Child, spawn } from "./childProcess.ts"
import { makeDirectory, type MtaError, run } from "./mta.ts"
import { realTime } from "./realTime.ts"

const root = "/usr/lib/postgresql"

/** Where Debian has the programs of the newest version that is installed. */
const programs = (): string | undefined =>
  (Fs.existsSync(root) ? Fs.readdirSync(root) : [])
    .toSorted((left, right) => Number(right) - Number(left))
    .map((version) => Path.join(root, version, "bin"))
    .find((directory) => Fs.existsSync(Path.join(directory, "initdb")))

/** Why there can be no PostgreSQL here, or undefined. */
export const missingPrerequisite = (): string | undefined =>
  programs() === undefined
    ? "PostgreSQL is not installed (Debian: apt-get install --no-install-recommends postgresql)"
    : undefined

export interface Server {
  /** Makes a database, and gives its address. */
  readonly database: (name: string) => Effect.Effect<string, MtaError>
  /** Ends it at once, with all connections. */
  readonly stop: Effect.Effect<void>
  /** Starts it again. */
  readonly start: Effect.Effect<void>
  /** Runs SQL in a database, and gives what psql prints: columns with `|` between. */
  readonly query: (database: string, sql: string) => Effect.Effect<string, MtaError>
}

/** Starts one that lives as long as the scope. PostgreSQL does not run as root: root becomes its user. */
export const make = Effect.gen(function*() {
  const bin = programs()!
  const isRoot = process.getuid?.() === 0
  const prefix = isRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : []
  const as = (program: string, ...args: ReadonlyArray<string>) => {
    const [command, ...all] = [...prefix, Path.join(bin, program), ...args]
    return [command!, all] as const
  }

  const directory = yield* Effect.acquireRelease(
    makeDirectory("effect-milter-postgres-"),
    (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
  )
  if (isRoot) yield* run("chown", ["postgres", directory])
  const data = Path.join(directory, "data")
  yield* run(...as("initdb", "-D", data, "-U", "milter", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"))

  const scope = yield* Effect.scope
  let running: Child | undefined
  const start = Effect.gen(function*() {
    const settings = ["listen_addresses=", `unix_socket_directories=${directory}`, "fsync=off"]
    const child = yield* spawn(...as("postgres", "-D", data, ...settings.flatMap((each) => ["-c", each])))
    yield* realTime(child.shows(/database system is ready to accept connections/))
    running = child
  }).pipe(Scope.provide(scope))
  // Fast, as it calls that: connections are ended, and so are its processes.
  const stop = Effect.suspend(() => {
    const child = running
    running = undefined
    return child === undefined ? Effect.void : Effect.andThen(child.signal("SIGINT"), realTime(child.exit))
  })
  yield* start
  yield* Effect.addFinalizer(() => stop)

  const query = (database: string, sql: string) =>
    Effect.map(
      run(...as("psql", "-h", directory, "-U", "milter", "-d", database, "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql)),
      ({ stdout }) => stdout.toString().trim()
    )
  const database = (name: string) =>
    Effect.as(
      query("postgres", `CREATE DATABASE "${name}"`),
      `postgres:///${name}?${new URLSearchParams({ host: directory, user: "milter" }).toString()}`
    )

  const server: Server = { database, query, stop, start }
  return server
})
