/** The service `Listener`, which a listening layer provides to servers. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { OpenFile } from "../bytes/spool.ts"
import type { Transport } from "./transport.ts"

/** One of several processes that serve the same sockets. */
export interface Worker {
  /** From 0 on. */
  readonly index: number
  readonly count: number
}

export interface Accepting {
  readonly addresses: ReadonlyArray<string>
  /** Delivers connections until the scope closes, those that are already waiting first. */
  readonly accept: (onConnection: (transport: Transport) => void) => Effect.Effect<void, never, Scope.Scope>
  /** Opens files for large bodies; without it they stay in memory. */
  readonly openFile?: OpenFile
  /** Whether open sessions get time to end when the server stops. Not in memory, where the MTA ends with the test. */
  readonly drains?: boolean
  /** Whether the bytes of a command are overwritten once it has been handled, so that a test shows a hook that keeps them. */
  readonly overwrites?: boolean
  /** This process's part where several processes take connections from the same sockets. */
  readonly worker?: Worker
  /** Stops taking connections; open connections go on. Can be called again. */
  readonly stop: Effect.Effect<void>
}

/** The property of a `Listener` that only the layers of this package can give it. */
export const acceptingKey: unique symbol = Symbol.for("effect-milter/net/accepting")

/** The service of every listening layer. */
export interface ListenerShape {
  /**
   * The addresses it listens on, such as `inet:9000@127.0.0.1` or `unix:/run/filter.sock`; for port 0 with the real port. In a
   * worker process none, until its server takes connections.
   */
  readonly addresses: ReadonlyArray<string>
  /** Takes connections; made by the listening layers of this package. */
  readonly [acceptingKey]: Accepting
}

/** Makes the service of a listening layer. */
export const listenerOf = (accepting: Accepting): ListenerShape => ({
  get addresses() {
    return accepting.addresses
  },
  [acceptingKey]: accepting
})
