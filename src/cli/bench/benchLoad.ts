/** The load of `effect-milter bench`: messages over several connections, as fast as they are answered or at a fixed rate. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Outcome } from "../../MilterClient.ts"
import { Latencies } from "./benchLatency.ts"

/** How much is sent, and how fast. */
export interface Load {
  readonly connections: number
  readonly messages: number
  /** Messages on a connection before it is closed and another opened. */
  readonly perConnection: number
  /** Messages a second over all connections; as fast as they are answered if undefined. */
  readonly rate: number | undefined
}

/** Opens a connection; what it returns sends one message over it. */
export type Connect<E> = Effect.Effect<Effect.Effect<Outcome["_tag"], E>, E, Scope.Scope>

/** What has been measured so far. */
export class Figures {
  readonly latencies = new Latencies()
  readonly outcomes: { [outcome in Outcome["_tag"]]: number } = {
    Accepted: 0,
    Rejected: 0,
    TempFailed: 0,
    Discarded: 0
  }
  /** Time during which messages were sent. */
  milliseconds = 0

  get messages(): number {
    return this.latencies.count
  }

  /** Messages a second. */
  get rate(): number {
    return this.milliseconds === 0 ? 0 : this.messages * 1000 / this.milliseconds
  }
}

const now = Effect.map(Clock.currentTimeNanos, (nanoseconds) => Number(nanoseconds) / 1e6)

/**
 * Sends the messages and adds to the figures. At a rate, the latency of a message counts from the time at which it was due, so
 * that one slow answer is not counted once while it delays many (coordinated omission).
 *
 * Fails with the first failure of any connection; the figures then hold what was measured until then.
 */
export const run = <E>(load: Load, connect: Connect<E>, figures: Figures): Effect.Effect<void, E> =>
  Effect.gen(function*() {
    const started = yield* now
    let taken = 0
    const session = Effect.gen(function*() {
      const send = yield* connect
      for (let count = 0; count < load.perConnection && taken < load.messages; count++) {
        const index = taken++
        let since = yield* now
        if (load.rate !== undefined) {
          const due = started + index * 1000 / load.rate
          if (due > since) yield* Effect.sleep(due - since)
          since = due
        }
        const outcome = yield* send
        figures.latencies.record((yield* now) - since)
        figures.outcomes[outcome]++
      }
    }).pipe(Effect.scoped)
    const worker = Effect.whileLoop({
      while: () => taken < load.messages,
      body: () => session,
      step: () => undefined
    })
    const workers = Array.from({ length: Math.min(load.connections, load.messages) }, () => worker)
    yield* Effect.all(workers, { concurrency: "unbounded", discard: true }).pipe(
      Effect.ensuring(Effect.map(now, (ended) => {
        figures.milliseconds += ended - started
      }))
    )
  })
