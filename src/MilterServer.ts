/**
 * Serves a filter. The server is one layer and listening is another, so that the same server runs on TCP, on a UNIX
 * socket (`effect-milter/node`) and in memory (`MilterTest`).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as ClientAddress from "./ClientAddress.ts"
import { Files } from "./internal/bytes/spool.ts"
import * as connection from "./internal/engine/connection.ts"
import { checkOrder } from "./internal/engine/contentPasses.ts"
import type { Program } from "./internal/engine/serverRuntime.ts"
import { type Definitions, resolve } from "./internal/filter/definition.ts"
import type { Accepting } from "./internal/net/listener.ts"
import type { Transport } from "./internal/net/transport.ts"
import * as observer from "./internal/observe/serverMonitor.ts"
import { markOverrun } from "./internal/server/drainState.ts"
import * as running from "./internal/server/registry.ts"
import * as settings from "./internal/server/settings.ts"
import type { Filter } from "./Milter.ts"

/**
 * Where connections of MTAs come from. Provided by a listening layer: `NodeMilterServer.layer`, `EffectSocket.layer` or,
 * in tests, `MilterTest`.
 *
 * @category services
 * @since 0.1.0
 */
export class Listener extends Context.Service<Listener, {
  /** Where it listens, as `inet:9000@127.0.0.1` or `unix:/run/filter.sock`; with the real port where 0 was asked for. */
  readonly addresses: ReadonlyArray<string>
}>()("effect-milter/MilterServer/Listener") {}

/**
 * It is not possible to listen there.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly address: string
  readonly reason:
    | "AddressInUse"
    | "AddressNotAvailable"
    | "PermissionDenied"
    | "InvalidAddress"
    | "NotASocket"
    | "NotPassed"
    | "UnknownOwner"
    | "Other"
  readonly cause: unknown
}> {
  override get message(): string {
    const { address, cause, reason } = this
    const detail = reason === "Other" && cause instanceof Error ? `: ${cause.message}` : ""
    return `cannot listen on ${address}: ${explanations[reason]}${detail}`
  }
}

const explanations: { readonly [K in ListenError["reason"]]: string } = {
  AddressInUse: "somebody listens there already",
  AddressNotAvailable: "this host has no such address",
  PermissionDenied: "permission denied",
  InvalidAddress: "not an address to listen on",
  NotASocket: "there is a file that is not a socket",
  NotPassed: "the process was not started with this socket",
  UnknownOwner: "there is no such owner or group",
  Other: "the system refused it"
}

/**
 * Options of {@link layer}. All have defaults. Durations are Effect's (`"8 seconds"`, or milliseconds).
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Connections at a time; 1000 by default. One more is answered 421 at connect, so that the client comes back. */
  readonly maxConnections?: number
  /**
   * The longest frame taken from an MTA, in bytes without its length field; 1 MiB by default. Real MTAs stay below 64 KiB,
   * except for headers that another filter added. A longer one ends the connection.
   */
  readonly maxFrameLength?: number
  /** Header fields of a message, as far as the filter takes headers; unlimited by default. See {@link Options.tooLarge}. */
  readonly maxHeaders?: number
  /** Bytes of all names and values of its header fields; unlimited by default. */
  readonly maxHeaderBytes?: number
  /** Bytes of its body, as far as the filter takes the body; unlimited by default. */
  readonly maxBodyBytes?: number
  /** What a message over one of these limits gets: `reject` (552 5.3.4, the default) or `pass`, on without this filter. */
  readonly tooLarge?: "reject" | "pass"
  /** Recipients of a message; unlimited by default. One more gets 452 4.5.3: its sender uses another message. */
  readonly maxRecipients?: number
  /** Macros kept of a session; 512 by default. The surplus is dropped with a warning. */
  readonly maxMacros?: number
  /** Bytes of macros kept of a session; 64 KiB by default. */
  readonly maxMacroBytes?: number
  /** Commands waiting behind a running hook before reading pauses; 64 by default. It pauses at 256 KiB of them, too. */
  readonly maxQueuedPackets?: number
  /**
   * Networks that may connect, such as `["192.0.2.0/24", "::1"]`; everybody by default. Others are closed before the
   * negotiation. UNIX sockets have permissions instead.
   */
  readonly peers?: ReadonlyArray<string>
  /**
   * From the arrival of a command to its answer, before end of message; 8 seconds by default (Sendmail waits 10, Postfix 30).
   * A hook that takes longer is interrupted and answered by `onDefect`.
   */
  readonly commandTimeout?: Duration.Input
  /** The same for end of message; 4 minutes by default, 9 at most: SMTP clients give up after 10 and send it again. */
  readonly endOfMessageTimeout?: Duration.Input
  /** How often the MTA gets a sign of life while end of message takes its time; 5 seconds by default. */
  readonly progressInterval?: Duration.Input
  /** Between two commands; 2 hours by default, since SMTP clients may idle. */
  readonly idleTimeout?: Duration.Input
  /** From the first byte of a frame to its last; 1 minute by default. */
  readonly frameTimeout?: Duration.Input
  /** For an MTA that does not take our answer; 30 seconds by default. */
  readonly writeTimeout?: Duration.Input
  /** For a hook that was interrupted to stop; 10 seconds by default, then its connection is closed. */
  readonly stopTimeout?: Duration.Input
  /** For messages in progress to end when the server stops; 1 minute by default. */
  readonly drainTimeout?: Duration.Input
}

