/** Several filters in a row, as one filter. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { resolve } from "./definition.ts"
import type { AnyFilter, Failure, Made, Needs } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"

/**
 * Combines several filters into one, in this order, as if the MTA asked each as a milter of its own:
 *
 * - The first final verdict on a message counts; later filters are not asked any more. A filter that accepts leaves the
 *   message, the others go on.
 * - Each filter sees what it would see alone. A recipient that one filter refuses is not shown to later filters.
 * - After a filter that can edit headers or body (that names such a modification in `modify`, or in `modifyIfOffered`
 *   where the MTA offers it), later filters get header, body and end of message only when it has edited the message: a
 *   scanner or signer sees what will be sent. Other filters see the stages as they come.
 * - The MTA gets one set of modifications, worked out from the original message and the result.
 * - The finalizers of a message run after the final verdict on it, which they are given.
 * - All filters together have one time limit for an answer.
 *
 * A sequence within a sequence is flattened. A filter that signs comes last: a filter that edits after a signing one is
 * refused when the server starts.
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
