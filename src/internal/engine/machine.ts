/**
 * The actions that the machine of a session returns to its connection: the connection says what has happened, the machine
 * says what to do next.
 */
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { StageRow } from "../protocol/stageTable.ts"
import type { Unit } from "./serverRuntime.ts"

/** Starts an effect at once, with its services and its Scope. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

/** Has the services and the Scope of effects; may make them when the first effect asks. */
export interface Forking {
  readonly fork: Fork
}

/** Runs a filter's own code, a hook or a builder of state; then comes `callEnded`, `callExpired` or `callAborted`. */
export interface Call {
  readonly _tag: "Call"
  readonly stage: StageRow
  readonly unit: Unit
  readonly fork: Fork
  /** Builds the effect; never throws. */
  readonly make: () => Effect.Effect<unknown, unknown>
}

/**
 * Work that belongs to no stage:
 *
 * - `content`: content is stored for later filters, or read again. It has the time of an answer, as a hook has.
 * - `answer`: an answer is sent. Nothing may come between its parts.
 * - `finalizers`: scopes close. Nothing interrupts finalizers.
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

/** What to do next. Valid until the next event only: the machine returns the same objects again. */
export type Action = Call | Work | Write | Wait | Close

/** Has the same shape as a `Write`: the loop is quicker if it sees few shapes of objects. */
export const wait: Wait = { _tag: "Wait", bytes: undefined }

export const work = (kind: WorkKind, fork: Fork, make: Work["make"]): Work => ({ _tag: "Work", kind, fork, make })

/** What the machine needs of its connection: it sends an answer that is longer than one write, and knows the time. */
export interface Output {
  /** When the answer to the present command is due, in milliseconds. */
  readonly answerBy: number
  /** Sends, and completes when there is room for more. */
  readonly sendAndWait: (bytes: Uint8Array) => Effect.Effect<void>
}
