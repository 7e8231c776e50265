/** The service `Listener` on Node: sockets, signals and reports to the service manager for one listening layer. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import { type Accepting, listenerOf, type ListenerShape, type Worker } from "../../internal/net/listener.ts"
import { InvalidValue } from "../../InvalidValue.ts"
import { ListenError } from "../../MilterServer.ts"
import type { NetListener } from "./netListener.ts"
import { Reporter } from "./serviceManager.ts"
import * as signals from "./signals.ts"
import * as temporaryFile from "./temporaryFile.ts"
import type { Access } from "./unixSocket.ts"

/** Where to listen, and who may connect: a part of the options of layers. */
export interface Where {
  readonly listen: string | ReadonlyArray<string>
  readonly mode?: number
  readonly owner?: string | number
  readonly group?: string | number
}

/** Checks the options of a layer: addresses, and the access to socket files. */
export const checked = Effect.fnUntraced(function*(
  { group, listen, mode = 0o660, owner }: Where
): Effect.fn.Return<{ readonly specs: ReadonlyArray<string>; readonly access: Access }, ListenError> {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
    // 660 without its 0o is a likely mistake, and a useless mode.
    return yield* Effect.die(
      new InvalidValue({ what: "mode", value: String(mode), reason: "expected a number from 0o000 to 0o777" })
    )
  }
  const specs = typeof listen === "string" ? [listen] : listen
  if (specs.length === 0) {
    return yield* new ListenError({ address: "nothing", reason: "InvalidAddress", cause: undefined })
  }
  return { specs, access: { group, mode, owner } }
})

/**
 * Takes connections from the sockets that `open` opens, until the scope closes.
 *
 * A process that serves alone opens them at once, so that an address in use is known before anything else is built. A worker opens
 * them when its server is ready: others serve the same sockets, and a connection that this process took would be lost with a
 * server that does not start.
 */
export const listenOn = Effect.fnUntraced(function*<R>(
  open: (warn: (message: string) => void) => Effect.Effect<ReadonlyArray<NetListener>, ListenError, Scope.Scope>,
  onReload: Effect.Effect<unknown, unknown, R> | undefined,
  worker?: Worker
): Effect.fn.Return<ListenerShape, ListenError, Exclude<R, Scope.Scope> | Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  const warn = (message: string) => void fork(Effect.logWarning(message))
  const reporter = yield* Effect.acquireRelease(
    Effect.sync(() => new Reporter(warn)),
    (reporter) => reporter.close
  )
  const member: signals.Member = {
    reload: onReload && (yield* reloader(onReload, reporter)),
    stopping: () => reporter.stopping(),
    log: (line) => void fork(line)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => signals.join(member)),
    () => Effect.sync(() => signals.leave(member))
  )

  const scope = yield* Effect.scope
  let listeners = worker === undefined ? yield* open(warn) : []
  const accepting: Accepting = {
    get addresses() {
      return listeners.flatMap(({ addresses }) => addresses)
    },
    accept: Effect.fnUntraced(function*(onConnection) {
      if (listeners.length === 0) listeners = yield* Effect.orDie(Scope.provide(open(warn), scope))
      yield* Effect.forEach(listeners, ({ accept }) => accept(onConnection), { discard: true })
      reporter.ready(accepting.addresses)
    }),
    openFile: temporaryFile.open,
    ...(worker === undefined ? {} : { worker }),
    stop: Effect.suspend(() =>
      Effect.forEach(listeners, ({ stop }) => stop, { concurrency: "unbounded", discard: true })
    )
  }
  return listenerOf(accepting)
})

/** Asks for a run of the effect. */
const reloader = Effect.fnUntraced(function*<R>(onReload: Effect.Effect<unknown, unknown, R>, reporter: Reporter) {
  const requests = yield* Queue.sliding<void>(1)
  const run = Effect.gen(function*() {
    reporter.reloading()
    yield* Effect.logInfo("SIGHUP: reloading")
    yield* Effect.scoped(onReload)
  }).pipe(
    Effect.catchCause((cause) => Effect.logError("the reload failed", cause)),
    Effect.ensuring(Effect.sync(() => reporter.reloaded()))
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Queue.take(requests), run)))
  return () => void Queue.offerUnsafe(requests, undefined)
})
