/** What may wait for the hooks of a filter in the shadow, whatever clients do meanwhile. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Mta from "../../support/rawMta.ts"

const stuck = Milter.shadow(Milter.make("test").on({ connect: () => Effect.never, body: () => Effect.never }))

describe("while a hook hangs", () => {
  it.effect("messages that are given up do not pile up", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(stuck)
      const mta = yield* server.open()
      yield* mta.write(Mta.connect())
      for (let count = 0; count < 50; count++) {
        yield* mta.write(...Array.from({ length: 100 }, () => [Mta.mail(), Mta.abort]).flat())
        yield* mta.replies
      }
      const texts = server.logs.map(({ text }) => text).filter((text) => text.includes("keep up"))
      assert.deepStrictEqual(texts, [
        "the shadow of test cannot keep up and gives up on this session"
      ])
      assert.strictEqual((yield* mta.each(...Mta.message)).at(-1), "Continue")
    }))

  it.effect("messages of many sessions do not, either", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(stuck)
      const piece = Mta.body("x".repeat(65_000))
      for (let count = 0; count < 72; count++) {
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        for (let sent = 0; sent < 15; sent++) yield* mta.write(piece)
        yield* mta.replies
      }
      yield* TestClock.adjust("4 minutes")
      yield* Mta.settle
      const behind = server.logs.filter(({ text }) => text === "the shadow of test cannot keep up and gives up")
      // 64 MiB for all of them.
      assert.isAbove(behind.length, 2)
      assert.isBelow(behind.length, 8)
    }))
})
