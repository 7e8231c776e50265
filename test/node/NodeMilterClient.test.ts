/** NodeMilterClient: filters asked through real sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Milter from "../../src/Milter.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterServer from "../../src/MilterServer.ts"
import { NodeMilterClient, NodeMilterServer } from "../../src/node/index.ts"
import { dialError } from "../../src/node/internal/dialError.ts"
import * as Verdict from "../../src/Verdict.ts"

const Replacing = Milter.make("replacing", { modify: ["replaceBody"] }).on({
  mail: ({ sender }) => Effect.succeed(sender.isNull ? Verdict.reject() : Verdict.continue),
  endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(new Uint8Array(1_000_000)), Verdict.continue)
})

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-"))),
  (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
)

const message: MilterClient.Message = { from: "alice@example.org", to: "bob@example.net", body: "Hello\n" }

/** Serves the filter there, and gives the address to the test. */
const served = <A, E>(
  listen: string,
  use: (address: string) => Effect.Effect<A, E, MilterClient.Dialer | Scope.Scope>
) =>
  Effect.flatMap(MilterServer.Listener, ({ addresses }) => Effect.scoped(use(addresses[0]!))).pipe(
    Effect.provide(
      MilterServer.layer(Replacing).pipe(
        Layer.provideMerge(NodeMilterServer.layer({ listen })),
        Layer.provideMerge(NodeMilterClient.layer)
      )
    )
  )

describe("NodeMilterClient", () => {
  it.live("speaks over TCP, in both spellings, and over UNIX sockets", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* directory, "socket")
      for (const listen of ["inet:0", "inet6:0", `unix:${path}`]) {
        yield* served(
          listen,
          Effect.fnUntraced(function*(address) {
            const port = /^inet:(\d+)@/.exec(address)?.[1]
            const spellings = port === undefined
              ? [address, address.replace("unix:", "local:")]
              : [address, `inet:127.0.0.1:${port}`, `inet:${port}`]
            for (const spelling of spellings) {
              const mta = yield* MilterClient.dial(spelling)
              const outcome = yield* mta.sendMessage({ ...message, body: new Uint8Array(2_000_000) })
              assert.strictEqual(outcome.delivered?.body.length, 1_000_002, spelling)
              assert.strictEqual((yield* mta.sendMessage({ ...message, from: "" }))._tag, "Rejected")
              yield* mta.quit()
              yield* mta.closed
            }
          })
        )
      }
    }))

  it.live("says why it cannot", () =>
    Effect.gen(function*() {
      const there = yield* directory
      const failing = (address: string) =>
        Effect.map(Effect.flip(MilterClient.dial(address)), ({ message, reason }) => {
          assert.strictEqual(reason._tag, "Unreachable")
          return message
        })
      assert.match(yield* failing("inet:1@127.0.0.1"), /^inet:1@127\.0\.0\.1: connect ECONNREFUSED/)
      assert.include(yield* failing(`unix:${there}/nothing`), `there is no socket at ${there}/nothing`)
      assert.match(yield* failing("milter.example.org"), /expected inet:PORT@HOST/)
    }).pipe(Effect.provide(NodeMilterClient.layer)))

  it.effect("names the group that may connect, and the directory that is in the way", () =>
    Effect.gen(function*() {
      const there = yield* directory
      const denied = Object.assign(new Error("connect EACCES"), { code: "EACCES" })
      Fs.mkdirSync(Path.join(there, "run"), { mode: 0o700 })
      const socket = Path.join(there, "run", "socket")
      // The group of the superuser is called root on Linux.
      assert.include(
        dialError(socket, denied).message,
        `no permission to connect to ${socket}: the directory ${there}/run belongs to the group root: add the user of this process ` +
          "to it, and give the group permission (the mode is 700)"
      )
      Fs.writeFileSync(socket, "", { mode: 0o660 })
      Fs.chmodSync(socket, 0o660)
      const error = dialError(socket, denied)
      assert.strictEqual(
        error.message,
        `no permission to connect to ${socket}, which belongs to the group root: add the user of this process to it`
      )
      assert.propertyVal(error, "code", "EACCES")
    }))

  it.effect("says that a path is that of a chroot", () =>
    Effect.gen(function*() {
      const there = yield* directory
      const missing = Object.assign(new Error("connect ENOENT"), { code: "ENOENT" })
      Fs.mkdirSync(Path.join(there, "run"))
      Fs.writeFileSync(Path.join(there, "run", "filter.sock"), "")
      assert.include(
        dialError("/run/filter.sock", missing, there).message,
        `there is no socket at /run/filter.sock, but one at ${there}/run/filter.sock: that path is what Postfix's smtpd sees`
      )
    }))

  it.live("notices a peer that goes away, politely or not", () =>
    Effect.gen(function*() {
      for (const leave of ["end", "resetAndDestroy"] as const) {
        const server = yield* Effect.acquireRelease(
          Effect.callback<Net.Server>((resume) => {
            const server = Net.createServer((socket) => socket.on("data", () => socket[leave]()))
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close())
        )
        const { port } = server.address() as Net.AddressInfo // it listens on TCP
        const mta = yield* MilterClient.dial(`inet:${port}@127.0.0.1`)
        const error = yield* Effect.flip(mta.negotiate())
        assert.strictEqual(error.reason._tag, "Closed")
        assert.match(error.message, leave === "end" ? /the connection is closed$/ : /closed: read ECONNRESET$/)
      }
    }).pipe(Effect.provide(NodeMilterClient.layer)))
})
