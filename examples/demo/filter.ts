/** The filter of the demo: the one of the README, which also puts off one recipient and marks what it lets pass. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export const NotFromUs = Milter.make("not-from-us", { modify: ["addHeader"] }).on({
  mail: ({ sender }) =>
    Effect.succeed(
      sender.domain === "example.com"
        ? Verdict.reject({ enhanced: "5.7.1", text: "not allowed here!" })
        : Verdict.continue
    ),
  rcpt: ({ recipient }) =>
    Effect.succeed(
      recipient.localPart === "busy" ? Verdict.tempFail({ enhanced: "4.2.1", text: "on holiday" }) : Verdict.continue
    ),
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "not from us"), Verdict.continue)
})

// For `effect-milter serve examples/demo/filter.ts --listen inet:9000`.
export default NotFromUs
