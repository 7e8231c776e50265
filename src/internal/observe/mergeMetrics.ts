/**
 * The metrics of several processes as those of one. Counters and the buckets of histograms are added, and go on after their
 * process has gone, so that they never fall; gauges are those of living processes.
 */
import type * as Metric from "effect/Metric"

export type Snapshot = Metric.Metric.Snapshot

const keyOf = ({ attributes, id, type }: Snapshot): string =>
  JSON.stringify([id, type, Object.entries(attributes ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))])

const sum = (a: number | bigint, b: number | bigint): number | bigint =>
  typeof a === "bigint" && typeof b === "bigint" ? a + b : Number(a) + Number(b)

const addByKey = <K>(a: Iterable<readonly [K, number]>, b: Iterable<readonly [K, number]>): Map<K, number> => {
  const all = new Map(a)
  for (const [key, count] of b) all.set(key, (all.get(key) ?? 0) + count)
  return all
}

const range = (
  a: { readonly min: number; readonly max: number; readonly count: number; readonly sum: number },
  b: typeof a
) => ({
  count: a.count + b.count,
  sum: a.sum + b.sum,
  // An empty histogram has 0 for both.
  min: a.count === 0 ? b.min : b.count === 0 ? a.min : Math.min(a.min, b.min),
  max: a.count === 0 ? b.max : b.count === 0 ? a.max : Math.max(a.max, b.max)
})

/** The sum of two snapshots of a metric. */
const add = (a: Snapshot, b: Snapshot): Snapshot => {
  if (a.type === "Counter" && b.type === "Counter") {
    return { ...a, state: { ...a.state, count: sum(a.state.count, b.state.count) } }
  }
  if (a.type === "Gauge" && b.type === "Gauge") return { ...a, state: { value: sum(a.state.value, b.state.value) } }
  if (a.type === "Frequency" && b.type === "Frequency") {
    return { ...a, state: { occurrences: addByKey(a.state.occurrences, b.state.occurrences) } }
  }
  if (a.type === "Histogram" && b.type === "Histogram") {
    const buckets = [...addByKey(a.state.buckets, b.state.buckets)].toSorted(byBoundary)
    return { ...a, state: { ...range(a.state, b.state), buckets } }
  }
  if (a.type === "Summary" && b.type === "Summary") {
    // The quantiles of a whole do not follow from those of its parts.
    const quantiles = a.state.quantiles.map(([quantile]) => [quantile, undefined] as const)
    return { ...a, state: { ...range(a.state, b.state), quantiles } }
  }
  return a
}

const byBoundary = ([a]: readonly [number, number], [b]: readonly [number, number]): number => a - b

/** Adds snapshots, metric by metric. */
export const merge = (snapshots: ReadonlyArray<ReadonlyArray<Snapshot>>): ReadonlyArray<Snapshot> => {
  const all = new Map<string, Snapshot>()
  for (const snapshot of snapshots.flat()) {
    const key = keyOf(snapshot)
    const before = all.get(key)
    all.set(key, before === undefined ? snapshot : add(before, snapshot))
  }
  return [...all.values()]
}

/** What stays of a process that has gone: without gauges. */
export const remains = (snapshots: ReadonlyArray<Snapshot>): ReadonlyArray<Snapshot> =>
  snapshots.filter(({ type }) => type !== "Gauge")

/** Snapshots as a registry, for what formats one. */
export const registryOf = (snapshots: ReadonlyArray<Snapshot>): Map<string, Metric.Metric.Metadata<unknown, unknown>> =>
  new Map(snapshots.map((snapshot) => [
    keyOf(snapshot),
    {
      ...snapshot,
      hooks: { get: () => snapshot.state, update: () => undefined, modify: () => undefined }
    }
  ]))