/**
 * Serves a filter to every connection of the {@link Listener}: one fiber each, which ends, with all that hooks have
 * acquired, when the connection or the layer's scope closes. A filter that can still fail does not compile here; see
 * `Milter.onFailure`.
 *
 * **Example** (A filter on a TCP port)
 *
 * ```ts
 * import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import { NodeMilterServer } from "effect-milter/node"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * const main = MilterServer.layer(Nothing).pipe(
 *   Layer.provide(NodeMilterServer.layer({ listen: "inet:9000@127.0.0.1" })),
 *   Layer.launch
 * )
 *
 * if (process.argv.includes("--serve")) NodeRuntime.runMain(main, { teardown: NodeMilterServer.teardown })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R>(filter: Filter<never, R>, options: Options = {}): Layer.Layer<never, never, R | Listener> =>
  Layer.effectDiscard(serve(filter, options))

/**
 * {@link layer} with its options from the configuration, by default {@link config}.
 *
 * **Example** (Options from the environment)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as MilterServer from "effect-milter/MilterServer"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Nothing = Milter.make("nothing").on({ mail: () => Effect.succeed(Verdict.continue) })
 *
 * // Reads MILTER_MAX_CONNECTIONS, MILTER_COMMAND_TIMEOUT and so on.
 * const server = MilterServer.layerConfig(Nothing)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <R>(
  filter: Filter<never, R>,
  options: Config.Config<Options> = config
): Layer.Layer<never, Config.ConfigError, R | Listener> =>
  Layer.effectDiscard(Effect.flatMap(options, (options) => serve(filter, options)))

/**
 * All {@link Options} under `MILTER_` and their names in capitals, such as `MILTER_MAX_CONNECTIONS` and
 * `MILTER_COMMAND_TIMEOUT` (`8 seconds`). `MILTER_PEERS` is a list with commas or spaces.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<Options> = settings.config

/**
 * A server of this process, as {@link status} tells of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The name of its filter. */
  readonly filter: string
  readonly addresses: ReadonlyArray<string>
  /** `starting` before it listens; `draining` when it stops: it listens no more, and messages in progress end. */
  readonly state: "starting" | "listening" | "draining"
  /** Connections that are open, each with one SMTP session. */
  readonly sessions: number
}

/**
 * The servers of this process, from the building of their layer until it is closed; for an administrator's page, or a
 * test that waits for sessions to end.
 *
 * @category status
 * @since 0.1.0
 */
export const status: Effect.Effect<ReadonlyArray<Status>> = running.all

/**
 * Whether this process should be sent connections: it has servers, and all of them listen. False once one of them drains.
 * A process that can answer at all is alive.
 *
 * **Example** (A readiness probe)
 *
 * ```ts
 * import * as HttpRouter from "effect/http/HttpRouter"
 * import * as HttpServerResponse from "effect/http/HttpServerResponse"
 * import * as Effect from "effect/Effect"
 * import * as MilterServer from "effect-milter/MilterServer"
 *
 * const readyz = HttpRouter.add(
 *   "GET",
 *   "/readyz",
 *   Effect.map(MilterServer.isReady, (ready) => HttpServerResponse.empty({ status: ready ? 200 : 503 }))
 * )
 * ```
 *
 * @category status
 * @since 0.1.0
 */
export const isReady: Effect.Effect<boolean> = Effect.map(
  running.all,
  (servers) => servers.length > 0 && servers.every(({ state }) => state === "listening")
)

// Unique in this process, whatever the number of servers.
let sessions = 0

// How late a deadline may be noticed, in milliseconds.
const sweepInterval = 250

