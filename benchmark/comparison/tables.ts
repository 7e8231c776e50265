/** The tables of a run: for the terminal and for the docs. */
import type { Measured } from "./measure.ts"
import type { Course, Footprint } from "./memory.ts"
import { median, type Results, summarize } from "./results.ts"
import type { Startup } from "./startup.ts"

/** As many cells in each row as there are columns. */
export interface Table {
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

/** A number with three digits that count. */
export const figure = (value: number): string =>
  Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)

const kilobytes = (bytes: number | undefined): string => bytes === undefined ? "" : figure(bytes / 1024)
const megabytes = (bytes: number | undefined): string => bytes === undefined ? "" : figure(bytes / 1_048_576)

/** What a server is called in tables. */
export const titleOf = (servers: Results["servers"], name: string): string =>
  servers.find((server) => server.name === name)?.title ?? name

/** One cell: a row for each server, with its ratio to the floor. */
export const cellTable = (servers: Results["servers"], measured: ReadonlyArray<Measured>): Table => {
  const floor = summarize(measured.find(({ server }) => server === "floor")?.samples ?? [])
  const ratio = (value: number, of: number | undefined) => of === undefined || of === 0 ? "" : (value / of).toFixed(2)
  return {
    columns: ["server", "messages/s", "CPU µs/message", "ratio", "median", "ratio", "p50 ms", "p99 ms"],
    rows: measured.map(({ failure, samples, server }) => {
      const title = titleOf(servers, server)
      const summary = summarize(samples)
      if (failure !== undefined || summary === undefined) return [title, failure ?? "", "", "", "", "", "", ""]
      return [
        title,
        figure(summary.rate),
        figure(summary.cpuLeast),
        ratio(summary.cpuLeast, floor?.cpuLeast),
        figure(summary.cpuMedian),
        ratio(summary.cpuMedian, floor?.cpuMedian),
        figure(summary.p50 / 1000),
        figure(summary.p99 / 1000)
      ]
    })
  }
}

/** Start and size: a row for each server. */
export const startupTable = (startup: ReadonlyArray<Startup>): Table => ({
  columns: ["server", "listens after ms", "median", "resident MB", "file kB"],
  rows: startup.map(({ bytes, resident, times, title }) => [
    title,
    figure(Math.min(...times)),
    figure(median(times)),
    megabytes(resident),
    kilobytes(bytes)
  ])
})

/** Memory for each connection and message: a row for each server. */
export const footprintTable = (footprints: ReadonlyArray<Footprint>): Table => ({
  columns: [
    "server",
    "connections",
    "idle: resident kB",
    "idle: heap kB",
    "message: resident kB",
    "message: heap kB"
  ],
  rows: footprints.map(({ connections, failure, idle, inMessage, title }) => [
    title,
    failure ?? connections.toLocaleString("en-US"),
    kilobytes(idle?.resident),
    kilobytes(idle?.heap),
    kilobytes(inMessage?.resident),
    kilobytes(inMessage?.heap)
  ])
})

/** The long run: a row for each look at the memory. */
export const courseTable = (course: ReadonlyArray<Course>): Table => ({
  columns: ["messages", "heap MB", "resident MB"],
  rows: course.map(({ heap, messages, resident }) => [
    messages.toLocaleString("en-US"),
    megabytes(heap),
    megabytes(resident)
  ])
})
