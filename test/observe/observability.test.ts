/** The log line of a message, metrics, spans, and what a probe is told; all as docs/operate/observability.md says. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type { Client } from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Otlp from "effect/observability/Otlp"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as Fs from "node:fs"
import * as Util from "node:util"
import { listenerOf } from "../../src/internal/net/listener.ts"
import { Running } from "../../src/internal/server/registry.ts"
import { type Answered, answering, goOn } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"

interface Line {
  readonly level: string
  readonly text: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Collects what is logged, spans and metrics. */
const collect = () => {
  const lines: Array<Line> = []
  const spans: Array<Tracer.NativeSpan> = []
  const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
    const text = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    lines.push({ level: logLevel, text, fields: { ...fiber.getRef(References.CurrentLogAnnotations) } })
  })
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return {
    spans,
    lines,
    messages: () => lines.filter(({ text }) => text.startsWith("message ")),
    logs: Logger.layer([logger]),
    traces: Layer.succeed(Tracer.Tracer, tracer),
    metrics: Layer.succeed(Metric.MetricRegistry, new Map())
  }
}

/** Metrics by name and attributes, with their values or counts. */
const snapshot = Effect.map(Metric.snapshot, (metrics) =>
  Object.fromEntries(metrics.map((metric) => {
    const { attributes = {}, id, state } = metric
    const series = Object.entries(attributes).map(([name, value]) => `${name}=${value}`).join(",")
    return [`${id}{${series}}`, "value" in state ? Number(state.value) : "count" in state ? Number(state.count) : NaN]
  })))

const begin = Effect.fnUntraced(function*(mta: Client) {
  yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
  yield* mta.helo("client.example.org")
})

const envelope = Effect.fnUntraced(function*(mta: Client) {
  yield* begin(mta)
  yield* mta.mail("<alice@example.org>", ["SIZE=1000"])
  for (const stage of ["rcpt", "data", "endOfMessage"] as const) yield* mta.macros(stage, { i: "4YqTzX" })
  yield* mta.rcpt("<bob@example.net>")
})

const whole = Effect.fnUntraced(function*(mta: Client) {
  yield* envelope(mta)
  yield* mta.data()
  yield* mta.endOfMessage()
})

const waiting = <A, E, R>(effect: Effect.Effect<A, E, R>, time: "20 millis" | "9 seconds") =>
  Effect.map(Effect.all([effect, TestClock.adjust(time)], { concurrency: "unbounded" }), ([result]) => result)

const slow = Effect.as(Effect.sleep("20 millis"), Verdict.continue)

/** The reply of the library to a message that a filter failed on; it names the session. */
const anyReply = Symbol("the reply of the library")

