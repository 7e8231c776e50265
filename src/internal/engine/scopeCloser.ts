/** Closing the scopes of messages and SMTP sessions, whose finalizers are the filters' own code. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { inTurn } from "./forEachCallback.ts"
import type { Host } from "./host.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** A scope that is about to close. */
export interface Closing {
  readonly scope: Scope.Closeable
  readonly exit: Exit.Exit<unknown, unknown>
  /** The name of its filter. */
  readonly filter: string
}

export class Scopes {
  private readonly host: Host
  /** Those that are to close now, until each begins to: a hook whose time is over may have to stop first. */
  private waiting: Array<Closing> = []

  constructor(host: Host) {
    this.host = host
  }

  /** Closes them one after the other, the last first, as soon as no hook runs in them any more. */
  close(closings: ReadonlyArray<Closing>, session: SmtpSession, done: () => void): void {
    const waiting = this.waiting = closings.toReversed()
    this.host.whenStopped(() => {
      inTurn(closings.length, (_, next) => {
        const { exit, filter, scope } = waiting.shift()! // one for each
        const finalizers = Scope.closeUnsafe(scope, exit)
        if (finalizers === undefined) return next()
        this.host.startWork("finalizers", finalizers, session.fork, (exit) => {
          if (Exit.isFailure(exit)) session.log(Effect.logError(`a finalizer of ${filter} failed`, exit.cause))
          next()
        })
      }, done)
    })
  }

  /** The connection ends: all that still waits closes, then these, in their order. */
  last(closings: () => ReadonlyArray<Closing>, session: SmtpSession): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach([...this.waiting, ...closings()], ({ exit, filter, scope }) =>
        Effect.catchCause(
          Scope.close(scope, exit),
          (cause) => Effect.logError(`a finalizer of ${filter} failed`, cause)
        ), { discard: true })
    ).pipe(Effect.provideContext(session.context))
  }
}
