/** The servers of this process. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Status } from "./serverTypes.ts"

/** One set for the whole process, as with Effect's registry of metrics; a test can have its own. */
export const Running = Context.Reference<Set<() => Status>>("effect-milter/MilterServer/Running", {
  defaultValue: () => new Set()
})

/** Adds a server until the scope closes. */
export const add = (status: () => Status): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.service(Running),
    (running) =>
      Effect.acquireRelease(Effect.sync(() => running.add(status)), () => Effect.sync(() => running.delete(status)))
  )

export const all: Effect.Effect<ReadonlyArray<Status>> = Effect.map(
  Effect.service(Running),
  (running) => Array.from(running, (status) => status())
)