describe("the log line of a message", () => {
  const cases: ReadonlyArray<{
    readonly name: string
    readonly at: Answered
    readonly answer: Verdict.Verdict | Effect.Effect<Verdict.Verdict>
    readonly script?: (mta: Client) => Effect.Effect<void, unknown>
    readonly fields: Readonly<Record<string, unknown>>
  }> = [
    {
      name: "that passes",
      at: "endOfMessage",
      answer: Verdict.continue,
      fields: { outcome: "accepted", verdict: "continue", stage: "endOfMessage" }
    },
    {
      name: "that passes without the rest of the filter",
      at: "rcpt",
      answer: Verdict.acceptMessage,
      fields: { outcome: "accepted", verdict: "acceptMessage", stage: "rcpt" }
    },
    {
      name: "that is refused",
      at: "data",
      answer: Verdict.reject(),
      script: (mta) => Effect.andThen(envelope(mta), Effect.andThen(mta.data(), mta.abort())),
      fields: { outcome: "rejected", verdict: "reject", stage: "data" }
    },
    {
      name: "that is put off",
      at: "mail",
      answer: Verdict.tempFail(),
      script: (mta) => Effect.andThen(begin(mta), mta.mail("<alice@example.org>", ["SIZE=1000"])),
      fields: {
        outcome: "tempFailed",
        verdict: "tempFail",
        stage: "mail",
        queueId: undefined,
        recipients: [],
        recipientCount: 0
      }
    },
    {
      name: "that is discarded",
      at: "endOfMessage",
      answer: Verdict.discardMessage,
      fields: { outcome: "discarded", verdict: "discardMessage", stage: "endOfMessage" }
    },
    {
      name: "whose hook died",
      at: "endOfMessage",
      answer: Effect.die("oh"),
      fields: { outcome: "failed", verdict: "tempFail", stage: "endOfMessage", error: "oh", reply: anyReply }
    },
    {
      name: "whose hook did not answer in time",
      at: "data",
      answer: Effect.never,
      script: (mta) => Effect.andThen(envelope(mta), Effect.andThen(waiting(mta.data(), "9 seconds"), mta.abort())),
      fields: { outcome: "failed", verdict: "tempFail", stage: "data", milliseconds: 9000, reply: anyReply }
    },
    {
      name: "that was given up",
      at: "mail",
      answer: Verdict.continue,
      script: (mta) => Effect.andThen(envelope(mta), mta.abort()),
      fields: { outcome: "aborted", verdict: undefined, stage: "rcpt" }
    },
    {
      name: "whose connection ended",
      at: "mail",
      answer: Verdict.continue,
      script: (mta) => Effect.andThen(envelope(mta), mta.data()),
      fields: { outcome: "aborted", verdict: undefined, stage: "data" }
    },
    {
      name: "one of whose recipients was refused",
      at: "rcpt",
      answer: Verdict.reject(),
      script: whole,
      fields: {
        outcome: "accepted",
        verdict: "continue",
        stage: "endOfMessage",
        recipients: [],
        recipientCount: 0,
        refused: ["bob@example.net: reject"]
      }
    },
    {
      name: "that is refused with a reply",
      at: "endOfMessage",
      answer: Verdict.reject({ code: "554", enhanced: "5.7.1", text: "no spam\there" }),
      fields: { outcome: "rejected", verdict: "reject", stage: "endOfMessage", reply: "554 5.7.1 no spam\\u{9}here" }
    },
    {
      name: "that took its time",
      at: "data",
      answer: slow,
      script: (mta) => waiting(whole(mta), "20 millis"),
      fields: { outcome: "accepted", verdict: "continue", stage: "endOfMessage", milliseconds: 20 }
    }
  ]
  for (const { answer, at, fields, name, script = whole } of cases) {
    it.effect(name, () => {
      const { lines, logs, messages } = collect()
      return Effect.gen(function*() {
        yield* MilterTest.run(answering({ [at]: answer }), script)
        const session = lines.map(({ fields }) => fields["session"]).find((id) => typeof id === "string")
        const expected: Readonly<Record<string, unknown>> = {
          session,
          filter: "test",
          client: "192.0.2.1",
          hostname: "client.example.org",
          heloName: "client.example.org",
          queueId: "4YqTzX",
          sender: "alice@example.org",
          recipients: ["bob@example.net"],
          recipientCount: 1,
          size: 1000,
          milliseconds: 0,
          ...fields
        }
        const withReply = expected["reply"] === anyReply
          ? { ...expected, reply: `451 4.3.0 Temporary failure, please try again later (session ${session})` }
          : expected
        assert.deepStrictEqual(messages(), [{
          level: "Info",
          text: `message ${String(fields["outcome"])}`,
          fields: Object.fromEntries(Object.entries(withReply).filter(([, value]) => value !== undefined))
        }])
      }).pipe(Effect.provide(logs))
    })
  }

  it.effect("says who was refused, with which reply, and by which filter", () => {
    const { logs, messages } = collect()
    const greylist = Milter.make("greylist").on({
      rcpt: ({ recipient }) =>
        Effect.succeed(
          recipient.localPart === "bob"
            ? Verdict.tempFail({ code: "451", enhanced: "4.7.1", text: "come back in five minutes" })
            : Verdict.continue
        )
    })
    return Effect.gen(function*() {
      const script = Effect.fnUntraced(function*(mta: Client) {
        yield* begin(mta)
        yield* mta.mail("<alice@example.org>")
        yield* mta.rcpt("<bob@example.net>")
        yield* mta.rcpt("<carol@example.net>")
        yield* mta.data()
        yield* mta.endOfMessage()
      })
      yield* MilterTest.run(greylist, script)
      yield* MilterTest.run(Milter.sequence([greylist, answering({}, "other")]), script)
      const [alone, second] = messages().map(({ fields }) => fields)
      assert.deepStrictEqual(alone?.["refused"], ["bob@example.net: 451 4.7.1 come back in five minutes"])
      assert.deepStrictEqual(second?.["refused"], ["bob@example.net by greylist: 451 4.7.1 come back in five minutes"])
      assert.deepStrictEqual(second?.["recipients"], ["carol@example.net"])
    }).pipe(Effect.provide(logs))
  })

  it.effect("says what was changed", () => {
    const { logs, messages } = collect()
    const editing = Milter.make("editing", {
      modify: ["addHeader", "changeHeader", "deleteRecipient", "replaceBody"]
    }).on({
      endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
        yield* edit.addHeader("X-Checked", "yes")
        yield* edit.changeHeader("Subject", 1, "s".repeat(50_000))
        yield* edit.deleteRecipient("<bob@example.net>")
        yield* edit.replaceBody(new TextEncoder().encode("new\r\n"))
        return Verdict.continue
      })
    })
    const many = Milter.make("many", { modify: ["addHeader"] }).on({
      endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
        for (let count = 0; count < 50; count++) yield* edit.addHeader("X-Count", String(count))
        return Verdict.continue
      })
    })
    return Effect.gen(function*() {
      yield* MilterTest.run(editing, whole)
      yield* MilterTest.run(many, whole)
      const [edited, counted] = messages().map(({ fields }) => fields["modifications"])
      const [added, changed, deleted, body, ...others] = edited as ReadonlyArray<string>
      assert.strictEqual(added, "AddHeader name=\"X-Checked\" value=\" yes\"")
      assert.match(changed!, /^ChangeHeader .*name="Subject".*sss…$/)
      assert.strictEqual(changed!.length, 321)
      assert.strictEqual(deleted, "DeleteRecipient recipient=\"<bob@example.net>\"")
      assert.strictEqual(body, "ReplaceBody bytes=5")
      assert.deepStrictEqual(others, [])
      assert.strictEqual((counted as ReadonlyArray<string>).length, 20)
    }).pipe(Effect.provide(logs))
  })

  it.effect("says of a message that is refused nothing of its edits", () => {
    const { logs, messages } = collect()
    const filter = Milter.make("both", { modify: ["addHeader"] }).on({
      endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "yes"), Verdict.reject())
    })
    return Effect.gen(function*() {
      yield* MilterTest.run(filter, whole)
      const { fields } = messages()[0]!
      assert.deepStrictEqual([fields["outcome"], fields["modifications"]], ["rejected", undefined])
    }).pipe(Effect.provide(logs))
  })

  it.effect("keeps the first of many refused recipients", () => {
    const { logs, messages } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(
        answering({ rcpt: Verdict.reject() }),
        Effect.fnUntraced(function*(mta) {
          yield* begin(mta)
          yield* mta.mail("<alice@example.org>")
          for (let n = 0; n < 30; n++) yield* mta.rcpt(`<r${n}@example.net>`)
          yield* mta.abort()
        })
      )
      const { fields } = messages()[0]!
      assert.strictEqual(fields["outcome"], "aborted")
      assert.deepStrictEqual(
        fields["refused"],
        Array.from({ length: 20 }, (_, n) => `r${n}@example.net: reject`)
      )
    }).pipe(Effect.provide(logs))
  })

  it.effect("comes once for each message of a session", () => {
    const { logs, messages } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(
        answering({}),
        Effect.fnUntraced(function*(mta) {
          yield* whole(mta)
          yield* mta.mail("<>")
          yield* mta.abort()
          yield* mta.mail("<carol@example.org>")
        })
      )
      assert.deepStrictEqual(messages().map(({ fields }) => [fields["outcome"], fields["sender"]]), [
        ["accepted", "alice@example.org"],
        ["aborted", ""],
        ["aborted", "carol@example.org"]
      ])
    }).pipe(Effect.provide(logs))
  })

  it.effect("is one line, whatever the client typed", () => {
    const { logs, messages } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(
        answering({}),
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "evil\r\n[12:00] INFO", address: "192.0.2.1" })
          yield* mta.helo("\u001b[2J\u202Eknab\u2028\u0085")
          yield* mta.mail("<é\n@x>")
          yield* mta.macros("rcpt", { i: "A\nB" })
          for (let n = 0; n < 30; n++) yield* mta.rcpt(`<${"r".repeat(400)}${n}@example.net>`)
          yield* mta.abort()
        })
      )
      const { fields } = messages()[0]!
      assert.strictEqual(fields["hostname"], "evil\\u{d}\\u{a}[12:00] INFO")
      assert.strictEqual(fields["heloName"], "\\u{1b}[2J\\u{202e}knab\\u{2028}\\u{85}")
      assert.strictEqual(fields["sender"], "é\\u{a}@x")
      assert.strictEqual(fields["queueId"], "A\\u{a}B")
      assert.strictEqual(fields["recipientCount"], 30)
      assert.deepStrictEqual(fields["recipients"], Array<string>(20).fill(`${"r".repeat(320)}…`))
    }).pipe(Effect.provide(logs))
  })

  it.effect("is one line of Effect's default logger", () => {
    const printed: Array<string> = []
    const console = {
      ...globalThis.console,
      log: (...values: ReadonlyArray<unknown>) => printed.push(Util.format(...values))
    }
    return Effect.gen(function*() {
      yield* MilterTest.message(answering({}), { from: "a@example.org", to: ["b@example.net", "\"x y\"@example.net"] })
      const line = printed.find((line) => line.includes("message accepted"))!
      assert.match(
        line,
        /^\S+ INFO \(#\d+\): message accepted app=mail session=\S+ filter=test client=192\.0\.2\.1 [^\n]* sender=a@example\.org recipients="b@example\.net,\\"x y\\"@example\.net" recipientCount=2 outcome=accepted verdict=continue stage=endOfMessage milliseconds=0$/
      )
    }).pipe(
      Effect.annotateLogs("app", "mail"),
      Effect.provideService(Console.Console, console),
      Effect.provideService(References.CurrentLoggers, new Set([Logger.defaultLogger]))
    )
  })

  it.effect("is not there below the minimum level", () => {
    const { lines, logs } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(answering({}), whole)
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(logs), Effect.provideService(References.MinimumLogLevel, "Warn"))
  })
})

