/** The server on Bun and on Deno: what docs/operate/runtimes.md says. */
import { assert, it } from "@effect/vitest"
import * as MilterClient from "effect-milter/MilterClient"
import { NodeMilterClient } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { spawn } from "../../testbed/childProcess.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { command, missingRuntime, type Runtime, runtimes } from "../../testbed/runtimes.ts"
import { message, onward, valuesOf } from "../auth/support/mail.ts"
import * as NameServer from "../auth/support/nameServer.ts"
import { send } from "../interop/support/send.ts"
import * as Listeners from "../support/listeners.ts"
import * as Notify from "../support/notify.ts"
import { descriptorOf, listening, start } from "../support/serverProcess.ts"
import * as Workers from "../support/workersProcess.ts"

const examples = fileURLToPath(new URL("../../examples/run.ts", import.meta.url))

const demo = fileURLToPath(new URL("../../examples/demo/demo.ts", import.meta.url))

/** An example that adds a field, when it listens. */
const example = Effect.fnUntraced(function*(runtime: Runtime, listen: string) {
  const [program, ...args] = [...command(runtime), examples, "append_header_ip", "--listen", listen]
  const child = yield* spawn(program, args)
  const [, address] = yield* child.shows(/listens on (\S+)/)
  return { child, address: address! }
})

const authentication = fileURLToPath(new URL("../support/processes/authentication.ts", import.meta.url))

const begin = Effect.fnUntraced(function*(address: string) {
  const client = yield* MilterClient.dial(address)
  yield* client.negotiate()
  yield* client.connect({ hostname: "client.example.org", address: "192.0.2.1" })
  yield* client.helo("client.example.org")
  yield* client.mail("<alice@example.org>")
  yield* client.rcpt("<bob@example.net>")
  return client
})

const finish = Effect.fnUntraced(function*(client: MilterClient.Client) {
  yield* client.data()
  yield* client.header("Subject", "hello")
  yield* client.endOfHeaders()
  yield* client.body("x".repeat(200_000))
  const { modifications } = yield* client.endOfMessage()
  yield* client.quit()
  return modifications.map((modification) => modification._tag === "AddHeader" ? String(modification.value).trim() : "")
})

