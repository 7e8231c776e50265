/** Several filters in a row, as one filter. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { resolve } from "./definition.ts"
import type { AnyFilter, Failure, Made, Needs } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"

/**
 * Combines several filters into one, in this order, as if each were a milter of its own.
 *
 * **Details**
 *
 * - The first refusal or discard of a message counts, and the filters after it are not asked any more. A filter that accepts the
 *   message is done with it, and the others go on.
 * - Each filter sees what it would see alone. A recipient that one filter refuses is not shown to the later filters.
 * - Some filters can edit headers or body: they name such a modification in `modify`, or in `modifyIfOffered` if the MTA offers it.
 *   The filters after such a filter get header, body and end of message when it has edited the message, with its edits: a scanner
 *   or signer sees the message that will be sent. Other filters see the stages as they come.
 * - The MTA gets one set of modifications, computed from the message that came and the one that results.
 * - The finalizers of a message run after the verdict on the whole message, and get that verdict.
 * - Sequences in a sequence are flattened.
 *
 * **Gotchas**
 *
 * - All filters share the time limit for an answer.
 * - A filter that signs mail must be last: the server does not start with a filter that edits after one that signs.
 * - `Verdict.acceptMessage` does not spare a message the later filters.
 *
 * **Example** (Two filters, the second as a service)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * class Greylist extends Milter.Service<Greylist>()("app/Greylist") {}
 *
 * const Tag = Milter.make("tag", { modify: ["addHeader"] }).on({
 *   endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
 * })
 *
 * const Both = Milter.sequence([Greylist, Tag])
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const sequence = <const Filters extends ReadonlyArray<AnyFilter>>(
  filters: Filters
): Made<Failure<Filters[number]>, Needs<Filters[number]>> =>
  fromResolve(Effect.map(Effect.forEach(filters, resolve), (definitions) => definitions.flat()))
