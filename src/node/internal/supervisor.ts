/**
 * Several processes that serve the same sockets, and the one that looks after them: it starts them, starts them again, and
 * replaces them. It binds the sockets and never takes a connection.
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { type Failure, latest } from "../../internal/observe/failures.ts"
import { merge, remains, type Snapshot } from "../../internal/observe/mergeMetrics.ts"
import * as drainState from "../../internal/server/drainState.ts"
import type { ListenError } from "../../MilterServer.ts"
import type { BoundSocket } from "./boundSocket.ts"
import { onHeartbeat, Reporter } from "./serviceManager.ts"
import * as signals from "./signals.ts"
import type { Ready } from "./workerMessages.ts"
import { type Ended, WorkerProcess } from "./workerProcess.ts"

/**
 * A worker ended before it took connections. Its log says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkerError extends Data.TaggedError("WorkerError")<{
  /** The number of the worker, from 1 on. */
  readonly worker: number
  /** Its exit code, or the signal that ended it. */
  readonly ended: number | string
}> {
  override get message(): string {
    return `worker ${this.worker} ended before it took connections (${describe(this.ended)}): see what it has logged`
  }
}

const describe = (ended: number | string): string => typeof ended === "number" ? `exit code ${ended}` : ended

/** Milliseconds before a worker that ended is started again: twice as long each time, unless it worked for a while. */
const leastPause = 200
const longestPause = 30_000
const stableAfter = 60_000

/** Milliseconds for a worker to answer a question. */
const patience = 1000

/** Milliseconds between two looks at workers that end, and the silence after which one is killed. */
const lookInterval = 5000
const longestSilence = 30_000

export interface Options {
  readonly count: number
  readonly sockets: ReadonlyArray<BoundSocket>
  /** Gets what the first worker wants to have printed. */
  readonly onReady: (ready: Ready) => Effect.Effect<void>
  /** The version of the program, for the status. */
  readonly version?: string | undefined
}

export class Supervisor {
  /** Those that take connections, by number. */
  private readonly workers: Array<WorkerProcess | undefined>
  /** All that live, those that were told to end among them. */
  private readonly living = new Set<WorkerProcess>()
  private readonly fails = new Map<number, number>()
  private gone: ReadonlyArray<Snapshot> = []
  /** The last failures of workers that have ended. */
  private goneFailures: ReadonlyArray<Failure> = []
  private isStopping = false
  private removeFiles: ReadonlyArray<() => void> = []
  private readonly options: Options
  private readonly started = new Date().toISOString()
  /** How often the workers were replaced. */
  generation = 1

  constructor(options: Options) {
    this.options = options
    this.workers = Array.from({ length: options.count })
  }

  /** Whether all workers take connections. */
  get isReady(): boolean {
    return !this.isStopping && this.workers.every((worker) => worker !== undefined)
  }

  /** The files that workers have loaded. */
  readonly loaded = new Set<string>()
  /** Gets the files that a worker has loaded. */
  onLoaded: (files: ReadonlyArray<string>) => void = () => undefined
  /** Asks for new workers, and says why; once the workers run. */
  askReload: (why: string) => void = () => undefined

  private spawn(index: number): WorkerProcess {
    const { count, sockets } = this.options
    const worker = new WorkerProcess({
      index,
      count,
      sockets: sockets.map(({ descriptor, isPassed, path }) => ({ descriptor, isPassed, path }))
    }, (files) => {
      for (const file of files) this.loaded.add(file)
      this.onLoaded(files)
    })
    this.living.add(worker)
    return worker
  }

  /** Notes that a worker has ended. */
  private bury(worker: WorkerProcess): void {
    this.living.delete(worker)
    if (this.workers[worker.index] === worker) this.workers[worker.index] = undefined
    Deferred.doneUnsafe(worker.buried, Effect.void)
    if (worker.report === undefined) return
    this.gone = merge([this.gone, remains(worker.report.metrics)])
    this.goneFailures = latest([this.goneFailures, worker.report.failures])
  }

  /** Starts a worker and waits until it takes connections; from then on it is looked after. */
  private readonly begin = Effect.fnUntraced(function*(
    this: Supervisor,
    index: number
  ): Effect.fn.Return<Ready, WorkerError> {
    const worker = this.spawn(index)
    yield* Effect.forkDetach(Effect.flatMap(Deferred.await(worker.ended), (how) => this.onEnded(worker, how)))
    const exit = yield* Effect.exit(Deferred.await(worker.ready)).pipe(
      Effect.onInterrupt(() => Effect.sync(() => this.dismiss(worker, "Stop")))
    )
    if (Exit.isFailure(exit)) {
      return yield* new WorkerError({ worker: index + 1, ended: yield* Deferred.await(worker.ended) })
    }
    const ready = exit.value
    if (this.isStopping) this.dismiss(worker, "Stop")
    const before = this.workers[index]
    this.workers[index] = worker
    if (before !== undefined) this.dismiss(before, "Retire")
    return ready
  })

