/**
 * What the machine of a session and its connection say to each other: the connection hands in what has happened, the
 * machine returns what to do next.
 */
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Stage } from "../../Stage.ts"
import type { Unit } from "./serverRuntime.ts"

/** Starts an effect at once, with the services and the Scope it was made for. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

/** Runs what a filter's author wrote, a hook or a builder of state; then comes `callEnded`, `callExpired` or `callAborted`. */
export interface Call {
  readonly _tag: "Call"
  readonly stage: Stage
  readonly unit: Unit
  readonly fork: Fork
  /** Builds the effect; never throws. */
  readonly make: () => Effect.Effect<unknown, unknown>
}

/**
 * What runs and belongs to no stage:
 *
 * - `content`: a message that is put aside for later filters, or read again. It has the time of an answer, as a hook has.
 * - `answer`: an answer that is being sent. Nothing may come between its parts.
 * - `finalizers`: nothing interrupts them.
 */
export type WorkKind = "content" | "answer" | "finalizers"

/** Runs something of the engine's own; then comes `workEnded`. */
export interface Work {
  readonly _tag: "Work"
  readonly kind: WorkKind
  readonly fork: Fork
  /** Builds the effect, when no hook runs any more; undefined if there is nothing to wait for. */
  readonly make: () => Effect.Effect<unknown> | undefined
}

/** Writes the bytes; then comes `next`. */
export interface Write {
  readonly _tag: "Write"
  readonly bytes: Uint8Array
}

/** Takes the next command. */
export interface Wait {
  readonly _tag: "Wait"
  readonly bytes: undefined
}

/** The peer broke the rules, or an answer broke off: one log line, and the connection ends. */
export interface Close {
  readonly _tag: "Close"
  readonly error: { readonly _tag: string; readonly message: string }
}

/** It holds until the next event only: the machine returns the same objects again. */
export type Action = Call | Work | Write | Wait | Close

/** Of the same shape as a `Write`: the loop looks at few shapes, which is quicker. */
export const wait: Wait = { _tag: "Wait", bytes: undefined }

export const work = (kind: WorkKind, fork: Fork, make: Work["make"]): Work => ({ _tag: "Work", kind, fork, make })

/** Where an answer goes that is longer than one write. */
export interface Output {
  /** Sends, and completes when there is room for more. */
  readonly sendAndWait: (bytes: Uint8Array) => Effect.Effect<void>
}