describe("the log line of a session", () => {
  for (
    const [stage, verdict, text, reply] of [
      ["connect", Verdict.reject({ text: "listed" }), "session rejected", "550 5.7.1 listed"],
      ["helo", Verdict.tempFail(), "session tempFailed", undefined]
    ] as const
  ) {
    it.effect(`is written once if the client is refused at ${stage}`, () => {
      const { lines, logs } = collect()
      return Effect.gen(function*() {
        yield* MilterTest.run(
          answering({ [stage]: verdict }),
          Effect.fnUntraced(function*(mta) {
            yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
            if (stage === "connect") return
            yield* mta.helo("one")
            yield* mta.helo("two")
          })
        )
        const [line, ...others] = lines.filter(({ text }) => text.startsWith("session "))
        assert.deepStrictEqual(others, [])
        assert.strictEqual(line?.text, text)
        assert.deepInclude(line?.fields, {
          filter: "test",
          client: "192.0.2.1",
          hostname: "client.example.org",
          outcome: text.slice("session ".length),
          verdict: verdict._tag === "Reject" ? "reject" : "tempFail",
          stage
        })
        assert.strictEqual(line?.fields["reply"], reply)
      }).pipe(Effect.provide(logs))
    })
  }
})

describe("metrics", () => {
  it.effect("count sessions, messages, verdicts, bytes and time", () =>
    Effect.gen(function*() {
      const filter = answering({ rcpt: Verdict.tempFail(), data: slow }, "counted")
      yield* MilterTest.run(
        filter,
        Effect.fnUntraced(function*(mta) {
          const before = yield* snapshot
          assert.strictEqual(before["milter_sessions_open{filter=counted}"], 1)
          assert.strictEqual(before["milter_messages_total{filter=counted,outcome=accepted}"], 0)
          assert.strictEqual(before["milter_read_bytes_total{filter=counted}"], 0)
          yield* waiting(whole(mta), "20 millis")
          yield* mta.mail("<>")
          yield* mta.quitNewConnection()
          yield* begin(mta)
        })
      )
      const after = yield* snapshot
      assert.deepStrictEqual(
        Object.fromEntries(Object.entries(after).filter(([name]) => !name.includes("bytes"))),
        {
          "milter_sessions_total{filter=counted}": 2,
          "milter_sessions_open{filter=counted}": 0,
          "milter_messages_total{filter=counted,outcome=accepted}": 1,
          "milter_messages_total{filter=counted,outcome=rejected}": 0,
          "milter_messages_total{filter=counted,outcome=tempFailed}": 0,
          "milter_messages_total{filter=counted,outcome=discarded}": 0,
          "milter_messages_total{filter=counted,outcome=failed}": 0,
          "milter_messages_total{filter=counted,outcome=aborted}": 1,
          "milter_message_duration_seconds{filter=counted}": 2,
          "milter_verdicts_total{filter=counted,stage=rcpt,verdict=tempFail}": 1,
          "milter_hook_duration_seconds{filter=counted,stage=data}": 1
        }
      )
      assert.isAbove(after["milter_read_bytes_total{filter=counted}"]!, 100)
      assert.isAbove(after["milter_written_bytes_total{filter=counted}"]!, 20)
    }).pipe(Effect.provide(collect().metrics)))

  it.effect("count what goes wrong, by kind", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({ mail: Effect.die("oh"), rcpt: Effect.never }), {
        idleTimeout: "1 minute"
      })
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.abort, Mta.mail())
      yield* (yield* server.open()).each(Mta.endOfMessage())
      yield* (yield* server.open()).raw(Uint8Array.of(0, 0, 0, 0, 0))
      yield* TestClock.adjust("2 minutes")
      const metrics = yield* snapshot
      const errors = Object.entries(metrics).filter(([name]) => name.startsWith("milter_errors_total"))
      assert.deepStrictEqual(Object.fromEntries(errors), {
        "milter_errors_total{filter=test,error=Defect}": 2,
        "milter_errors_total{filter=test,error=FrameError}": 1,
        "milter_errors_total{filter=test,error=IdleTimeout}": 1,
        "milter_errors_total{filter=test,error=ProtocolError}": 1
      })
      assert.strictEqual(metrics["milter_sessions_open{filter=test}"], 0)
    }).pipe(Effect.provide(collect().metrics)))

  it.effect("are 0 open sessions also when the connection goes while its session ends", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { connection: () => Effect.addFinalizer(() => Effect.sleep("20 millis")) }).on(
        {
          connect: () => goOn
        }
      )
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect())
      yield* mta.write(Mta.quitNewConnection)
      yield* mta.reset
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* snapshot)["milter_sessions_open{filter=test}"], 0)
    }).pipe(Effect.provide(collect().metrics)))

  it.effect("are printed for Prometheus", () =>
    Effect.gen(function*() {
      yield* MilterTest.run(answering({ data: slow }, "a \"quoted\" name"), (mta) => waiting(whole(mta), "20 millis"))
      const text = yield* PrometheusMetrics.format()
      const filter = "filter=\"a \\\"quoted\\\" name\""
      for (
        const line of [
          "# TYPE milter_messages_total counter",
          `milter_messages_total{${filter},outcome="accepted"} 1`,
          "# TYPE milter_sessions_open gauge",
          "# TYPE milter_hook_duration_seconds histogram",
          `milter_hook_duration_seconds_bucket{${filter},stage="data",le="0.01"} 0`,
          `milter_hook_duration_seconds_bucket{${filter},stage="data",le="0.025"} 1`,
          `milter_hook_duration_seconds_sum{${filter},stage="data"} 0.02`
        ]
      ) assert.include(text.split("\n"), line)
    }).pipe(Effect.provide(collect().metrics)))
})

