/** A program in several processes: what it runs as the supervisor, and what it runs as a worker. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Os from "node:os"
import { InvalidValue } from "../../InvalidValue.ts"
import { Listener, type ListenError } from "../../MilterServer.ts"
import * as boundSocket from "./boundSocket.ts"
import { checked, listenOn, type Where } from "./listening.ts"
import * as pages from "./pages.ts"
import * as supervisor from "./supervisor.ts"
import * as worker from "./worker.ts"
import type { Assignment, Ready } from "./workerMessages.ts"

/** The number of workers. */
export const countOf = (workers: number | "auto" = "auto"): number =>
  workers === "auto" ? Os.availableParallelism() : workers

export interface Supervised extends Where {
  readonly workers?: number | "auto"
  readonly http?: string | undefined
  /** The version of the program, for the page of its status. */
  readonly version?: string
  /** Gets what the first worker tells when it is ready. */
  readonly onReady?: (ready: Ready) => Effect.Effect<void>
}

/** Looks after workers until it is interrupted. */
export const supervise = (
  options: Supervised
): Effect.Effect<never, ListenError | supervisor.WorkerError> =>
  Effect.scoped(Effect.andThen(started(options), Effect.never))

/** Starts workers, and looks after them until the scope closes. */
export const started = Effect.fnUntraced(function*(
  options: Supervised
): Effect.fn.Return<supervisor.Supervisor, ListenError | supervisor.WorkerError, Scope.Scope> {
  const count = countOf(options.workers)
  if (!Number.isInteger(count) || count < 1) {
    const reason = "expected an integer from 1 on, or auto"
    return yield* Effect.die(new InvalidValue({ what: "workers", value: String(count), reason }))
  }
  const { access, specs } = yield* checked(options)
  const sockets = (yield* Effect.forEach(specs, (spec) => boundSocket.open(spec, access))).flat()
  const { http, onReady = () => Effect.void } = options
  const all = new supervisor.Supervisor({ count, sockets, onReady, version: options.version })
  // Before the workers, so that the pages go after them.
  if (http !== undefined) yield* pages.open(http, access, pages.ofWorkers(all))
  yield* supervisor.run(all)
  return all
})

/** Serves as a worker until it is interrupted. `text` is what the program prints when all is ready. */
export const work = Effect.fnUntraced(
  function*<E, R, RReload = never>(
    assignment: Assignment,
    server: Layer.Layer<never, E, R>,
    { onReload, text = Effect.succeed(""), version }: {
      readonly onReload?: Effect.Effect<unknown, unknown, RReload> | undefined
      readonly text?: Effect.Effect<string>
      /** The version of the program, for the page of its status. */
      readonly version?: string
    }
  ) {
    const own = yield* worker.start(assignment)
    const listener = Layer.effect(Listener, listenOn(own.open, onReload, assignment))
    const context = yield* Layer.build(Layer.provideMerge(server, listener))
    yield* own.ready({ addresses: Context.get(context, Listener).addresses, text: yield* text, version })
    return yield* Effect.never
  },
  (effect, { index }) => Effect.annotateLogs(Effect.scoped(effect), "worker", index + 1)
)
