/** That work grows with its input and not with its square, told from processor time and never from the clock. */
import { assert } from "@effect/vitest"

const used = (): number => {
  const { system, user } = process.cpuUsage()
  return system + user
}

// Microseconds. Shorter work counts as that much: what is quadratic takes ten times as long at the last size.
const noise = 20_000
const rounds = 12

/**
 * Fails where twice the input takes more than 2.5 times the processor time, from 15,000 to 30,000 and to 60,000 characters.
 * `prepare` makes the work for a size. The least of several rounds counts: other work makes a round dearer, never cheaper.
 */
export const assertLinear = (prepare: (size: number) => () => void, sizes = [15_000, 30_000, 60_000]): void => {
  const works = sizes.map(prepare)
  const least = works.map(() => Number.POSITIVE_INFINITY)
  let ratios: ReadonlyArray<number> = []
  for (let round = 0; round < rounds; round++) {
    for (const [index, work] of works.entries()) {
      const before = used()
      work()
      least[index] = Math.min(least[index]!, Math.max(noise, used() - before))
    }
    ratios = least.slice(1).map((time, index) => time / least[index]!)
    if (ratios.every((ratio) => ratio <= 2.5)) return
  }
  assert.fail(`twice the input takes ${ratios.map((ratio) => ratio.toFixed(2)).join(" and ")} times the processor time`)
}
