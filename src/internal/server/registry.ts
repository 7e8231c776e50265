/** The servers of this process. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * A server of this process, as reported by {@link status}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The name of the server's filter. */
  readonly filter: string
  readonly addresses: ReadonlyArray<string>
  /** `starting` before the server listens; `draining` when it stops: it no longer listens, and messages in progress end. */
  readonly state: "starting" | "listening" | "draining"
  /** Connections that are open, each with one SMTP session. */
  readonly sessions: number
}

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
