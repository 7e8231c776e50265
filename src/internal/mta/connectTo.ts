/** Opens the connection to a filter. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dialing } from "../net/dialer.ts"
import { ClientConnection } from "./clientConnection.ts"
import { ClientError } from "./clientError.ts"
import type { Options } from "./clientTypes.ts"

/** Connects within `milliseconds`. The connection closes with the Scope. */
export const connectTo = (
  dialing: Dialing,
  address: string,
  milliseconds: number,
  options: Pick<Options, "maxFrameLength" | "observe">
): Effect.Effect<ClientConnection, ClientError, Scope.Scope> => {
  const unreachable = (cause: unknown) =>
    new ClientError({ reason: { _tag: "Unreachable", cause }, command: undefined, address })
  return Effect.acquireRelease(
    dialing.dial(address).pipe(
      Effect.mapError(unreachable),
      Effect.timeoutOrElse({
        duration: milliseconds,
        orElse: () => Effect.fail(unreachable(new Error(`no connection within ${milliseconds / 1000} s`)))
      }),
      Effect.map((transport) =>
        new ClientConnection(address, transport, {
          maxFrameLength: options.maxFrameLength,
          observe: options.observe
        })
      )
    ),
    (connection) => Effect.sync(() => connection.close()),
    { interruptible: true }
  )
}
