/** The types of DNS queries, and their errors. Re-exported by `Dns`. */
import * as Data from "effect/Data"

/**
 * The types of records that are asked for, and what each gives. The strings of a TXT record are joined, as SPF, DKIM and
 * DMARC read them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Records {
  readonly A: string
  readonly AAAA: string
  readonly CNAME: string
  readonly MX: { readonly priority: number; readonly exchange: string }
  readonly PTR: string
  readonly TXT: string
}

/**
 * The names of those types.
 *
 * @category models
 * @since 0.1.0
 */
export type RecordType = keyof Records

/**
 * Why there are no records.
 *
 * - `NotFound`: the name does not exist
 * - `NoData`: the name exists, but has no record of this type
 * - `BadName`: the name is not valid in DNS
 * - `Timeout`, `Failed`: unknown for now (no answer, SERVFAIL, refused ...): checks end with `temperror`
 *
 * @category models
 * @since 0.1.0
 */
export type DnsErrorReason = "NotFound" | "NoData" | "BadName" | "Timeout" | "Failed"

/**
 * A query without records.
 *
 * @category errors
 * @since 0.1.0
 */
export class DnsError extends Data.TaggedError("DnsError")<{
  readonly reason: DnsErrorReason
  readonly name: string
  readonly type: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `${this.reason}: ${this.name} ${this.type}`
  }
}
