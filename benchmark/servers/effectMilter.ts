/** The server under test: every stage has a hook, end of message adds a header. With `quiet` it does not log. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as References from "effect/References"

class Blocked extends Context.Service<Blocked, { readonly has: (domain: string) => boolean }>()("benchmark/Blocked") {}

const goOn = () => Effect.succeed(Verdict.continue)

const Filter = Milter.make("benchmark", {
  modify: ["addHeader"],
  message: () => Ref.make(0)
}).on({
  connect: goOn,
  helo: goOn,
  mail: Effect.fnUntraced(function*({ sender }) {
    return (yield* Blocked).has(sender.domain) ? Verdict.reject() : Verdict.continue
  }),
  rcpt: goOn,
  data: goOn,
  header: (header, { message }) =>
    Effect.as(Ref.update(message, (length) => length + header.value.length), Verdict.continue),
  endOfHeaders: goOn,
  body: (body, { message }) => Effect.as(Ref.update(message, (length) => length + body.bytes.length), Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
    yield* edit.addHeader("X-Benchmark", "yes")
    return Verdict.continue
  })
})

MilterServer.layer(Filter).pipe(
  Layer.provide(Layer.succeed(Blocked, { has: (domain) => domain === "spam.example" })),
  Layer.provide(NodeMilterServer.layer({ listen: `unix:${process.argv[2]}` })),
  Layer.tap(() => Effect.sync(() => process.send?.("listening"))),
  Layer.launch,
  Effect.provideService(References.MinimumLogLevel, process.argv[3] === "quiet" ? "Warn" : "Info"),
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)