const serve = Effect.fnUntraced(function*<R>(filter: Filter<never, R>, options: Options) {
  // A filter resolves to its definition with the services in its type, which are all in this effect's type.
  const definitions = checkOrder(yield* resolve(filter) as Effect.Effect<Definitions, never, R>)
  const name = definitions.map(({ name }) => name).join(" + ")
  const listener = (yield* Listener) as Accepting // every listening layer builds one
  const { drain, limits, peers, timeouts } = settings.settingsOf(options)
  const surroundings = yield* Effect.context<R>()
  // Scope and span of the layer are not those of a session.
  const own: Context.Context<never> = Context.omit(Scope.Scope, Tracer.ParentSpan)(
    surroundings as Context.Context<Scope.Scope>
  ).pipe(Context.add(Files, listener.openFile))
  const clock = yield* Clock.Clock
  const started = clock.currentTimeMillisUnsafe().toString(36)
  const contextOf = (services: Context.Context<never> | undefined): Context.Context<never> =>
    services === undefined ? own : Context.merge(own, services)
  // What belongs to no filter runs with the services of the only one, so that there is one context.
  const context = definitions.length === 1 ? contextOf(definitions[0]!.services) : own
  const monitor = observer.make(name, context, clock)
  const program: Program = {
    name,
    units: definitions.map((definition) => ({
      definition,
      context: definitions.length === 1 ? context : contextOf(definition.services),
      monitor: monitor.filter(definition.name)
    })),
    context,
    clock,
    timeouts,
    limits,
    peers,
    monitor,
    openFile: listener.openFile,
    nextId: () => `${started}-${(++sessions).toString(36)}`,
    connections: new Set(),
    draining: false
  }
  // Closed by the drain, which does not wait for ever.
  const fibers = yield* Scope.provide(FiberSet.make<void>(), Scope.makeUnsafe())
  const fork = yield* FiberSet.runtime(fibers)()
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(sweepInterval), sweep(program))))
  let listening = false
  yield* running.add(() => ({
    filter: name,
    addresses: listener.addresses,
    state: program.draining ? "draining" : listening ? "listening" : "starting",
    sessions: program.connections.size
  }))
  const onConnection = (transport: Transport): void => {
    if (isAllowed(program, transport)) {
      fork(connection.run(program, transport))
    } else {
      transport.destroy()
      program.monitor.error("PeerRefused")
      fork(Effect.logWarning(`PeerRefused: ${transport.peer} is in no network of peers`))
    }
  }
  // The drain comes after accept, so that connections which come while the listener stops are still taken.
  yield* Effect.uninterruptible(Effect.andThen(
    listener.accept(onConnection),
    Effect.addFinalizer(() => drainAll(program, listener, fibers, drain))
  ))
  listening = true
  yield* Effect.logInfo(`${name} listens on ${listener.addresses.join(", ")}`)
  // In memory nobody's mail is at stake.
  if (listener.drains !== false) {
    yield* Effect.logInfo(
      `whenever ${name} is away, the MTA's own setting decides: Postfix's milter_default_action, Sendmail's F=`
    )
  }
})

/** Peers without an IP address have passed the permissions of their socket. */
const isAllowed = ({ peers }: Program, { address }: Transport): boolean => {
  if (peers === undefined || address === undefined) return true
  const client = ClientAddress.fromText(address)
  return Result.isSuccess(client) && peers.contains(client.success)
}

const sweep = (program: Program): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = program.clock.currentTimeMillisUnsafe()
    const failures: Array<unknown> = []
    for (const connection of program.connections) {
      try {
        connection.tick(now)
      } catch (defect) {
        failures.push(defect)
      }
    }
    // One that fails must not take away the time limits of the others.
    return failures.length === 0 ? Effect.void : Effect.logError("a deadline could not be kept", ...failures)
  })

/**
 * The server stops: it listens no more, messages in progress end, the next MAIL of each session is put off. What is left
 * at the deadline is interrupted.
 */
const drainAll = (
  program: Program,
  listener: Accepting,
  fibers: FiberSet.FiberSet<void>,
  timeout: number
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* listener.stop
    program.draining = true
    const open = program.connections.size
    if (open > 0 && listener.drains !== false) {
      yield* Effect.logInfo(`${program.name} stops when its open connections have ended (${open})`)
      const ended = yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), timeout)
      if (Option.isNone(ended)) {
        markOverrun()
        yield* Effect.logWarning(
          `${program.name} interrupts what is left (${program.connections.size} connections)`
        )
      }
    }
    // A finalizer that never ends must not keep the process.
    const closing = yield* Effect.forkDetach(FiberSet.clear(fibers), { startImmediately: true })
    yield* Effect.timeoutOption(Fiber.join(closing), program.timeouts.stop)
    for (const connection of program.connections) connection.destroy()
  }).pipe(
    // In a fiber of its own: that of the layer has been interrupted, by a signal mostly, and cannot wait interruptibly.
    Effect.forkDetach({ startImmediately: true }),
    Effect.flatMap(Fiber.join)
  )
