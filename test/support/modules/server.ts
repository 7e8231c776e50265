/** A server of its own, with services and options. */
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

class Words extends Context.Service<Words, { readonly text: string }>()("test/Words") {}

const Talking = Milter.make("talking").on({
  mail: () => Effect.map(Words, ({ text }) => Verdict.reject({ enhanced: "5.7.1", text }))
})

export default MilterServer.layer(Talking, { maxConnections: 10 }).pipe(
  Layer.provide(Layer.succeed(Words, { text: "from a service" }))
)
