/** Who may connect, on real sockets: an address is what it is about. */
import { assert, describe, it } from "@effect/vitest"
import * as ClientAddress from "effect-milter/ClientAddress"
import { InvalidValue } from "effect-milter/InvalidValue"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer } from "effect-milter/node"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { isAllowed } from "../../src/internal/server/serve.ts"
import { NetTransport } from "../../src/node/internal/netTransport.ts"
import * as Listeners from "../support/listeners.ts"

/** Dials a server on each address and tells whether it negotiates, with the log lines about peers. */
const dialed = Effect.fnUntraced(function*(peers: ReadonlyArray<string>, listen: ReadonlyArray<string>) {
  const refused: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => {
    const text = String(message)
    if (text.includes("PeerRefused")) refused.push(text)
  })
  const context = yield* Layer.build(
    MilterServer.layer(Listeners.introducing("test"), { peers }).pipe(
      Layer.provideMerge(NodeMilterServer.layer({ listen })),
      Layer.provide(Logger.layer([logger]))
    )
  )
  const { addresses } = yield* Effect.provideContext(MilterServer.Listener, context)
  const served = yield* Effect.forEach(
    addresses,
    (address) =>
      Effect.scoped(Effect.flatMap(MilterClient.dial(address), (filter) => filter.negotiate())).pipe(
        Effect.provide(NodeMilterClient.layer),
        Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: () => "served" })
      )
  )
  return { served, refused }
}, Effect.scoped)

describe("peers", () => {
  it.live("are served if their network is on the list, and UNIX sockets always", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const { refused, served } = yield* dialed(["192.0.2.0/24", "127.0.0.0/8"], ["inet:0", `unix:${directory}/s`])
      assert.deepStrictEqual(served, ["served", "served"])
      assert.deepStrictEqual(refused, [])
    }))

  it.live("are closed before the negotiation if not, with one log line", () =>
    Effect.gen(function*() {
      const { refused, served } = yield* dialed(["192.0.2.0/24", "::1"], ["inet:0"])
      assert.deepStrictEqual(served, ["Closed"])
      assert.lengthOf(refused, 1)
      assert.match(refused[0]!, /PeerRefused: 127\.0\.0\.1 port \d+ is in no network of peers/)
    }))

  it.live("whose address is not known any more are refused", () =>
    Effect.gen(function*() {
      // What Node tells of a connection that its client has reset before it was accepted.
      const socket = new Net.Socket()
      yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      assert.isUndefined(socket.remoteAddress)
      const program = { peers: Result.getOrThrow(ClientAddress.network("0.0.0.0/0")) }
      assert.isFalse(isAllowed(program, new NetTransport(socket, false)))
      assert.isTrue(isAllowed(program, new NetTransport(socket, true)))
      assert.isTrue(isAllowed({ peers: undefined }, new NetTransport(socket, false)))
    }))

  it.live("that are no networks stop the server from starting", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(dialed(["10.0.0.0/33"], ["inet:0"]))
      assert(Exit.isFailure(exit))
      assert.instanceOf(Cause.squash(exit.cause), InvalidValue)
    }))
})
