/** The old milter: the declaration that `effect-milter probe` has printed, with the address from the command line. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

/** While the old milter is away, mail is put off, as with `milter_default_action = tempfail`. */
export const old = (to: string) =>
  Milter.remote("old", {
    to,
    modify: ["addHeader", "insertHeader"],
    stages: ["connect", "helo", "mail", "rcpt", "endOfMessage"]
  }).pipe(Milter.onFailure(() => Effect.succeed(Verdict.tempFail({ text: "Please try again later" }))))
