/** Listening on real sockets. What needs a process of its own (signals, systemd) is in nodeProcess.test.ts. */
import { assert, describe, it, vi } from "@effect/vitest"
import { type InvalidValue } from "effect-milter/InvalidValue"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { Worker } from "node:worker_threads"
import * as endpoint from "../../src/internal/net/endpoint.ts"
import { acceptingKey } from "../../src/internal/net/listener.ts"
import { NetListener } from "../../src/node/internal/netListener.ts"
import * as temporaryFile from "../../src/node/internal/temporaryFile.ts"
import * as unixSocket from "../../src/node/internal/unixSocket.ts"
import { spawn } from "../../testbed/childProcess.ts"
import { describeWith, notRoot } from "../../testbed/prerequisite.ts"
import * as Listeners from "../support/listeners.ts"

const modeOf = (path: string): number => Fs.lstatSync(path).mode & 0o7777

/** What a listening layer gives to the server. */
const accepting = (options: NodeMilterServer.Options) =>
  Effect.map(
    Layer.build(NodeMilterServer.layer(options).pipe(Layer.provide(Listeners.quiet))),
    (context) => Context.get(context, MilterServer.Listener)[acceptingKey]
  )

const failure = (options: NodeMilterServer.Options) => Effect.flip(accepting(options))

/** A socket file that nobody listens on: renamed, it escapes the removal by its server. */
const leaveBehind = Effect.fnUntraced(function*(path: string) {
  yield* Effect.scoped(Effect.andThen(
    Listeners.bare({ path: `${path}.new` }),
    Effect.sync(() => Fs.renameSync(`${path}.new`, path))
  ))
  assert.strictEqual(yield* Listeners.refusal({ path }), "ECONNREFUSED")
})

const tcp = (address: string): Net.NetConnectOpts => {
  const parsed = endpoint.parse(address)
  assert(Result.isSuccess(parsed) && parsed.success._tag === "Tcp")
  return parsed.success
}

describe("endpoints", () => {
  const read = (spec: string) => Result.getOrUndefined(endpoint.parseListening(spec))

  it("are read in the spellings of Sendmail and Postfix", () => {
    const cases: ReadonlyArray<readonly [string, endpoint.Listening]> = [
      ["inet:9000", { _tag: "Tcp", host: "127.0.0.1", port: 9000 }],
      ["inet6:9000", { _tag: "Tcp", host: "::1", port: 9000 }],
      ["inet:9000@192.0.2.1", { _tag: "Tcp", host: "192.0.2.1", port: 9000 }],
      ["inet:9000@mx.example.org", { _tag: "Tcp", host: "mx.example.org", port: 9000 }],
      ["inet6:9000@2001:db8::1", { _tag: "Tcp", host: "2001:db8::1", port: 9000 }],
      ["inet6:9000@[2001:db8::1]", { _tag: "Tcp", host: "2001:db8::1", port: 9000 }],
      ["inet:192.0.2.1:9000", { _tag: "Tcp", host: "192.0.2.1", port: 9000 }],
      ["inet:[2001:db8::1]:9000", { _tag: "Tcp", host: "2001:db8::1", port: 9000 }],
      ["unix:/run/filter.sock", { _tag: "Unix", path: "/run/filter.sock" }],
      ["local:/run/filter.sock", { _tag: "Unix", path: "/run/filter.sock" }],
      ["/run/filter.sock", { _tag: "Unix", path: "/run/filter.sock" }],
      ["fd:3", { _tag: "Descriptor", descriptor: 3 }],
      ["systemd", { _tag: "Systemd", name: undefined }],
      ["systemd:smtp.socket", { _tag: "Systemd", name: "smtp.socket" }]
    ]
    for (const [spec, expected] of cases) assert.deepStrictEqual(read(spec), expected, spec)
  })

  it("are not guessed", () => {
    const specs = [
      "",
      "9000",
      "inet:",
      "inet:x",
      "inet:70000",
      "inet:9000@",
      "unix:run/filter.sock",
      "unix:/a\0b",
      "tcp:9000",
      "fd:",
      "fd:-1",
      "fd:3x",
      "systemd:",
      "systemd:a:b",
      "systemd:a b",
      "Systemd"
    ]
    for (const spec of specs) assert.isUndefined(read(spec), spec)
  })

  it("that are passed are nothing to dial", () => {
    for (const spec of ["fd:3", "systemd"]) assert.isTrue(Result.isFailure(endpoint.parse(spec)))
  })
})

