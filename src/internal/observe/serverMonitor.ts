/** The monitor of a server: one log line a message, metrics, and spans where a tracer is installed. */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Mail, Outcome, Session, Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"
import { errorOf, Failures } from "./failures.ts"
import { isLogged, type LogFields, printable, write } from "./messageLog.ts"
import { addressesOf, modificationsOf, refusedOf, replyOf } from "./messageSummary.ts"
import { type Ending, FilterMetrics, Metrics, nameOf } from "./metrics.ts"
import type { FilterMonitor, MessageMonitor, MessageReport, Monitor, SessionMonitor } from "./monitor.ts"

/** The state that all sessions of a server share. */
interface Shared {
  readonly filter: string
  readonly metrics: Metrics
  readonly logs: boolean
  readonly traces: boolean
  /** The time in nanoseconds. */
  readonly now: () => bigint
}

export const make = (filter: string, context: Context.Context<never>, clock: Clock.Clock): Monitor => {
  const metrics = new Metrics(filter, context)
  const failures = new Failures(() => clock.currentTimeMillisUnsafe())
  const timed = Context.get(context, References.TracerTimingEnabled)
  const shared: Shared = {
    filter,
    metrics,
    logs: isLogged(context),
    // Without a tracer of the application the native tracer is in use, whose spans are not exported.
    traces: Context.get(context, References.TracerEnabled) &&
      Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer,
    now: () => timed ? clock.currentTimeNanosUnsafe() : 0n
  }
  return {
    session: (session, context) => new SessionWatch(shared, session, context),
    disconnected: (read, written) => metrics.bytes(read, written),
    filter: (name) => filterMonitor(name === filter ? metrics : new FilterMetrics(name, context), name, failures),
    verdict: (stage, verdict) => metrics.verdict(stage, verdict),
    error: (kind, what, queueId) => {
      metrics.error(kind)
      failures.add(filter, `${kind}: ${what}`, { queueId })
    },
    failures: () => failures.list
  }
}

const filterMonitor = (metrics: FilterMetrics, filter: string, failures: Failures): FilterMonitor => ({
  verdict: (stage, verdict) => metrics.verdict(stage, verdict),
  hook: (stage, milliseconds) => metrics.hook(stage, milliseconds),
  error: (kind) => metrics.error(kind),
  failed: (error, stage, queueId) => failures.add(filter, error, { stage, queueId })
})

/** A session or a message, and its span if there is one. */
abstract class Watch {
  protected readonly shared: Shared
  protected readonly span: Tracer.Span | undefined

  constructor(shared: Shared, context: Context.Context<never>, span: string, options: Tracer.SpanOptionsNoTrace) {
    this.shared = shared
    this.span = shared.traces ? Effect.runSyncWith(context)(Effect.makeSpan(span, options)) : undefined
  }

  inside(context: Context.Context<never>): Context.Context<never> {
    return this.span === undefined
      ? context
      : Context.add(context, Tracer.ParentSpan, this.span) as Context.Context<never> // for hooks, not for their types
  }

  hook(filter: string, stage: Stage, milliseconds: number): void {
    this.span?.event("milter.hook", this.shared.now(), {
      "milter.filter": filter,
      "milter.stage": stage,
      "milter.milliseconds": milliseconds
    })
  }

  protected endSpan(span: Tracer.Span, facts: LogFields, exit: Exit.Exit<unknown, unknown>): void {
    for (const [name, value] of Object.entries(facts)) {
      if (value !== undefined) span.attribute(attributeOf(name), value)
    }
    span.end(this.shared.now(), exit)
  }
}

const attributeOf = (name: string): string => `milter.${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`

const asSession: Tracer.SpanOptionsNoTrace = { kind: "server", root: true }
const asMessage: Tracer.SpanOptionsNoTrace = {}

class SessionWatch extends Watch implements SessionMonitor {
  private readonly session: Session
  private readonly context: Context.Context<never>
  private wasRefused = false
  private ended = false

