/** What a conversation and the hooks it runs need of their connection. */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Stage } from "../../Stage.ts"

/** Starts an effect at once, with the services and the Scope it was made for. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

/** Why a hook did not give its own result: the MTA gave the message up, or its time was over. */
export type Cut = "aborted" | "expired"

/**
 * What runs and belongs to no stage:
 *
 * - `content`: a message that is put aside for later filters, or read again. It has the time of an answer, as a hook has.
 * - `answer`: an answer that is being sent. Nothing may come between its parts.
 * - `finalizers`: nothing interrupts them.
 */
export type Work = "content" | "answer" | "finalizers"

/** What a conversation needs of its connection. */
export interface Host {
  readonly send: (bytes: Uint8Array) => void
  /** Sends, and completes when there is room for more. */
  readonly sendAndWait: (bytes: Uint8Array) => Effect.Effect<void>
  /** Runs a hook before the next command. */
  readonly start: (stage: Stage, effect: Effect.Effect<unknown, unknown>, fork: Fork, done: Done) => void
  /** The same for what belongs to no stage. */
  readonly startWork: (work: Work, effect: Effect.Effect<unknown>, fork: Fork, done: Done) => void
  /** Calls back at once, or once a hook whose time is over has stopped. */
  readonly whenStopped: (next: () => void) => void
  /** The peer broke the rules: one log line, and the connection ends. */
  readonly fail: (error: { readonly _tag: string; readonly message: string }) => void
}

export type Done = (exit: Exit.Exit<unknown, unknown>, cut: Cut | undefined) => void
