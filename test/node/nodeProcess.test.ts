/** What concerns a whole process: signals and exit codes, permissions of other users, systemd. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Path from "node:path"
import { describeWith, notRoot } from "../../testbed/prerequisite.ts"
import * as Listeners from "../support/listeners.ts"
import * as Notify from "../support/notify.ts"
import { descriptorOf, listening, type Options, type Program, start, startTwice } from "../support/serverProcess.ts"
import * as Workers from "../support/workersProcess.ts"

const one: Program = { servers: { filter: { listen: "inet:0" } } }

// Root may do everything, so somebody else has to try.
const user: Options = notRoot === undefined ? { user: 65534 } : {}

/** A connection that stays open until the scope closes, or until the other side closes it. */
const stops = ["SIGTERM", "SIGINT"] as const

describe("signals", () => {
  for (const signal of stops) {
    it.live(`${signal} stops in order, exit code 0`, () =>
      Effect.gen(function*() {
        const path = Path.join(yield* Listeners.directory, "filter.sock")
        const child = yield* listening({ servers: { filter: { listen: path } } })
        yield* child.signal(signal)
        assert.strictEqual(yield* child.exit, 0)
        assert.match(child.output, /releases first[^]*releases last/)
        assert.isFalse(Fs.existsSync(path))
      }))
  }

  it.live("a second one ends the process at once, exit code 1", () =>
    Effect.gen(function*() {
      // After its listener has gone too, while the program still has something to release.
      for (const hangs of ["first", "last"] as const) {
        const child = yield* listening({ ...one, hangs })
        yield* child.signal("SIGTERM")
        yield* child.shows(new RegExp(`releases ${hangs}`))
        yield* Effect.sleep(150)
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 1)
        if (hangs === "first") assert.match(child.output, /SIGTERM again/)
      }
    }))

  it.live("count from before the program listens", () =>
    Effect.gen(function*() {
      const waiting = yield* start({ ...one, waits: true })
      yield* waiting.shows(/waits/)
      yield* waiting.signal("SIGTERM")
      assert.strictEqual(yield* waiting.exit, 0)
      const child = yield* start({ ...one, waits: true, hangs: "last" })
      yield* child.shows(/waits/)
      yield* child.signal("SIGTERM")
      yield* child.shows(/releases last/)
      yield* Effect.sleep(150)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 1)
    }))

  it.live("count once when they arrive twice at the same time", () =>
    Effect.gen(function*() {
      const child = yield* listening({ ...one, hangs: "first" })
      yield* child.signal("SIGTERM")
      yield* child.signal("SIGINT")
      yield* child.shows(/releases first/)
      yield* Effect.sleep(150)
      yield* child.signal("SIGINT")
      assert.strictEqual(yield* child.exit, 1)
      assert.strictEqual(child.output.match(/again/g)?.length, 1)
    }))

  it.live("end a program that does not listen to them", () =>
    Effect.gen(function*() {
      for (const signal of stops) {
        const child = yield* listening({ ...one, runMain: false })
        yield* child.signal(signal)
        assert.strictEqual(yield* child.exit, signal)
      }
    }))

  it.live("that cut connections off lead to exit code 1", () =>
    Effect.gen(function*() {
      const child = yield* listening({ ...one, overrun: true })
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 1)
    }))

  it.live("a rejection that nobody handles ends the process with exit code 1, and its connections", () =>
    Effect.gen(function*() {
      const child = yield* listening({ ...one, floats: true })
      const socket = yield* Listeners.connected(Number(/:(\d+)/.exec(/listens on (\S+)/.exec(child.output)![1]!)![1]))
      const closed = new Promise((resolve) => socket.once("close", resolve))
      yield* child.signal("SIGUSR2")
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /nobody waits for this/)
      yield* Effect.promise(() => closed)
    }))

  it.live("SIGHUP runs onReload, whose failure changes nothing", () =>
    Effect.gen(function*() {
      for (const [reload, line] of [["works", /reloaded/], ["fails", /the reload failed.*no such file/]] as const) {
        const child = yield* listening({ ...one, reload })
        const address = /listens on (\S+)/.exec(child.output)![1]!
        yield* child.signal("SIGHUP")
        yield* child.shows(line)
        assert.strictEqual(yield* Listeners.ask(address), "filter")
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0)
      }
    }))

  it.live("SIGUSR1 opens no debugger", () =>
    Effect.gen(function*() {
      const child = yield* listening(one)
      yield* child.signal("SIGUSR1")
      yield* child.shows(/SIGUSR1: ignored/)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.notInclude(child.output, "Debugger listening")
    }))

  it.live("SIGHUP is ignored without onReload", () =>
    Effect.gen(function*() {
      const child = yield* listening({ servers: { one: { listen: "inet:0" }, two: { listen: "inet:0" } } })
      yield* child.signal("SIGHUP")
      yield* child.shows(/SIGHUP: ignored/)
      assert.strictEqual(yield* Listeners.ask(/one listens on (\S+)/.exec(child.output)![1]!), "one")
      assert.strictEqual(yield* Listeners.ask(/two listens on (\S+)/.exec(child.output)![1]!), "two")
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.strictEqual(child.output.match(/ignored/g)?.length, 1)
    }))
})

