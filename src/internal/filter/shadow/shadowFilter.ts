/** Runs a filter in the shadow, where its decisions are only logged. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { resolve } from "../definition.ts"
import type { Filter, Made } from "../filterTypes.ts"
import { fromResolve } from "../filterValue.ts"

/**
 * Options of {@link shadow}.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShadowOptions {
  /**
   * The most bytes of bodies that wait in temporary files, in all SMTP sessions together; 256 MiB if not given. `0`: the shadow
   * gives up on a message whose body does not fit into memory.
   */
  readonly maxSpoolBytes?: number
}

/**
 * Runs a filter on trial: the filter sees real mail, and its verdicts and edits have no effect.
 *
 * **Details**
 *
 * The log has a line for each message: `shadow rejected` and the like, with the same fields as the server's own line for
 * the message, and also `reply` (the text the client would have read), `refused` (recipients, with their replies),
 * `modifications` and `error`. Hooks may fail: failures that `onFailure` does not handle are logged.
 *
 * The MTA does not wait for the hooks. They run later, one after the other, on copies of the events. The MTA is asked for the
 * stages of the filter and for no modification.
 *
 * **Gotchas**
 *
 * - Side effects are real: what a hook writes to a database, it writes.
 * - The filters of a sequence in the shadow do not see each other's edits and refusals.
 * - If an earlier filter decides on a message, the shadow does not see the rest of it: the line says `shadow aborted`. It says so,
 *   too, if the client gives the message up; its hooks are then interrupted, and its scope closes.
 * - Bodies that wait for a slow filter go to a temporary file once 1 MiB waits in one SMTP session, or 64 MiB in all: the MTA
 *   waits for that file to be written. Above `maxSpoolBytes` the shadow gives up on the message, with a warning.
 * - A hook that takes more than 4 minutes is interrupted.
 *
 * **Example** (Trying a filter before it counts)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Proven = Milter.make("proven").on({ rcpt: () => Effect.succeed(Verdict.continue) })
 * const Strict = Milter.make("strict").on({ helo: ({ name }) => Effect.fail(`what is ${name}?`) })
 *
 * const Both = Milter.sequence([Proven, Milter.shadow(Strict)])
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const shadow = <E, R>(self: Filter<E, R>, options: ShadowOptions = {}): Made<never, R> =>
  fromResolve(Effect.flatMap(resolve(self), (definitions) =>
    Effect.flatMap(
      // A filter without a shadow does not load it.
      Effect.promise(() => import("./shadowDefinition.ts")),
      ({ shadowDefinitions }) => shadowDefinitions(definitions, options.maxSpoolBytes)
    )))
