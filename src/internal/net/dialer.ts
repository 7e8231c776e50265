/** What a dialing layer gives a client, behind the public `Dialer` service. */
import type * as Effect from "effect/Effect"
import type { Transport } from "./transport.ts"

export interface Dialing {
  readonly reaches: string
  /** Opens a connection. Fails with why not: an Error whose message can be shown. */
  readonly dial: (address: string) => Effect.Effect<Transport, unknown>
}
