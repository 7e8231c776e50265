/** A Redis for one test file: a port and a directory of its own, nothing kept. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { type Child, spawn } from "./childProcess.ts"
import { realTime } from "./realTime.ts"

const isInstalled = (): boolean =>
  (process.env["PATH"] ?? "").split(":").some((directory) => Fs.existsSync(Path.join(directory, "redis-server")))

/** Why there can be no Redis here, or undefined. */
export const missingPrerequisite = (): string | undefined =>
  isInstalled() ? undefined : "Redis is not installed (Debian: apt-get install --no-install-recommends redis-server)"

export const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo // it listens on TCP
    server.close(() => resume(Effect.succeed(port)))
  })
})

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-redis-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Starts one that lives as long as the scope, and waits until it answers. */
export const start = Effect.fnUntraced(function*(port: number) {
  const where = ["--port", String(port), "--bind", "127.0.0.1", "--dir", yield* directory]
  const child: Child = yield* spawn("redis-server", [...where, "--save", "", "--appendonly", "no", "--daemonize", "no"])
  yield* realTime(child.shows(/Ready to accept connections/))
  return child
})
