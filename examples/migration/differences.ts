/** Compares what the live filter has done to each message with what the filter in the shadow would have done: from their log lines. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as References from "effect/References"

/** What a log line says about a message. */
export interface Line {
  readonly outcome: string
  readonly stage: string
  readonly reply: string | undefined
  readonly modifications: ReadonlyArray<string>
  readonly queueId: string | undefined
  readonly sender: string
}

/** The lines of a session that wait for their counterparts. Both filters see the same messages in the same order. */
interface Waiting {
  readonly live: Array<Line>
  readonly shadow: Array<Line>
}

// A client can stay for hours, and a shadow may never catch up.
const maxSessions = 10_000

/** Pairs the lines of both filters, by session and order. */
export class Pairs {
  private readonly sessions = new Map<string, Waiting>()

  /** Adds a line; gives the pair that it completes. */
  add(session: string, kind: "live" | "shadow", line: Line): readonly [live: Line, shadow: Line] | undefined {
    const waiting = this.sessions.get(session) ?? { live: [], shadow: [] }
    const counterpart = waiting[kind === "live" ? "shadow" : "live"].shift()
    if (counterpart === undefined) {
      waiting[kind].push(line)
      this.sessions.set(session, waiting)
      const [oldest] = this.sessions.keys()
      if (this.sessions.size > maxSessions && oldest !== undefined) this.sessions.delete(oldest)
      return undefined
    }
    if (waiting.live.length === 0 && waiting.shadow.length === 0) this.sessions.delete(session)
    return kind === "live" ? [line, counterpart] : [counterpart, line]
  }
}

const missingIn = (one: ReadonlyArray<string>, other: ReadonlyArray<string>): ReadonlyArray<string> =>
  one.filter((text) => !other.includes(text))

/** How two lines differ; undefined if the client gave the message up, or the shadow could not keep up. */
export const differences = (live: Line, shadow: Line): ReadonlyArray<string> | undefined => {
  if (live.outcome === "aborted" || shadow.outcome === "gaveUp") return undefined
  // The live filter has decided, and the shadow has been shown no more: it had not decided by then, and might have later.
  if (shadow.outcome === "aborted") return [`live ${live.outcome} at ${live.stage}, shadow not by then`]
  if (live.outcome !== shadow.outcome) return [`live ${live.outcome}, shadow ${shadow.outcome}`]
  return [
    ...(live.reply === shadow.reply ? [] : [`live ${live.reply ?? "no reply"}, shadow ${shadow.reply ?? "no reply"}`]),
    ...missingIn(live.modifications, shadow.modifications).map((edit) => `only live: ${edit}`),
    ...missingIn(shadow.modifications, live.modifications).map((edit) => `only shadow: ${edit}`)
  ]
}

const textOf = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

const lineOf = (outcome: string, annotations: { readonly [name: string]: unknown }): Line => {
  const { modifications, queueId, reply, sender, stage } = annotations
  return {
    outcome,
    stage: textOf(stage) ?? "",
    reply: textOf(reply),
    modifications: Array.isArray(modifications) ? modifications.map(String) : [],
    queueId: textOf(queueId),
    sender: textOf(sender) ?? ""
  }
}

/** Messages by result: the same, different, or not compared. */
export const compared = Metric.counter("migration_messages_total", { incremental: true })

const report = Effect.fnUntraced(function*(
  pairs: Queue.Dequeue<readonly [live: Line, shadow: Line]>
) {
  const counts = { same: 0, different: 0, uncompared: 0 }
  while (true) {
    const [live, shadow] = yield* Queue.take(pairs)
    const found = differences(live, shadow)
    const result = found === undefined ? "uncompared" : found.length === 0 ? "same" : "different"
    counts[result]++
    yield* Metric.update(Metric.withAttributes(compared, { result }), 1)
    if (found === undefined || found.length === 0) continue
    yield* Effect.logWarning(`difference: ${found.join("; ")}`).pipe(
      Effect.annotateLogs({ queueId: live.queueId ?? "none", sender: live.sender, ...counts })
    )
  }
})

/** Adds the comparison to the logs of the server. */
export const layer = Layer.unwrap(Effect.gen(function*() {
  const pairs = new Pairs()
  const queue = yield* Queue.unbounded<readonly [live: Line, shadow: Line]>()
  const logger = Logger.make<unknown, void>(({ fiber, message }) => {
    const text = String(Array.isArray(message) ? message[0] : message)
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    const session = textOf(annotations["session"])
    const [, kind, outcome] = /^(message|shadow) (\w+)$/.exec(text) ?? []
    // A shadow that cannot keep up has a line of its own.
    const gaveUp = /^the shadow of .* cannot keep up and gives up$/.test(text)
    if (session === undefined || (outcome === undefined && !gaveUp)) return
    const pair = pairs.add(
      session,
      kind === "message" ? "live" : "shadow",
      lineOf(gaveUp ? "gaveUp" : outcome!, annotations)
    )
    if (pair !== undefined) Queue.offerUnsafe(queue, pair)
  })
  return Layer.mergeAll(
    Logger.layer([logger], { mergeWithExisting: true }),
    Layer.effectDiscard(Effect.forkScoped(report(queue)))
  )
}))
