/** The filters of the benchmarks, with a hook at every stage. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"

class Blocked extends Context.Service<Blocked, { readonly has: (domain: string) => boolean }>()("benchmark/Blocked") {}

/** The service that the hook at mail asks. */
export const blocked = Layer.succeed(Blocked, { has: (domain) => domain === "spam.example" })

const goOn = () => Effect.succeed(Verdict.continue)

/** Keeps state of each message; its end-of-message hook adds a header. */
export const Filter = Milter.make("benchmark", {
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

const watcher = (name: string) =>
  Milter.make(name).on({
    connect: goOn,
    helo: goOn,
    mail: goOn,
    rcpt: goOn,
    data: goOn,
    header: goOn,
    endOfHeaders: goOn,
    body: goOn,
    endOfMessage: goOn
  })

/** Five of them, of which the last one edits. */
export const Five = Milter.sequence([watcher("one"), watcher("two"), watcher("three"), watcher("four"), Filter])
