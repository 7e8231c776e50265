/** Waiting for an event: none is lost, whenever it comes and whenever a fiber yields. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { MaxOpsBeforeYield } from "effect/References"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { awaitUntil } from "../../src/internal/net/awaitUntil.ts"

/** Something that becomes ready once, and tells those who listen. */
const makeGate = () => {
  const listeners = new Set<() => void>()
  let value: number | undefined
  let failure: string | undefined
  return {
    listeners,
    open: (given: number) => {
      value = given
      for (const listener of listeners) listener()
    },
    fail: (given: string) => {
      failure = given
      for (const listener of listeners) listener()
    },
    knock: () => {
      for (const listener of listeners) listener()
    },
    wait: awaitUntil<number, string>(
      () => failure !== undefined ? Effect.fail(failure) : value === undefined ? undefined : Effect.succeed(value),
      (changed) => {
        listeners.add(changed)
        return () => listeners.delete(changed)
      }
    )
  }
}

describe("awaitUntil", () => {
  it.effect("takes what is ready already, and listens no more", () =>
    Effect.gen(function*() {
      const gate = makeGate()
      gate.open(1)
      assert.strictEqual(yield* gate.wait, 1)
      assert.strictEqual(gate.listeners.size, 0)
    }))

  it.effect("waits through calls that change nothing", () =>
    Effect.gen(function*() {
      const gate = makeGate()
      const fiber = yield* Effect.forkChild(gate.wait, { startImmediately: true })
      gate.knock()
      assert.isUndefined(fiber.pollUnsafe())
      gate.open(2)
      gate.open(3)
      assert.strictEqual(yield* Fiber.join(fiber), 2)
      assert.strictEqual(gate.listeners.size, 0)
    }))

  it.effect("fails with what is given", () =>
    Effect.gen(function*() {
      const gate = makeGate()
      const fiber = yield* Effect.forkChild(gate.wait, { startImmediately: true })
      gate.fail("gone")
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("gone"))
      assert.strictEqual(gate.listeners.size, 0)
    }))

  it.effect("takes an event that comes while it registers", () =>
    Effect.gen(function*() {
      let isReady = false
      const value = yield* awaitUntil(
        () => isReady ? Effect.succeed("ready") : undefined,
        () => {
          isReady = true
          return () => undefined
        }
      )
      assert.strictEqual(value, "ready")
    }))

  it.effect("listens no more when it is interrupted", () =>
    Effect.gen(function*() {
      const gate = makeGate()
      const fiber = yield* Effect.forkChild(gate.wait, { startImmediately: true })
      assert.strictEqual(gate.listeners.size, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(gate.listeners.size, 0)
    }))

  for (let budget = 3; budget < 12; budget++) {
    it.effect(`loses nothing where fibers yield every ${budget} steps`, () =>
      Effect.gen(function*() {
        for (let steps = 0; steps < 20; steps++) {
          const gate = makeGate()
          const waiter = yield* Effect.forkChild(
            Effect.andThen(Effect.repeat(Effect.void, { times: steps }), gate.wait)
          )
          yield* Effect.forkChild(Effect.sync(() => gate.open(steps)))
          assert.strictEqual(yield* Fiber.join(waiter), steps)
        }
      }).pipe(Effect.provideService(MaxOpsBeforeYield, budget)))
  }

  it("is the only way to wait for a callback in src/internal, beside the engine's connection", () => {
    const folder = Path.resolve(import.meta.dirname, "../../src/internal")
    const found = Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) =>
        file.endsWith(".ts") && Fs.readFileSync(Path.join(folder, file), "utf8").includes("Effect.callback")
      )
    const others = [
      // Callbacks of a parser that the same effect calls: there is nothing before them to miss.
      "message/mime/structure.ts",
      "message/mime/htmlPositions.ts"
    ]
    assert.deepStrictEqual(
      found.filter((file) => !others.includes(file)).toSorted(),
      ["engine/connection.ts", "net/awaitUntil.ts"]
    )
  })
})
