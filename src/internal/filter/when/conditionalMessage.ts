/** A filter under a condition, in one message. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Mail, Session, Stage } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { allStages, isBeginning } from "../../protocol/stageTable.ts"
import { type Definition, Failed } from "../definition.ts"
import { goesOn, inside, type StateHook, type StateHooks } from "../wrapping.ts"
import type { ConditionalSession } from "./conditionalSession.ts"

/** The inner filter in one message: its state, or a verdict of a held hook. */
export interface ConditionalMessage {
  readonly verdict: Verdict.Verdict | undefined
  readonly state: unknown
}

export const conditionalMessage = (verdict: Verdict.Verdict | undefined, state: unknown): ConditionalMessage => ({
  verdict,
  state
})

/** Runs what is held for the session, and builds the state of the message. */
export const join = Effect.fnUntraced(function*(
  inner: Definition,
  part: ConditionalSession,
  mail: Mail,
  session: Session
) {
  const decision = yield* part.enter(session)
  if (decision instanceof Failed) return decision
  if (decision._tag !== "Continue") {
    return conditionalMessage(decision._tag === "AcceptConnection" ? Verdict.acceptMessage : decision, undefined)
  }
  const { message } = inner
  if (message === undefined) return conditionalMessage(undefined, undefined)
  const state = yield* inside(inner, undefined, () => message(mail, { session, connection: part.state }))
  return state instanceof Failed ? state : conditionalMessage(undefined, state)
})

/** Hooks for the stages of a record after MAIL, which a hook of messages and that of unknown commands serve. */
export const hooksAfterMail = <M>(
  record: Definition["answers"],
  inMessage: (stage: Stage) => StateHook<ConditionalSession, M>
): StateHooks<ConditionalSession, M> => {
  const unknown: StateHook<ConditionalSession, M> = (event, { connection, session }) =>
    connection.isIn ? connection.hook("unknown", event, session) : goesOn
  return Object.fromEntries(
    allStages.filter((stage) => !isBeginning(stage) && Object.hasOwn(record, stage)).map((stage) => [
      stage,
      stage === "unknown" ? unknown : inMessage(stage)
    ])
  )
}

/** What a wrapper of `Milter.when` builds at MAIL. */
export type MessageBuilder<M> = (
  mail: Mail,
  at: { readonly session: Session; readonly connection: ConditionalSession }
) => Effect.Effect<M | Failed, unknown, Scope.Scope>