  private dismiss(worker: WorkerProcess, how: "Stop" | "Retire"): void {
    worker.isLeaving = true
    // One that has not opened yet has no session, and may not listen to us for a while.
    if (worker.hasOpened) worker.tell({ _tag: how })
    else worker.kill()
  }

  private readonly onEnded = Effect.fnUntraced(function*(
    this: Supervisor,
    worker: WorkerProcess,
    how: Ended
  ): Effect.fn.Return<void> {
    const wasAtWork = this.workers[worker.index] === worker
    this.bury(worker)
    if (worker.isLeaving) {
      // Of a worker that was replaced, the log says what it cut off.
      if (how !== 0 && this.isStopping && worker.hasOpened) drainState.markOverrun()
      return
    }
    if (!wasAtWork || this.isStopping) return
    const age = performance.now() - worker.born
    const fails = age > stableAfter ? 0 : this.fails.get(worker.index) ?? 0
    this.fails.set(worker.index, fails + 1)
    const pause = Math.min(leastPause * 2 ** fails, longestPause)
    yield* Effect.logError(
      `worker ${worker.index + 1} (process ${worker.pid}) has ended (${
        describe(how)
      }); another one starts in ${pause} ms`
    )
    yield* this.replaceLost(worker.index, pause)
  })

  /** Starts a worker in the place of one that ended, and tries again until one stays. */
  private readonly replaceLost = Effect.fnUntraced(function*(
    this: Supervisor,
    index: number,
    pause: number
  ): Effect.fn.Return<void> {
    for (let wait = pause;; wait = Math.min(2 * wait, longestPause)) {
      yield* Effect.sleep(wait)
      // Stopped, or a reload has been quicker.
      if (this.isStopping || this.workers[index] !== undefined) return
      const exit = yield* Effect.exit(this.begin(index))
      if (Exit.isSuccess(exit)) return yield* Effect.logInfo(`worker ${index + 1} takes connections again`)
      yield* Effect.logError("a worker could not be started again", exit.cause)
    }
  })

  /** Starts all workers. The first one alone: with a mistake in the program nothing listens. */
  readonly start = Effect.fnUntraced(function*(this: Supervisor) {
    const { count, onReady, sockets } = this.options
    const first = yield* this.begin(0)
    for (const { publish } of sockets) this.removeFiles = [...this.removeFiles, yield* publish]
    yield* Effect.forEach(
      Array.from({ length: count - 1 }, (_, index) => index + 1),
      (index) => this.begin(index),
      { concurrency: "unbounded", discard: true }
    )
    yield* onReady(first)
    return first.addresses
  })

  /** Replaces the workers one after another. A new one that does not start leaves the old ones. */
  readonly reload = Effect.fnUntraced(function*(this: Supervisor) {
    for (const worker of this.living) worker.tell({ _tag: "Reload" })
    for (const index of this.workers.keys()) {
      if (this.isStopping) return
      yield* this.begin(index)
    }
    this.generation++
  })

