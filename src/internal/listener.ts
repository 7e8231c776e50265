/** What a listening layer gives a server, behind the public `Listener` service. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Transport } from "./transport.ts"

export interface Accepting {
  readonly addresses: ReadonlyArray<string>
  /** Hands over connections, those that are waiting already first, until the scope closes. */
  readonly accept: (onConnection: (transport: Transport) => void) => Effect.Effect<void, never, Scope.Scope>
}
