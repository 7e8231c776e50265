/** What a dialing layer gives a client, in the public `Dialer` service. */
import type * as Effect from "effect/Effect"
import type { Transport } from "./transport.ts"

export interface Dialing {
  readonly reaches: string
  /** Opens a connection. Fails with why not: an Error whose message can be shown. */
  readonly dial: (address: string) => Effect.Effect<Transport, unknown>
}

/** The property of a `Dialer` that only the layers of this package can give it. */
export const dialingKey: unique symbol = Symbol.for("effect-milter/net/dialing")

/** What every dialing layer provides. */
export interface DialerShape {
  /** The forms of addresses that it takes, for messages to people: `inet:PORT@HOST, … or unix:/path`. */
  readonly reaches: string
  /** How it opens connections: made by the dialing layers of this package. */
  readonly [dialingKey]: Dialing
}

/** The service of a dialing layer. */
export const dialerOf = (dialing: Dialing): DialerShape => ({ reaches: dialing.reaches, [dialingKey]: dialing })
