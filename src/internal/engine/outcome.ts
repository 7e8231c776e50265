/** What the finalizers of a message learn of its end. */
import * as Exit from "effect/Exit"
import type { Outcome } from "../../Stage.ts"
import type * as Verdict from "../../Verdict.ts"
import type { Failed } from "../filter/definition.ts"

/** `by` is the name of the filter that has decided. */
export const outcomeOf = (verdict: Verdict.OfMessage, by: string): Outcome => {
  switch (verdict._tag) {
    case "Reject":
      return { _tag: "Rejected", by }
    case "TempFail":
      return { _tag: "TempFailed", by }
    case "DiscardMessage":
      return { _tag: "Discarded", by }
    case "AcceptMessage":
    case "Continue":
      return { _tag: "Accepted" }
  }
}

/** The exit for one filter: its own failure, if the cause is known, else that of the message. */
export const exitOf = (failure: Failed | undefined, exit: Exit.Exit<Outcome, unknown>): Exit.Exit<Outcome, unknown> =>
  failure === undefined || failure.cause.reasons.length === 0 ? exit : Exit.failCause(failure.cause)
