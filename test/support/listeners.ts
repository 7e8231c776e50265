/** Real sockets for tests: servers that say who they are, and somebody who asks them. */
import type * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { answering } from "./filters.ts"

/** A filter that refuses every sender and says who it is. */
export const introducing = (name: string) =>
  answering({ mail: Verdict.reject({ code: "550", enhanced: "5.7.1", text: name }) }, name)

/** No log lines. */
export const quiet = Logger.layer([])

/** Who refuses mail there. */
export const ask = (address: string) =>
  Effect.gen(function*() {
    const filter = yield* MilterClient.dial(address, { timeouts: { connect: "20 seconds", command: "20 seconds" } })
    yield* filter.negotiate()
    yield* filter.connect({ hostname: "client.example.org", address: "192.0.2.1" })
    yield* filter.helo("client.example.org")
    const answer = yield* filter.mail("<a@example.org>")
    yield* filter.quit()
    return answer._tag === "Reply" ? answer.lines.join(" ") : answer._tag
  }).pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer))

/** Serves a filter in the surrounding scope and gives the addresses. */
const serveAt = Effect.fnUntraced(function*(
  filter: Milter.Filter<Milter.NoFailure, never>,
  options: NodeMilterServer.Options
) {
  const context = yield* Layer.build(
    MilterServer.layer(filter).pipe(
      Layer.provideMerge(NodeMilterServer.layer(options)),
      Layer.provide(quiet)
    )
  )
  const { addresses } = yield* Effect.provideContext(MilterServer.Listener, context)
  return addresses
})

/** Serves {@link introducing} in the surrounding scope and gives the addresses. */
export const serve = (name: string, options: NodeMilterServer.Options) => serveAt(introducing(name), options)

/** Serves a filter on a free port until the scope closes, and gives the address. */
export const serveFilter = (filter: Milter.Filter<Milter.NoFailure, never>) =>
  Effect.map(serveAt(filter, { listen: "inet:0" }), ([address]) => address!)

/** A directory of its own for a test, short enough for sockets and open for all. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => {
    const path = Fs.mkdtempSync(Path.join(Os.tmpdir(), "milter-"))
    Fs.chmodSync(path, 0o755)
    return path
  }),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** A bare server on a path or a port. */
export const bare = (where: Net.ListenOptions, onConnection: (socket: Net.Socket) => void = () => undefined) =>
  Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer(onConnection)
      server.listen(where, () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        if (!server.listening) return resume(Effect.void)
        server.close(() => resume(Effect.void))
      })
  )

/** Whether somebody listens: undefined, or why not. */
export const refusal = (where: Net.NetConnectOpts) =>
  Effect.callback<string | undefined>((resume) => {
    const socket = Net.connect(where)
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(undefined))
    })
    socket.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code)))
  })

/** A connection to this port on loopback that says nothing. */
export const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1" }, () => resume(Effect.succeed(socket)))
      socket.on("error", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
