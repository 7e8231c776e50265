/** What a piece of work costs: processor time, and how long others had to wait. */
import * as Effect from "effect/Effect"

export interface Cost {
  /** Milliseconds of the processor. */
  readonly cpu: number
  /** The longest time between two turns of the event loop, in milliseconds. */
  readonly block: number
}

/** Of one run. */
const once = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<Cost, E, R> =>
  Effect.gen(function*() {
    let block = 0
    let last = performance.now()
    let immediate: NodeJS.Immediate
    const tick = (): void => {
      const now = performance.now()
      block = Math.max(block, now - last)
      last = now
      immediate = setImmediate(tick)
    }
    immediate = setImmediate(tick)
    const before = process.cpuUsage()
    yield* work
    yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
    const { system, user } = process.cpuUsage(before)
    clearImmediate(immediate)
    return { cpu: (system + user) / 1000, block }
  })

/** The least of several runs: a busy machine makes each of them dearer, none cheaper. */
export const cost = <A, E, R>(work: Effect.Effect<A, E, R>, runs = 3): Effect.Effect<Cost, E, R> =>
  Effect.map(
    Effect.all(Array.from({ length: runs }, () => once(work))),
    (costs) => ({
      cpu: Math.min(...costs.map(({ cpu }) => cpu)),
      block: Math.min(...costs.map(({ block }) => block))
    })
  )
