/** How the work of a program grows with its input. */
import { assert } from "@effect/vitest"

/** What a doubled input may cost at most: linear work costs twice as much, quadratic work four times. */
const most = 2.5

/** Milliseconds of CPU that a sample takes at least, so that the steps of the clock and single pauses do not matter. */
const sample = 40

/** Samples of each size, of which the cheapest counts; nearly always the first will do. */
const attempts = 5

/** Milliseconds of CPU of one run; time in which other processes have the machine does not count. */
const cost = (run: () => void): number => {
  const before = process.cpuUsage()
  for (let times = 1;; times++) {
    run()
    const { system, user } = process.cpuUsage(before)
    const used = (user + system) / 1000
    if (used >= sample) return used / times
  }
}

/**
 * Fails unless a doubling of the input costs at most 2.5 times as much, on average from `size` to 16 times that: what is linear
 * costs 16 times as much in the end, what is quadratic 256 times, and between them there is room for the garbage collector and
 * the machine's caches. The size in the middle is only for the message. What `prepare` does is not counted. Choose a size
 * whose run takes about a millisecond.
 */
export const assertLinear = <A>(size: number, prepare: (size: number) => A, run: (input: A) => void): void => {
  const inputs = [prepare(size), prepare(4 * size), prepare(16 * size)] as const
  // So that the compiler has done its work.
  cost(() => run(inputs[0]))
  const least: [number, number, number] = [Infinity, Infinity, Infinity]
  const growth = (): number => (least[2] / least[0]) ** (1 / 4)
  for (let attempt = 0; attempt < attempts; attempt++) {
    for (const [index, input] of inputs.entries()) least[index] = Math.min(least[index]!, cost(() => run(input)))
    if (growth() <= most) return
  }
  assert.fail(
    `${size}, 4 times and 16 times that cost ${
      least.map((milliseconds) => milliseconds.toFixed(2)).join(", ")
    } ms of CPU: ` +
      `a doubling ${growth().toFixed(2)} times as much, more than ${most}`
  )
}
