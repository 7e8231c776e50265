/** Filters in a row, as one. Re-exported by `Milter`. */
import * as Effect from "effect/Effect"
import { resolve } from "./definition.ts"
import type { AnyFilter, Failure, Made, Needs } from "./filterTypes.ts"
import { fromResolve } from "./filterValue.ts"

/**
 * Several filters as one, in this order, as if each were a milter of its own behind the MTA:
 *
 * - The first final verdict on a message counts; filters behind it are not asked any more. A filter that accepts is out,
 *   the others go on.
 * - Each filter sees what it would see alone. A recipient that one refuses is not shown to those behind it.
 * - Behind a filter that can edit headers or body (that names such a modification in `modify`, or in `modifyIfOffered`
 *   where the MTA offers it), header, body and end of message come once that one has edited the message, as it is then:
 *   a scanner or signer sees what will be sent. Other filters see the stages as they come.
 * - The MTA gets one set of modifications, worked out from the message that came and the one that results.
 * - The finalizers of a message run after the verdict on all of it, and learn of that.
 * - The time limit for an answer is one for all of them together.
 *
 * Sequences in a sequence are laid out flat. What signs mail comes last: a filter that edits behind one that signs is
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
