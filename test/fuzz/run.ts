/** Fuzzes a target for a time in a thread of its own, and says what was found: a broken promise, a hang, growth. */
import * as Fs from "node:fs"
import { Worker } from "node:worker_threads"
import * as Inputs from "./inputs.ts"
import type { Name } from "./targets.ts"

export interface Work {
  readonly target: Name
  readonly seconds: number
  readonly seed: number
  /** How many inputs were begun, the length of the latest, and its bytes. */
  readonly current: SharedArrayBuffer
}

export interface Report {
  readonly inputs: number
  /** Different ones, as the target tells them apart. */
  readonly outcomes: number
  /** The most that one input took, in milliseconds of CPU. */
  readonly slowest: number
  /** How many megabytes of heap are in use more than at the start. */
  readonly heap: number
  readonly fault: string | undefined
}

/** One input may not take longer, in milliseconds. */
const hang = 60_000

/** No input may take longer, in milliseconds of CPU. */
const most = 5000

/** Megabytes that may be in use more than at the start. */
const growth = 64

/** Where an input that breaks a promise is written. */
const found = new URL("../../test-results/fuzz/", import.meta.url)

const keep = (target: Name, bytes: Uint8Array): string => {
  Fs.mkdirSync(found, { recursive: true })
  const file = new URL(`${target}-${Date.now().toString(36)}`, found)
  Fs.writeFileSync(file, bytes)
  return file.pathname
}

export const run = (target: Name, seconds: number, seed: number): Promise<Report> =>
  new Promise((resolve) => {
    const current = new SharedArrayBuffer(8 + Inputs.longest)
    const work: Work = { target, seconds, seed, current }
    const worker = new Worker(new URL("./worker.ts", import.meta.url), {
      workerData: work,
      execArgv: ["-C", "effect-milter-source"],
      resourceLimits: { maxOldGenerationSizeMb: 512 }
    })
    let begun = -1
    const ended = (report: Report): void => {
      clearInterval(watch)
      void worker.terminate()
      if (report.fault === undefined) return resolve(report)
      const length = new Int32Array(current, 4, 1)[0]!
      const file = keep(target, new Uint8Array(current, 8, length).slice())
      resolve({ ...report, fault: `${target}: ${report.fault}\nThe input is in ${file}` })
    }
    const broken = (fault: string): void => ended({ inputs: begun, outcomes: 0, slowest: 0, heap: 0, fault })
    const watch = setInterval(() => {
      const now = Atomics.load(new Int32Array(current, 0, 1), 0)
      if (now === begun) broken(`an input takes longer than ${hang / 1000} s`)
      begun = now
    }, hang)
    worker.once("error", (error) => broken(error.stack ?? error.message))
    worker.once("message", (report: Report) =>
      ended(
        report.fault !== undefined
          ? report
          : report.slowest > most
          ? { ...report, fault: `an input took ${Math.round(report.slowest)} ms of CPU` }
          : report.heap > growth
          ? { ...report, fault: `the heap grew by ${Math.round(report.heap)} MB` }
          : report
      ))
  })
