/**
 * Listening on Node: TCP (IPv4 and IPv6), UNIX sockets and sockets passed by systemd; signals, and notifications to systemd.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { checkKeys, keysOf } from "../internal/bytes/knownKeys.ts"
import * as drainState from "../internal/server/drainState.ts"
import { Listener, type ListenError } from "../MilterServer.ts"
import { checked, listenOn } from "./internal/listening.ts"
import { open } from "./internal/open.ts"
import * as signals from "./internal/signals.ts"
import type { WorkerError } from "./internal/supervisor.ts"
import { assignment as assignmentOf } from "./internal/workerMessages.ts"
import { supervise, work } from "./internal/workers.ts"

export { WorkerError } from "./internal/supervisor.ts"

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

const optionNames = keysOf<Options>({ listen: true, mode: true, owner: true, group: true, onReload: true })

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
): Layer.Layer<Listener, ListenError, Exclude<R, Scope.Scope>> => {
  signals.watchStops()
  return Layer.effect(
    Listener,
    Effect.gen(function*() {
      checkKeys("option of a listener", options, optionNames)
      const { access, specs } = yield* checked(options)
      return yield* listenOn(
        (warn) => Effect.map(Effect.forEach(specs, (spec) => open(spec, access, warn)), (opened) => opened.flat()),
        options.onReload
      )
    })
  )
}

/**
 * Options of {@link workers}.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkersOptions<out R = never> extends Options<R> {
  /** The number of processes that serve; `auto`, the default, is one for each core. */
  readonly workers?: number | "auto"
  /**
   * Where the supervisor shows what all workers do, over HTTP: an address as for `listen`, on loopback unless you say
   * otherwise. `/metrics` for Prometheus, `/live`, `/ready`, and `/status` as JSON. They stay until the last worker has
   * ended, with 503 at `/ready` while they drain.
   */
  readonly http?: string
}

const workersOptionNames = [
  ...optionNames,
  ...keysOf<Omit<WorkersOptions, keyof Options>>({ workers: true, http: true })
]

/**
 * Serves in several processes, so that a filter uses all cores, and a crash takes only a part of the sessions with it.
 *
 * **Details**
 *
 * - The process that runs this effect is the supervisor. It binds the sockets, and starts its own program again, with the
 *   same arguments, as workers: in a worker the same call serves. The supervisor never takes a connection. It keeps the
 *   sockets, so that connections wait in the kernel's queue while workers start.
 * - If the first worker cannot start, nothing listens and this effect fails. A worker that ends later is started again,
 *   after 200 milliseconds at first and after 30 seconds at most.
 * - At SIGTERM and SIGINT all workers drain, and the supervisor ends after them. SIGHUP and SIGUSR1 start new workers one
 *   after another, with the program as it is then. When a new worker takes connections, the old one stops taking them: its
 *   sessions go on for up to a minute, then it drains. `onReload` runs in each old worker, for these sessions.
 * - Each worker takes its part of `maxConnections` and of `maxSilentConnections`.
 * - Under systemd the supervisor reports for all. With `WatchdogSec=` it kills a worker that has not answered for that long.
 *
 * **Gotchas**
 *
 * - On Node only: Bun and Deno refuse it with a `ListenError`, `WorkersNotSupported`.
 * - State in memory belongs to one worker: the counters of a rate limit, for example. Keep in a store what all have to know.
 * - Sessions of a worker that crashes get the MTA's default action. With `milter_default_action = accept` of Postfix, that
 *   is mail without a filter: use `tempfail`.
 * - Layers around this effect are built in the supervisor, too. Give what the filter needs to the layer of the server.
 *
 * @see {@link layer} for one process
 *
 * **Example** (A filter on all cores)
 *
 * ```ts
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import { NodeMilterServer } from "effect-milter/node"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * const main = NodeMilterServer.workers(MilterServer.layer(Nothing), {
 *   listen: "unix:/run/filter/filter.sock",
 *   http: "inet:9464@127.0.0.1"
 * })
 *
 * if (process.argv.includes("--serve")) NodeRuntime.runMain(main, { teardown: NodeMilterServer.teardown })
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const workers = <E, RServer, R = never>(
  server: Layer.Layer<never, E, RServer>,
  options: WorkersOptions<R>
): Effect.Effect<never, E | ListenError | WorkerError, Exclude<RServer, Listener> | Exclude<R, Scope.Scope>> =>
  Effect.gen(function*() {
    checkKeys("option of workers", options, workersOptionNames)
    const assignment = yield* Effect.sync(assignmentOf)
    return assignment === undefined
      ? yield* supervise(options)
      : yield* work(assignment, server, { onReload: options.onReload })
  })

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
