/** Lists of macros that repeat, or nearly so: a hook reads those of its own command, however alike the list before it is. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Mta from "../support/rawMta.ts"

/** Values that differ in one byte, or in length: short ones, and ones around and beyond the bytes that the engine compares. */
const values = [8, 9, 58, 59, 60, 61, 62, 63, 64, 65, 200].flatMap((length) => {
  const same = "a".repeat(length)
  return [same, `b${same.slice(1)}`, `${same.slice(1)}b`, `${same.slice(4)}abba`, `${same.slice(2)}\u00e9`]
})

const field = (value: string) => [Mta.macros("L", { i: value }), Mta.header()]

describe("a list of macros", () => {
  it.effect("is that of its command, after any other", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const filter = Milter.make("reader").on({
        header: (_, { session }) =>
          Effect.sync(() => {
            seen.push(session.macros.get("i"))
            return Verdict.continue
          })
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(Mta.connect())
      for (const first of values) {
        yield* mta.say(Mta.abort, Mta.mail(), Mta.rcpt(), Mta.data)
        for (const second of values) yield* mta.say(...field(first), ...field(second), ...field(second))
        assert.deepStrictEqual(seen.splice(0), values.flatMap((second) => [first, second, second]))
      }
    }))

  it.effect("is told from the same one of another stage", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("reader").on({
        mail: (_, { session }) => Effect.sync(() => (seen.push(`mail ${session.macros.get("i")}`), Verdict.continue)),
        rcpt: (_, { session }) => Effect.sync(() => (seen.push(`rcpt ${session.macros.get("i")}`), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(Mta.connect(), Mta.macros("M", { i: "Q1" }), Mta.mail(), Mta.macros("R", { i: "Q1" }), Mta.rcpt())
      yield* mta.say(Mta.abort, Mta.mail(), Mta.rcpt(), Mta.macros("R", { i: "Q1" }), Mta.rcpt())
      assert.deepStrictEqual(seen, [
        "mail Q1",
        "rcpt Q1",
        "mail undefined",
        "rcpt undefined",
        "rcpt Q1"
      ])
    }))
})
