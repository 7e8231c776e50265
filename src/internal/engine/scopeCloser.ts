/** Closes the scopes of messages and SMTP sessions one after the other: their finalizers are the filters' own code. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Fork, Work } from "./machine.ts"
import type { SmtpSession } from "./smtpSession.ts"

/** A scope that is about to close. */
export interface Closing {
  readonly scope: Scope.Closeable
  readonly exit: Exit.Exit<unknown, unknown>
  /** The name of the filter, for the log. */
  readonly filter: string
}

/** The scopes that wait to be closed. As a `Work` it closes the next one. */
export class ScopeCloser implements Work {
  readonly _tag = "Work"
  readonly kind = "finalizers"
  private session: SmtpSession
  /** The scopes to close now. They wait, since a hook whose time is over may have to stop first. */
  private waiting: ReadonlyArray<Closing> = []
  private begun = 0

  constructor(session: SmtpSession) {
    this.session = session
  }

  get fork(): Fork {
    return this.session.fork
  }

  /** Adds scopes of this session; the last one closes first. */
  add(closings: ReadonlyArray<Closing>, session: SmtpSession): void {
    const latestFirst = closings.length === 1 ? closings : closings.toReversed()
    this.waiting = this.hasMore ? this.rest.concat(latestFirst) : latestFirst
    this.begun = 0
    this.session = session
  }

  get hasMore(): boolean {
    return this.begun < this.waiting.length
  }

  private get rest(): ReadonlyArray<Closing> {
    return this.waiting.slice(this.begun)
  }

  make(): Effect.Effect<unknown> | undefined {
    const { exit, scope } = this.waiting[this.begun++]! // there is more
    return Scope.closeUnsafe(scope, exit)
  }

  /** The finalizers of the scope that began last have run. */
  ended(exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) return
    const { filter } = this.waiting[this.begun - 1]!
    this.session.log(Effect.logError(`a finalizer of ${filter} failed`, exit.cause))
  }

  /** Closes all scopes at the end of the connection: those that still wait, then these, in their order. */
  closeAll(closings: ReadonlyArray<Closing>, session: SmtpSession): Effect.Effect<void> {
    const all = [...this.rest, ...closings]
    for (const [index, { exit, filter, scope }] of all.entries()) {
      const finalizers = Scope.closeUnsafe(scope, exit)
      // Most scopes have no finalizers. Services are provided only to those that do: that costs a copy of all services.
      if (finalizers !== undefined) {
        return Effect.andThen(
          logged(finalizers, filter),
          Effect.forEach(all.slice(index + 1), closed, { discard: true })
        ).pipe(Effect.provideContext(session.context))
      }
    }
    return Effect.void
  }
}

const logged = (finalizers: Effect.Effect<void>, filter: string): Effect.Effect<void> =>
  Effect.catchCause(finalizers, (cause) => Effect.logError(`a finalizer of ${filter} failed`, cause))

const closed = ({ exit, filter, scope }: Closing): Effect.Effect<void> => logged(Scope.close(scope, exit), filter)
