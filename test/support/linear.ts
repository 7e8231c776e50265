/** That work grows with its input and not with its square, told from CPU time and never from the clock. */
import { assert } from "@effect/vitest"

const cpuTime = (work: () => void): number => {
  // Of this thread alone: the collector's threads have times of their own.
  const before = process.threadCpuUsage()
  work()
  const { system, user } = process.threadCpuUsage(before)
  return user + system
}

// Short work is repeated until it takes this long, in microseconds: the time of a thread may be told some milliseconds late.
const leastTime = 10_000
const rounds = 25

/**
 * Fails where twice the input takes more than 2.5 times the CPU, on average from 15,000 to 30,000 and to 60,000 characters
 * (at one of them the heap may just have to grow). `prepare` makes the work for a size. The least of several rounds counts:
 * a busy machine makes a round longer, never shorter.
 */
export const assertLinear = (prepare: (size: number) => () => void, sizes = [15_000, 30_000, 60_000]): void => {
  const works = sizes.map(prepare)
  let repeats = 1
  while (repeats < 1024 && cpuTime(() => repeat(works[0]!, repeats)) < leastTime) repeats *= 2
  const least = works.map(() => Number.POSITIVE_INFINITY)
  const ratios = (): ReadonlyArray<number> => least.slice(1).map((time, index) => time / least[index]!)
  for (let round = 0; round < rounds; round++) {
    for (const [index, work] of works.entries()) {
      least[index] = Math.min(least[index]!, cpuTime(() => repeat(work, repeats)))
    }
    if (round > 0 && least[least.length - 1]! / least[0]! <= 2.5 ** (sizes.length - 1)) return
  }
  assert.fail(`twice the input takes ${ratios().map((ratio) => ratio.toFixed(2)).join(" and ")} times the CPU`)
}

const repeat = (work: () => void, times: number): void => {
  for (let count = 0; count < times; count++) work()
}
