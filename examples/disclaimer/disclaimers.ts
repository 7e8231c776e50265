/** The disclaimers: which sender's domain has which. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const Text = Schema.String.check(Schema.isPattern(/^[^\0]*\S[^\0]*$/, { expected: "text without NUL" }))

/** The file. Domains are written as in addresses; `*` stands for all that are not named. */
export const Disclaimers = Schema.Record(
  Schema.String.check(Schema.isPattern(/^(?:\*|[^\s@]+)$/, { expected: "a domain, or *" })),
  Schema.Struct({ text: Text, html: Schema.optionalKey(Text) })
)
export type Disclaimers = typeof Disclaimers.Type

/** The file is not in order. */
export class InvalidDisclaimers extends Data.TaggedError("InvalidDisclaimers")<{ readonly message: string }> {}

export const parse = Effect.fnUntraced(function*(json: string): Effect.fn.Return<Disclaimers, InvalidDisclaimers> {
  const disclaimers = yield* Effect.mapError(
    Schema.decodeEffect(Schema.fromJsonString(Disclaimers), { onExcessProperty: "error" })(json),
    ({ message }) => new InvalidDisclaimers({ message: message.replace(/\s*\n\s*/g, " ") })
  )
  return Object.fromEntries(Object.entries(disclaimers).map(([domain, texts]) => [domain.toLowerCase(), texts]))
})

export const disclaimerFor = (disclaimers: Disclaimers, domain: string): Disclaimers[string] | undefined => {
  const lower = domain.toLowerCase()
  return Object.hasOwn(disclaimers, lower)
    ? disclaimers[lower]
    : Object.hasOwn(disclaimers, "*")
    ? disclaimers["*"]
    : undefined
}
