/** Options of the resolver, and records for tests. Re-exported by `Dns`. */
import type * as Duration from "effect/Duration"
import type { DnsErrorReason, Records, RecordType } from "./dnsError.ts"

/**
 * Options of {@link Dns.layerWith}.
 *
 * - `servers`: addresses of name servers, `192.0.2.53` or `[2001:db8::53]:5353`; the servers of the system if not given
 * - `timeout`: how long a server has for a first try, 2 seconds by default; each further try doubles it
 * - `tries`: per server, 3 by default
 *
 * @category models
 * @since 0.1.0
 */
export interface DnsOptions {
  readonly servers?: ReadonlyArray<string> | undefined
  readonly timeout?: Duration.Input | undefined
  readonly tries?: number | undefined
}

/**
 * Records for tests, by name: for each type the records, or why there are no records. A single reason holds for all types.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecordTable {
  readonly [name: string]:
    | { readonly [T in RecordType]?: ReadonlyArray<Records[T]> | DnsErrorReason }
    | DnsErrorReason
}
