/**
 * DNS as the checks need it, behind a service: tests bring their records along.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DnsError, DnsErrorReason, Records, RecordType } from "./internal/dnsError.ts"
import * as nodeDns from "./internal/nodeDns.ts"
import { recordTable } from "./internal/recordTable.ts"

export { DnsError, type DnsErrorReason, type Records, type RecordType } from "./internal/dnsError.ts"

/**
 * Options of {@link Dns.layerWith}.
 *
 * - `servers`: addresses of name servers, `192.0.2.53` or `[2001:db8::53]:5353`; those of the system if not given
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
 * Records for tests, by name: for each type its records, or why there are none. A reason in place of them all holds for
 * each type.
 *
 * @category models
 * @since 0.1.0
 */
export interface RecordTable {
  readonly [name: string]:
    | { readonly [T in RecordType]?: ReadonlyArray<Records[T]> | DnsErrorReason }
    | DnsErrorReason
}

/**
 * Where the filters of this entry look up records. `resolve` gives one record or more, or fails.
 *
 * Effect has a service of that name in `effect/net`; it refuses names that SPF's macros make (`user+tag._spf.example.org`)
 * and does not tell a name that does not exist from one without a record, which DMARC's `np` needs.
 *
 * **Example** (A domain for a test)
 *
 * ```ts
 * import * as Auth from "effect-milter/auth"
 *
 * const records = Auth.Dns.layerRecords({
 *   "example.org": { TXT: ["v=spf1 ip4:192.0.2.0/24 -all"] },
 *   "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] },
 *   "broken.example": "Timeout"
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Dns extends Context.Service<Dns, {
  readonly resolve: <T extends RecordType>(
    name: string,
    type: T
  ) => Effect.Effect<ReadonlyArray<Records[T]>, DnsError>
}>()("effect-milter/auth/Dns") {
  /** Asks DNS, through Node's resolver. A query cannot be taken back: one that is interrupted ends unheard. */
  static readonly layerWith = (options: DnsOptions = {}): Layer.Layer<Dns> =>
    Layer.effect(this, Effect.map(nodeDns.make(options), (resolve) => ({ resolve })))

  /** {@link Dns.layerWith} the name servers of the system. */
  static readonly layer: Layer.Layer<Dns> = Dns.layerWith()

  /** Answers from a table; names that are not in it do not exist. */
  static readonly layerRecords = (table: RecordTable): Layer.Layer<Dns> =>
    Layer.succeed(this, { resolve: recordTable(table) })
}
