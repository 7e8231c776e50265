/** What a piece of work costs: processor time in all, and in one go. Ratios of these hold on any machine. */
import * as Effect from "effect/Effect"

export interface Cost {
  /** Processor time of the whole. */
  readonly cpu: number
  /** Most processor time between two turns of the event loop. */
  readonly block: number
}

// Not the time of a clock: on a busy machine that passes while others run. Nor that of the whole process: threads of the
// garbage collector work beside this one, which they do not hold up.
const used = (): number => {
  const { system, user } = process.threadCpuUsage()
  return system + user
}

const once = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<Cost, E, R> =>
  Effect.gen(function*() {
    let block = 0
    let last = used()
    const begin = last
    let immediate: NodeJS.Immediate
    const tick = (): void => {
      const now = used()
      block = Math.max(block, now - last)
      last = now
      immediate = setImmediate(tick)
    }
    immediate = setImmediate(tick)
    yield* work
    yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
    clearImmediate(immediate)
    return { cpu: used() - begin, block }
  })

/** The least of several runs: other work of the process, and of the machine, makes each of them dearer, none cheaper. */
export const cost = <A, E, R>(work: Effect.Effect<A, E, R>, runs = 3): Effect.Effect<Cost, E, R> =>
  Effect.map(Effect.all(Array.from({ length: runs }, () => once(work))), least)

const least = (costs: ReadonlyArray<Cost>): Cost => ({
  cpu: Math.min(...costs.map(({ cpu }) => cpu)),
  block: Math.min(...costs.map(({ block }) => block))
})

export interface Growth {
  /** How many times dearer a size is than the one before it, on average over the sizes. */
  readonly ratio: number
  /** Of all sizes. */
  readonly block: number
}

/**
 * How work grows with its size, each size twice the one before. Work below `noise` counts as that much. Rounds go on, up to
 * a dozen, until `isFine`: what is linear comes out as such when the machine has a quiet moment; what is not never does.
 */
export const growth = <A, E, R>(
  works: ReadonlyArray<Effect.Effect<A, E, R>>,
  noise: number,
  isFine: (growth: Growth) => boolean
): Effect.Effect<Growth, E, R> =>
  Effect.gen(function*() {
    const costs: Array<Array<Cost>> = works.map(() => [])
    for (let round = 1;; round++) {
      for (const [index, work] of works.entries()) costs[index]!.push(yield* once(work))
      const best = costs.map(least)
      const [first, last] = [best[0]!, best.at(-1)!].map(({ cpu }) => Math.max(cpu, noise)) as [number, number]
      const found = {
        // Step by step, a small size that once runs without the garbage collector would fail the next one.
        ratio: (last / first) ** (1 / (best.length - 1)),
        block: Math.max(...best.map(({ block }) => block))
      }
      if (round === 12 || (round > 1 && isFine(found))) return found
    }
  })
