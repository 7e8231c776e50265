/** Every stage × every verdict that is legal there, with a real Postfix: what the client reads and what is delivered. */
import { layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postfix from "../../testbed/postfix.ts"
import { expectationsOf } from "./support/expectations.ts"
import * as FilterServer from "./support/filterServer.ts"
import * as StageAndVerdict from "./support/stageAndVerdict.ts"

class Fixture extends Context.Service<Fixture, StageAndVerdict.Fixture>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const { filter, setting } = yield* StageAndVerdict.make
    const tap = yield* FilterServer.tap(yield* FilterServer.serve(filter))
    const mta = yield* Postfix.make({ milters: FilterServer.forPostfix(tap.address) })
    return { setting, tap, mta, withoutReceived: Postfix.withoutReceived }
  })
)

Postfix.describePostfix("verdicts with Postfix", () => {
  layer(fixture)((it) => {
    for (const row of expectationsOf(Postfix.release())) {
      it.effect(`${row.stage}: ${row.name}`, () =>
        Effect.flatMap(Fixture, (fixture) => StageAndVerdict.check(fixture, row)))
    }
  })
})