describe("permissions", () => {
  it.live("are missing", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      if (notRoot !== undefined) Fs.chmodSync(directory, 0o555)
      const child = yield* start({ servers: { filter: { listen: `unix:${directory}/filter.sock` } } }, user)
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /ListenError: cannot listen on unix:.*filter\.sock: permission denied/)
      assert.deepStrictEqual(Fs.readdirSync(directory), [])
      Fs.chmodSync(directory, 0o755)
    }))

  it.live("do not allow to give files away", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      Fs.chmodSync(directory, 0o777)
      const path = Path.join(directory, "filter.sock")
      const child = yield* start({ servers: { filter: { listen: path, owner: 0 } } }, user)
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /permission denied/)
      assert.deepStrictEqual(Fs.readdirSync(directory), [])
    }))
})

describeWith(notRoot, "permissions of root", () => {
  it.live("keep others out of the socket, and from finding out who listens", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      Fs.chmodSync(directory, 0o777)
      const path = Path.join(directory, "filter.sock")
      yield* Listeners.serve("root's", { listen: path, mode: 0o600 })
      const child = yield* start({ servers: { filter: { listen: path } } }, user)
      assert.strictEqual(yield* child.exit, 1)
      assert.match(child.output, /permission denied/)
      assert.strictEqual(yield* Listeners.ask(path), "root's")
    }))
})

