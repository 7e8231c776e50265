/**
 * Listening on Node: TCP (IPv4 and IPv6), UNIX sockets and sockets passed by systemd; signals, and notifications to systemd.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { type Accepting, listenerOf } from "../internal/net/listener.ts"
import * as drainState from "../internal/server/drainState.ts"
import { InvalidValue } from "../InvalidValue.ts"
import { Listener, ListenError } from "../MilterServer.ts"
import { open } from "./internal/open.ts"
import { Reporter } from "./internal/serviceManager.ts"
import * as signals from "./internal/signals.ts"
import * as temporaryFile from "./internal/temporaryFile.ts"

/**
 * Options of {@link layer}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out R = never> {
  /**
   * Where to listen; one place or several.
   *
   * - `inet:PORT@HOST`, `inet6:PORT@HOST` as for libmilter; without `@HOST` it is loopback, never all interfaces
   * - `inet:HOST:PORT` as Postfix writes it
   * - `unix:/path`
   * - `systemd`: all sockets that systemd has passed; `systemd:NAME`: those with this `FileDescriptorName=`
   * - `fd:3`: a listening socket that the process was started with
   *
   * Port 0 takes a free one; `Listener.addresses` tells which.
   */
  readonly listen: string | ReadonlyArray<string>
  /**
   * File mode of UNIX sockets, `0o660` by default. The MTA's user must be able to write: for Postfix that is its own
   * group, or 0o666 in a directory that only it can enter.
   */
  readonly mode?: number
  /**
   * Owner of UNIX sockets, by number or by its name in `/etc/passwd`; the user of the process by default. Only root can give
   * files away.
   */
  readonly owner?: string | number
  /**
   * Group of UNIX sockets, by number or by its name in `/etc/group`; that of the process by default. Without root it must be
   * one that the process belongs to.
   */
  readonly group?: string | number
  /**
   * Runs at each SIGHUP while the layer lives, one run after the other; signals during a run lead to one more. A failure is
   * logged and changes nothing. Without it SIGHUP is logged and ignored.
   */
  readonly onReload?: Effect.Effect<unknown, unknown, R>
}

/**
 * Listens while its scope is open.
 *
 * **Details**
 *
 * - A socket file has its owner and mode from the start. A file that an earlier process left is removed if no process listens
 *   on it. The file is removed when the server stops accepting, if it is still the one that this layer made.
 * - The first SIGTERM or SIGINT is left to `NodeRuntime.runMain`, which stops the program: connections end in order. At the
 *   second the process exits at once, with 1.
 * - Under systemd (`NOTIFY_SOCKET`) it reports when all listeners of the process take connections, when the process was told
 *   to stop, and reloads. Node cannot send these messages; the program `systemd-notify` does.
 * - If the system cannot accept a connection, usually because file descriptors are used up, the log has a warning (`AcceptError`,
 *   at most once a minute for each address), and the listener goes on.
 *
 * **Gotchas**
 *
 * - Postfix in a chroot sees the paths of UNIX sockets below its queue directory. Its user needs to write to the socket.
 * - A TCP listener has no encryption and no authentication: use loopback, or the server's option `peers`.
 * - A listener serves one filter. Give each filter a listener of its own; several run in one process.
 *
 * **Example** (A UNIX socket for Postfix, and a list that SIGHUP reads again)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeMilterServer } from "effect-milter/node"
 *
 * const listener = NodeMilterServer.layer({
 *   listen: "unix:/var/spool/postfix/filter/filter.sock",
 *   mode: 0o660,
 *   group: "postfix",
 *   onReload: Effect.logInfo("reading the list again")
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  options: Options<R>
): Layer.Layer<Listener, ListenError, Exclude<R, Scope.Scope>> => Layer.effect(Listener, make(options))

/**
 * Sets the exit code of the process, for `NodeRuntime.runMain`: 0 instead of 130 if the server was told to stop (SIGTERM,
 * SIGINT) and stopped in order; 1 if connections were cut because they did not end in time.
 *
 * @category running
 * @since 0.1.0
 */
export const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
    ? onExit(drainState.wasOverrun() ? 1 : 0)
    : Runtime.defaultTeardown(exit, onExit)

const make = Effect.fnUntraced(function*<R>(options: Options<R>) {
  const { group, mode = 0o660, onReload, owner } = options
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
    // 660 without its 0o is a likely mistake, and a useless mode.
    return yield* Effect.die(
      new InvalidValue({ what: "mode", value: String(mode), reason: "expected a number from 0o000 to 0o777" })
    )
  }
  const specs = typeof options.listen === "string" ? [options.listen] : options.listen
  if (specs.length === 0) {
    return yield* new ListenError({ address: "nothing", reason: "InvalidAddress", cause: undefined })
  }

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

  const listeners = (yield* Effect.forEach(specs, (spec) => open(spec, { group, mode, owner }, warn))).flat()
  const addresses = listeners.flatMap(({ addresses }) => addresses)
  const accepting: Accepting = {
    addresses,
    accept: (onConnection) =>
      Effect.andThen(
        Effect.forEach(listeners, ({ accept }) => accept(onConnection), { discard: true }),
        Effect.sync(() => reporter.ready(addresses))
      ),
    openFile: temporaryFile.open,
    stop: Effect.forEach(listeners, ({ stop }) => stop, { concurrency: "unbounded", discard: true })
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
