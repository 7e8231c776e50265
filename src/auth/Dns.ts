/**
 * DNS for the checks, as a service: tests provide records of their own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { checkKeys, keysOf } from "../internal/bytes/knownKeys.ts"
import type { DnsError, Records, RecordType } from "./internal/dnsError.ts"
import type { DnsOptions, RecordTable } from "./internal/dnsTypes.ts"
import * as nodeDns from "./internal/nodeDns.ts"
import { recordTable } from "./internal/recordTable.ts"

export { DnsError, type DnsErrorReason, type Records, type RecordType } from "./internal/dnsError.ts"
export type { DnsOptions, RecordTable } from "./internal/dnsTypes.ts"

const optionNames = keysOf<DnsOptions>({ servers: true, timeout: true, tries: true })

/**
 * Looks up records for the filters of this entry. `resolve` gives one record or more, or fails.
 *
 * Effect has a service of the same name in `effect/net`. It refuses names that SPF's macros make
 * (`user+tag._spf.example.org`), and does not distinguish a name that does not exist from a name without a record, as
 * DMARC's `np` requires.
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
  /** Asks DNS, through Node's resolver. A query cannot be cancelled: after an interruption its answer is ignored. */
  static readonly layerWith = (options: DnsOptions = {}): Layer.Layer<Dns> =>
    Layer.effect(
      this,
      Effect.suspend(() => {
        checkKeys("option of Auth.Dns", options, optionNames)
        return Effect.map(nodeDns.make(options), (resolve) => ({ resolve }))
      })
    )

  /** {@link Dns.layerWith} the name servers of the system. */
  static readonly layer: Layer.Layer<Dns> = Dns.layerWith()

  /** Answers from a table; names that are not in it do not exist. */
  static readonly layerRecords = (table: RecordTable): Layer.Layer<Dns> =>
    Layer.succeed(this, { resolve: recordTable(table) })
}