describe("spans", () => {
  const Traced = Milter.make("traced").on({
    connect: () => Effect.withSpan(goOn, "in connect"),
    mail: () => goOn,
    rcpt: () => Effect.withSpan(slow, "in rcpt"),
    endOfMessage: () => Effect.die("oh")
  })

  it.effect("of sessions, their messages and what hooks do", () => {
    const { logs, messages, spans, traces } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(
        Traced,
        Effect.fnUntraced(function*(mta) {
          yield* waiting(whole(mta), "20 millis")
          yield* mta.mail("<>")
        })
      )
      const [session, inConnect, message, inRcpt, second] = spans
      const parentOf = (span: Tracer.Span | undefined) => Option.getOrUndefined(span!.parent)
      assert.deepStrictEqual(spans.map(({ name }) => name), [
        "milter.session",
        "in connect",
        "milter.message",
        "in rcpt",
        "milter.message"
      ])
      assert.deepStrictEqual(spans.map(parentOf), [undefined, session, session, message, session])
      assert.strictEqual(session!.kind, "server")
      const attributes = {
        "milter.filter": "traced",
        "milter.session": messages()[0]!.fields["session"],
        "milter.client": "192.0.2.1",
        "milter.hostname": "client.example.org",
        "milter.helo_name": "client.example.org"
      }
      assert.deepStrictEqual(Object.fromEntries(session!.attributes), attributes)
      assert.deepStrictEqual(Object.fromEntries(message!.attributes), {
        ...attributes,
        "milter.queue_id": "4YqTzX",
        "milter.error": "oh",
        "milter.reply": messages()[0]!.fields["reply"],
        "milter.sender": "alice@example.org",
        "milter.recipients": ["bob@example.net"],
        "milter.recipient_count": 1,
        "milter.size": 1000,
        "milter.outcome": "failed",
        "milter.verdict": "tempFail",
        "milter.stage": "endOfMessage",
        "milter.milliseconds": 20
      })
      assert.deepStrictEqual(message!.events.filter(([name]) => name.startsWith("milter.")), [
        ["milter.hook", 20_000_000n, { "milter.filter": "traced", "milter.stage": "rcpt", "milter.milliseconds": 20 }]
      ])
      const statuses = [session, message, second].map((span) => span!.status)
      const exits = statuses.map((status) =>
        status._tag === "Started"
          ? "open"
          : status.exit._tag === "Success"
          ? "success"
          : Cause.hasInterruptsOnly(status.exit.cause)
          ? "interrupted"
          : "failed"
      )
      assert.deepStrictEqual(exits, ["success", "failed", "interrupted"])
      assert.isDefined(inConnect)
      assert.isDefined(inRcpt)
    }).pipe(Effect.provide([logs, traces]))
  })

  it.effect("do not exist without a tracer", () =>
    Effect.gen(function*() {
      const seen: Array<Option.Option<Tracer.AnySpan>> = []
      const filter = Milter.make("test").on({
        mail: () =>
          Effect.map(Effect.option(Effect.currentParentSpan), (span) => {
            seen.push(span)
            return Verdict.continue
          })
      })
      yield* MilterTest.run(filter, whole)
      assert.deepStrictEqual(seen, [Option.none()])
    }))

  it.effect("do not exist where tracing is disabled", () => {
    const { spans, traces } = collect()
    return Effect.gen(function*() {
      yield* MilterTest.run(Traced, (mta) => waiting(whole(mta), "20 millis"))
      assert.deepStrictEqual(spans, [])
    }).pipe(Effect.withTracerEnabled(false), Effect.provide(traces))
  })
})

