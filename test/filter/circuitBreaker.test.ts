/** Filters with a circuit breaker. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Mta from "../support/rawMta.ts"

describe("circuitBreaker", () => {
  it.effect("leaves a failing filter alone for a while, on all connections", () =>
    Effect.gen(function*() {
      let calls = 0
      let healthy = false
      const lookup = Milter.make("lookup").on({
        mail: () =>
          Effect.suspend(() => {
            calls++
            return healthy ? Effect.succeed(Verdict.reject()) : Effect.fail("down")
          })
      })
      const filter = lookup.pipe(
        Milter.circuitBreaker({ failures: 2, openFor: "30 seconds", whileOpen: "pass" }),
        Milter.onFailure(() => Effect.succeed(Verdict.tempFail({ text: "down" })))
      )
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      const down = "ReplyCode text=\"451 4.7.1 down\""
      const message = Effect.map(mta.each(Mta.mail(), Mta.abort), ([reply]) => reply)
      assert.deepStrictEqual([yield* message, yield* message], [down, down])
      assert.deepStrictEqual([yield* message, yield* message], ["Accept", "Accept"])
      assert.strictEqual(calls, 2)
      const other = yield* server.open()
      assert.deepStrictEqual(yield* other.say(Mta.mail()), ["Accept"])
      yield* TestClock.adjust("31 seconds")
      healthy = true
      assert.strictEqual(yield* message, "Reject")
      assert.strictEqual(yield* message, "Reject")
      assert.strictEqual(calls, 4)
    }))

  it.effect("counts the failures of each hook by itself: another one that succeeds says nothing about it", () =>
    Effect.gen(function*() {
      const tries: Array<string> = []
      const go = (name: string) => Effect.sync(() => (tries.push(name), Verdict.continue))
      const scanner = Milter.make("scanner", { connection: () => Effect.succeed("state") }).on({
        mail: () => go("mail"),
        rcpt: () => Effect.andThen(go("rcpt"), Effect.fail("down"))
      })
      const filter = scanner.pipe(
        Milter.circuitBreaker({ failures: 2, openFor: "30 seconds", whileOpen: Verdict.tempFail({ text: "open" }) }),
        Milter.onFailure(() => Effect.succeed(Verdict.tempFail({ text: "down" })))
      )
      const server = yield* Mta.serve(filter)
      const answer = Effect.gen(function*() {
        const mta = yield* server.open()
        return (yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())).at(-1)
      })
      const down = "ReplyCode text=\"451 4.7.1 down\""
      assert.deepStrictEqual([yield* answer, yield* answer], [down, down])
      yield* answer
      yield* answer
      assert.deepStrictEqual(tries, ["mail", "rcpt", "mail", "rcpt"])
      // The first failure after the pause opens the circuit again.
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* answer, down)
      yield* answer
      assert.deepStrictEqual(tries.slice(4), ["mail", "rcpt"])
    }))

  it.effect("counts hooks that are too slow, if told to", () =>
    Effect.gen(function*() {
      const slow = Milter.make("slow", { onDefect: Verdict.tempFail({ text: "slow" }) }).on({
        mail: () => Effect.never
      })
      const server = yield* Mta.serve(
        Milter.circuitBreaker(slow, { failures: 1, openFor: "1 minute", whileOpen: "pass", timeout: "2 seconds" })
      )
      const mta = yield* server.open()
      yield* mta.say(Mta.mail())
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["ReplyCode text=\"451 4.7.1 slow\""])
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["Accept"])
    }))

  it("needs a number of failures", () => {
    const filter = Milter.make("lookup").on({})
    for (const failures of [0, 1.5, Number.NaN, -1]) {
      assert.throws(
        () => Milter.circuitBreaker(filter, { failures, openFor: "1 minute", whileOpen: "pass" }),
        `Invalid failures of a circuit breaker "${failures}": expected a whole number of at least 1`
      )
    }
  })
})