describe("a process with too few descriptors", () => {
  it.live("says so, and goes on", () =>
    Effect.gen(function*() {
      const child = yield* start(one, { descriptors: 64 })
      const [, address] = yield* child.shows(/filter listens on inet:(\d+)/)
      // Those that find no descriptor are closed at once; Node reports no error.
      yield* Effect.scoped(Effect.andThen(
        Effect.forEach(Array.from({ length: 64 }), () => Listeners.connected(Number(address))),
        child.shows(
          /WARN.*AcceptError: inet:\d+@127\.0\.0\.1: the process has nearly as many open files as it may have/
        )
      ))
      // Its side of the connections may take a moment to close.
      const asked = Effect.retry(Listeners.ask(`inet:${address}`), {
        times: 50,
        schedule: Schedule.spaced("50 millis")
      })
      assert.strictEqual(yield* asked, "filter")
      assert.lengthOf(child.output.match(/AcceptError/g) ?? [], 1)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))
})

describe("systemd", () => {
  /** Starts a program with sockets as systemd makes them: a port, a path, and another port. */
  const passing = Effect.fnUntraced(function*(servers: (port: number) => Program["servers"], names?: string) {
    const path = Path.join(yield* Listeners.directory, "passed.sock")
    const bound = `${path}.new`
    const scope = yield* Scope.make()
    const [first, second, third] = yield* Effect.all([
      Listeners.bare({ port: 0, host: "127.0.0.1" }),
      Listeners.bare({ path: bound }),
      Listeners.bare({ port: 0, host: "127.0.0.1" })
    ]).pipe(Scope.provide(scope))
    // Otherwise the file would go with the server here.
    Fs.renameSync(bound, path)
    const ports = [first, third].map((server) => (server.address() as Net.AddressInfo).port)
    const child = yield* start({ servers: servers(ports[0]!) }, {
      pass: [first, second, third].map(descriptorOf),
      ...(names === undefined ? {} : { env: { LISTEN_FDNAMES: names } })
    })
    // From here only the child takes connections.
    yield* Scope.close(scope, Exit.void)
    return { bound, child, path, ports }
  })

  it.live("passes sockets, TCP and UNIX", () =>
    Effect.gen(function*() {
      const { bound, child, path, ports } = yield* passing(() => ({ filter: { listen: "systemd" } }))
      const [, addresses] = yield* child.shows(/filter listens on (.*)\n/)
      const unix = Fs.existsSync("/proc/net/unix") ? `unix:${bound}` : "fd:4"
      assert.strictEqual(addresses, `inet:${ports[0]}@127.0.0.1, ${unix}, inet:${ports[1]}@127.0.0.1`)
      for (const address of [`inet:${ports[0]}`, path, `inet:${ports[1]}`]) {
        assert.strictEqual(yield* Listeners.ask(address), "filter")
      }
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      // It is systemd's file.
      assert.isTrue(Fs.existsSync(path))
    }))

  it.live("keeps the sockets, so that a restart loses no connection", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "passed.sock")
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(Listeners.bare({ path: `${path}.new` }), scope)
      Fs.renameSync(`${path}.new`, path)
      const child = yield* startTwice({ servers: { filter: { listen: "systemd" } } }, { pass: [descriptorOf(server)] })
      yield* Scope.close(scope, Exit.void)
      const [, first] = yield* child.shows(/process (\d+)[^]*filter listens on/)
      assert.strictEqual(yield* Listeners.ask(path), "filter")
      process.kill(Number(first))
      yield* child.shows(/releases last/)
      assert.strictEqual(yield* Listeners.ask(path), "filter")
      const [, second] = yield* child.shows(/releases last[^]*process (\d+)\n[^]*filter listens on/)
      process.kill(Number(second))
      assert.strictEqual(yield* child.exit, 0)
    }))

  it.live("gives names to sockets, for several filters in one process", () =>
    Effect.gen(function*() {
      const servers = () => ({ one: { listen: "systemd:a" }, two: { listen: ["systemd:b", "inet:0"] } })
      const { child, path, ports } = yield* passing(servers, "a:b:a")
      for (const name of ["one", "two"]) yield* child.shows(new RegExp(`${name} listens on `))
      assert.strictEqual(yield* Listeners.ask(`inet:${ports[0]}`), "one")
      assert.strictEqual(yield* Listeners.ask(path), "two")
      assert.strictEqual(yield* Listeners.ask(`inet:${ports[1]}`), "one")
    }))

  it.live("passes descriptors, each for one listener", () =>
    Effect.gen(function*() {
      const { child, path } = yield* passing(() => ({ filter: { listen: "fd:4" } }))
      yield* child.shows(/filter listens on /)
      assert.strictEqual(yield* Listeners.ask(path), "filter")
      const twice = yield* passing(() => ({ filter: { listen: ["systemd", "fd:4"] } }))
      assert.strictEqual(yield* twice.child.exit, 1)
      assert.match(twice.child.output, /cannot listen on fd:4: address already in use/)
    }))

  it.live("has passed nothing of that name, or to another process", () =>
    Effect.gen(function*() {
      const named = yield* passing(() => ({ filter: { listen: "systemd:other" } }), "a:b:c")
      assert.strictEqual(yield* named.child.exit, 1)
      assert.match(named.child.output, /cannot listen on systemd:other: the process was not started with this socket/)
      assert.match(named.child.output, /LISTEN_FDS=3 LISTEN_FDNAMES=a:b:c/)
      const foreign = yield* start({ servers: { filter: { listen: "systemd" } } }, {
        env: { LISTEN_PID: "1", LISTEN_FDS: "1" }
      })
      assert.strictEqual(yield* foreign.exit, 1)
      assert.match(foreign.output, /LISTEN_PID=1 /)
    }))
})

