/**
 * Sockets that are bound here and served by other processes. This process never listens on them: the kernel would give it
 * connections, which nobody would serve. The first worker listens, and from then on the queue of the socket lives as long as
 * this process holds its descriptor, whatever becomes of the workers.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Dns from "node:dns/promises"
import * as Net from "node:net"
import { getSystemErrorName } from "node:util"
import * as endpoint from "../../internal/net/endpoint.ts"
import { ListenError } from "../../MilterServer.ts"
import { fromSystem } from "./listenError.ts"
import { nothingPassed, notPassed } from "./open.ts"
import * as passedSockets from "./passedSockets.ts"
import * as unixSocket from "./unixSocket.ts"

/** A socket for workers. */
export interface BoundSocket {
  readonly descriptor: number
  /** The path of the socket file that this process makes. */
  readonly path?: string
  /** Whether it was passed to this process and stays open elsewhere, for the next one. */
  readonly isPassed: boolean
  /** Puts the file of a UNIX socket in its place; gives the function that removes it. To be run when a worker listens. */
  readonly publish: Effect.Effect<() => void, ListenError>
}

/** What Node has for its module cluster: a handle of libuv that is bound and not read. */
interface Handle {
  readonly fd: number
  readonly getsockname: (found: object) => number
  readonly close: () => void
}

type CreateHandle = (address: string, port: number, type: number) => Handle | number

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- missing from the types of Node
const createHandle = (Net as unknown as { readonly _createServerHandle?: CreateHandle })._createServerHandle

const { bun, deno } = process.versions

/** What runs this program. */
const runtime = bun !== undefined ? `Bun ${bun}` : deno !== undefined ? `Deno ${deno}` : `Node ${process.versions.node}`

// Bun has no such handle. Deno binds no TCP socket by it, and starts other processes with all permissions, not with its own.
const canShare = createHandle !== undefined && bun === undefined && deno === undefined

const notSupported = (address: string): ListenError =>
  new ListenError({ address, reason: "WorkersNotSupported", cause: new Error(`this is ${runtime}`) })

const systemError = (address: string, code: number): ListenError => {
  const name = getSystemErrorName(code)
  return fromSystem(address, Object.assign(new Error(`bind ${name}`), { code: name }))
}

const bind = (
  spec: string,
  address: string,
  port: number,
  type: number
): Effect.Effect<Handle, ListenError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend((): Effect.Effect<Handle, ListenError> => {
      if (createHandle === undefined) return Effect.fail(notSupported(spec))
      const handle = createHandle(address, port, type)
      return typeof handle === "number" ? Effect.fail(systemError(spec, handle)) : Effect.succeed(handle)
    }),
    (handle) => Effect.sync(() => handle.close())
  )

const nothingToRemove: BoundSocket["publish"] = Effect.succeed(() => undefined)

const tcp = Effect.fnUntraced(function*(
  spec: string,
  host: string,
  port: number
): Effect.fn.Return<BoundSocket, ListenError, Scope.Scope> {
  const { address, family } = yield* Effect.tryPromise({
    try: () => Dns.lookup(host),
    catch: (cause) => fromSystem(spec, cause)
  })
  const handle = yield* bind(spec, address, port, family)
  // libuv reports an address in use at the next call.
  const code = handle.getsockname({})
  if (code !== 0) return yield* systemError(spec, code)
  return { descriptor: handle.fd, isPassed: false, publish: nothingToRemove }
})

const unix = Effect.fnUntraced(function*(
  spec: string,
  path: string,
  access: unixSocket.Access
): Effect.fn.Return<BoundSocket, ListenError, Scope.Scope> {
  // Before the socket, so that it goes after it.
  const directory = yield* unixSocket.privateDirectory(spec, path)
  const scope = yield* Effect.scope
  let descriptor = -1
  const { publish } = yield* unixSocket.prepare(
    spec,
    path,
    access,
    directory,
    (bound) =>
      Effect.map(Scope.provide(bind(spec, bound, -1, -1), scope), ({ fd }) => {
        descriptor = fd
      })
  )
  return { descriptor, path, isPassed: false, publish }
})

const passed = (spec: string, descriptor: number): Effect.Effect<BoundSocket, ListenError> =>
  passedSockets.isSocket(descriptor)
    ? Effect.succeed({ descriptor, isPassed: true, publish: nothingToRemove })
    : Effect.fail(notPassed(spec, `descriptor ${descriptor} is not a socket`))

/** Binds the sockets of an address until the scope closes. */
export const open = (
  spec: string,
  access: unixSocket.Access
): Effect.Effect<ReadonlyArray<BoundSocket>, ListenError, Scope.Scope> => {
  if (!canShare) return Effect.fail(notSupported(spec))
  const parsed = endpoint.parseListening(spec)
  if (Result.isFailure(parsed)) {
    return Effect.fail(new ListenError({ address: spec, reason: "InvalidAddress", cause: parsed.failure }))
  }
  const where = parsed.success
  switch (where._tag) {
    case "Tcp":
      return Effect.map(tcp(spec, where.host, where.port), (socket) => [socket])
    case "Unix":
      return Effect.map(unix(spec, where.path, access), (socket) => [socket])
    case "Descriptor":
      return Effect.map(passed(spec, where.descriptor), (socket) => [socket])
    case "Systemd": {
      const descriptors = passedSockets.fromSystemd(where.name)
      return descriptors.length === 0
        ? Effect.fail(nothingPassed(spec))
        : Effect.forEach(descriptors, (descriptor) => passed(spec, descriptor))
    }
  }
}
