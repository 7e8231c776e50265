/** Asks the service, as its HTTP API does. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { explain } from "../support/postgres.ts"
import { BlockedSenders } from "./blockedSenders.ts"

const unwanted = Verdict.reject({ enhanced: "5.7.1", text: "This recipient does not want mail from you" })
const later = Verdict.tempFail({
  enhanced: "4.3.0",
  text: "Cannot look up what the recipient wants, please try again later"
})

/** Refuses a recipient who has blocked the sender; what others of the same message want is another matter. */
export const refuseBlocked = Milter.make("blocked_senders").on({
  rcpt: Effect.fnUntraced(function*({ recipient }, { envelope: { sender } }) {
    // Bounces have no sender.
    if (sender.isNull) return Verdict.continue
    const blocked = yield* BlockedSenders
    return (yield* blocked.has(recipient.address, sender.address)) ? unwanted : Verdict.continue
  })
}).pipe(
  Milter.onFailure((error) => Effect.as(Effect.logError(`no answer from the database: ${explain(error)}`), later))
)
