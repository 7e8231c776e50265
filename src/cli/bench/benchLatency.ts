/** Latencies of a load, in an HDR histogram: three digits that count, from a microsecond to an hour. */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks"

/** A range of latencies in milliseconds, and the share of the messages that it holds. */
export interface Bar {
  readonly from: number
  readonly to: number
  readonly share: number
}

/** Percentiles that are reported. */
export const percentiles = [50, 90, 99, 99.9] as const

const microseconds = 1000
const hour = 3_600_000 * microseconds
/** Quantiles that the bars are made of. */
const quantiles = 1000
/** Bars for each factor of ten. */
const barsPerDecade = 4

export class Latencies {
  private readonly histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: hour, figures: 3 })

  record(milliseconds: number): void {
    this.histogram.record(Math.min(hour, Math.max(1, Math.round(milliseconds * microseconds))))
  }

  get count(): number {
    return this.histogram.count
  }

  /** Milliseconds, as `max` and the others; 0 if there are none. */
  get min(): number {
    return this.count === 0 ? 0 : this.histogram.min / microseconds
  }

  get max(): number {
    return this.histogram.max / microseconds
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.histogram.mean / microseconds
  }

  percentile(percent: number): number {
    return this.count === 0 ? 0 : this.histogram.percentile(percent) / microseconds
  }

  /** The distribution over ranges that grow by the same factor, without the empty ones before the first and after the last. */
  bars(): ReadonlyArray<Bar> {
    if (this.count === 0) return []
    const counts = new Map<number, number>()
    for (let index = 0; index < quantiles; index++) {
      const value = this.percentile((index + 0.5) * 100 / quantiles)
      const bar = Math.floor(Math.log10(value) * barsPerDecade)
      counts.set(bar, (counts.get(bar) ?? 0) + 1)
    }
    const first = Math.min(...counts.keys())
    const last = Math.max(...counts.keys())
    return Array.from({ length: last - first + 1 }, (_, index) => ({
      from: 10 ** ((first + index) / barsPerDecade),
      to: 10 ** ((first + index + 1) / barsPerDecade),
      share: (counts.get(first + index) ?? 0) / quantiles
    }))
  }
}