describe("OTLP", () => {
  it.effect("carries all three to a collector", () => {
    const bodies = new Map<string, string>()
    const collector = Layer.succeed(
      HttpClient.HttpClient,
      HttpClient.make((request, url) =>
        Effect.sync(() => {
          const { body } = request
          const text = body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""
          bodies.set(url.pathname, (bodies.get(url.pathname) ?? "") + text)
          return HttpClientResponse.fromWeb(request, new Response())
        })
      )
    )
    const otlp = Otlp.layerJson({ baseUrl: "http://collector.example:4318", resource: { serviceName: "mail" } })
    return Effect.gen(function*() {
      yield* MilterTest.run(answering({ data: slow }), (mta) => waiting(whole(mta), "20 millis"))
        .pipe(Effect.provide(Layer.provide(otlp, collector)))
      assert.match(bodies.get("/v1/logs")!, /"stringValue":"message accepted"/)
      assert.match(bodies.get("/v1/logs")!, /\{"key":"sender","value":\{"stringValue":"alice@example.org"\}\}/)
      assert.match(bodies.get("/v1/metrics")!, /"name":"milter_messages_total"/)
      assert.match(
        bodies.get("/v1/traces")!,
        /"name":"milter.message".*\{"key":"milter.outcome","value":\{"stringValue":"accepted"\}\}/
      )
    }).pipe(Effect.provide(collect().metrics))
  })
})

