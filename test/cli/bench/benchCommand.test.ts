/** `effect-milter bench`: the load, its latencies, and the reports. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { Latencies } from "../../../src/cli/bench/benchLatency.ts"
import { type Connect, Figures, type Load, run } from "../../../src/cli/bench/benchLoad.ts"
import { page } from "../../../src/cli/bench/benchPage.ts"
import * as benchReport from "../../../src/cli/bench/benchReport.ts"
import { parseSize } from "../../../src/cli/flags/specs.ts"
import { plain } from "../../../src/cli/terminal/style.ts"

const base: Load = { connections: 1, messages: 10, perConnection: 50, rate: undefined }

/** A filter that takes this long for each message, by its number, and counts connections. */
const slow = (milliseconds: (message: number) => number) => {
  let messages = 0
  const counts = { opened: 0, open: 0, most: 0 }
  const connect: Connect<string> = Effect.acquireRelease(
    Effect.sync(() => {
      counts.opened++
      counts.most = Math.max(counts.most, ++counts.open)
      return Effect.suspend(() => Effect.as(Effect.sleep(milliseconds(messages++)), "Accepted" as const))
    }),
    () => Effect.sync(() => void counts.open--)
  )
  return { connect, counts }
}

/** Runs the load on a clock of its own. */
const play = Effect.fnUntraced(function*<E>(load: Partial<Load>, connect: Connect<E>) {
  const figures = new Figures()
  const fiber = yield* Effect.forkChild(Effect.result(run({ ...base, ...load }, connect, figures)))
  yield* TestClock.adjust("1 hour")
  return { figures, result: yield* Fiber.join(fiber) }
})

const near = (actual: number, expected: number): void =>
  assert.isTrue(Math.abs(actual - expected) <= expected * 0.002, `${actual} is not ${expected}`)

describe("the load", () => {
  it.effect("counts the delay of a slow answer for each message that was due meanwhile", () =>
    Effect.gen(function*() {
      const { connect } = slow((message) => message === 0 ? 1000 : 0)
      const { figures } = yield* play({ rate: 10 }, connect)
      // Due at 0, 100 … 900 ms, and all answered after a second.
      near(figures.latencies.max, 1000)
      near(figures.latencies.min, 100)
      near(figures.latencies.mean, 550)
      near(figures.milliseconds, 1000)
    }))

  it.effect("without a rate, sends the next message after the answer", () =>
    Effect.gen(function*() {
      const { connect } = slow((message) => message === 0 ? 1000 : 10)
      const { figures } = yield* play({}, connect)
      near(figures.latencies.max, 1000)
      near(figures.latencies.percentile(90), 10)
      near(figures.milliseconds, 1090)
      near(figures.rate, 10 / 1.09)
    }))

  it.effect("keeps to the rate if answers are quick", () =>
    Effect.gen(function*() {
      const { figures } = yield* play({ rate: 100, messages: 1000, connections: 4 }, slow(() => 5).connect)
      near(figures.milliseconds, 9995)
      near(figures.latencies.max, 5)
    }))

  it.effect("opens as many connections as it is told, and closes each after its messages", () =>
    Effect.gen(function*() {
      const { connect, counts } = slow(() => 1)
      const { figures } = yield* play({ connections: 5, messages: 100, perConnection: 4 }, connect)
      assert.deepStrictEqual(counts, { opened: 25, open: 0, most: 5 })
      assert.strictEqual(figures.messages, 100)
      assert.strictEqual(figures.outcomes.Accepted, 100)
    }))

  it.effect("never sends more than it is told, and opens no connection without a message", () =>
    Effect.gen(function*() {
      const { connect, counts } = slow(() => 1)
      const { figures } = yield* play({ connections: 50, messages: 3 }, connect)
      assert.strictEqual(figures.messages, 3)
      assert.strictEqual(counts.opened, 3)
    }))

  it.effect("stops at the first failure, with the figures until then and all connections closed", () =>
    Effect.gen(function*() {
      const { connect, counts } = slow(() => 10)
      let messages = 0
      const failing: Connect<string> = Effect.map(
        connect,
        (send) => Effect.suspend(() => messages++ === 21 ? Effect.fail("gone") : send)
      )
      const { figures, result } = yield* play({ connections: 2, messages: 1000 }, failing)
      assert.strictEqual(Result.isFailure(result) ? result.failure : undefined, "gone")
      assert.strictEqual(figures.messages, 20)
      near(figures.milliseconds, 100)
      assert.strictEqual(counts.open, 0)
    }))
})

