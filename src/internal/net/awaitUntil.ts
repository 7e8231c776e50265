/** Waiting for an event without losing it: the one place where a fiber waits for a callback of something mutable. */
import * as Effect from "effect/Effect"

/**
 * Waits until `ready` gives an effect, and completes with that.
 *
 * `register` gets a function to call whenever the answer of `ready` may have changed, and returns how to take it back. It
 * is called before `ready` is asked for the first time: a fiber may yield between two of its steps, so a condition that is
 * tested before its event is listened to can change in between, and the event wakes nobody.
 */
export const awaitUntil = <A, E = never>(
  ready: () => Effect.Effect<A, E> | undefined,
  register: (changed: () => void) => () => void
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    const changed = (): void => {
      const result = ready()
      if (result === undefined) return
      unregister()
      resume(result)
    }
    const unregister = register(changed)
    changed()
    return Effect.sync(unregister)
  })