describe("UNIX sockets", () => {
  it.live("get their mode, whatever the umask", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      for (const umask of [0o000, 0o077]) {
        for (const mode of [undefined, 0o600, 0o666, 0o770, 0o000]) {
          const path = Path.join(directory, "filter.sock")
          yield* Effect.gen(function*() {
            yield* Effect.acquireRelease(
              Effect.sync(() => process.umask(umask)),
              (before) => Effect.sync(() => void process.umask(before))
            )
            const addresses = yield* Listeners.serve("filter", {
              listen: `unix:${path}`,
              ...(mode === undefined ? {} : { mode })
            })
            assert.deepStrictEqual(addresses, [`unix:${path}`])
            assert.strictEqual(modeOf(path), mode ?? 0o660)
            if (notRoot === undefined) assert.strictEqual(yield* Listeners.ask(addresses[0]!), "filter")
          }).pipe(Effect.scoped)
          assert.deepStrictEqual(Fs.readdirSync(directory), [])
        }
      }
    }))

  it.live("are never seen with another mode", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const path = Path.join(directory, "filter.sock")
      const before = process.umask(0)
      yield* Effect.addFinalizer(() => Effect.sync(() => void process.umask(before)))
      // Looks as fast as it can, until the first number is not 0; sets the second when it has seen the socket.
      const flag = new Int32Array(new SharedArrayBuffer(8))
      const watcher = new Worker(
        `const { parentPort, workerData: { directory, flag, path } } = require("node:worker_threads")
         const fs = require("node:fs")
         const sockets = new Set(), directories = new Set()
         let looks = 0
         parentPort.postMessage("ready")
         while (Atomics.load(flag, 0) === 0) {
           looks++
           const found = fs.lstatSync(path, { throwIfNoEntry: false })
           if (found !== undefined) {
             sockets.add(found.mode & 0o7777)
             Atomics.store(flag, 1, 1)
           }
           for (const name of fs.readdirSync(directory)) {
             if (name === "filter.sock") continue
             const other = fs.lstatSync(directory + "/" + name, { throwIfNoEntry: false })
             if (other !== undefined) directories.add(other.mode & 0o7777)
           }
         }
         parentPort.postMessage({ looks, sockets: [...sockets], directories: [...directories] })`,
        { eval: true, workerData: { directory, flag, path } }
      )
      const next = () =>
        Effect.callback<{ sockets: Array<number>; directories: Array<number> }>((resume) => {
          watcher.once("message", (message) => resume(Effect.succeed(message)))
        })
      yield* next()
      // More where the machine is too busy for the watcher.
      for (let round = 0; round < 30 || Atomics.load(flag, 1) === 0; round++) {
        yield* Effect.scoped(accepting({ listen: path, mode: 0o620 }))
      }
      const seen = yield* Effect.all([next(), Effect.sync(() => Atomics.store(flag, 0, 1))], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(seen[0].sockets, [0o620])
      // The directory that it is made in is nobody else's; it may have gone too fast to be seen.
      for (const mode of seen[0].directories) assert.strictEqual(mode, 0o700)
    }))

  it.live("whose owner is unknown are not made", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const path = Path.join(directory, "filter.sock")
      for (const options of [{ owner: "no-such-user" }, { group: "no-such-group" }]) {
        const error = yield* failure({ listen: path, ...options })
        assert.strictEqual(error.reason, "UnknownOwner")
        assert.match((error.cause as InvalidValue).message, /no-such-(user|group).*\/etc\/(passwd|group)/)
      }
      assert.deepStrictEqual(Fs.readdirSync(directory), [])
    }))

  it.live("do not take a mode without its 0o", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const exit = yield* Effect.exit(accepting({ listen: path, mode: 660 }))
      assert(Exit.isFailure(exit))
      assert.match(Cause.pretty(exit.cause), /mode.*"660".*0o777/)
    }))

  it.live("take the place of one that nobody listens on", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      yield* leaveBehind(path)
      yield* Effect.scoped(Effect.gen(function*() {
        const [address] = yield* Listeners.serve("new", { listen: path })
        assert.strictEqual(yield* Listeners.ask(address!), "new")
      }))
      assert.isFalse(Fs.existsSync(path))
    }))

  it.live("do not take the place of one that is in use", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const [address] = yield* Listeners.serve("old", { listen: path })
      const error = yield* failure({ listen: path })
      assert.deepStrictEqual([error._tag, error.reason, error.address], ["ListenError", "AddressInUse", path])
      assert.strictEqual(error.message, `cannot listen on ${path}: address already in use`)
      assert.strictEqual(yield* Listeners.ask(address!), "old")
    }))

  it.live("are taken by one of two that come at once", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      yield* leaveBehind(path)
      const starts = Array.from(
        { length: 5 },
        (_, index) => Effect.result(Listeners.serve(String(index), { listen: path }))
      )
      const results = yield* Effect.all(starts, { concurrency: "unbounded" })
      assert.lengthOf(results.filter(Result.isSuccess), 1)
      for (const result of results) {
        if (Result.isFailure(result)) assert.strictEqual(result.failure.reason, "AddressInUse")
      }
      assert.strictEqual(yield* Listeners.ask(path), String(results.findIndex(Result.isSuccess)))
    }))

  it.live("do not take the place of anything else", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const file = Path.join(directory, "file")
      Fs.writeFileSync(file, "precious")
      const link = Path.join(directory, "link")
      Fs.symlinkSync("filter.sock", link)
      const folder = Path.join(directory, "folder")
      Fs.mkdirSync(folder)
      for (const path of [file, link, folder]) {
        const error = yield* failure({ listen: `unix:${path}` })
        assert.strictEqual(error.reason, "NotASocket")
        assert.strictEqual(error.message, `cannot listen on unix:${path}: there is a file that is not a socket`)
      }
      assert.strictEqual(Fs.readFileSync(file, "utf8"), "precious")
      assert.deepStrictEqual(Fs.readdirSync(directory), ["file", "folder", "link"])
    }))

  it.live("go when the server stops accepting, before its connections", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const listener = yield* accepting({ listen: path })
      let closed = 0
      yield* listener.accept((transport) =>
        transport.open({
          data: (bytes) => transport.write(bytes),
          drain: () => {},
          end: () => transport.close(),
          closed: () => closed++
        })
      )
      const client = Net.connect(path)
      yield* Effect.addFinalizer(() => Effect.sync(() => client.destroy()))
      const echo = (text: string) =>
        Effect.callback<string>((resume) => {
          client.once("data", (bytes) => resume(Effect.succeed(String(bytes))))
          client.write(text)
        })
      assert.strictEqual(yield* echo("one"), "one")
      yield* listener.stop
      assert.isFalse(Fs.existsSync(path))
      assert.strictEqual(yield* echo("two"), "two")
      yield* Effect.all([listener.stop, listener.stop], { concurrency: "unbounded" })
      assert.strictEqual(yield* echo("three"), "three")
      assert.strictEqual(closed, 0)
    }))

  it.live("of a successor stay", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const path = Path.join(directory, "filter.sock")
      const first = yield* Scope.make()
      const second = yield* Scope.make()
      yield* Scope.provide(Listeners.serve("first", { listen: path }), first)
      Fs.unlinkSync(path)
      yield* Scope.provide(Listeners.serve("second", { listen: path }), second)
      const { ino } = Fs.lstatSync(path)
      yield* Scope.close(first, Exit.void)
      assert.strictEqual(Fs.lstatSync(path).ino, ino)
      assert.strictEqual(yield* Listeners.ask(path), "second")
      yield* Scope.close(second, Exit.void)
      assert.deepStrictEqual(Fs.readdirSync(directory), [])
      // Any other file that is at the path by then stays as well.
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Listeners.serve("third", { listen: path })
        Fs.unlinkSync(path)
        Fs.writeFileSync(path, "other")
      }))
      assert.strictEqual(Fs.readFileSync(path, "utf8"), "other")
    }))

  it.live("of a successor stay, though it has the inode of the first", () =>
    Effect.gen(function*() {
      // Not in the temporary directory, which may be in memory: on a disk inode numbers are soon used again.
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync("/var/tmp/milter-")),
        (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
      )
      const path = Path.join(directory, "filter.sock")
      const first = yield* Scope.make()
      const listener = yield* Scope.provide(accepting({ listen: path }), first)
      const { ino } = Fs.lstatSync(path)
      yield* listener.stop
      assert.isFalse(Fs.existsSync(path))
      // Some file systems count on; then there is nothing that could be confused.
      for (let time = 0; time < 20; time++) {
        const second = yield* Scope.make()
        yield* Scope.provide(Listeners.serve("second", { listen: path }), second)
        const same = Fs.lstatSync(path).ino === ino
        yield* listener.stop
        if (same) yield* Scope.close(first, Exit.void)
        assert.strictEqual(yield* Listeners.ask(path), "second")
        yield* Scope.close(second, Exit.void)
        if (same) return
      }
      yield* Scope.close(first, Exit.void)
    }))

  it.live("can be as long as the system allows", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const pathOf = (length: number) => {
        const rest = length - directory.length - 1
        // A long directory, so that a short name fits beside it.
        const folder = Path.join(directory, "d".repeat(rest - 13))
        Fs.mkdirSync(folder, { recursive: true })
        return Path.join(folder, "filter.sock")
      }
      for (const length of [60, 98, 99, 106]) {
        const path = pathOf(length)
        assert.lengthOf(path, length - 1)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Listeners.serve("long", { listen: path })
          assert.strictEqual(yield* Listeners.ask(path), "long")
        }))
      }
      const error = yield* failure({ listen: pathOf(109) })
      assert.strictEqual(error.reason, "InvalidAddress")
    }))
})

