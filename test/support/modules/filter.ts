/** What `effect-milter serve` serves in tests: refuses senders at example.com. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export default Milter.make("picky", {
  modify: ["addHeader", "changeHeader", "addRecipient", "deleteRecipient", "quarantine", "replaceBody"]
}).on({
  mail: ({ sender }) =>
    Effect.succeed(
      sender.domain === "example.com" ? Verdict.reject({ enhanced: "5.7.1", text: "not you" }) : Verdict.continue
    ),
  rcpt: ({ recipient }) =>
    Effect.succeed(
      recipient.localPart === "busy"
        ? Verdict.tempFail({ enhanced: "4.2.1", text: "on holiday" })
        : recipient.localPart === "nobody"
        ? Verdict.discardMessage
        : Verdict.continue
    ),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
    if (envelope.sender.localPart === "suspect") yield* edit.quarantine("looked at by hand")
    if (envelope.sender.localPart === "editor") {
      yield* edit.changeHeader("Subject", 1, "edited")
      yield* edit.deleteRecipient("bob@example.net")
      yield* edit.addRecipient("dave@example.net")
      yield* edit.replaceBody(new TextEncoder().encode("one\r\nnew\r\nthree\r\n"))
    }
    yield* edit.addHeader("X-Picky", "yes")
    return Verdict.continue
  })
})
