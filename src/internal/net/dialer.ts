/** The service `Dialer`, which a dialing layer provides to clients. Re-exported by `MilterClient`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { OpenFile } from "../bytes/spool.ts"
import type { Transport } from "./transport.ts"

export interface Dialing {
  readonly reaches: string
  /** Opens a connection. Fails with an Error whose message can be shown. */
  readonly dial: (address: string) => Effect.Effect<Transport, unknown>
  /** Opens files for large bodies; without it they stay in memory. */
  readonly openFile?: OpenFile
}

/** The property of a `Dialer` that only the layers of this package can give it. */
export const dialingKey: unique symbol = Symbol.for("effect-milter/net/dialing")

/** The service of every dialing layer. */
export interface DialerShape {
  /** The forms of addresses that the layer accepts, for messages to people: `inet:PORT@HOST, … or unix:/path`. */
  readonly reaches: string
  /** Opens connections; made by the dialing layers of this package. */
  readonly [dialingKey]: Dialing
}

/** Makes the service of a dialing layer. */
export const dialerOf = (dialing: Dialing): DialerShape => ({ reaches: dialing.reaches, [dialingKey]: dialing })

/**
 * The service that opens connections to milters.
 *
 * @category services
 * @since 0.1.0
 */
export class Dialer extends Context.Service<Dialer, DialerShape>()("effect-milter/MilterClient/Dialer") {}
