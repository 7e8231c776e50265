/** Another module: it marks mail that comes from outside, so that people look twice. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

const marking = Milter.make("origin", { modify: ["insertHeader"] }).on({
  endOfMessage: (_, { edit, session }) =>
    Effect.as(edit.insertHeader(1, "X-Origin", `outside (${session.hostname})`), Verdict.continue)
})

export class Origin extends Milter.Service<Origin>()("app/Origin") {
  static readonly layer = Milter.layer(
    this,
    Milter.when(marking, { connect: ({ client }) => !client.isLoopback && !client.isWithin("10.0.0.0/8") })
  )
}
