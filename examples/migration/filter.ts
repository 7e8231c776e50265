/** One of two filters is live, and the other is in its shadow. */
import * as Milter from "effect-milter/Milter"

/**
 * The shadow comes first: it sees the message as it came, and not with the edits of the live filter. Its verdicts and edits have
 * no effect, wherever it stands.
 */
export const migration = <R, R2>(live: Milter.Filter<never, R>, shadow: Milter.Filter<never, R2>) =>
  Milter.sequence([Milter.shadow(shadow), live])
