/** What a run has found, as it is written to a file, and what is computed from it. */
import type { Cell } from "./cells.ts"
import type { Measured, Sample } from "./measure.ts"
import type { Course, Footprint } from "./memory.ts"
import type { Startup } from "./startup.ts"

/** Where and when a run took place. */
export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cpus: number
  readonly memory: number
  readonly system: string
  /** The commit that was measured; "+" after it if files had been changed. */
  readonly commit: string
}

/** The file of a run. */
export interface Results {
  readonly machine: Machine
  readonly quick: boolean
  /** Version of each server, or why it was skipped. */
  readonly servers: ReadonlyArray<
    { readonly name: string; readonly title: string; readonly version?: string; readonly skipped?: string }
  >
  readonly cells: ReadonlyArray<{ readonly cell: Cell; readonly measured: ReadonlyArray<Measured> }>
  readonly startup: ReadonlyArray<Startup>
  readonly footprints: ReadonlyArray<Footprint>
  readonly course: ReadonlyArray<Course>
}

const sorted = (numbers: ReadonlyArray<number>): ReadonlyArray<number> => numbers.toSorted((a, b) => a - b)

/** The middle one, or the mean of the two in the middle. */
export const median = (numbers: ReadonlyArray<number>): number => {
  const all = sorted(numbers)
  const half = all.length >> 1
  return all.length % 2 === 1 ? all[half]! : (all[half - 1]! + all[half]!) / 2
}

/** One server in one cell, all its rounds together. */
export interface Summary {
  /** Median of the messages a second. */
  readonly rate: number
  /** CPU microseconds a message: the least of the rounds, since noise only adds, and the median. */
  readonly cpuLeast: number
  readonly cpuMedian: number
  /** Medians of the latencies, in microseconds. */
  readonly p50: number
  readonly p99: number
}

/** Sums the rounds up; `undefined` without any. */
export const summarize = (samples: ReadonlyArray<Sample>): Summary | undefined =>
  samples.length === 0 ? undefined : {
    rate: median(samples.map(({ messages, seconds }) => messages / seconds)),
    cpuLeast: Math.min(...samples.map(({ cpu }) => cpu)),
    cpuMedian: median(samples.map(({ cpu }) => cpu)),
    p50: median(samples.map(({ p50 }) => p50)),
    p99: median(samples.map(({ p99 }) => p99))
  }
