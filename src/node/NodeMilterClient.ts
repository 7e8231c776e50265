/**
 * Connecting to milters on Node: TCP (IPv4 and IPv6) and UNIX sockets.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { Dialer, dialerOf } from "../internal/net/dialer.ts"
import * as endpoint from "../internal/net/endpoint.ts"
import type { Transport } from "../internal/net/transport.ts"
import { dialError } from "./internal/dialError.ts"
import { NetTransport } from "./internal/netTransport.ts"
import * as temporaryFile from "./internal/temporaryFile.ts"

const dial = (address: string): Effect.Effect<Transport, unknown> => {
  const parsed = endpoint.parse(address)
  if (Result.isFailure(parsed)) return Effect.fail(parsed.failure)
  const where = parsed.success
  return Effect.callback((resume) => {
    const socket = Net.connect(
      where._tag === "Unix" ? { path: where.path } : { host: where.host, port: where.port, noDelay: true }
    )
    const failed = (error: Error): void =>
      resume(Effect.fail(where._tag === "Unix" ? dialError(where.path, error) : error))
    socket.once("error", failed)
    socket.once("connect", () => {
      socket.off("error", failed)
      resume(Effect.succeed(new NetTransport(socket, where._tag === "Unix")))
    })
    return Effect.sync(() => socket.destroy())
  })
}

/**
 * Dials `inet:PORT@HOST` and `inet6:PORT@HOST` as libmilter and Sendmail write it (`@HOST` may be left out for loopback),
 * `inet:HOST:PORT` as Postfix does, and `unix:/path`.
 *
 * **Example** (Does a filter answer?)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MilterClient from "effect-milter/MilterClient"
 * import { NodeMilterClient } from "effect-milter/node"
 *
 * const version = MilterClient.dial("unix:/run/opendkim/opendkim.sock").pipe(
 *   Effect.flatMap((filter) => filter.negotiate()),
 *   Effect.map((agreed) => agreed.version),
 *   Effect.scoped,
 *   Effect.provide(NodeMilterClient.layer)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Dialer> = Layer.succeed(
  Dialer,
  dialerOf({
    reaches: "inet:PORT@HOST, inet6:PORT@HOST, inet:HOST:PORT or unix:/path",
    dial,
    openFile: temporaryFile.open
  })
)
