/** Every stage × every verdict that is legal there, with a real Sendmail: what the client reads and what is delivered. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { socketDirectory } from "../../testbed/mta.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as FilterServer from "./support/filterServer.ts"
import { expectations, unknownRefusals } from "./support/sendmailExpectations.ts"
import * as StageAndVerdict from "./support/stageAndVerdict.ts"

class Fixture extends Context.Service<Fixture, StageAndVerdict.Fixture>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    // On TCP Sendmail waits 40 ms at each stage with macros: they and the command are two writes.
    const directory = yield* socketDirectory
    const { filter, setting } = yield* StageAndVerdict.make
    const address = yield* FilterServer.serve(filter, { listen: `unix:${directory}/filter` })
    const tap = yield* FilterServer.tap(address, `${directory}/tap`)
    const mta = yield* Sendmail.make({ filters: [{ address: tap.address }] })
    return { setting, tap, mta, withoutReceived: Sendmail.withoutReceived }
  })
)

Sendmail.describeSendmail("verdicts with Sendmail", () => {
  layer(fixture)((it) => {
    for (const row of expectations) {
      it.effect(`${row.stage}: ${row.name}`, () =>
        Effect.flatMap(Fixture, (fixture) => StageAndVerdict.check(fixture, row)))
    }

    for (const { closes, name, text, verdict } of unknownRefusals) {
      it.effect(`unknown: ${name}`, () =>
        Effect.gen(function*() {
          const { mta, setting } = yield* Fixture
          yield* Ref.set(setting, { stage: "unknown", verdict, recipient: undefined })
          for (
            const before of [[], ["EHLO client.example.org"], ["EHLO client.example.org", "MAIL FROM:<a@example.org>"]]
          ) {
            const client = yield* SmtpClient.connect(mta.port)
            for (const line of before) assert.strictEqual((yield* client.command(line)).code, 250)
            assert.strictEqual((yield* client.command("FOOBAR xyz")).text, text)
            if (closes) yield* client.awaitClosed
            else assert.strictEqual((yield* client.quit).code, 221)
          }
        }))
    }
  })
})
