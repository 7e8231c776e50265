/** Waiting for an event without missing it: the only place where a fiber waits for a callback of a mutable object. */
import * as Effect from "effect/Effect"

/**
 * Waits until `ready` returns an effect, and completes with its result.
 *
 * `register` gets a function to call whenever the result of `ready` may have changed, and returns a function that unregisters
 * it. `register` is called before `ready`. A fiber may yield between two steps: if the condition were tested first, it could
 * change before the registration, and the event would be missed.
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
