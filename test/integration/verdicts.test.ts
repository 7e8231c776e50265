/** Every stage × every verdict that is legal there, with a real Postfix: what the client reads and what is delivered. */
import { assert, layer } from "@effect/vitest"
import { Mailbox } from "effect-milter/Envelope"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { type Expectation, expectations, runSession, summarize } from "./support/expectations.ts"
import * as FilterServer from "./support/filterServer.ts"
import * as Postfix from "./support/postfix.ts"
import { realTime } from "./support/realTime.ts"
import * as SmtpClient from "./support/smtpClient.ts"

const addressOf = (event: object): string | undefined =>
  "recipient" in event && event.recipient instanceof Mailbox ? event.recipient.address : undefined

type Row = Pick<Expectation, "stage" | "verdict" | "recipient">

class Current extends Context.Service<Current, {
  readonly row: Ref.Ref<Row>
  readonly tap: FilterServer.Tap
}>()("test/Current") {}

const serverAndPostfix = Layer.effectContext(Effect.gen(function*() {
  const row = yield* Ref.make<Row>({ stage: "connect", verdict: Verdict.continue, recipient: undefined })
  // The rows keep to what is legal at their stage; their common type cannot say so.
  const at = <K extends keyof Verdict.ByStage>(stage: K) => (event: object) =>
    Effect.map(
      Ref.get(row),
      ({ recipient, stage: where, verdict }) =>
        (stage === where && (recipient === undefined || recipient === addressOf(event))
          ? verdict
          : Verdict.continue) as Verdict.ByStage[K]
    )
  const filter = Milter.make("stage-and-verdict").on({
    connect: at("connect"),
    helo: at("helo"),
    mail: at("mail"),
    rcpt: at("rcpt"),
    data: at("data"),
    header: at("header"),
    endOfHeaders: at("endOfHeaders"),
    body: at("body"),
    endOfMessage: at("endOfMessage"),
    unknown: at("unknown")
  })
  const tap = yield* FilterServer.tap(yield* FilterServer.serve(filter))
  const postfix = yield* Postfix.make<string>({ milters: `inet:127.0.0.1:${tap.port}` })
  return Context.make(Current, { row, tap }).pipe(Context.add(Postfix.Postfix, postfix))
}))

Postfix.describePostfix("verdicts with Postfix", () => {
  layer(serverAndPostfix)((it) => {
    for (const expectation of expectations) {
      const { commands, delivered, message, name, stage } = expectation
      it.effect(`${stage}: ${name}`, () =>
        Effect.gen(function*() {
          const postfix = yield* Postfix.Postfix
          const { row, tap } = yield* Current
          yield* Ref.set(row, expectation)
          tap.take()
          const client = yield* SmtpClient.connect(postfix.port)
          const replies = summarize(yield* runSession(client, message), expectation.replies)
          yield* client.close
          assert.deepStrictEqual(replies, expectation.replies)
          const messages = yield* postfix.awaitIdle()
          assert.deepStrictEqual(messages.map(({ recipients, sender }) => ({ sender, recipients })), delivered)
          for (const one of messages) {
            assert.strictEqual(Postfix.withoutReceived(one), message.replaceAll("\r\n", "\n"))
          }
          yield* postfix.clear
          // The last commands of a session come after its client has gone.
          let seen = tap.take()
          for (let turn = 0; turn < 100 && seen.length < commands.length; turn++) {
            yield* realTime(Effect.sleep(10))
            seen += tap.take()
          }
          assert.strictEqual(seen, commands)
        }))
    }
  })
})
