/** Opens the sockets on which a filter listens. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as endpoint from "../../internal/net/endpoint.ts"
import { ListenError } from "../../MilterServer.ts"
import { NetListener } from "./netListener.ts"
import * as passedSockets from "./passedSockets.ts"
import * as unixSocket from "./unixSocket.ts"

/** What a worker knows of a descriptor that its supervisor has passed to it. */
export interface Inherited {
  /** Whether other processes go on to listen on it. */
  readonly isShared?: () => boolean
  /** The path of a UNIX socket: the kernel tells the one it was bound to, which is not that of the file. */
  readonly path?: string | undefined
}

/** Listens at the address `spec` until the scope closes; `warn` gets the connections that were not accepted. */
export const open = Effect.fnUntraced(function*(
  spec: string,
  access: unixSocket.Access,
  warn: (message: string) => void,
  { isShared, path }: Inherited = {}
): Effect.fn.Return<ReadonlyArray<NetListener>, ListenError, Scope.Scope> {
  const parsed = endpoint.parseListening(spec)
  if (Result.isFailure(parsed)) {
    return yield* new ListenError({ address: spec, reason: "InvalidAddress", cause: parsed.failure })
  }
  const where = parsed.success
  const acquire = (
    listen: (listener: NetListener) => Effect.Effect<void, ListenError>,
    options?: { readonly isShared: (() => boolean) | undefined }
  ) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        const listener = new NetListener(warn, options)
        return listen(listener).pipe(Effect.onError(() => listener.discard), Effect.as(listener))
      }),
      (listener) => listener.close
    )
  switch (where._tag) {
    case "Tcp":
      return [yield* acquire((listener) => tcp(listener, spec, where.host, where.port))]
    case "Unix": {
      // Before the listener, so that it goes after it.
      const directory = yield* unixSocket.privateDirectory(spec, where.path)
      return [yield* acquire((listener) => unix(listener, spec, where.path, access, directory))]
    }
    case "Descriptor":
      return [yield* acquire((listener) => passed(listener, spec, where.descriptor, path), { isShared })]
    case "Systemd": {
      const descriptors = passedSockets.fromSystemd(where.name)
      if (descriptors.length === 0) return yield* nothingPassed(spec)
      return yield* Effect.forEach(
        descriptors,
        // systemd keeps it, for the next start.
        (descriptor) => acquire((listener) => passed(listener, spec, descriptor), { isShared: () => true })
      )
    }
  }
})

const tcp = (listener: NetListener, spec: string, host: string, port: number): Effect.Effect<void, ListenError> =>
  Effect.map(listener.listen(spec, { host, port }), () => {
    listener.opened(tcpAddress(listener)!)
  })

const tcpAddress = ({ address }: NetListener): string | undefined =>
  address && endpoint.format({ _tag: "Tcp", host: address.address, port: address.port })

const unix = (
  listener: NetListener,
  spec: string,
  path: string,
  access: unixSocket.Access,
  directory: unixSocket.PrivateDirectory
): Effect.Effect<void, ListenError> =>
  Effect.map(unixSocket.listen(spec, path, access, directory, (path) => listener.listen(spec, { path })), (remove) => {
    listener.opened(endpoint.format({ _tag: "Unix", path }), remove)
  })

export const notPassed = (spec: string, detail: string) =>
  new ListenError({ address: spec, reason: "NotPassed", cause: new Error(detail) })

export const nothingPassed = (spec: string): ListenError => {
  const variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map((name) => `${name}=${process.env[name] ?? ""}`)
  return notPassed(spec, `process ${process.pid} has ${variables.join(" ")}`)
}

const passed = (
  listener: NetListener,
  spec: string,
  descriptor: number,
  known?: string
): Effect.Effect<void, ListenError> =>
  Effect.suspend(() => {
    if (!passedSockets.isSocket(descriptor)) return notPassed(spec, `descriptor ${descriptor} is not a socket`)
    if (!passedSockets.take(descriptor)) {
      const cause = new Error(`descriptor ${descriptor} is or was in use by another listener of this process`)
      return new ListenError({ address: spec, reason: "AddressInUse", cause })
    }
    const path = known ?? passedSockets.pathOf(descriptor)
    return Effect.map(listener.listen(spec, { fd: descriptor }), () => {
      listener.opened(
        tcpAddress(listener) ?? (path === undefined ? `fd:${descriptor}` : endpoint.format({ _tag: "Unix", path }))
      )
    })
  })
