/** What a listening layer gives a server, in the public `Listener` service. */
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

/** The property of a `Listener` that only the layers of this package can give it. */
export const acceptingKey: unique symbol = Symbol.for("effect-milter/net/accepting")

/** What every listening layer provides. */
export interface ListenerShape {
  /** Where it listens, as `inet:9000@127.0.0.1` or `unix:/run/filter.sock`; with the real port where 0 was asked for. */
  readonly addresses: ReadonlyArray<string>
  /** How it takes connections: made by the listening layers of this package. */
  readonly [acceptingKey]: Accepting
}

/** The service of a listening layer. */
export const listenerOf = (accepting: Accepting): ListenerShape => ({
  addresses: accepting.addresses,
  [acceptingKey]: accepting
})
