/** Answers DNS queries from a table, for tests. */
import * as Effect from "effect/Effect"
import { DnsError, type DnsErrorReason, type Records, type RecordType } from "./dnsError.ts"
import type { RecordTable } from "./dnsTypes.ts"
import type { Resolve } from "./resolve.ts"

/** The most aliases in a row; resolvers give up after about as many. */
const mostAliases = 8

const keyOf = (name: string): string => name.toLowerCase().replace(/\.$/, "")

export const recordTable = (table: RecordTable): Resolve => {
  const entries = new Map(Object.entries(table).map(([name, entry]) => [keyOf(name), entry]))
  /** The end of a row of aliases; `undefined` if there are too many. */
  const canonicalName = (name: string, type: RecordType): string | undefined => {
    let key = name
    for (let aliases = 0; aliases <= mostAliases; aliases++) {
      const entry = entries.get(key)
      if (typeof entry !== "object" || entry[type] !== undefined || typeof entry.CNAME === "string") return key
      const alias = entry.CNAME?.[0]
      if (alias === undefined) return key
      key = keyOf(alias)
    }
    return undefined
  }
  return <T extends RecordType>(name: string, type: T) => {
    const fail = (reason: DnsErrorReason) => Effect.fail(new DnsError({ reason, name, type }))
    const key = type === "CNAME" ? keyOf(name) : canonicalName(keyOf(name), type)
    if (key === undefined) return fail("Failed")
    const entry = entries.get(key)
    if (typeof entry === "string") return fail(entry)
    if (entry === undefined) {
      // A name above another one exists.
      return fail(Array.from(entries.keys()).some((each) => each.endsWith(`.${key}`)) ? "NoData" : "NotFound")
    }
    const records: ReadonlyArray<Records[T]> | DnsErrorReason | undefined = entry[type]
    if (typeof records === "string") return fail(records)
    return records === undefined || records.length === 0 ? fail("NoData") : Effect.succeed(records)
  }
}