  /** Takes no more connections and waits until all workers have ended. */
  readonly stop: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    this.isStopping = true
    for (const remove of this.removeFiles) remove()
    for (const worker of this.living) this.dismiss(worker, "Stop")
    const ended = Effect.forEach([...this.living], (worker) => Deferred.await(worker.buried), { discard: true })
    const look = Effect.andThen(Effect.sleep(lookInterval), Effect.sync(() => this.checkSilence(longestSilence)))
    yield* Effect.raceFirst(ended, Effect.forever(look))
  })

  /** Kills workers that have not answered for so long, and asks the others. */
  checkSilence(longest: number): void {
    const now = performance.now()
    for (const worker of this.living) {
      if (!worker.hasOpened) continue
      if (now - worker.heard > longest) worker.kill()
      else worker.tell({ _tag: "Ask", question: 0 })
    }
  }

  /** Ends all workers at once. */
  kill(): void {
    for (const worker of this.living) worker.kill()
  }

  /** Asks all that live. One that does not answer in time counts with its last report. */
  private readonly ask = Effect.suspend(() =>
    Effect.forEach([...this.living], (worker) => Effect.map(worker.ask(patience), (report) => ({ report, worker })), {
      concurrency: "unbounded"
    })
  )

  /** The metrics of all workers as those of one process. */
  readonly metrics: Effect.Effect<ReadonlyArray<Snapshot>> = Effect.suspend(() =>
    Effect.map(this.ask, (answers) => {
      const reports = answers.flatMap(({ report, worker }) => report === undefined ? [] : [{ report, worker }])
      return merge([
        this.gone,
        // One that has ended in the meantime is among those that have gone.
        ...reports.filter(({ worker }) => this.living.has(worker)).flatMap(({ report, worker }) => [
          report.metrics,
          usageOf(String(worker.index + 1), report)
        ])
      ])
    })
  )

  readonly status = Effect.suspend(() =>
    Effect.map(this.ask, (answers) => ({
      version: this.options.version,
      started: this.started,
      generation: this.generation,
      workers: answers.map(({ report, worker }) => ({
        worker: worker.index + 1,
        pid: worker.pid,
        version: worker.version,
        leaves: worker.isLeaving,
        // The metrics add up the processes that have had this number.
        residentBytes: report?.residentBytes,
        cpuSeconds: report?.cpuSeconds,
        servers: (report?.servers ?? []).map(({ addresses, filter, sessions, state }) => ({
          filter,
          addresses,
          state,
          sessions
        }))
      })),
      // One that has ended in the meantime is among those that have gone.
      failures: latest([
        this.goneFailures,
        ...answers.flatMap(({ report, worker }) =>
          report !== undefined && this.living.has(worker) ? [report.failures] : []
        )
      ])
    }))
  )
}

const usageOf = (
  worker: string,
  { cpuSeconds, openFiles, residentBytes }: { cpuSeconds: number; openFiles: number; residentBytes: number }
): ReadonlyArray<Snapshot> => {
  const attributes = { worker }
  return [
    {
      id: "process_cpu_seconds_total",
      type: "Counter",
      description: "CPU time, of the system and of the process",
      attributes,
      state: { count: cpuSeconds, incremental: true }
    },
    {
      id: "process_resident_memory_bytes",
      type: "Gauge",
      description: "Memory that is in use",
      attributes,
      state: { value: residentBytes }
    },
    {
      id: "process_open_fds",
      type: "Gauge",
      description: "Open file descriptors",
      attributes,
      state: { value: openFiles }
    }
  ]
}

/** Runs the workers until the scope closes; fails if they cannot be started. */
export const run = Effect.fnUntraced(function*(
  supervisor: Supervisor
): Effect.fn.Return<void, WorkerError | ListenError, Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  const reporter = yield* Effect.acquireRelease(
    Effect.sync(() => new Reporter((message) => void fork(Effect.logWarning(message)))),
    (reporter) => reporter.close
  )
  const requests = yield* Queue.sliding<string>(1)
  supervisor.askReload = (why) => void Queue.offerUnsafe(requests, why)
  const member: signals.Member = {
    reload: () => supervisor.askReload("SIGHUP"),
    debug: () => supervisor.askReload("SIGUSR1"),
    stopping: () => reporter.stopping(),
    log: (line) => void fork(line)
  }
  const kill = (): void => supervisor.kill()
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      signals.join(member)
      // A second signal ends this process at once, and the workers with it.
      process.on("exit", kill)
    }),
    () =>
      Effect.sync(() => {
        process.off("exit", kill)
        signals.leave(member)
      })
  )
  yield* Effect.addFinalizer(() => Effect.flatMap(Effect.forkDetach(supervisor.stop), Fiber.join))
  const addresses = yield* supervisor.start()
  reporter.ready(addresses)
  yield* onHeartbeat((milliseconds) => supervisor.checkSilence(milliseconds))
  const reload = (why: string) =>
    Effect.gen(function*() {
      reporter.reloading()
      yield* Effect.logInfo(`${why}: new workers take the place of the old ones, one after another`)
      yield* supervisor.reload()
      yield* Effect.logInfo("the workers have been replaced")
    }).pipe(
      // What a worker logs has the details.
      Effect.catchTag("WorkerError", ({ message }) =>
        Effect.logError(`the reload failed, the old workers stay: ${message}`)),
      Effect.catchCause((cause) =>
        Effect.logError("the reload failed, the old workers stay", cause)
      ),
      Effect.ensuring(Effect.sync(() => reporter.reloaded()))
    )
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(requests), reload)))
})
