/** What the engine tells whoever watches it: the log, metrics and spans are made from this. */
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type { Mail, Outcome, Rcpt, Session, Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"

/** A message that has ended, by a verdict or without one. */
export interface MessageReport {
  readonly exit: Exit.Exit<Outcome, unknown>
  /** The client or the MTA gave it up, or the connection ended. */
  readonly aborted: boolean
  /** The stage of the last verdict, or at which it was given up. */
  readonly stage: Stage
  /** The last verdict on the message; not one on a recipient. */
  readonly verdict: Verdict["_tag"] | undefined
  /** Whose verdict that was; undefined for the library's own, and for what all were content with. */
  readonly by: string | undefined
  readonly recipients: ReadonlyArray<Rcpt>
  readonly queueId: string | undefined
  readonly milliseconds: number
}

interface Watched {
  /** The context that hooks run with, for those who add a span to it. */
  readonly inside: (context: Context.Context<never>) => Context.Context<never>
  /** A hook that did not finish at once. */
  readonly hook: (filter: string, stage: Stage, milliseconds: number) => void
}

/** Of one filter in the program. */
export interface FilterMonitor {
  /** A verdict other than continue. */
  readonly verdict: (stage: Stage, verdict: Verdict["_tag"]) => void
  /** A hook that did not finish at once: how long it took. */
  readonly hook: (stage: Stage, milliseconds: number) => void
  /** Something went wrong: the tag of an error, `Defect`, or `CommandTimeout`. */
  readonly error: (kind: string) => void
}

export interface MessageMonitor extends Watched {
  readonly end: (report: MessageReport) => void
}

export interface SessionMonitor extends Watched {
  readonly message: (mail: Mail, context: Context.Context<never>) => MessageMonitor
  /** May come twice, when a connection closes while its session ends. */
  readonly end: (exit: Exit.Exit<unknown, unknown>) => void
}

export interface Monitor {
  /** An SMTP session begins: the first of a connection, or one after QUIT_NC. */
  readonly session: (session: Session, context: Context.Context<never>) => SessionMonitor
  /** A connection is closed, after this many bytes. */
  readonly disconnected: (read: number, written: number) => void
  readonly filter: (name: string) => FilterMonitor
  /** A verdict of the library's own. */
  readonly verdict: (stage: Stage, verdict: Verdict["_tag"]) => void
  /** Something went wrong: the tag of an error, or what ran out (`IdleTimeout`, …). */
  readonly error: (kind: string) => void
}