for (const runtime of runtimes) {
  describeWith(missingRuntime(runtime), runtime, () => {
    for (const kind of ["TCP", "a UNIX socket"]) {
      it.live(`serves on ${kind}, and lets a message in progress end when it is stopped`, () =>
        Effect.gen(function*() {
          const path = Path.join(yield* Listeners.directory, "filter.sock")
          const { address, child } = yield* example(runtime, kind === "TCP" ? "inet:0@127.0.0.1" : `unix:${path}`)
          assert.deepStrictEqual(yield* Effect.flatMap(begin(address), finish), ["192.0.2.1"])
          const client = yield* begin(address)
          yield* child.signal("SIGTERM")
          // The listener closes first.
          yield* Effect.retry(Effect.flip(Effect.scoped(begin(address))), Schedule.spaced("50 millis"))
          assert.deepStrictEqual(yield* finish(client), ["192.0.2.1"])
          assert.strictEqual(yield* child.exit, 0)
          assert.isFalse(Fs.existsSync(path))
        }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer)))
    }

    it.live("gives a UNIX socket its mode and owner", () =>
      Effect.gen(function*() {
        const path = Path.join(yield* Listeners.directory, "filter.sock")
        yield* listening({ servers: { filter: { listen: path, mode: 0o606 } } }, { runtime: command(runtime) })
        assert.strictEqual(Fs.statSync(path).mode & 0o777, 0o606)
        assert.strictEqual(yield* Listeners.ask(`unix:${path}`), "filter")
      }))

    it.live("takes the sockets that systemd passes", () =>
      Effect.gen(function*() {
        const path = Path.join(yield* Listeners.directory, "passed.sock")
        const bound = `${path}.new`
        const scope = yield* Scope.make()
        const sockets = yield* Effect.all([
          Listeners.bare({ port: 0, host: "127.0.0.1" }),
          Listeners.bare({ path: bound })
        ]).pipe(Scope.provide(scope))
        // Otherwise the file would go with the server here.
        Fs.renameSync(bound, path)
        const { port } = sockets[0].address() as Net.AddressInfo
        const child = yield* listening({ servers: { filter: { listen: "systemd" } } }, {
          pass: sockets.map(descriptorOf),
          runtime: command(runtime)
        })
        // From here only the child takes connections.
        yield* Scope.close(scope, Exit.void)
        assert.include(child.output, `listens on inet:${port}@127.0.0.1, unix:${bound}`)
        assert.strictEqual(yield* Listeners.ask(`inet:${port}@127.0.0.1`), "filter")
        assert.strictEqual(yield* Listeners.ask(`unix:${path}`), "filter")
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0)
      }))

    it.live("runs the demo, whose MTA asks as a client", () =>
      Effect.gen(function*() {
        const [program, ...args] = [...command(runtime), demo]
        const child = yield* spawn(program, args)
        assert.strictEqual(yield* child.exit, 0)
        assert.match(child.output, /451 4\.2\.1 on holiday/)
      }))

    it.live("reloads at SIGHUP", () =>
      Effect.gen(function*() {
        const child = yield* listening({ servers: { filter: { listen: "inet:0" } }, reload: "works" }, {
          runtime: command(runtime)
        })
        yield* child.signal("SIGHUP")
        yield* child.shows(/reloaded/)
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0)
      }))

    it.live("signs, seals and verifies", () =>
      Effect.gen(function*() {
        const directory = yield* Listeners.directory
        const { port } = yield* NameServer.serve(0x8180, NameServer.txt("v=spf1 ip4:192.0.2.25 -all"))
        const [program, ...args] = command(runtime)
        const child = yield* spawn(program!, [
          ...args,
          authentication,
          JSON.stringify({ directory, nameServer: `127.0.0.1:${port}` })
        ])
        const ask = (filter: string, message: MilterClient.Message) => send(`unix:${directory}/${filter}`, message)
        for (const name of ["sign", "seal", "verify", "resolve"]) {
          yield* child.shows(new RegExp(`listens on .*/${name}\\n`))
        }
        const signed = yield* ask("sign", message)
        assert.lengthOf(valuesOf(signed, "DKIM-Signature"), 2)
        const sealed = yield* ask("seal", onward(signed))
        const [results = ""] = valuesOf(yield* ask("verify", onward(sealed)), "Authentication-Results")
        assert.lengthOf(results.match(/dkim=pass header/g) ?? [], 2, results)
        for (const part of ["spf=pass", "dmarc=pass", "arc=pass"]) assert.include(results, part)
        // Asks a name server over UDP, as they all do outside of tests.
        const [resolved = ""] = valuesOf(yield* ask("resolve", onward(signed)), "Authentication-Results")
        assert.include(resolved, "spf=pass")
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0)
      }))

    it.live("says at the start that it cannot share sockets between processes", () =>
      Effect.gen(function*() {
        const { directory, file, listen } = yield* Workers.place
        for (const address of ["inet:0", listen]) {
          const child = yield* Workers.start({ file, listen: address, workers: 2 }, { runtime: command(runtime) })
          assert.strictEqual(yield* child.exit, 1)
          assert.include(child.output, `cannot listen on ${address}: only Node gives a socket to several processes`)
          assert.include(child.output, `this is ${runtime}`)
        }
        assert.deepStrictEqual(Fs.readdirSync(directory), ["name"])
      }))
  })

  describeWith(missingRuntime(runtime) ?? Notify.missingPrerequisite, `${runtime} under a service manager`, () => {
    it.live("reports start, heartbeats and stop", () =>
      Effect.gen(function*() {
        const { child: manager, env } = yield* Notify.manager
        const child = yield* listening({ servers: { filter: { listen: "inet:0" } } }, {
          env: { ...env, WATCHDOG_USEC: "400000" },
          runtime: command(runtime)
        })
        yield* manager.shows(/READY=1[^]*WATCHDOG=1[^]*WATCHDOG=1/)
        yield* child.signal("SIGTERM")
        assert.strictEqual(yield* child.exit, 0)
        yield* manager.shows(/STOPPING=1/)
        assert.deepStrictEqual(Notify.messages(manager.output)[0]?.[0], "READY=1")
      }))
  })
}

// Deno does not tell the number of a descriptor, and takes no connection ever again once it had none for one.
describeWith(missingRuntime("Bun"), "Bun with too few descriptors", () => {
  it.live("says so, and goes on", () =>
    Effect.gen(function*() {
      const child = yield* start({ servers: { filter: { listen: "inet:0" } } }, {
        descriptors: 64,
        runtime: command("Bun")
      })
      const [, port] = yield* child.shows(/filter listens on inet:(\d+)/)
      yield* Effect.scoped(Effect.andThen(
        Effect.forEach(Array.from({ length: 64 }), () => Listeners.connected(Number(port))),
        child.shows(/AcceptError/)
      ))
      const asked = Effect.retry(Listeners.ask(`inet:${port}`), { times: 50, schedule: Schedule.spaced("50 millis") })
      assert.strictEqual(yield* asked, "filter")
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* child.exit, 0)
    }))
})
