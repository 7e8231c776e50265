/** The fibers of a server, one for each connection: each lives until its connection ends, or the drain interrupts it. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { OpenList } from "../net/openList.ts"

/** What Effect's `FiberSet` does, without its `Set`: see `OpenList`. */
export class ServerFibers {
  private readonly open = new OpenList<Fiber.Fiber<void>>()
  private readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>

  constructor(context: Context.Context<never>) {
    this.run = Effect.runForkWith(context)
  }

  fork(effect: Effect.Effect<void>): void {
    const fiber = this.run(effect)
    if (fiber.pollUnsafe() !== undefined) return
    const place = this.open.add(fiber)
    fiber.addObserver(() => this.open.remove(place))
  }

  /** Completes when none is left. */
  readonly awaitEmpty: Effect.Effect<void> = Effect.whileLoop({
    while: () => this.open.size > 0,
    body: () => Fiber.await(this.open.oldest!),
    step: () => undefined
  })

  readonly interruptAll: Effect.Effect<void> = Effect.suspend(() => Fiber.interruptAll(this.open.values))
}
