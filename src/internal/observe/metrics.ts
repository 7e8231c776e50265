/** The metrics of a server, in the registry of its context. The page docs/operate/observability.md lists them. */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Stage } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"

/** How a message ended, in the log, in metrics and in spans. */
export type Ending = "accepted" | "rejected" | "tempFailed" | "discarded" | "failed" | "aborted"

export const endings: ReadonlyArray<Ending> = ["accepted", "rejected", "tempFailed", "discarded", "failed", "aborted"]

/** The name of a verdict: that of the function that makes it. */
export const nameOf = (verdict: Verdict["_tag"]): string => verdict[0]!.toLowerCase() + verdict.slice(1)

// Seconds. A hook may take seconds, and minutes at end of message.
const hookBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240]

// A message takes as long as its client and the network do.
const messageBoundaries = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 1800]

/** The metrics of one filter. */
export class FilterMetrics {
  protected readonly context: Context.Context<never>
  protected readonly attributes: { readonly filter: string }
  // These series begin with the first event.
  private readonly verdicts = new Map<string, Metric.Counter<number>>()
  private readonly hooks = new Map<Stage, Metric.Histogram<number>>()
  private readonly errors = new Map<string, Metric.Counter<number>>()

  constructor(filter: string, context: Context.Context<never>) {
    // Each update looks these two up; among all services of a server that takes twice as long.
    this.context = Context.make(Metric.MetricRegistry, Context.get(context, Metric.MetricRegistry)).pipe(
      Context.add(Metric.CurrentMetricAttributes, Context.get(context, Metric.CurrentMetricAttributes))
    )
    this.attributes = { filter }
  }

  protected counter(
    id: string,
    description: string,
    more?: { readonly [name: string]: string }
  ): Metric.Counter<number> {
    return Metric.counter(id, { description, attributes: { ...this.attributes, ...more }, incremental: true })
  }

  protected add(metric: Metric.Counter<number>, count: number): void {
    metric.updateUnsafe(count, this.context)
  }

  verdict(stage: Stage, verdict: Verdict["_tag"]): void {
    const key = `${stage} ${verdict}`
    let metric = this.verdicts.get(key)
    if (metric === undefined) {
      const attributes = { stage, verdict: nameOf(verdict) }
      metric = this.counter("milter_verdicts_total", "Verdicts other than continue", attributes)
      this.verdicts.set(key, metric)
    }
    this.add(metric, 1)
  }

  hook(stage: Stage, milliseconds: number): void {
    let metric = this.hooks.get(stage)
    if (metric === undefined) {
      metric = Metric.histogram("milter_hook_duration_seconds", {
        description: "Time of hooks that did not finish at once",
        attributes: { ...this.attributes, stage },
        boundaries: hookBoundaries
      })
      this.hooks.set(stage, metric)
    }
    metric.updateUnsafe(milliseconds / 1000, this.context)
  }

  error(error: string): void {
    let metric = this.errors.get(error)
    if (metric === undefined) {
      metric = this.counter("milter_errors_total", "What went wrong", { error })
      this.errors.set(error, metric)
    }
    this.add(metric, 1)
  }
}

/** The metrics of a server. */
export class Metrics extends FilterMetrics {
  private readonly sessions: Metric.Counter<number>
  private readonly openSessions: Metric.Gauge<number>
  private readonly messages: ReadonlyMap<Ending, Metric.Counter<number>>
  private readonly messageDuration: Metric.Histogram<number>
  private readonly read: Metric.Counter<number>
  private readonly written: Metric.Counter<number>

  constructor(filter: string, context: Context.Context<never>) {
    super(filter, context)
    const { attributes } = this
    this.sessions = this.counter("milter_sessions_total", "SMTP sessions that have begun")
    this.openSessions = Metric.gauge("milter_sessions_open", { description: "SMTP sessions that are open", attributes })
    const ended = "Messages that have ended"
    this.messages = new Map(
      endings.map((outcome) => [outcome, this.counter("milter_messages_total", ended, { outcome })])
    )
    this.messageDuration = Metric.histogram("milter_message_duration_seconds", {
      description: "From MAIL to the end of the message",
      attributes,
      boundaries: messageBoundaries
    })
    this.read = this.counter("milter_read_bytes_total", "Bytes read on connections that have closed")
    this.written = this.counter("milter_written_bytes_total", "Bytes written on connections that have closed")
    // Events that have not happened yet count 0, not unknown: rates need a start.
    for (const metric of [this.sessions, this.read, this.written, ...this.messages.values()]) this.add(metric, 0)
    this.openSessions.modifyUnsafe(0, this.context)
  }

  sessionBegins(): void {
    this.add(this.sessions, 1)
    this.openSessions.modifyUnsafe(1, this.context)
  }

  sessionEnds(): void {
    this.openSessions.modifyUnsafe(-1, this.context)
  }

  messageEnds(ending: Ending, milliseconds: number): void {
    this.add(this.messages.get(ending)!, 1)
    this.messageDuration.updateUnsafe(milliseconds / 1000, this.context)
  }

  bytes(read: number, written: number): void {
    this.add(this.read, read)
    this.add(this.written, written)
  }
}