describeWith(notRoot, "UNIX sockets of root", () => {
  it.live("get their owner, by number or name", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const owned = (options: Omit<NodeMilterServer.Options, "listen">) =>
        accepting({ listen: path, ...options }).pipe(
          Effect.map(() => {
            const { gid, uid } = Fs.lstatSync(path)
            return [uid, gid]
          }),
          Effect.scoped
        )
      const group = process.getgid?.()
      assert.deepStrictEqual(yield* owned({}), [0, group])
      assert.deepStrictEqual(yield* owned({ owner: 12345, group: 23456 }), [12345, 23456])
      assert.deepStrictEqual(yield* owned({ owner: "12345", group: "23456" }), [12345, 23456])
      assert.deepStrictEqual(yield* owned({ owner: "daemon" }), [1, group])
      assert.deepStrictEqual(yield* owned({ group: "daemon" }), [0, 1])
    }))
})

describeWith(notRoot, "UNIX sockets of root in a directory that another user can write to", () => {
  /** A directory of another user, and a directory of root with a file that a socket's name in it would lead to. */
  const places = Effect.gen(function*() {
    const directory = yield* Listeners.directory
    const theirs = Path.join(directory, "theirs")
    const ours = Path.join(directory, "ours")
    for (const path of [theirs, ours]) Fs.mkdirSync(path, { mode: 0o755 })
    Fs.chmodSync(directory, 0o755)
    Fs.chownSync(theirs, attacker, attacker)
    const victim = Path.join(ours, "s")
    Fs.writeFileSync(victim, "", { mode: 0o600 })
    return { path: Path.join(theirs, "filter.sock"), ours, victim }
  })
  const attacker = 65534

  const assertUntouched = (victim: string): void => {
    const { gid, mode, uid } = Fs.lstatSync(victim)
    assert.deepStrictEqual([mode & 0o7777, uid, gid], [0o600, 0, process.getgid!()])
  }

  it.live("change nothing else when their private directory is exchanged for a link", () =>
    Effect.gen(function*() {
      const { ours, path, victim } = yield* places
      const directory = yield* unixSocket.privateDirectory("unix", path)
      const server = Net.createServer()
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      const access = { mode: 0o666, owner: attacker, group: attacker }
      yield* unixSocket.listen("unix", path, access, directory, (bound) =>
        Effect.callback<void>((resume) => {
          server.listen(bound, () => {
            Fs.renameSync(directory.path, `${directory.path}.away`)
            Fs.symlinkSync(ours, directory.path)
            resume(Effect.void)
          })
        }))
      assertUntouched(victim)
      const { mode, uid } = Fs.lstatSync(path)
      assert.deepStrictEqual([mode & 0o7777, uid], [0o666, attacker])
      assert.deepStrictEqual(Fs.readdirSync(`${directory.path}.away`), [])
      assert.isFalse(Fs.existsSync(directory.bound))
    }))

  it.live("change nothing else while that user tries to", () =>
    Effect.gen(function*() {
      const { ours, path, victim } = yield* places
      // As fast as it can, with two threads, like an attacker who tries to become root.
      const exchange = `
        const fs = require("node:fs")
        process.setgid(${attacker})
        process.setuid(${attacker})
        process.chdir(${JSON.stringify(Path.dirname(path))})
        console.log("ready")
        const end = Date.now() + 60000
        while (Date.now() < end) {
          for (const name of fs.readdirSync(".")) {
            if (!/^filter.sock[.]\\w{6}$/.test(name)) continue
            try {
              fs.renameSync(name, name + ".away")
              fs.symlinkSync(${JSON.stringify(ours)}, name)
              console.log("exchanged")
            } catch {}
          }
        }`
      const child = yield* spawn(process.execPath, ["-e", exchange])
      yield* child.shows(/ready/)
      let started = 0
      for (let round = 0; round < 1000 && child.output.split("exchanged").length <= 20; round++) {
        const result = yield* Effect.result(Effect.scoped(accepting({ listen: path, mode: 0o666, owner: attacker })))
        if (Result.isSuccess(result)) started++
        assertUntouched(victim)
      }
      assert.isAbove(started, 0)
      assert.match(child.output, /exchanged/)
    }))

  it.effect("are refused where there is no /proc, unless the directory is sticky", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const check = Effect.result(unixSocket.checkParent("unix:/x", directory))
      for (
        const [mode, owner, allowed] of [
          [0o755, 0, true],
          [0o700, 0, true],
          [0o775, 0, false],
          [0o757, 0, false],
          [0o1777, 0, true],
          [0o755, attacker, false],
          [0o1777, attacker, false]
        ] as const
      ) {
        Fs.chownSync(directory, owner, 0)
        Fs.chmodSync(directory, mode)
        const result = yield* check
        assert.strictEqual(Result.isSuccess(result), allowed, `${mode.toString(8)} of ${owner}`)
        if (Result.isFailure(result)) assert.strictEqual(result.failure.reason, "PermissionDenied")
      }
    }))
})

