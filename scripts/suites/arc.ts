/** The ARC validation suite of ValiMail in YAML, `arc-draft-validation-tests.yml`: messages, and the `cv` of each. */
import * as RawMessage from "effect-milter/RawMessage"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { resultsOf, textRecords } from "./authentication.ts"
import { type Deviation, listOf, OneOrMore, readYaml, type Row, type Suite } from "./suite.ts"

const Document = Schema.Struct({
  tests: Schema.Record(Schema.String, Schema.Struct({ message: Schema.String, cv: OneOrMore })),
  "txt-records": Schema.Record(Schema.String, Schema.String)
})

const deviations: Readonly<Record<string, Deviation>> = {
  arc_set_duplicate: {
    actual: "fail",
    reason: "the suite follows a draft; RFC 8617 5.2 step 3 fails a chain with more than one set of an instance"
  }
}

export const arcSuite = Effect.fnUntraced(function*(file: string) {
  const rows: Array<Row> = []
  for (const { tests, "txt-records": texts } of yield* readYaml(file, Document)) {
    const records = textRecords(texts)
    for (const [name, { cv, message }] of Object.entries(tests)) {
      const results = yield* resultsOf({
        from: "alice@author.example",
        to: "bob@receiver.example",
        ...RawMessage.parse(new TextEncoder().encode(message))
      }, records)
      rows.push({
        name,
        expected: listOf(cv).map((result) => result.toLowerCase()),
        actual: results?.arc.result ?? "no result"
      })
    }
  }
  return { title: `ARC ${file}`, rows, deviations } satisfies Suite
})
