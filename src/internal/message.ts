/** One message on its way through a filter. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Parameters } from "../Envelope.ts"
import type { Mail, Outcome, Rcpt, Stage } from "../Stage.ts"
import type * as Verdict from "../Verdict.ts"
import type { At, Failed } from "./definition.ts"
import type { Fork } from "./host.ts"
import type { MessageMonitor } from "./monitor.ts"
import type { SmtpSession } from "./smtpSession.ts"

export interface Message {
  readonly scope: Scope.Closeable
  readonly fork: Fork
  at: At
  readonly parameters: Parameters
  readonly recipients: Array<Rcpt>
  /** Settled before its end; an MTA that goes on all the same gets this again. */
  decided: Verdict.OfMessage | undefined
  /** DATA was refused, which is how the message ends unless the client tries DATA again. */
  refused: Exit.Exit<Outcome, unknown> | undefined
  /** That refusal; an MTA that sends the content all the same gets it again. */
  refusal: Verdict.Reject | Verdict.TempFail | undefined
  /** A failure at a stage without an answer, kept for the next one that has. */
  pending: Failed | undefined
  skipped: boolean
  closed: boolean
  headers: number
  headerBytes: number
  bodyBytes: number
  readonly monitor: MessageMonitor
  readonly began: number
  /** The stage of the latest verdict, and that verdict unless it was continue. */
  stage: Stage
  verdict: Verdict.Verdict["_tag"] | undefined
  queueId: string | undefined
}

/** A message that MAIL has begun; the state of its filter is still to come. */
export const open = (session: SmtpSession, connection: unknown, mail: Mail, began: number): Message => {
  const scope = Scope.makeUnsafe()
  const recipients: Array<Rcpt> = []
  const envelope = { sender: mail.sender, parameters: mail.parameters, recipients }
  const context = Context.add(session.context, Scope.Scope, scope) as Context.Context<never>
  const monitor = session.monitor.message(mail, context)
  return {
    scope,
    fork: Effect.runForkWith(monitor.context),
    at: { session, connection, message: undefined, envelope },
    parameters: mail.parameters,
    recipients,
    decided: undefined,
    refused: undefined,
    refusal: undefined,
    pending: undefined,
    skipped: false,
    closed: false,
    headers: 0,
    headerBytes: 0,
    bodyBytes: 0,
    monitor,
    began,
    stage: "mail",
    verdict: undefined,
    queueId: undefined
  }
}

const outcomeOf = (by: string, verdict: Verdict.OfMessage): Outcome => {
  switch (verdict._tag) {
    case "Reject":
      return { _tag: "Rejected", by }
    case "TempFail":
      return { _tag: "TempFailed", by }
    case "DiscardMessage":
      return { _tag: "Discarded", by }
    case "AcceptMessage":
    case "Continue":
      return { _tag: "Accepted" }
  }
}

/** What the finalizers of a message learn from its last verdict; `by` is the filter. */
export const exitOf = (
  by: string,
  verdict: Verdict.OfMessage,
  failure: Failed | undefined
): Exit.Exit<Outcome, unknown> =>
  failure !== undefined && failure.cause.reasons.length > 0
    ? Exit.failCause(failure.cause)
    : Exit.succeed(outcomeOf(by, verdict))
