/** Tells effects that have ended already from those that are to run. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** The class of an exit, which `effect` does not export. */
const classOf = (exit: Exit.Exit<unknown, unknown>): () => void => {
  const exitClass = function() {}
  exitClass.prototype = Object.getPrototypeOf(exit)
  return exitClass
}

const Success = classOf(Exit.void)
const Failure = classOf(Exit.interrupt())

/**
 * The same as `Exit.isExit`, which looks for a property: that is slow where effects of many kinds come. An exit of another copy of
 * `effect` is not known here, and runs as any other effect does.
 */
export const isExit = (effect: Effect.Effect<unknown, unknown>): effect is Exit.Exit<unknown, unknown> =>
  effect instanceof Success || effect instanceof Failure