describe("latencies", () => {
  it("have three digits, whatever their size", () => {
    const latencies = new Latencies()
    for (const value of [0.05, 1.234, 98.7, 4321, 600_000]) {
      latencies.record(value)
      near(latencies.max, value)
    }
    assert.strictEqual(latencies.count, 5)
    near(latencies.percentile(50), 98.7)
  })

  it("are bars whose shares make the whole", () => {
    const latencies = new Latencies()
    for (let index = 0; index < 900; index++) latencies.record(1.1)
    for (let index = 0; index < 100; index++) latencies.record(90)
    const bars = latencies.bars()
    assert.closeTo(bars.reduce((sum, { share }) => sum + share, 0), 1, 1e-9)
    assert.isTrue(bars[0]!.from <= 1.1 && bars[0]!.to > 1.1)
    assert.closeTo(bars[0]!.share, 0.9, 0.001)
    assert.isTrue(bars.at(-1)!.from <= 90 && bars.at(-1)!.to > 90)
    assert.closeTo(bars.at(-1)!.share, 0.1, 0.001)
    for (const [index, { from }] of bars.slice(1).entries()) assert.closeTo(from, bars[index]!.to, 1e-9)
  })

  it("may be none", () => {
    const latencies = new Latencies()
    assert.deepStrictEqual([latencies.min, latencies.max, latencies.mean, latencies.percentile(99)], [0, 0, 0, 0])
    assert.deepStrictEqual(latencies.bars(), [])
  })
})

const measured = (spec: string, latency: number): benchReport.Measured => {
  const figures = new Figures()
  for (let index = 0; index < 100; index++) figures.latencies.record(latency)
  figures.outcomes.Accepted = 90
  figures.outcomes.TempFailed = 10
  figures.milliseconds = latency * 100
  return { spec, figures }
}

const report: benchReport.Report = {
  load: base,
  size: 4096,
  measured: [measured("unix:/tmp/<one>&\".sock", 2), measured("inet:9000", 4)],
  failure: undefined
}

describe("the report", () => {
  it("as text has figures, outcomes, a histogram and ratios", () => {
    const text = benchReport.text(report, plain)
    assert.include(text, "inet:9000: 100 messages in 0.40 s over 1 connection, 250 a second")
    assert.include(text, "90 accepted, 10 refused for now")
    assert.match(text, /p50 4\.00 .*p99\.9 4\.00/)
    assert.match(text, / 3\.16 to 5\.62 {2}█{40} 100\.0 %/)
    assert.match(text, /divided by unix:.*\n {2}messages a second 0\.50 {2}p50 2\.00 {2}p90 2\.00/)
  })

  it("as JSON has the same, and says what is missing", () => {
    const read = JSON.parse(benchReport.json({ ...report, failure: "only 200 of 300 messages" }))
    assert.strictEqual(read.complete, false)
    assert.strictEqual(read.failure, "only 200 of 300 messages")
    assert.strictEqual(read.filters[1].messagesPerSecond, 250)
    assert.closeTo(read.filters[1].latencyMilliseconds["p99.9"], 4, 0.01)
    assert.closeTo(read.ratios.p50, 2, 0.01)
  })

  it("as a page is one file that loads nothing, and obeys no text", () => {
    const html = page({ ...report, failure: "lost <filter>" }, "2026-11-29")
    assert.notMatch(html, /<script|\bsrc=|\bhref=|url\(|@import|http/)
    assert.include(html, "unix:/tmp/&lt;one&gt;&amp;&quot;.sock")
    assert.notInclude(html, "<one>")
    assert.include(html, "lost &lt;filter&gt;")
    assert.strictEqual(html.match(/<svg /g)?.length, 3)
    assert.notMatch(html, /NaN|Infinity|undefined/)
  })

  it("as a page says so if nothing was measured", () => {
    const html = page(
      { ...report, measured: [{ spec: "inet:1", figures: new Figures() }], failure: "gone" },
      "2026-11-29"
    )
    assert.include(html, "gone")
    assert.notMatch(html, /NaN|Infinity|undefined|<svg/)
  })
})

describe("--size", () => {
  it("is a number of bytes, kilobytes or megabytes", () => {
    for (const [text, bytes] of [["0", 0], ["500", 500], ["4k", 4096], ["100M", 104_857_600]] as const) {
      assert.strictEqual(Option.getOrUndefined(parseSize(text)), bytes)
    }
    for (const text of ["", "k", "-1", "1.5k", "1G", "101M", "4 k"]) assert.isTrue(Option.isNone(parseSize(text)), text)
  })
})
