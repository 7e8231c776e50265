/**
 * Filters and clients on the sockets of Effect: a `SocketServer` that the application already has, Bun's, or one in memory.
 *
 * Unlike the rest of this package, this module has types of modules that Effect marks as unstable (`effect/socket`). It may
 * change in any release, as they do. On Node prefer `effect-milter/node`, which is faster, sets the modes of UNIX sockets and
 * removes their stale files.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import { Dialer, dialerOf, type Dialing } from "./internal/net/dialer.ts"
import * as endpoint from "./internal/net/endpoint.ts"
import { type Accepting, listenerOf } from "./internal/net/listener.ts"
import * as transport from "./internal/net/socketTransport.ts"
import type { Transport } from "./internal/net/transport.ts"
import { Listener } from "./MilterServer.ts"

const addressOf = (address: SocketServer.SocketServer["Service"]["address"]): string => {
  if (address._tag === "UnixPathAddress") return `unix:${address.path}`
  return endpoint.format({ _tag: "Tcp", host: String(address.address), port: address.port })
}

/**
 * Lets `MilterServer.layer` serve the connections of a `SocketServer`.
 *
 * **Example** (On a server of platform-node)
 *
 * ```ts
 * import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as EffectSocket from "effect-milter/EffectSocket"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * const main = MilterServer.layer(Nothing).pipe(
 *   Layer.provide(EffectSocket.layer),
 *   Layer.provide(NodeSocketServer.layer({ port: 9000, host: "127.0.0.1", noDelay: true })),
 *   Layer.launch
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Listener, never, SocketServer.SocketServer> = Layer.effect(
  Listener,
  Effect.gen(function*() {
    const server = yield* SocketServer.SocketServer
    const scope = yield* Scope.Scope
    let deliver: ((transport: Transport) => void) | undefined
    const handle = (socket: Socket.Socket) =>
      transport.run(socket, "a socket", (transport) => {
        if (deliver === undefined) transport.destroy()
        else deliver(transport)
      }).pipe(
        Effect.scoped,
        Effect.catch((error) => Effect.logDebug("a connection could not be opened", error))
      )
    // Sessions go on after the server has stopped accepting, so the server runs in the scope of this layer.
    const start = server.run(handle).pipe(
      Effect.catch((error) => Effect.logError("the socket server failed", error)),
      Effect.forkIn(scope)
    )
    let running = false
    // The server cannot stop listening without ending its sessions: new connections are closed at once.
    const stop = Effect.sync(() => {
      deliver = undefined
    })
    const listener: Accepting = {
      addresses: [addressOf(server.address)],
      accept: (onConnection) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            deliver = onConnection
            if (running) return Effect.void
            running = true
            return Effect.asVoid(start)
          }),
          () => stop
        ),
      stop,
      drains: true
    }
    return listenerOf(listener)
  })
)

/**
 * Lets `MilterClient.dial` use a `Socket`.
 *
 * **Gotchas**
 *
 * The address given to `dial` is ignored: the socket has its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient: Layer.Layer<Dialer, never, Socket.Socket> = Layer.effect(
  Dialer,
  Effect.gen(function*() {
    const socket = yield* Socket.Socket
    const dialing: Dialing = {
      reaches: "the peer of the socket",
      dial: () =>
        Effect.gen(function*() {
          const connected = yield* Deferred.make<Transport, Socket.SocketError>()
          const fiber = yield* transport.run(socket, "a socket", (transport) => {
            Deferred.doneUnsafe(connected, Exit.succeed(transport))
          }).pipe(
            Effect.scoped,
            Effect.catch((error) => Deferred.fail(connected, error)),
            // Until the client closes the transport, which its own scope sees to.
            Effect.forkDetach
          )
          return yield* Deferred.await(connected).pipe(Effect.onInterrupt(() => Fiber.interrupt(fiber)))
        })
    }
    return dialerOf(dialing)
  })
)
