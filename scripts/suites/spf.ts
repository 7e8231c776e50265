/** The SPF suite of openspf.org in YAML, `rfc7208-tests.yml`: documents of zone data, and of tests with their results. */
import type * as Auth from "effect-milter/auth"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { resultsOf } from "./authentication.ts"
import { type Deviation, listOf, OneOrMore, readYaml, type Row, type Suite, SuiteError } from "./suite.ts"

const Test = Schema.Struct({
  helo: Schema.String,
  host: Schema.String,
  mailfrom: Schema.String,
  result: OneOrMore,
  explanation: Schema.optional(OneOrMore)
})

/** `TIMEOUT` alone is for all types of which the name has no record. */
const Entry = Schema.Union([
  Schema.Literal("TIMEOUT"),
  Schema.Record(Schema.String, OneOrMore)
])
type Entry = typeof Entry.Type

const Document = Schema.Struct({
  tests: Schema.Record(Schema.String, Test),
  zonedata: Schema.Record(Schema.String, Schema.Array(Entry))
})

const types: ReadonlyArray<Auth.RecordType> = ["A", "AAAA", "CNAME", "MX", "PTR", "TXT"]

const deviations: Readonly<Record<string, Deviation>> = {
  "v-macro-ip6 explanation": {
    actual: "cafe:babe::1 is queried as 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.b.a.b.e.f.a.c.ip6.arpa",
    reason: "RFC 7208 7.3 leaves open whether hexadecimal digits are in upper or lower case, and DNS ignores it"
  }
}

interface Found {
  readonly type: string
  readonly value: string | ReadonlyArray<string>
}

const isExchange = (value: Found["value"]): boolean =>
  typeof value !== "string" && value.length === 2 && /^\d{1,5}$/.test(value[0]!)

/**
 * The records of a name, or what is wrong with them. Type SPF has gone since the suite was begun; its records count as TXT unless the name has TXT
 * records of its own. `NONE` stands for no records of that type, and keeps it from those of SPF.
 */
const entryOf = (entries: ReadonlyArray<Entry>): Result.Result<Auth.RecordTable[string], string> => {
  const found = entries.flatMap((entry): ReadonlyArray<Found> =>
    entry === "TIMEOUT" ? [] : Object.entries(entry).map(([type, value]) => ({ type, value }))
  )
  const unknown = found.find(({ type }) => type !== "SPF" && !types.some((known) => known === type))
  if (unknown !== undefined) return Result.fail(`has a record of the unknown type ${unknown.type}`)
  const malformed = found.find(({ type, value }) =>
    type === "MX" && value !== "NONE" && value !== "TIMEOUT" && !isExchange(value)
  )
  if (malformed !== undefined) return Result.fail("has an MX record that is not a list of priority and host")
  const hasText = found.some(({ type }) => type === "TXT")
  const valuesOf = (type: Auth.RecordType): ReadonlyArray<Found["value"]> | "Timeout" | undefined => {
    const values = found.filter((one) => one.type === type || (type === "TXT" && !hasText && one.type === "SPF"))
      .map(({ value }) => value)
    if (values.includes("TIMEOUT")) return "Timeout"
    const given = values.filter((value) => value !== "NONE")
    return given.length > 0 ? given : entries.includes("TIMEOUT") ? "Timeout" : undefined
  }
  const texts = (type: Exclude<Auth.RecordType, "MX">): ReadonlyArray<string> | "Timeout" | undefined => {
    const values = valuesOf(type)
    return typeof values === "string" ? values : values?.map((value) => listOf(value).join(""))
  }
  const exchanges = () => {
    const values = valuesOf("MX")
    return typeof values === "string"
      ? values
      : values?.map((value) => ({ priority: Number(value[0]), exchange: value[1] ?? "" }))
  }
  const all = {
    A: texts("A"),
    AAAA: texts("AAAA"),
    // A name that times out is not an alias.
    CNAME: found.some(({ type }) => type === "CNAME") ? texts("CNAME") : undefined,
    MX: exchanges(),
    PTR: texts("PTR"),
    TXT: texts("TXT")
  }
  return Result.succeed(Object.fromEntries(Object.entries(all).filter(([, records]) => records !== undefined)))
}

/** The zone of a document, or what is wrong with it. */
const tableOf = (zone: (typeof Document.Type)["zonedata"]): Result.Result<Auth.RecordTable, string> => {
  const table: Record<string, Auth.RecordTable[string]> = {}
  for (const [name, entries] of Object.entries(zone)) {
    const entry = entryOf(entries)
    if (Result.isFailure(entry)) return Result.fail(`${name} ${entry.failure}`)
    table[name] = entry.success
  }
  return Result.succeed(table)
}

const run = Effect.fnUntraced(function*(name: string, test: typeof Test.Type, records: Auth.RecordTable) {
  const results = yield* resultsOf({
    from: test.mailfrom,
    to: "bob@receiver.example",
    headers: [["From", "alice@author.example"]],
    body: "Hello\r\n",
    client: { hostname: "unknown", address: test.host },
    helo: test.helo
  }, records)
  const spf = results?.spf
  const rows: Array<Row> = [{ name, expected: listOf(test.result), actual: spf?.result ?? "no result" }]
  // An explanation goes with a fail. DEFAULT is the receiver's own words: the domain has none that can be used.
  if (test.explanation !== undefined && spf?.result === "fail") {
    const expected = listOf(test.explanation)
    rows.push({ name: `${name} explanation`, expected, actual: spf.explanation ?? "DEFAULT" })
  }
  return rows
})

export const spfSuite = Effect.fnUntraced(function*(file: string) {
  const rows: Array<Row> = []
  for (const { tests, zonedata } of yield* readYaml(file, Document)) {
    const records = tableOf(zonedata)
    if (Result.isFailure(records)) return yield* new SuiteError({ file, problem: records.failure })
    for (const [name, test] of Object.entries(tests)) rows.push(...yield* run(name, test, records.success))
  }
  return { title: `SPF ${file}`, rows, deviations } satisfies Suite
})
