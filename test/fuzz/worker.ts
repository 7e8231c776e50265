/** The thread that fuzzes one target, so that another one can see whether it hangs; see run.ts. */
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as V8 from "node:v8"
import * as Vm from "node:vm"
import { parentPort, workerData } from "node:worker_threads"
import * as Random from "../support/random.ts"
import * as Inputs from "./inputs.ts"
import type { Report, Work } from "./run.ts"
import { type Run, targets } from "./targets.ts"

const { current, seconds, seed, target: name } = workerData as Work

const target = targets[name]

/** Inputs after which a target is made anew. */
const batch = 500

/** Inputs that led to something new are changed again; so many are kept. */
const poolSize = 5000

const random = Random.make(seed)

const report: { -readonly [K in keyof Report]: Report[K] } = {
  inputs: 0,
  outcomes: 0,
  slowest: 0,
  heap: 0,
  fault: undefined
}

const seen = new Set<string>()

/** Runs one input, which the other thread sees meanwhile. */
const runOne = (run: Run, input: Uint8Array) =>
  Effect.suspend(() => {
    new Uint8Array(current, 8, input.length).set(input)
    Atomics.store(new Int32Array(current, 4, 1), 0, input.length)
    Atomics.add(new Int32Array(current, 0, 1), 0, 1)
    const before = process.threadCpuUsage()
    return Effect.map(Effect.scoped(run(input, random)), (outcome) => {
      const { system, user } = process.threadCpuUsage(before)
      report.slowest = Math.max(report.slowest, (system + user) / 1000)
      report.inputs++
      if (seen.has(outcome)) return false
      if (seen.size < 100_000) seen.add(outcome)
      report.outcomes++
      return true
    })
  })

const kept = Inputs.kept(name).map(({ bytes }) => bytes)
const pool = [...target.seeds(), ...kept]

let heapBefore = 0

// A thread cannot be started with the flag.
V8.setFlagsFromString("--expose-gc")
const collectGarbage: () => void = Vm.runInNewContext("gc")

const heap = (): number => {
  collectGarbage()
  return process.memoryUsage().heapUsed / 1e6
}

const all = Effect.gen(function*() {
  const until = performance.now() + 1000 * seconds
  let first: ReadonlyArray<Uint8Array> = kept
  do {
    yield* Effect.scoped(Effect.gen(function*() {
      const run = yield* target.make
      for (const input of first) yield* runOne(run, input)
      first = []
      for (let times = 0; times < batch && performance.now() < until; times++) {
        const input = Inputs.mutate(pool, random)
        if ((yield* runOne(run, input)) && pool.length < poolSize) pool.push(input)
      }
    }))
    if (heapBefore === 0) heapBefore = heap()
  } while (performance.now() < until)
})

try {
  await Effect.runPromise(Effect.provide(all, TestClock.layer()))
} catch (error) {
  report.fault = error instanceof Error ? error.stack ?? error.message : String(error)
}
// The pool is what this program keeps itself.
report.heap = heap() - heapBefore - pool.reduce((sum, input) => sum + input.length, 0) / 1e6
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's, not a window's
parentPort!.postMessage(report)
