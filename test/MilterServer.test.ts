/** MilterServer: layers, options, limits and shutdown of servers. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { goOn } from "./support/filters.ts"
import * as Mta from "./support/rawMta.ts"

describe("layer", () => {
  it.effect("gives each session an id of its own", () =>
    Effect.gen(function*() {
      const ids: Array<string> = []
      const filter = Milter.make("test").on({
        connect: (_, { session }) => Effect.sync(() => (ids.push(session.id), Verdict.continue))
      })
      const server = yield* Mta.serve(filter)
      for (let index = 0; index < 3; index++) {
        const mta = yield* server.open()
        yield* mta.say(Mta.connect(), Mta.quitNewConnection, Mta.connect())
      }
      assert.strictEqual(new Set(ids).size, 6)
    }))

  it.effect("runs hooks with the services around it, but in no span of its own", () =>
    Effect.gen(function*() {
      class Names extends Context.Service<Names, { readonly name: string }>()("test/Names") {}
      const seen: Array<unknown> = []
      const filter = Milter.make("test").on({
        mail: Effect.fnUntraced(function*() {
          seen.push((yield* Names).name)
          seen.push(yield* Effect.isFailure(Effect.currentParentSpan))
          return Verdict.continue
        })
      })
      const server = yield* Mta.serve(filter).pipe(
        Effect.provide(Layer.succeed(Names, { name: "outer" })),
        Effect.withSpan("start")
      )
      yield* (yield* server.open()).say(Mta.mail())
      assert.deepStrictEqual(seen, ["outer", true])
    }))

  it.effect("puts the session into the log lines of hooks", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: (_, { session }) => Effect.as(Effect.logWarning(session.id), Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      for (let index = 0; index < 2; index++) yield* (yield* server.open()).say(Mta.mail())
      assert.strictEqual(server.logs.length, 2)
      for (const { session, text } of server.logs) assert.strictEqual(session, text)
    }))

  it.effect("serves connections side by side: a slow one holds up no other", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: ({ sender }) => sender.localPart === "slow" ? Effect.andThen(Effect.sleep("1 second"), goOn) : goOn
      })
      const server = yield* Mta.serve(filter)
      const slow = yield* server.open()
      const fast = yield* server.open()
      assert.deepStrictEqual(yield* slow.say(Mta.mail("<slow@x>")), [])
      assert.deepStrictEqual(yield* fast.each(...Mta.message.slice(0, 2), Mta.endOfMessage()), [
        "Continue",
        "",
        "Continue"
      ])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* slow.replies, ["Continue"])
    }))
})
