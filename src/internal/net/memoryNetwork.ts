/** A network in memory: one listener, and the clients that dial its address. */
import * as Effect from "effect/Effect"
import { InvalidValue } from "../../InvalidValue.ts"
import type { Dialing } from "./dialer.ts"
import type { Accepting } from "./listener.ts"
import { makePair } from "./memoryTransport.ts"
import type { Transport } from "./transport.ts"

export const make = (address: string): { readonly listener: Accepting; readonly dialer: Dialing } => {
  const waiting: Array<Transport> = []
  let deliver = (transport: Transport): void => {
    waiting.push(transport)
  }
  const stop = Effect.sync(() => {
    deliver = (transport) => transport.destroy()
  })
  return {
    listener: {
      addresses: [address],
      accept: (onConnection) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            deliver = onConnection
            waiting.splice(0).forEach(onConnection)
          }),
          () => stop
        ),
      stop,
      drains: false,
      overwrites: true
    },
    dialer: {
      reaches: address,
      dial: (to) =>
        Effect.suspend(() => {
          if (to !== address) {
            return Effect.fail(
              new InvalidValue({ what: "address", value: to, reason: `in memory there is only ${address}` })
            )
          }
          const [mta, filter] = makePair(["the MTA in memory", "the filter in memory"])
          deliver(filter)
          return Effect.succeed(mta)
        })
    }
  }
}
