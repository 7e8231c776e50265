/** A worker's side: it serves sockets that its supervisor has bound, answers its questions, and ends when it is told to. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as registry from "../../internal/server/registry.ts"
import type { ListenError } from "../../MilterServer.ts"
import * as MilterServer from "../../MilterServer.ts"
import type { NetListener } from "./netListener.ts"
import { open } from "./open.ts"
import * as signals from "./signals.ts"
import type { Assignment, FromWorker, Ready, Report, ToWorker } from "./workerMessages.ts"

/** How long the sessions of a worker that is replaced may go on before it drains. */
const grace = "1 minute"

/** A worker, from the supervisor's first word on. */
export interface Worker {
  /** Listens on the sockets until the scope closes. */
  readonly open: (
    warn: (message: string) => void
  ) => Effect.Effect<ReadonlyArray<NetListener>, ListenError, Scope.Scope>
  /** Tells the supervisor that connections are taken. */
  readonly ready: (message: Omit<Ready, "_tag">) => Effect.Effect<void>
}

/** Sends a message, and waits until it is on its way. */
export const send = (message: FromWorker): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const sent = (): void => resume(Effect.void)
    // Without a supervisor the process is about to end.
    if (process.connected && process.send !== undefined) process.send(message, undefined, undefined, sent)
    else sent()
  })

/** Ends this process as a signal would: the program releases what it has. */
const end = Effect.sync(() => void process.kill(process.pid, "SIGTERM"))

const openFiles = (): number => {
  try {
    return Fs.readdirSync("/proc/self/fd").length
  } catch {
    return 0
  }
}

const report: Effect.Effect<Report> = Effect.gen(function*() {
  const { system, user } = process.cpuUsage()
  return {
    metrics: yield* Metric.snapshot,
    servers: yield* MilterServer.status,
    failures: yield* registry.failures,
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (system + user) / 1_000_000,
    openFiles: openFiles()
  }
})

/** Takes the orders of the supervisor until the scope closes. */
export const start = Effect.fnUntraced(function*(
  { sockets }: Assignment
): Effect.fn.Return<Worker, never, Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context())
  const listeners: Array<NetListener> = []
  const allowed = Deferred.makeUnsafe<void>()
  let isReplaced = false
  signals.beSupervised()

  const retire = Effect.gen(function*() {
    isReplaced = true
    yield* Effect.forEach(listeners, ({ stop }) => stop, { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(listeners, ({ ended }) => ended, { concurrency: "unbounded", discard: true }).pipe(
      Effect.timeoutOption(grace)
    )
    yield* end
  })

  const answer = (question: number): Effect.Effect<void> =>
    Effect.flatMap(report, (report) => send({ _tag: "Report", question, report }))

  const onMessage = (message: ToWorker): void => {
    switch (message._tag) {
      case "Ask":
        return void fork(answer(message.question))
      case "Open":
        return void Deferred.doneUnsafe(allowed, Effect.void)
      case "Reload":
        return signals.hangUp()
      case "Retire":
        return void fork(retire)
      case "Stop":
        return void fork(end)
    }
  }
  const onDisconnect = (): void => void fork(end)

  yield* Effect.acquireRelease(
    Effect.sync(() => {
      process.on("message", onMessage)
      process.once("disconnect", onDisconnect)
    }),
    // The last figures, which the supervisor keeps.
    () =>
      Effect.ensuring(
        answer(0),
        Effect.sync(() => {
          // With a listener the channel would keep the process.
          process.off("message", onMessage)
          process.off("disconnect", onDisconnect)
        })
      )
  )

  return {
    open: Effect.fnUntraced(function*(warn) {
      yield* send({ _tag: "AskToOpen" })
      // A server opens uninterruptibly, but the supervisor may be gone, or tell this process to stop, before it answers.
      yield* Effect.interruptible(Deferred.await(allowed))
      const opened = yield* Effect.forEach(
        sockets,
        ({ descriptor, isPassed, path }) =>
          open(`fd:${descriptor}`, { mode: 0, owner: undefined, group: undefined }, warn, {
            path,
            // A socket of the service manager outlives the workers; others are taken on by those that stay.
            isShared: () => isPassed || isReplaced
          })
      )
      listeners.push(...opened.flat())
      return opened.flat()
    }),
    ready: (message) => send({ _tag: "Ready", ...message })
  }
})
