/** Metrics of several processes as those of one. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { merge, registryOf, remains, type Snapshot } from "../../src/internal/observe/mergeMetrics.ts"

const messages = (outcome: string) => Metric.counter("messages_total", { attributes: { outcome }, incremental: true })
const bytes = Metric.counter("bytes_total", { bigint: true })
const open = Metric.gauge("open")
const duration = Metric.histogram("duration", { boundaries: [1, 10] })
const words = Metric.frequency("words")
const size = Metric.summary("size", { maxAge: "1 hour", maxSize: 10, quantiles: [0.5] })

/** What a process with metrics of its own has counted. */
const processOf = (count: Effect.Effect<unknown>): Effect.Effect<ReadonlyArray<Snapshot>> =>
  Effect.provideService(Effect.andThen(count, Metric.snapshot), Metric.MetricRegistry, new Map())

const format = (snapshots: ReadonlyArray<Snapshot>): ReadonlyArray<string> =>
  PrometheusMetrics.formatUnsafe(Context.make(Metric.MetricRegistry, registryOf(snapshots)))
    .split("\n").filter((line) => line !== "" && !line.startsWith("#")).toSorted()

const one = Effect.all([
  Metric.update(messages("accepted"), 2),
  Metric.update(messages("rejected"), 1),
  Metric.update(bytes, 2n ** 60n),
  Metric.update(open, 3),
  Metric.update(duration, 0.5),
  Metric.update(duration, 5),
  Metric.update(words, "a"),
  Metric.update(size, 7)
])

const other = Effect.all([
  Metric.update(messages("accepted"), 5),
  Metric.update(bytes, 1n),
  Metric.update(open, 4),
  Metric.update(duration, 50),
  Metric.update(words, "a"),
  Metric.update(words, "b"),
  Metric.update(size, 9)
])

describe("metrics of several processes", () => {
  it.effect("are those of one that had counted it all", () =>
    Effect.gen(function*() {
      const merged = merge([yield* processOf(one), yield* processOf(other)])
      const counted = yield* processOf(Effect.andThen(one, other))
      const without = (lines: ReadonlyArray<string>) => lines.filter((line) => !/^(?:open|size\{)/.test(line))
      assert.deepStrictEqual(without(format(merged)), without(format(counted)))
      assert.include(format(merged), "messages_total{outcome=\"accepted\"} 7")
      assert.include(format(merged), "bytes_total 1152921504606846977")
      assert.include(format(merged), "duration_bucket{le=\"10\"} 2")
      assert.include(format(merged), "duration_sum 55.5")
      // A gauge is of now, and all processes together have seven.
      assert.include(format(merged), "open 7")
    }))

  it.effect("never fall when one of them goes, but for gauges", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* processOf(one), yield* processOf(other)]
      const lines = format(merge([remains(first), second]))
      assert.include(lines, "messages_total{outcome=\"accepted\"} 7")
      assert.include(lines, "duration_count 3")
      assert.include(lines, "open 4")
    }))

  it("are none without processes", () => {
    assert.deepStrictEqual(format(merge([])), [])
  })
})
