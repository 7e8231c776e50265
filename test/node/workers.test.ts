/** A server in several processes: how they start, die, are replaced and stop, and what the supervisor shows of them. */
import { assert, describe, it } from "@effect/vitest"
import * as MilterClient from "effect-milter/MilterClient"
import { NodeMilterClient } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Path from "node:path"
import type { Child } from "../../testbed/childProcess.ts"
import { forEvent } from "../../testbed/timeLimits.ts"
import * as Listeners from "../support/listeners.ts"
import { descriptorOf } from "../support/serverProcess.ts"
import { become, place, type Program, start } from "../support/workersProcess.ts"

interface Page {
  readonly status: number
  readonly body: string
}

/** A page of a supervisor. */
const page = (http: string, path: string) =>
  Effect.callback<Page, Error>((resume) => {
    const request = Http.get({ socketPath: http.replace("unix:", ""), path }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text
      })
      response.once("end", () => resume(Effect.succeed({ status: response.statusCode!, body })))
    })
    request.once("error", (error) => resume(Effect.fail(error)))
  })

interface WorkerStatus {
  readonly residentBytes: number
  readonly cpuSeconds: number
  readonly worker: number
  readonly pid: number
  readonly leaves: boolean
  readonly servers: ReadonlyArray<{ readonly sessions: number; readonly state: string }>
}

const statusOf = (http: string) =>
  Effect.map(
    page(http, "/status"),
    (
      { body }
    ): {
      readonly started: string
      readonly generation: number
      readonly workers: ReadonlyArray<WorkerStatus>
      readonly failures: ReadonlyArray<{ readonly time: string; readonly filter: string; readonly error: string }>
    } => JSON.parse(body)
  )

/** Looks until something is so. */
const until = <A, E, R>(look: Effect.Effect<A, E, R>, isSo: (found: A) => boolean) =>
  look.pipe(
    Effect.flatMap((found) => isSo(found) ? Effect.succeed(found) : Effect.fail(found)),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout(forEvent),
    Effect.orDie
  )

/** Waits until all workers take connections. */
const ready = (http: string, child: Child) =>
  Effect.raceFirst(
    until(page(http, "/ready"), ({ status }) => status === 200),
    Effect.andThen(child.exit, Effect.suspend(() => Effect.die(new Error(child.output))))
  )

const started = Effect.fnUntraced(function*(program: Partial<Program> = {}) {
  const where = yield* place
  const child = yield* start({ workers: 2, ...where, ...program })
  yield* ready(where.http, child)
  return { ...where, child }
})

/** A session that has got to HELO. */
const session = Effect.fnUntraced(function*(address: string) {
  // A worker may still have to start.
  const filter = yield* MilterClient.dial(address, { timeouts: { connect: forEvent, command: forEvent } })
  yield* filter.negotiate()
  yield* filter.connect({ hostname: "client.example.org", address: "192.0.2.1" })
  yield* filter.helo("client.example.org")
  return filter
}, Effect.provide(NodeMilterClient.layer))

const textOf = (answer: { readonly _tag: string; readonly lines?: ReadonlyArray<string> }): string =>
  answer.lines?.join(" ") ?? answer._tag

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // A zombie has ended, and only waits for its parent to notice.
    return !/^State:\s+Z/m.test(Fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const valueOf = (metrics: string, name: string): number =>
  Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(metrics)?.[1])

