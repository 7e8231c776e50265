/** The MTA's side when the scheduler makes its fiber yield at any point: no answer of the filter may be missed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Ref, References } from "effect"
import * as Milter from "../../src/Milter.ts"
import type * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import * as Verdict from "../../src/Verdict.ts"

const counting = Milter.make("counting", { message: () => Ref.make(0) }).on(
  {
    endOfHeaders: () => Effect.succeed(Verdict.continue),
    endOfMessage: () => Effect.succeed(Verdict.continue)
  },
  { header: (_, { message }) => Ref.update(message, (n) => n + 1) }
)

const withFields = (count: number): MilterClient.Message => ({
  from: "alice@example.org",
  to: "bob@example.net",
  headers: Array.from({ length: count }, (_, n) => [`X-${n}`, `value ${n}`] as const),
  body: "Hello\n"
})

describe("a fiber that yields", () => {
  for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
    it.effect(`hears the answer after 108 header fields, as ${as.name}`, () =>
      Effect.gen(function*() {
        const outcome = yield* MilterTest.message(counting, withFields(108), { as })
        assert.strictEqual(outcome._tag, "Accepted")
      }))

    it.effect(`hears it at every budget, as ${as.name}`, () =>
      Effect.forEach(
        Array.from({ length: 62 }, (_, n) => n + 3),
        (budget) =>
          MilterTest.message(counting, withFields(9), { as }).pipe(
            Effect.provideService(References.MaxOpsBeforeYield, budget),
            Effect.map((outcome) => assert.strictEqual(outcome._tag, "Accepted", `budget ${budget}`))
          ),
        { discard: true }
      ))
  }
})