describe("listening fails", () => {
  const reasonOf = (options: NodeMilterServer.Options) => Effect.map(failure(options), ({ reason }) => reason)

  it.live("on a port in use", () =>
    Effect.gen(function*() {
      const [address] = yield* Listeners.serve("first", { listen: "inet:0" })
      const error = yield* failure({ listen: address! })
      assert.strictEqual(error.reason, "AddressInUse")
      assert.strictEqual(error.address, address)
      assert.strictEqual((error.cause as NodeJS.ErrnoException).code, "EADDRINUSE")
    }))

  it.live("on an address of another host", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* reasonOf({ listen: "inet:0@192.0.2.1" }), "AddressNotAvailable")
    }))

  it.live("in a directory that is not there, and on a host of no address", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      Fs.writeFileSync(`${directory}/file`, "")
      for (const path of ["no/such/filter.sock", "file/filter.sock"]) {
        assert.strictEqual(yield* reasonOf({ listen: `unix:${directory}/${path}` }), "DirectoryMissing", path)
      }
      assert.strictEqual(yield* reasonOf({ listen: "inet:0@host.invalid" }), "UnknownHost")
    }))

  it.live("on what is no address", () =>
    Effect.gen(function*() {
      for (const listen of ["localhost:25", "inet:99999", []]) {
        assert.strictEqual(yield* reasonOf({ listen }), "InvalidAddress", String(listen))
      }
      const error = yield* failure({ listen: "tcp:25" })
      assert.match((error.cause as InvalidValue).message, /inet:PORT@HOST.*unix:\/path, fd:NUMBER, systemd/)
    }))

  it.live("on sockets that were not passed", () =>
    Effect.gen(function*() {
      const file = Fs.openSync(Os.devNull, "r")
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.closeSync(file)))
      for (const listen of ["systemd", "systemd:smtp", `fd:${file}`, "fd:999999"]) {
        assert.strictEqual(yield* reasonOf({ listen }), "NotPassed", listen)
      }
    }))

  it.live("and closes what it listens on already", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const server = yield* Listeners.bare({ port: 0, host: "127.0.0.1" })
      const taken = `inet:${(server.address() as Net.AddressInfo).port}`
      const error = yield* Effect.scoped(failure({ listen: [`unix:${path}`, taken] }))
      assert.strictEqual(error.address, taken)
      assert.isFalse(Fs.existsSync(path))
    }))
})

