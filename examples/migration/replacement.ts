/** The new filter, which is to answer as the old milter does: refuses a domain, and marks other mail. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export const replacement = (domain: string) =>
  Milter.make("replacement", { modify: ["addHeader"] }).on({
    mail: ({ sender }) =>
      Effect.succeed(
        sender.domain === domain
          ? Verdict.reject({ code: "550", enhanced: "5.7.1", text: "not allowed here!" })
          : Verdict.continue
      ),
    endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "yes"), Verdict.continue)
  })
