/** The events that the engine reports; the log, metrics and spans are made from them. */
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type { Mail, Outcome, Rcpt, Session, Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"
import type { Failure } from "./failures.ts"
import type { Modifications, Refused } from "./messageSummary.ts"

/** A message that has ended, by a verdict or without one. */
export interface MessageReport {
  readonly exit: Exit.Exit<Outcome, unknown>
  /** Whether the client or the MTA gave the message up, or the connection ended. */
  readonly aborted: boolean
  /** The stage of the last verdict, or of the abort. */
  readonly stage: Stage
  /** The last verdict on the message, not on a recipient. */
  readonly verdict: Verdict["_tag"] | undefined
  /** The filter of that verdict; undefined for a verdict of the library, and if all filters let the message pass. */
  readonly by: string | undefined
  /** The final verdict, or the refusal of DATA with which the message ended. */
  readonly final: Verdict | undefined
  readonly recipients: ReadonlyArray<Rcpt>
  /** The first recipients that a filter refused. */
  readonly refused: ReadonlyArray<Refused>
  /** The modifications of a message that passed. */
  readonly modifications: Modifications | undefined
  readonly queueId: string | undefined
  readonly milliseconds: number
}

interface Watched {
  /** The context that hooks run with; a monitor may add a span to it. */
  readonly inside: (context: Context.Context<never>) => Context.Context<never>
  /** A hook that did not finish at once. */
  readonly hook: (filter: string, stage: Stage, milliseconds: number) => void
}

/** The monitor of one filter. */
export interface FilterMonitor {
  /** A verdict other than continue. */
  readonly verdict: (stage: Stage, verdict: Verdict["_tag"]) => void
  /** A hook that did not finish at once: how long it took. */
  readonly hook: (stage: Stage, milliseconds: number) => void
  /** Something went wrong: the tag of an error, `Defect`, or `CommandTimeout`. */
  readonly error: (kind: string) => void
  /** A hook has not done its work: for the list of the last failures. */
  readonly failed: (error: string, stage: Stage, queueId: string | undefined) => void
}

export interface MessageMonitor extends Watched {
  readonly end: (report: MessageReport) => void
}

export interface SessionMonitor extends Watched {
  readonly message: (mail: Mail, context: Context.Context<never>) => MessageMonitor
  /** The client is refused, at connect or helo. `by`: the filter, in a sequence. */
  readonly refused: (stage: Stage, verdict: Verdict, by: string | undefined) => void
  /** May be called twice, if a connection closes while its session ends. */
  readonly end: (exit: Exit.Exit<unknown, unknown>) => void
}

export interface Monitor {
  /** An SMTP session begins: the first of a connection, or one after QUIT_NC. */
  readonly session: (session: Session, context: Context.Context<never>) => SessionMonitor
  /** A connection is closed, after this many bytes. */
  readonly disconnected: (read: number, written: number) => void
  readonly filter: (name: string) => FilterMonitor
  /** A verdict of the library. */
  readonly verdict: (stage: Stage, verdict: Verdict["_tag"]) => void
  /** Something went wrong: the tag of an error, or what ran out (`IdleTimeout`, …); and in words, with the queue id. */
  readonly error: (kind: string, what: string, queueId?: string) => void
  /** The last failures, the oldest first. */
  readonly failures: () => ReadonlyArray<Failure>
}
