/** Two filters, which are asked one after the other. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

const goOn = Effect.succeed(Verdict.continue)

const First = Milter.make("first").on({ mail: () => Effect.as(Effect.logInfo("asked first"), Verdict.continue) })
const Second = Milter.make("second", { modify: ["addHeader"] }).on({
  mail: ({ sender }) => sender.localPart === "fails" ? Effect.fail("no answer") : goOn,
  rcpt: ({ recipient }) => recipient.localPart === "dies" ? Effect.die(new Error("boom")) : goOn,
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Second", "yes"), Verdict.continue)
})

export default [First, Second]