  constructor(shared: Shared, session: Session, context: Context.Context<never>) {
    super(shared, context, "milter.session", asSession)
    this.session = session
    this.context = context
    shared.metrics.sessionBegins()
  }

  message(mail: Mail, context: Context.Context<never>): MessageMonitor {
    return new MessageWatch(this.shared, this.session, mail, context)
  }

  refused(stage: Stage, verdict: Verdict, by: string | undefined): void {
    // A client may try HELO again and again.
    if (this.wasRefused || !this.shared.logs) return
    this.wasRefused = true
    const ending = verdict._tag === "TempFail" ? "tempFailed" : "rejected"
    write(this.inside(this.context), "session", ending, {
      ...sessionFacts(this.shared.filter, this.session),
      outcome: ending,
      verdict: nameOf(verdict._tag),
      by,
      stage,
      reply: replyOf(verdict)
    })
  }

  end(exit: Exit.Exit<unknown, unknown>): void {
    if (this.ended) return
    this.ended = true
    this.shared.metrics.sessionEnds()
    if (this.span !== undefined) this.endSpan(this.span, sessionFacts(this.shared.filter, this.session), exit)
  }
}

class MessageWatch extends Watch implements MessageMonitor {
  private readonly session: Session
  private readonly mail: Mail
  private readonly context: Context.Context<never>

  constructor(shared: Shared, session: Session, mail: Mail, context: Context.Context<never>) {
    super(shared, context, "milter.message", asMessage)
    this.session = session
    this.mail = mail
    this.context = context
  }

  end(report: MessageReport): void {
    const ending = endingOf(report)
    const { filter, logs, metrics } = this.shared
    metrics.messageEnds(ending, report.milliseconds)
    if (!logs && this.span === undefined) return
    const facts = messageFacts(filter, this.session, this.mail, report, ending)
    // The line belongs into the span: it is open, and loggers that know spans find it.
    if (logs) write(this.inside(this.context), "message", ending, facts)
    if (this.span !== undefined) this.endSpan(this.span, facts, report.exit)
  }
}

const succeeded: { readonly [K in Outcome["_tag"]]: Ending } = {
  Accepted: "accepted",
  Rejected: "rejected",
  TempFailed: "tempFailed",
  Discarded: "discarded"
}

const endingOf = ({ aborted, exit }: MessageReport): Ending =>
  aborted ? "aborted" : Exit.isSuccess(exit) ? succeeded[exit.value._tag] : "failed"

const optional = (text: string | undefined): string | undefined =>
  text === undefined || text === "" ? undefined : printable(text)

/** The facts about the session in a line. */
export const sessionFacts = (filter: string, session: Session): LogFields => ({
  filter,
  session: session.id,
  client: printable(session.client.toString()),
  hostname: optional(session.hostname),
  heloName: optional(session.heloName)
})

const errorIn = ({ aborted, exit }: MessageReport): string | undefined =>
  aborted || Exit.isSuccess(exit) ? undefined : errorOf(exit.cause)

// Without a spread of the facts about the session, which would cost as much as half of the line.
const messageFacts = (
  filter: string,
  session: Session,
  mail: Mail,
  report: MessageReport,
  ending: Ending
): LogFields => ({
  filter,
  session: session.id,
  client: printable(session.client.toString()),
  hostname: optional(session.hostname),
  heloName: optional(session.heloName),
  queueId: optional(report.queueId),
  sender: printable(mail.sender.address),
  recipients: addressesOf(report.recipients),
  recipientCount: report.recipients.length,
  refused: refusedOf(report.refused),
  size: mail.parameters.size,
  outcome: ending,
  verdict: report.verdict === undefined ? undefined : nameOf(report.verdict),
  by: report.by,
  stage: report.stage,
  reply: report.final === undefined ? undefined : replyOf(report.final),
  modifications: modificationsOf(report.modifications),
  error: errorIn(report),
  milliseconds: report.milliseconds
})