describe("workers", () => {
  it.live("serve the same sockets; one that dies is started again, and its counters stay", () =>
    Effect.gen(function*() {
      const { child, directory, file, http, listen } = yield* started()
      assert.deepStrictEqual(Fs.readdirSync(directory).toSorted(), ["filter.sock", "http.sock", "name"])
      assert.strictEqual(Fs.statSync(Path.join(directory, "filter.sock")).mode & 0o777, 0o660)
      for (let asked = 0; asked < 20; asked++) assert.strictEqual(yield* Listeners.ask(listen), "first")
      const sessions = (count: number) =>
        until(
          page(http, "/metrics"),
          ({ body }) => valueOf(body, "milter_sessions_total") === count && valueOf(body, "milter_sessions_open") === 0
        )
      const before = yield* sessions(20)
      for (const worker of [1, 2]) {
        assert.isAbove(valueOf(before.body, `process_resident_memory_bytes\\{worker="${worker}"\\}`), 1_000_000)
      }

      const { started: since, workers } = yield* statusOf(http)
      assert.match(since, /^\d{4}-\d\d-\d\dT/)
      const pids = workers.map(({ pid }) => pid)
      become(file, "broken")
      for (const pid of pids) process.kill(pid, "SIGKILL")
      yield* child.shows(/worker \d \(process \d+\) has ended \(SIGKILL\); another one starts in 200 ms/)
      yield* child.shows(/a worker could not be started again/)
      assert.strictEqual((yield* page(http, "/ready")).status, 503)
      // Nobody is left to accept: what comes in waits in the socket's queue.
      const waiting = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const filter = yield* session(listen)
        const answer = textOf(yield* filter.mail("<a@example.org>"))
        yield* filter.quit()
        return answer
      })))
      become(file, "first")
      assert.strictEqual(yield* Fiber.join(waiting), "first")
      yield* ready(http, child)
      yield* sessions(21)
      for (const { pid } of (yield* statusOf(http)).workers) assert.notInclude(pids, pid)

      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.deepStrictEqual(Fs.readdirSync(directory), ["name"])
    }))

  it.live("take no connection before their filter can: one that does not start drops none", () =>
    Effect.gen(function*() {
      const { child, file, http, listen } = yield* started()
      const { workers } = yield* statusOf(http)
      become(file, "late")
      for (const { pid } of workers) process.kill(pid, "SIGKILL")
      yield* child.shows(/(?:has ended \(SIGKILL\)[^]*){2}/)
      const waiting = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        const filter = yield* session(listen)
        return textOf(yield* filter.mail("<a@example.org>"))
      })))
      yield* child.shows(/(?:a worker could not be started again[^]*){2}/)
      become(file, "first")
      assert.strictEqual(yield* Fiber.join(waiting), "first")
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("are replaced at SIGHUP and SIGUSR1, and no session is dropped", () =>
    Effect.gen(function*() {
      const { child, file, http, listen } = yield* started()
      const old = (yield* statusOf(http)).workers.map(({ pid }) => pid)
      const scope = yield* Scope.make()
      const filter = yield* Scope.provide(session(listen), scope)

      become(file, "second")
      yield* child.signal("SIGHUP")
      yield* child.shows(/reloads[^]*the workers have been replaced/)
      assert.strictEqual(yield* Listeners.ask(listen), "second")
      const { generation, workers } = yield* statusOf(http)
      assert.strictEqual(generation, 2)
      assert.lengthOf(workers.filter(({ leaves }) => !leaves), 2)
      // Each process has its own, also where an old and a new one have the same number.
      const leaving = workers.filter(({ leaves }) => leaves)
      assert.isNotEmpty(leaving)
      for (const { cpuSeconds, residentBytes } of workers) {
        assert.isAbove(residentBytes, 1_000_000)
        assert.isAbove(cpuSeconds, 0)
      }
      const memory = workers.map(({ residentBytes }) => residentBytes)
      assert.isBelow(Math.max(...memory), 1.7 * Math.min(...memory))
      // The session began with the old program, and ends with it.
      assert.strictEqual(textOf(yield* filter.mail("<a@example.org>")), "first")
      assert.isTrue(old.some(isAlive))
      yield* filter.quit()
      yield* Scope.close(scope, Exit.void)
      yield* until(Effect.sync(() => old.some(isAlive)), (alive) => !alive)

      become(file, "broken")
      yield* child.signal("SIGUSR1")
      yield* child.shows(/the program is broken[^]*the reload failed, the old workers stay.*worker 1 ended before/)
      assert.strictEqual(yield* Listeners.ask(listen), "second")
      assert.strictEqual((yield* page(http, "/ready")).status, 200)
      assert.notInclude(child.output, "Debugger listening")
      yield* child.signal("SIGINT")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("show their last failures, those of workers that have gone as well", () =>
    Effect.gen(function*() {
      const { child, file, http, listen } = yield* started()
      const send = (hex: string) =>
        Effect.callback<void>((resume) => {
          const socket = Net.connect(listen.replace("unix:", ""), () => socket.write(Buffer.from(hex, "hex")))
          socket.resume().on("error", () => undefined).once("close", () => resume(Effect.void))
        })
      for (const hex of ["00000000", "ffffffff"]) yield* send(hex)
      const failures = (count: number) => until(statusOf(http), ({ failures }) => failures.length === count)
      const before = (yield* failures(2)).failures
      for (const { error, filter, time } of before) {
        assert.match(time, /^\d{4}-\d\d-\d\dT/)
        assert.strictEqual(filter, "first")
        assert.match(error, /^\w+Error: /)
      }
      assert.isTrue(before[0]!.time <= before[1]!.time)
      const old = (yield* statusOf(http)).workers.map(({ pid }) => pid)
      assert.notProperty((yield* statusOf(http)).workers[0]!.servers[0], "failures")

      become(file, "second")
      yield* child.signal("SIGHUP")
      yield* until(Effect.sync(() => old.some(isAlive)), (alive) => !alive)
      assert.deepStrictEqual((yield* failures(2)).failures, before)
      yield* send("00000000")
      const after = (yield* failures(3)).failures
      assert.deepStrictEqual(after.map(({ filter }) => filter), ["first", "first", "second"])
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("drain together: not ready, but with metrics to the end", () =>
    Effect.gen(function*() {
      const { child, http, listen } = yield* started()
      const scope = yield* Scope.make()
      const filter = yield* Scope.provide(session(listen), scope)
      yield* child.signal("SIGTERM")
      yield* until(page(http, "/ready"), ({ status }) => status === 503)
      assert.isFalse(Fs.existsSync(listen.replace("unix:", "")))
      assert.strictEqual((yield* page(http, "/live")).status, 200)
      yield* child.shows(/stops when its open connections have ended \(1\)/)
      const { body } = yield* until(page(http, "/metrics"), ({ body }) => valueOf(body, "milter_sessions_open") === 1)
      assert.strictEqual(valueOf(body, "milter_sessions_total"), 1)
      yield* filter.quit()
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("that cut sessions off make the exit code 1", () =>
    Effect.gen(function*() {
      const { child, listen } = yield* started({ drainTimeout: "100 millis" })
      yield* session(listen)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /interrupts what is left/)
    }))

  it.live("end at once at the second signal, and by themselves without a supervisor", () =>
    Effect.gen(function*() {
      for (const signal of ["SIGTERM", "SIGKILL"] as const) {
        const { child, http, listen } = yield* started()
        const { workers } = yield* statusOf(http)
        if (signal === "SIGTERM") {
          yield* session(listen)
          yield* child.signal(signal)
          yield* child.shows(/stops when its open connections have ended/)
          yield* Effect.sleep(150)
        }
        yield* child.signal(signal)
        assert.strictEqual(yield* child.exit, signal === "SIGTERM" ? 1 : signal)
        yield* until(Effect.sync(() => workers.some(({ pid }) => isAlive(pid))), (alive) => !alive)
      }
    }))

  it.live("signalled by the service manager themselves drain once", () =>
    Effect.gen(function*() {
      const { child, http, listen } = yield* started()
      const scope = yield* Scope.make()
      const filter = yield* Scope.provide(session(listen), scope)
      const { workers } = yield* statusOf(http)
      for (const { pid } of workers) process.kill(pid, "SIGTERM")
      yield* child.signal("SIGTERM")
      yield* child.shows(/stops when its open connections have ended/)
      yield* Effect.sleep(150)
      for (const { pid, servers } of workers) if (servers[0]?.sessions === 1) process.kill(pid, "SIGTERM")
      yield* filter.quit()
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("that cannot start leave nothing", () =>
    Effect.gen(function*() {
      const where = yield* place
      Fs.writeFileSync(where.file, "broken")
      const child = yield* start({ workers: 2, ...where })
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /the program is broken[^]*WorkerError: worker 1 ended before it took connections/)
      assert.deepStrictEqual(Fs.readdirSync(where.directory), ["name"])
    }))

  it.live("are not started where the address is in use, or is wrong", () =>
    Effect.gen(function*() {
      const where = yield* place
      const server = yield* Listeners.bare({ port: 0, host: "127.0.0.1" })
      const { port } = server.address() as Net.AddressInfo
      yield* Listeners.bare({ path: Path.join(where.directory, "used.sock") })
      for (
        const [listen, reason] of [
          [`inet:${port}`, /address already in use/],
          [`unix:${where.directory}/used.sock`, /address already in use/],
          ["inet:9000@192.0.2.77", /this host has no such address/],
          ["systemd", /the process was not started with this socket/]
        ] as const
      ) {
        const child = yield* start({ workers: 1, file: where.file, listen })
        assert.strictEqual(yield* child.exit, 1)
        assert.match(child.output, reason)
      }
    }))

  it.live("told to stop while they start, stop", () =>
    Effect.gen(function*() {
      const where = yield* place
      const child = yield* start({ workers: 2, ...where })
      yield* until(page(where.http, "/live"), ({ status }) => status === 200)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.deepStrictEqual(Fs.readdirSync(where.directory), ["name"])
    }))

  it.live("told to stop when they have opened and are not ready yet, drain", () =>
    Effect.gen(function*() {
      const where = yield* place
      become(where.file, "slow")
      const child = yield* start({ workers: 1, ...where, listen: "inet:0" })
      yield* child.shows(/listens on inet:\d+@/)
      const filter = yield* session(/listens on (inet:\d+@[\d.]+)/.exec(child.output)![1]!)
      yield* child.signal("SIGTERM")
      yield* child.shows(/stops when its open connections have ended \(1\)/)
      assert.match(textOf(yield* filter.mail("alice@example.org")), /^Service is shutting down/)
      yield* filter.quit()
      assert.strictEqual(yield* child.exit, 0, child.output)
    }))

  it.live("share a limit of connections", () =>
    Effect.gen(function*() {
      const { child, listen } = yield* started({ maxConnections: 2 })
      const connect = Effect.gen(function*() {
        const filter = yield* MilterClient.dial(listen)
        yield* filter.negotiate()
        return textOf(yield* filter.connect({ hostname: "client.example.org", address: "192.0.2.1" }))
      }).pipe(Effect.provide(NodeMilterClient.layer))
      // Each worker may have one, and one of them has got two.
      const answers = yield* Effect.forEach([1, 2, 3], () => connect)
      assert.isTrue(answers.some((answer) => answer.startsWith("Too many connections")), answers.join())
      yield* child.signal("SIGKILL")
    }))

  it.live("share a limit of connections that say nothing", () =>
    Effect.gen(function*() {
      const { child, listen } = yield* started({ maxSilentConnections: 2 })
      // Each worker may have one, and one of them gets two.
      for (let count = 0; count < 3; count++) {
        const socket = Net.connect(listen.slice("unix:".length)).on("error", () => undefined)
        yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      }
      yield* until(Effect.sync(() => child.output), (output) => output.includes("TooManySilent"))
      yield* child.signal("SIGKILL")
    }))

  it.live("take the sockets of systemd, and leave them open", () =>
    Effect.gen(function*() {
      const where = yield* place
      const scope = yield* Scope.make()
      const passed = yield* Scope.provide(
        Effect.all([
          Listeners.bare({ port: 0, host: "127.0.0.1" }),
          Listeners.bare({ path: Path.join(where.directory, "new.sock") })
        ]),
        scope
      )
      const path = Path.join(where.directory, "passed.sock")
      Fs.renameSync(Path.join(where.directory, "new.sock"), path)
      const { port } = passed[0].address() as Net.AddressInfo
      const { file, http } = where
      const child = yield* start({ file, http, workers: 2, listen: "systemd" }, { pass: passed.map(descriptorOf) })
      yield* ready(http, child)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Listeners.ask(`inet:${port}`), "first")
      assert.strictEqual(yield* Listeners.ask(path), "first")
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.isTrue(Fs.existsSync(path))
    }))
})
