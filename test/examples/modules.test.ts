/** An application whose modules each bring a filter. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { Accounts, Unavailable, UnknownRecipients } from "../../examples/modules/accounts.ts"
import { filters, modules } from "../../examples/modules/application.ts"
import { Origin } from "../../examples/modules/origin.ts"

const message = { from: "eve@example.com", to: ["bob@example.org", "nobody@example.org"], body: "hi" }
const outside = { hostname: "client.example.com", address: "192.0.2.1" }

describe("an application of modules", () => {
  it.effect("asks their filters in its order", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(filters, { ...message, client: outside })
      MilterTest.assertAccepted(outcome, {
        recipients: ["bob@example.org"],
        headers: { "X-Origin": "outside (client.example.com)" }
      })
      const inside = yield* MilterTest.message(filters, { ...message, client: { ...outside, address: "10.1.2.3" } })
      MilterTest.assertAccepted(inside, { recipients: ["bob@example.org"], headers: { "X-Origin": undefined } })
    }).pipe(Effect.provide(Layer.provide(modules, Accounts.layerOf(["bob@example.org"])))))

  it.effect("is tested with another filter in the place of one, or with another service below it", () =>
    Effect.gen(function*() {
      const nobody = Milter.make("nobody").on({ rcpt: () => Effect.succeed(Verdict.reject({ text: "nobody" })) })
      const swapped = Layer.mergeAll(Milter.layer(UnknownRecipients, nobody), Origin.layer)
      const outcome = yield* MilterTest.message(filters, message).pipe(Effect.provide(swapped))
      MilterTest.assertRejected(outcome, { stage: "rcpt", reply: "550 5.7.1 nobody" })

      const down = Layer.succeed(Accounts, { has: () => Effect.fail(new Unavailable({ message: "no directory" })) })
      const later = yield* MilterTest.message(filters, message).pipe(Effect.provide(Layer.provide(modules, down)))
      MilterTest.assertTempFailed(later, { stage: "rcpt", reply: "451 4.3.0 try again later" })
    }))

  it("names each filter by its key", () => {
    assert.deepStrictEqual([UnknownRecipients.key, Origin.key], ["app/UnknownRecipients", "app/Origin"])
  })
})
