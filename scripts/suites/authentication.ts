/** One message through `Auth.verify`, with records of a suite. */
import * as Auth from "effect-milter/auth"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

/** `undefined` if the filter came to no results. */
export const resultsOf = Effect.fnUntraced(function*(message: MilterClient.Message, records: Auth.RecordTable) {
  let results: Auth.Results | undefined
  yield* MilterTest.message(
    Auth.verify({
      authservId: "receiver.example",
      onResult: (found) => {
        results = found
        return Effect.succeed(Verdict.continue)
      }
    }),
    message
  ).pipe(Effect.provide(Auth.Dns.layerRecords(records)))
  return results
})

/** TXT records of a suite: the text that a name has. */
export const textRecords = (records: Readonly<Record<string, string>>): Auth.RecordTable =>
  Object.fromEntries(Object.entries(records).map(([name, text]) => [name, { TXT: [text] }]))
