/** How records are asked for: the method of the service `Dns`. */
import type * as Effect from "effect/Effect"
import type { DnsError, Records, RecordType } from "./dnsError.ts"

export type Resolve = <T extends RecordType>(
  name: string,
  type: T
) => Effect.Effect<ReadonlyArray<Records[T]>, DnsError>
