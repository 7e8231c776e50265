/** Runs a server: takes connections, keeps their time limits, and drains. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ClientAddress from "../../ClientAddress.ts"
import type { InvalidValue } from "../../InvalidValue.ts"
import type { Filter, NoFailure } from "../../Milter.ts"
import { Files } from "../bytes/spool.ts"
import * as connection from "../engine/connection.ts"
import { OpenConnections } from "../engine/openConnections.ts"
import type { Program } from "../engine/serverRuntime.ts"
import { stageHooksOf } from "../engine/stageHooks.ts"
import { resolveWith, servicesOf } from "../filter/definition.ts"
import { checkTimes } from "../filter/remote/checkTimes.ts"
import { visibleTo } from "../filter/sessionView.ts"
import { checkOrder } from "../filter/signing.ts"
import { type Accepting, acceptingKey, type Worker } from "../net/listener.ts"
import type { Transport } from "../net/transport.ts"
import * as observer from "../observe/serverMonitor.ts"
import { markOverrun } from "./drainState.ts"
import { Listener } from "./listenerService.ts"
import * as registry from "./registry.ts"
import { ServerFibers } from "./serverFibers.ts"
import type { Options } from "./serverTypes.ts"
import { checkOptions, settingsOf } from "./settings.ts"

// Unique in this process, whatever the number of servers.
let sessions = 0

// How late a deadline may be noticed, in milliseconds.
const sweepInterval = 250

const orDie = <A>(result: Result.Result<A, InvalidValue>): Effect.Effect<A> => Effect.orDie(Effect.fromResult(result))

export const serve = Effect.fnUntraced(function*<R>(filter: Filter<NoFailure, R>, options: Options) {
  // A server that is set up wrongly is a mistake in the program: it does not start.
  checkOptions(options)
  const definitions = yield* orDie(checkOrder(yield* resolveWith(filter)))
  const name = definitions.map(({ name }) => name).join(" + ")
  const { [acceptingKey]: listener } = yield* Listener
  const { drain, limits: all, peers, timeouts } = yield* orDie(settingsOf(options))
  const limits = {
    ...all,
    connections: shareOf(all.connections, listener.worker),
    silentConnections: shareOf(all.silentConnections, listener.worker)
  }
  yield* orDie(checkTimes(definitions, timeouts))
  const own: Context.Context<never> = Context.add(servicesOf(yield* Effect.context<R>()), Files, listener.openFile)
  const clock = yield* Clock.Clock
  // Workers may start in the same millisecond.
  const started = [
    clock.currentTimeMillisUnsafe().toString(36),
    ...listener.worker === undefined ? [] : [listener.worker.index]
  ]
    .join("-")
  const contextOf = (services: Context.Context<never> | undefined): Context.Context<never> =>
    services === undefined ? own : Context.merge(own, services)
  // With a single filter, the server's own effects run with its services too, so that there is one context.
  const context = definitions.length === 1 ? contextOf(definitions[0]!.services) : own
  const monitor = observer.make(name, context, clock)
  const program: Program = {
    name,
    units: definitions.map((definition) => ({
      definition,
      hooks: stageHooksOf(definition),
      visible: visibleTo(definition.macros),
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
    overwrites: listener.overwrites === true,
    nextId: () => `${started}-${(++sessions).toString(36)}`,
    connections: new OpenConnections(limits),
    draining: false
  }
  // Closed by the drain, which does not wait for ever.
  const fibers = new ServerFibers(yield* Effect.context())
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(sweepInterval), sweep(program))))
  let listening = false
  yield* registry.add(() => ({
    filter: name,
    addresses: listener.addresses,
    state: program.draining ? "draining" : listening ? "listening" : "starting",
    sessions: program.connections.all.size,
    failures: monitor.failures()
  }))
  const onConnection = (transport: Transport): void => {
    if (isAllowed(program, transport)) {
      fibers.fork(connection.serveTransport(program, transport))
    } else {
      transport.destroy()
      const what = `${transport.peer} is in no network of peers`
      program.monitor.error("PeerRefused", what)
      fibers.fork(Effect.logWarning(`PeerRefused: ${what}`))
    }
  }
  // The drain comes after accept, so that connections which come while the listener stops are still taken.
  yield* Effect.uninterruptible(Effect.andThen(
    listener.accept(onConnection),
    Effect.addFinalizer(() => drainAll(program, listener, fibers, drain))
  ))
  listening = true
  yield* Effect.logInfo(`${name} listens on ${listener.addresses.join(", ")}`)
  // On a transport in memory no real mail is at stake.
  if (listener.drains !== false) {
    yield* Effect.logInfo(
      `whenever ${name} is away, the MTA's own setting decides: Postfix's milter_default_action, Sendmail's F=`
    )
  }
})

/** The part of the connections that a worker may take: all together take what one process would, at least one each. */
export const shareOf = (connections: number, worker: Worker | undefined): number => {
  if (worker === undefined) return connections
  const { count, index } = worker
  return Math.max(1, Math.floor(connections / count) + (index < connections % count ? 1 : 0))
}

/** Whether a peer may connect. Peers without an IP address have passed the permissions of their socket. */
export const isAllowed = ({ peers }: Pick<Program, "peers">, { address }: Pick<Transport, "address">): boolean => {
  if (peers === undefined || address === undefined) return true
  const client = ClientAddress.fromText(address)
  return Result.isSuccess(client) && peers.contains(client.success)
}

const sweep = (program: Program): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = program.clock.currentTimeMillisUnsafe()
    const failures: Array<unknown> = []
    for (const connection of program.connections.all.values) {
      try {
        connection.tick(now)
      } catch (defect) {
        failures.push(defect)
      }
    }
    // A connection that fails must not take away the time limits of the others.
    return failures.length === 0 ? Effect.void : Effect.logError("a deadline could not be kept", ...failures)
  })

/**
 * Stops the server: it no longer listens, messages in progress end, the next MAIL of each session gets a temporary error.
 * What is left at the deadline is interrupted.
 */
const drainAll = (
  program: Program,
  listener: Accepting,
  fibers: ServerFibers,
  timeout: number
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* listener.stop
    program.draining = true
    const open = program.connections.all.size
    if (open > 0 && listener.drains !== false) {
      yield* Effect.logInfo(`${program.name} stops when its open connections have ended (${open})`)
      const ended = yield* Effect.timeoutOption(fibers.awaitEmpty, timeout)
      if (Option.isNone(ended)) {
        markOverrun()
        yield* Effect.logWarning(
          `${program.name} interrupts what is left (${program.connections.all.size} connections)`
        )
      }
    }
    // A finalizer that never ends must not keep the process.
    const closing = yield* Effect.forkDetach(fibers.interruptAll, { startImmediately: true })
    yield* Effect.timeoutOption(Fiber.join(closing), program.timeouts.stop)
    for (const connection of program.connections.all.values) connection.destroy()
  }).pipe(
    // In a fiber of its own: the layer's fiber has been interrupted, mostly by a signal, and cannot wait interruptibly.
    Effect.forkDetach({ startImmediately: true }),
    Effect.flatMap(Fiber.join)
  )
