/** What a listening layer gives a server, behind the public `Listener` service. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { OpenFile } from "../bytes/spool.ts"
import type { Transport } from "./transport.ts"

export interface Accepting {
  readonly addresses: ReadonlyArray<string>
  /** Hands over connections, those that are waiting already first, until the scope closes. */
  readonly accept: (onConnection: (transport: Transport) => void) => Effect.Effect<void, never, Scope.Scope>
  /** Where large bodies can wait; they stay in memory without it. */
  readonly openFile?: OpenFile
  /** Whether open sessions are given time when the server stops. Not in memory: the MTA goes together with the test. */
  readonly drains?: boolean
  /** Takes no more connections, those that are open go on. Can be called again. */
  readonly stop: Effect.Effect<void>
}
