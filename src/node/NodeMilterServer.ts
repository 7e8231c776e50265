/**
 * Listening on Node: TCP (IPv4 and IPv6) and UNIX sockets.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as endpoint from "../internal/endpoint.ts"
import type { Accepting } from "../internal/listener.ts"
import type { Transport } from "../internal/transport.ts"
import { Listener, ListenError } from "../MilterServer.ts"
import { NetTransport } from "./internal/netTransport.ts"

/**
 * Options of {@link layer}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Where to listen; one place or several.
   *
   * - `inet:PORT@HOST`, `inet6:PORT@HOST` as for libmilter; without `@HOST` it is loopback, never all interfaces
   * - `inet:HOST:PORT` as Postfix writes it
   * - `unix:/path`
   *
   * Port 0 takes a free one; `Listener.addresses` tells which.
   */
  readonly listen: string | ReadonlyArray<string>
  /**
   * File mode of UNIX sockets, `0o660` by default. The MTA's user must be able to write: for Postfix that is its own
   * group, or 0o666 in a directory that only it can enter.
   */
  readonly mode?: number
}

/**
 * Listens while its scope is open. A socket file that an earlier process left behind is removed if nobody listens on it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Listener, ListenError> =>
  Layer.effect(
    Listener,
    Effect.gen(function*() {
      const specs = typeof options.listen === "string" ? [options.listen] : options.listen
      const accepting = yield* Effect.forEach(specs, (spec) => listen(spec, options.mode ?? 0o660))
      const listener: Accepting = {
        addresses: accepting.flatMap(({ addresses }) => addresses),
        accept: (onConnection) => Effect.forEach(accepting, ({ accept }) => accept(onConnection), { discard: true })
      }
      return listener
    })
  )

/**
 * For `NodeRuntime.runMain`: a server that was told to stop (SIGTERM, SIGINT) and did so exits with 0 instead of 130.
 *
 * @category running
 * @since 0.1.0
 */
export const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)

// Connections that come between two turns of the accept loop; the kernel caps it (net.core.somaxconn).
const backlog = 4096

const listen = Effect.fnUntraced(function*(
  spec: string,
  mode: number
): Effect.fn.Return<Accepting, ListenError, Scope.Scope> {
  const parsed = endpoint.parse(spec)
  if (Result.isFailure(parsed)) {
    return yield* new ListenError({ address: spec, reason: "InvalidAddress", cause: parsed.failure })
  }
  const where = parsed.success
  if (where._tag === "Unix") yield* removeStale(where.path)
  // Connections wait here, unread, until a server takes them.
  const waiting: Array<Transport> = []
  let deliver = (transport: Transport): void => {
    waiting.push(transport)
  }
  const server = Net.createServer({ noDelay: true }, (socket) => deliver(new NetTransport(socket)))
  yield* Effect.acquireRelease(bind(server, spec, where), () => close(server, waiting))
  if (where._tag === "Unix") yield* Effect.sync(() => Fs.chmodSync(where.path, mode))
  const address = server.address()
  return {
    addresses: [
      endpoint.format(
        where._tag === "Tcp" && address !== null && typeof address === "object"
          ? { _tag: "Tcp", host: address.address, port: address.port }
          : where
      )
    ],
    accept: (onConnection) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          deliver = onConnection
          waiting.splice(0).forEach(onConnection)
        }),
        () =>
          Effect.sync(() => {
            deliver = (transport) => transport.destroy()
          })
      )
  }
})

const bind = (server: Net.Server, spec: string, where: endpoint.Endpoint): Effect.Effect<void, ListenError> =>
  Effect.callback((resume) => {
    const failed = (cause: NodeJS.ErrnoException): void =>
      resume(Effect.fail(new ListenError({ address: spec, reason: reasons[cause.code ?? ""] ?? "Other", cause })))
    server.once("error", failed)
    server.listen(
      where._tag === "Unix" ? { path: where.path, backlog } : { host: where.host, port: where.port, backlog },
      () => {
        server.off("error", failed)
        // An error of one accept (too many open files) must not end the process; the next accept may succeed.
        server.on("error", () => undefined)
        resume(Effect.void)
      }
    )
  })

const close = (server: Net.Server, waiting: ReadonlyArray<Transport>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    for (const transport of waiting) transport.destroy()
    server.close(() => resume(Effect.void))
  })

const reasons: { readonly [code: string]: ListenError["reason"] } = {
  EADDRINUSE: "AddressInUse",
  EADDRNOTAVAIL: "AddressNotAvailable",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  ENOTFOUND: "InvalidAddress",
  EAFNOSUPPORT: "AddressNotAvailable",
  ENOENT: "InvalidAddress"
}

/** A socket file without a listener refuses connections; only such a one may go. */
const removeStale = (path: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (Fs.statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return resume(Effect.void)
    const probe = Net.connect({ path })
    probe.once("connect", () => {
      probe.destroy()
      resume(Effect.void)
    })
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") Fs.rmSync(path, { force: true })
      resume(Effect.void)
    })
  })
