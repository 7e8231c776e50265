/** The servers of this process. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Failure, latest } from "../observe/failures.ts"
import type { Status } from "./serverTypes.ts"

/** One set for the whole process, as with Effect's registry of metrics; a test can have its own. */
export const Running = Context.Reference<Set<() => Status>>("effect-milter/MilterServer/Running", {
  defaultValue: () => new Set()
})

/** The last failures of the servers of this process that have stopped: a worker tells them in its last words. */
const Stopped = Context.Reference<{ failures: ReadonlyArray<Failure> }>("effect-milter/MilterServer/Stopped", {
  defaultValue: () => ({ failures: [] })
})

/** Adds a server until the scope closes. */
export const add = (status: () => Status): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.all([Effect.service(Running), Effect.service(Stopped)]),
    ([running, stopped]) =>
      Effect.acquireRelease(Effect.sync(() => running.add(status)), () =>
        Effect.sync(() => {
          running.delete(status)
          stopped.failures = latest([stopped.failures, status().failures])
        }))
  )

export const all: Effect.Effect<ReadonlyArray<Status>> = Effect.map(
  Effect.service(Running),
  (running) => Array.from(running, (status) => status())
)

/** The last failures of this process, those of servers that have stopped among them. */
export const failures: Effect.Effect<ReadonlyArray<Failure>> = Effect.map(
  Effect.all([all, Effect.service(Stopped)]),
  ([servers, stopped]) => latest([stopped.failures, ...servers.map(({ failures }) => failures)])
)