describe("a listener", () => {
  it.live("has several addresses", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      const addresses = yield* Listeners.serve("filter", { listen: ["inet:0", `unix:${path}`, "inet:127.0.0.1:0"] })
      assert.lengthOf(new Set(addresses), 3)
      for (const address of addresses) assert.strictEqual(yield* Listeners.ask(address), "filter")
    }))

  it.live("is one of several in the process, each with its filter", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const at = (name: string) => `unix:${Path.join(directory, name)}`
      const server = (name: string) =>
        MilterServer.layer(Listeners.introducing(name)).pipe(
          Layer.provide(NodeMilterServer.layer({ listen: at(name) }))
        )
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Layer.build(
          Layer.mergeAll(server("one"), server("two"), server("three")).pipe(
            Layer.provide(Listeners.quiet)
          )
        )
        for (const name of ["one", "two", "three"]) assert.strictEqual(yield* Listeners.ask(at(name)), name)
      }))
      assert.deepStrictEqual(Fs.readdirSync(directory), [])
    }))

  it.live("serves one filter at a time", () =>
    Effect.gen(function*() {
      const listener = yield* accepting({ listen: "inet:0" })
      const first = yield* Scope.make()
      const ignore = () => undefined
      yield* Scope.provide(listener.accept(ignore), first)
      const exit = yield* Effect.exit(listener.accept(ignore))
      assert(Exit.isFailure(exit))
      assert.match(Cause.pretty(exit.cause), /already serves a filter/)
      yield* Scope.close(first, Exit.void)
      yield* listener.accept(ignore)
    }))

  it.live("keeps connections until a server takes them", () =>
    Effect.gen(function*() {
      const listener = yield* accepting({ listen: "inet:0" })
      const where = tcp(listener.addresses[0]!)
      const clients = [Net.connect(where), Net.connect(where)]
      yield* Effect.forEach(clients, (client) =>
        Effect.callback<void>((resume) => {
          client.once("connect", () => resume(Effect.void))
        }))
      const taken: Array<string> = []
      yield* listener.accept((transport) => {
        taken.push(transport.peer)
        transport.open({ data: () => {}, drain: () => {}, end: () => {}, closed: () => {} })
      })
      yield* listener.stop
      assert.lengthOf(taken, 2)
      for (const client of clients) client.destroy()
    }))

  it.live("hands over what the kernel has accepted before it stops", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* Listeners.directory, "filter.sock")
      for (const listen of ["inet:0", `unix:${path}`]) {
        const listener = yield* accepting({ listen })
        let taken = 0
        yield* listener.accept((transport) => {
          taken++
          transport.open({ data: () => {}, drain: () => {}, end: () => {}, closed: () => {} })
        })
        const where = listen === "inet:0" ? tcp(listener.addresses[0]!) : { path }
        const clients = Array.from({ length: 20 }, () => Net.connect(where))
        for (const client of clients) client.on("error", () => undefined)
        yield* listener.stop
        assert.strictEqual(taken, 20)
        assert.strictEqual(yield* Listeners.refusal(where), listen === "inet:0" ? "ECONNREFUSED" : "ENOENT")
        for (const client of clients) client.destroy()
      }
    }))

  it.live.skipIf(process.platform !== "linux")(
    "asks peers that are silent for a minute whether they still exist",
    () =>
      Effect.gen(function*() {
        const listener = yield* accepting({ listen: "inet:0" })
        const arrived = yield* Deferred.make<void>()
        yield* listener.accept((transport) => {
          transport.open({ data: () => {}, end: () => {}, drain: () => {}, closed: () => {} })
          Deferred.doneUnsafe(arrived, Effect.void)
        })
        const where = tcp(listener.addresses[0]!)
        yield* Effect.acquireRelease(
          Effect.sync(() => Net.connect(where)),
          (client) => Effect.sync(() => client.destroy())
        )
        yield* Deferred.await(arrived)
        // The kernel's columns: addresses, state, queues, kind of timer, and when it is due in hundredths of a second.
        const port = ("port" in where ? where.port : 0).toString(16).toUpperCase().padStart(4, "0")
        const established = new RegExp(`^ *\\d+: 0100007F:${port} \\S+ 01 \\S+ (\\w+):(\\w+) `, "m")
        const [, timer, due] = established.exec(Fs.readFileSync("/proc/net/tcp", "latin1")) ?? []
        assert.strictEqual(timer, "02")
        assert.isAtMost(Number.parseInt(due!, 16), 6000)
      })
  )

  it.live("says once a minute that connections could not be taken", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const listener = new NetListener((line) => lines.push(line))
      yield* Effect.acquireRelease(listener.listen("inet:0", { port: 0, host: "127.0.0.1" }), () => listener.close)
      listener.opened("inet:0")
      // The system does not fail when a test wants it to.
      const { server } = listener as unknown as { readonly server: Net.Server }
      for (let time = 0; time < 3; time++) server.emit("error", new Error("accept ENOBUFS"))
      assert.deepStrictEqual(lines, ["AcceptError: inet:0: accept ENOBUFS"])
      const now = performance.now.bind(performance)
      vi.spyOn(performance, "now").mockImplementation(() => now() + 60_000)
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      server.emit("error", new Error("accept ENOMEM"))
      server.emit("error", new Error("accept ENOMEM"))
      assert.deepStrictEqual(lines.slice(1), ["AcceptError: inet:0: accept ENOMEM (3 times since this was last said)"])
    }))

  it.live("does not wait for a peer that does not read", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const listener = yield* Scope.provide(accepting({ listen: "inet:0" }), scope)
      const written = yield* Effect.callback<void>((resume) => {
        Effect.runFork(Scope.provide(
          listener.accept((transport) => {
            transport.open({ data: () => {}, drain: () => {}, end: () => {}, closed: () => {} })
            for (let block = 0; block < 500; block++) transport.write(new Uint8Array(65_536))
            transport.close()
            resume(Effect.void)
          }),
          scope
        ))
        Net.connect(tcp(listener.addresses[0]!)).on("error", () => undefined).pause()
      })
      assert.isUndefined(written)
      // Without a limit this would never end.
      yield* Scope.close(scope, Exit.void)
    }))

  it.live("leaves no signal handlers behind", () =>
    Effect.gen(function*() {
      const names = ["SIGHUP", "SIGTERM", "SIGINT"] as const
      const count = () => names.map((name) => process.listenerCount(name))
      const before = count()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* accepting({ listen: "inet:0" })
        yield* accepting({ listen: "inet:0" })
        assert.deepStrictEqual(count(), before.map((count) => count + 1))
      }))
      assert.deepStrictEqual(count(), before)
      yield* Effect.scoped(failure({ listen: "nowhere" }))
      assert.deepStrictEqual(count(), before)
    }))
})