describe("status", () => {
  const alone = Effect.provideServiceEffect(Running, Effect.sync(() => new Set()))

  it.effect("tells whether to send connections", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* MilterServer.isReady)
      const server = yield* Mta.serve(answering({}), { drainTimeout: "1 minute" })
      const first = yield* MilterServer.status
      const state = { filter: "test", addresses: ["memory"], state: "listening" as const, sessions: 0, failures: [] }
      assert.deepStrictEqual(first, [state])
      assert.isTrue(yield* MilterServer.isReady)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail())
      assert.deepStrictEqual(yield* MilterServer.status, [{ ...state, sessions: 1 }])
      yield* Effect.forkChild(server.stop, { startImmediately: true })
      yield* Mta.settle
      assert.deepStrictEqual(yield* MilterServer.status, [{ ...state, state: "draining", sessions: 1 }])
      assert.isFalse(yield* MilterServer.isReady)
      yield* mta.end
      assert.deepStrictEqual(yield* MilterServer.status, [])
    }).pipe(alone))

  it.effect("is ready when all servers are", () =>
    Effect.gen(function*() {
      yield* Mta.serve(answering({}, "one"))
      const listener = {
        addresses: ["slow"],
        accept: () => Effect.sleep("1 minute"),
        stop: Effect.void
      }
      yield* Effect.forkScoped(
        Layer.build(
          Layer.provide(
            MilterServer.layer(answering({}, "two")),
            Layer.succeed(MilterServer.Listener, listenerOf(listener))
          )
        )
      )
      yield* Mta.settle
      assert.deepStrictEqual((yield* MilterServer.status).map(({ filter, state }) => `${filter} ${state}`), [
        "one listening",
        "two starting"
      ])
      assert.isFalse(yield* MilterServer.isReady)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(yield* MilterServer.isReady)
    }).pipe(alone))

  it.effect("names the last failures, of hooks and of connections, with queue id and filter", () =>
    Effect.gen(function*() {
      const typed = Milter.make("typed").on({
        rcpt: ({ recipient }) => recipient.localPart === "bob" ? Effect.fail("no database") : goOn
      }).pipe(Milter.onFailure(() => Effect.succeed(Verdict.tempFail())))
      const broken = Milter.make("broken").on({
        mail: ({ sender }) => sender.isNull ? Effect.never : goOn,
        data: () => Effect.die("line\none")
      })
      const server = yield* Mta.serve(Milter.sequence([typed, broken]))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail())
      yield* mta.write(Mta.macros("R", { i: "4YqTzX" }))
      yield* mta.each(Mta.rcpt("<bob@example.net>"))
      yield* TestClock.adjust("1 second")
      yield* mta.each(Mta.rcpt("<eve@example.net>"), Mta.data)
      yield* mta.write(Mta.abort)
      yield* waiting(mta.each(Mta.mail("<>")), "9 seconds")
      yield* mta.send(Uint8Array.of(0, 0, 0, 0))
      yield* mta.closed
      const [state] = yield* MilterServer.status
      const at = (second: string) => `1970-01-01T00:00:${second}.000Z`
      const id = { queueId: "4YqTzX" }
      assert.deepStrictEqual(state!.failures, [
        { time: at("00"), filter: "typed", stage: "rcpt", ...id, error: "no database" },
        { time: at("01"), filter: "broken", stage: "data", ...id, error: "line\\u{a}one" },
        { time: at("09"), filter: "broken", stage: "mail", error: "CommandTimeout: no answer in time" },
        {
          time: at("10"),
          filter: "typed + broken",
          error: "FrameError: Frame at byte 154: a length of 0, where at least the code byte has to be"
        }
      ])
    }).pipe(alone))

  it.effect("keeps ten failures", () =>
    Effect.gen(function*() {
      const failing = Milter.make("failing").on({ mail: ({ sender }) => Effect.die(sender.localPart) })
      const server = yield* Mta.serve(failing)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect())
      for (let sent = 0; sent < 12; sent++) {
        yield* mta.each(Mta.mail(`<m${sent}@example.org>`))
        yield* mta.write(Mta.abort)
      }
      const [state] = yield* MilterServer.status
      assert.deepStrictEqual(
        state!.failures.map(({ error }) => error),
        Array.from({ length: 10 }, (_, index) => `m${index + 2}`)
      )
    }).pipe(alone))

  it.effect("is of the whole process", () =>
    Effect.gen(function*() {
      yield* Mta.serve(answering({}, "somewhere"))
      const servers = yield* Effect.provideContext(MilterServer.status, Context.empty())
      assert.include(servers.map(({ filter }) => filter), "somewhere")
    }))
})