describeWith(Notify.missingPrerequisite, "sd_notify", () => {
  const { manager, messages } = Notify

  it.live("reports start, reloads and stop", () =>
    Effect.gen(function*() {
      const { child: systemd, env } = yield* manager
      const child = yield* listening({ ...one, reload: "works" }, { env })
      yield* systemd.shows(/READY=1/)
      yield* child.signal("SIGHUP")
      yield* systemd.shows(/RELOADING=1[^]*READY=1/)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      // All has been sent when the process ends.
      const [, address] = /listens on (\S+)/.exec(child.output)!
      const received = messages(systemd.output)
      assert.deepStrictEqual([received[0], received[2], received[3]], [
        ["READY=1", `STATUS=listening on ${address}`],
        ["READY=1", `STATUS=listening on ${address}`],
        ["STOPPING=1", "STATUS=messages in progress end"]
      ])
      assert.lengthOf(received, 4)
      assert.match(received[1]?.join("|") ?? "", /^RELOADING=1\|MONOTONIC_USEC=\d+\|STATUS=reloading$/)
      assert.notInclude(child.output, "systemd-notify")
    }))

  it.live("reports the start when all listeners take connections", () =>
    Effect.gen(function*() {
      const { child: systemd, env } = yield* manager
      const servers = { one: { listen: "inet:0" }, two: { listen: "inet:0" }, three: { listen: "inet:0" } }
      const child = yield* listening({ servers }, { env })
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      const received = messages(systemd.output).map(([state, status]) => [state, status?.split(", ").length])
      assert.deepStrictEqual(received, [["READY=1", 3], ["STOPPING=1", 1]])
    }))

  it.live("reports nothing when it cannot listen", () =>
    Effect.gen(function*() {
      const { child: systemd, env } = yield* manager
      const child = yield* start({ servers: { filter: { listen: "inet:0@192.0.2.1" } } }, { env })
      assert.strictEqual(yield* child.exit, 1)
      assert.deepStrictEqual(messages(systemd.output), [])
    }))

  it.live("feeds the watchdog", () =>
    Effect.gen(function*() {
      const { child: systemd, env } = yield* manager
      yield* listening(one, { env: { ...env, WATCHDOG_USEC: "100000" } })
      yield* systemd.shows(/WATCHDOG=1[^]*WATCHDOG=1/)
      const { child: other, env: otherEnv } = yield* manager
      const child = yield* listening(one, { env: { ...otherEnv, WATCHDOG_USEC: "100000", WATCHDOG_PID: "1" } })
      yield* other.shows(/READY=1/)
      yield* Effect.sleep(200)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      assert.notInclude(other.output, "WATCHDOG=1")
    }))

  it.live("reports for all workers, and a worker that hangs is killed", () =>
    Effect.gen(function*() {
      const { child: systemd, env } = yield* manager
      const where = yield* Workers.place
      const child = yield* Workers.start({ workers: 2, ...where }, { env: { ...env, WATCHDOG_USEC: "5000000" } })
      yield* systemd.shows(/READY=1/)
      assert.lengthOf(child.output.match(/listens on/g) ?? [], 2)
      yield* systemd.shows(/WATCHDOG=1/)
      const [hanging] = Fs.readFileSync(`/proc/${child.process.pid}/task/${child.process.pid}/children`, "latin1")
        .split(" ")
      process.kill(Number(hanging), "SIGSTOP")
      yield* child.shows(
        new RegExp(`worker . \\(process ${hanging}\\) has ended \\(SIGKILL\\)[^]*takes connections again`)
      )
      yield* child.signal("SIGHUP")
      yield* systemd.shows(/RELOADING=1[^]*READY=1/)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
      const states = messages(systemd.output).map(([state]) => state).filter((state) => state !== "WATCHDOG=1")
      assert.deepStrictEqual(states, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"])
    }))
})

describe("without systemd-notify", () => {
  it.live("a service manager that waits is told to nobody but the log", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const child = yield* listening(one, { env: { NOTIFY_SOCKET: `${directory}/notify`, PATH: directory } })
      yield* child.shows(/WARN.*NOTIFY_SOCKET is set, but systemd-notify/)
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))
})
