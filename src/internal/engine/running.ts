/** What a connection runs: a call or a work that did not end at once. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { StageRow } from "../protocol/stageTable.ts"
import type { WorkKind } from "./machine.ts"
import type { Unit } from "./serverRuntime.ts"

/** Why the result of a call does not count: the MTA gave up the message, or the time for the call was over. */
type Cut = "aborted" | "expired"

export interface Running {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** The stage and the filter of a call. */
  readonly call: { readonly stage: StageRow; readonly unit: Unit } | undefined
  readonly kind: WorkKind | "call"
  readonly began: number
  readonly deadline: number
  cut: Cut | undefined
  /** When it was interrupted. */
  cutAt: number
  /** Stored by the observer of the fiber. */
  exit: Exit.Exit<unknown, unknown> | undefined
}

/**
 * Waits until it has stopped, finalizers as long as they take. A hook that will not stop must not keep the scopes, the server
 * and the process from closing.
 */
export const awaitStop = ({ fiber, kind }: Running, milliseconds: number): Effect.Effect<void> => {
  const stopped = Effect.asVoid(Fiber.await(fiber))
  if (kind === "finalizers") return stopped
  if (fiber.pollUnsafe() !== undefined) return Effect.void
  // In a fiber of its own: this one may have been interrupted itself, and could not wait interruptibly.
  const waiting = Effect.forkDetach(Effect.timeoutOption(stopped, milliseconds), { startImmediately: true })
  return Effect.asVoid(Effect.flatMap(waiting, Fiber.await))
}