describe("the table of the documentation", () => {
  const page = Fs.readFileSync(new URL("../../docs/operate/observability.md", import.meta.url), "utf8")
  const [, names = ""] = page.split(/^## .*$/m)
  const rows = names.split("\n").filter((line) => line.startsWith("|"))
  const table = rows.slice(2).map((row) => row.split(/(?<!\\)\|/).slice(1, -1))
  const namesIn = (column: number): ReadonlyArray<string> =>
    table.flatMap((cells) => Array.from(cells[column]!.matchAll(/`([^`]+)`/g), ([, name]) => name!)).toSorted()
  const sorted = (names: Iterable<string>): ReadonlyArray<string> => Array.from(new Set(names)).toSorted()

  it.effect("names all that there is, and nothing else", () => {
    const { logs, messages, metrics, spans, traces } = collect()
    return Effect.gen(function*() {
      const filter = answering({ data: slow, endOfMessage: Effect.die("oh") })
      // Who has decided is of interest where there are several.
      const both = Milter.sequence([Milter.make("content").on({}), filter])
      yield* MilterTest.run(both, (mta) => waiting(whole(mta), "20 millis"))
      const edits = Milter.make("edits", { modify: ["addHeader"] }).on({
        rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "eve" ? Verdict.reject() : Verdict.continue),
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "yes"), Verdict.continue)
      })
      yield* MilterTest.message(edits, { from: "a@example.org", to: ["b@example.net", "eve@example.net"] })
      yield* MilterTest.run(answering({ connect: Verdict.reject() }), begin)
      const snapshot = yield* Metric.snapshot
      const events = spans.flatMap(({ events }) => events).filter(([name]) => name.startsWith("milter."))
      assert.deepStrictEqual(
        namesIn(0),
        sorted([...messages().flatMap(({ fields }) => Object.keys(fields)), "message …", "session …"])
      )
      assert.deepStrictEqual(
        sorted(namesIn(1)),
        sorted([
          ...spans.flatMap(({ attributes, name }) => [name, ...attributes.keys()]),
          ...events.flatMap(([name, , attributes]) => [name, ...Object.keys(attributes)])
        ])
      )
      assert.deepStrictEqual(
        sorted(namesIn(2)),
        sorted(snapshot.flatMap(({ attributes = {}, id }) => [id, ...Object.keys(attributes)]))
      )
    }).pipe(Effect.provide([logs, metrics, traces]))
  })
})
