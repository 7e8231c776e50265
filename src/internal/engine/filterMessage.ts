/** One filter's part in one message. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Envelope, Mail, Outcome } from "../../Stage.ts"
import { type At, Failed } from "../filter/definition.ts"
import type { Edits } from "../filter/editor.ts"
import type { MessageMonitor } from "../observe/monitor.ts"
import { hasHook } from "./contentPasses.ts"
import type { Participant } from "./filterSession.ts"
import type { Fork } from "./host.ts"
import { exitOf } from "./outcome.ts"
import type { Closing } from "./scopeCloser.ts"

export class Part {
  readonly participant: Participant
  readonly fork: Fork
  /** When it sees the content; see `Plan`. */
  readonly pass: number
  at: At
  /** A failure at a stage without an answer, kept for the next one that has. */
  pending: Failed | undefined
  /** It is content with the message, or passed over. */
  left = false
  /** It wants no more of the body. */
  skipped = false
  /** Why it was passed over, or what its verdict came from. */
  failure: Failed | undefined
  edits: Edits | undefined
  private readonly scope = Scope.makeUnsafe()

  constructor(participant: Participant, pass: number, envelope: Envelope, monitor: MessageMonitor) {
    this.participant = participant
    this.pass = pass
    const context = Context.add(participant.context, Scope.Scope, this.scope)
    this.fork = Effect.runForkWith(monitor.inside(context as Context.Context<never>)) // for hooks, not for their types
    this.at = { ...participant.at, message: undefined, envelope }
  }

  /** Builds its state, unless the answer to this message has been settled before it. */
  begin(mail: Mail, done: (failure: Failed | undefined) => void): void {
    const { participant } = this
    const failure = participant.takeFailure()
    const build = participant.definition.message
    if (failure !== undefined || build === undefined) return done(failure)
    participant.hooks.execute("mail", () => build(mail, participant.at), this.fork, (state) => {
      if (state instanceof Failed) return done(state)
      this.at = { ...this.at, message: state }
      done(undefined)
    })
  }

  get isDoneWithBody(): boolean {
    return this.left || this.skipped || !hasHook(this.participant.definition, "body")
  }

  /** What its finalizers learn; undefined if the message was given up. */
  closing(exit: Exit.Exit<Outcome, unknown> | undefined): Closing {
    return {
      scope: this.scope,
      exit: exit === undefined ? Exit.interrupt() : exitOf(this.failure, exit),
      filter: this.participant.definition.name
    }
  }
}