describe("onReload", () => {
  class Settings
    extends Context.Service<Settings, { readonly reload: Effect.Effect<void, Error> }>()("test/Settings")
  {}

  const hangup = Effect.sync(() => void process.emit("SIGHUP"))

  it.live("runs at each SIGHUP, one run after the other, with its services and a Scope of its own", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      let run = 0
      let running = 0
      const reload = Effect.gen(function*() {
        const number = ++run
        assert.strictEqual(++running, 1)
        yield* Effect.addFinalizer(() => Effect.sync(() => events.push(`${number} is over`)))
        yield* Effect.sleep(20)
        running--
        if (number === 2) return yield* Effect.die("broken")
        yield* (yield* Settings).reload
      })
      const layer = NodeMilterServer.layer({ listen: "inet:0", onReload: reload }).pipe(
        Layer.provide(Layer.succeed(Settings, { reload: Effect.sync(() => void events.push("reload")) })),
        Layer.provide(Listeners.quiet)
      )
      yield* Layer.build(layer)
      yield* hangup
      yield* Effect.sleep(10)
      // During a run: one more, however many.
      yield* hangup
      yield* hangup
      yield* hangup
      yield* Effect.sleep(80)
      assert.deepStrictEqual(events, ["reload", "1 is over", "2 is over"])
      yield* hangup
      yield* Effect.sleep(60)
      assert.deepStrictEqual(events.slice(3), ["reload", "3 is over"])
    }))

  it.live("is interrupted with the layer", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      yield* Effect.scoped(Effect.gen(function*() {
        yield* accepting({
          listen: "inet:0",
          onReload: Effect.onInterrupt(Effect.never, () => Effect.sync(() => void events.push("interrupted")))
        })
        yield* hangup
        yield* Effect.sleep(10)
      }))
      assert.deepStrictEqual(events, ["interrupted"])
    }))

  it("has what it needs in the type of the layer", () => {
    const needs: Layer.Layer<MilterServer.Listener, MilterServer.ListenError, Settings> = NodeMilterServer.layer({
      listen: "inet:0",
      onReload: Effect.flatMap(Settings, ({ reload }) => Effect.andThen(reload, Effect.addFinalizer(() => Effect.void)))
    })
    const nothing: Layer.Layer<MilterServer.Listener, MilterServer.ListenError> = NodeMilterServer.layer({
      listen: "inet:0"
    })
    assert.isTrue(Layer.isLayer(needs) && Layer.isLayer(nothing))
  })
})

describe("temporary files", () => {
  it.live("are read to the end, and not beyond it", () =>
    Effect.gen(function*() {
      const file = yield* Effect.acquireRelease(temporaryFile.open, ({ close }) => close)
      yield* file.append(Uint8Array.of(1, 2, 3))
      yield* file.append(Uint8Array.of(4, 5))
      assert.deepStrictEqual(yield* file.read(1, 4), Uint8Array.of(2, 3, 4, 5))
      const exit = yield* Effect.exit(file.read(3, 4))
      assert(Exit.isFailure(exit))
      assert.match(Cause.pretty(exit.cause), /a temporary file ends at 5, before 7/)
    }))
})

describe("teardown", () => {
  it("exits with 0 after an orderly stop", () => {
    const codes: Array<number> = []
    const exits = [
      Exit.void,
      Exit.interrupt(1),
      Exit.fail("no"),
      Exit.failCause(Cause.combine(Cause.interrupt(1), Cause.die("a finalizer")))
    ]
    for (const exit of exits) NodeMilterServer.teardown(exit, (code) => codes.push(code))
    assert.deepStrictEqual(codes, [0, 0, 1, 1])
  })
})
