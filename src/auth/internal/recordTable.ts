/** DNS out of a table. */
import * as Effect from "effect/Effect"
import { DnsError, type DnsErrorReason, type Records, type RecordType, type Resolve } from "./dnsError.ts"
import type { RecordTable } from "./dnsTypes.ts"

const keyOf = (name: string): string => name.toLowerCase().replace(/\.$/, "")

export const recordTable = (table: RecordTable): Resolve => {
  const entries = new Map(Object.entries(table).map(([name, entry]) => [keyOf(name), entry]))
  return <T extends RecordType>(name: string, type: T) => {
    const fail = (reason: DnsErrorReason) => Effect.fail(new DnsError({ reason, name, type }))
    const key = keyOf(name)
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
