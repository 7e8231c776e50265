/** Messages edited as documents, as real MTAs deliver them: the cases that test/Message.test.ts has for imitated ones. */
import { assert, it, layer } from "@effect/vitest"
import * as Message from "effect-milter/Message"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import type { Delivered, MtaError, TakeOptions } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as table from "../support/messageEdits.ts"
import * as FilterServer from "./support/filterServer.ts"

/** A running MTA, asking the editing filter. */
interface Mta {
  readonly port: number
  readonly takeOne: (options?: TakeOptions) => Effect.Effect<Delivered, MtaError>
}

class Fixture extends Context.Service<Fixture, { readonly edit: Ref.Ref<table.Edit>; readonly mta: Mta }>()(
  "test/Fixture"
) {}

const fixture = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) =>
  Layer.effect(
    Fixture,
    Effect.gen(function*() {
      const edit = yield* Ref.make<table.Edit>(() => Effect.void)
      const filter = table.editing((document) => Effect.flatMap(Ref.get(edit), (edit) => edit(document)))
      return { edit, mta: yield* start(yield* FilterServer.serve(filter)) }
    })
  )

const message = SmtpClient.crlf([...table.fields, "", table.body].join("\n"))

const suite = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) => () =>
  layer(fixture(start))((it) => {
    for (const { edit, name, ...expected } of [...table.cases, ...table.randomCases(12)]) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const { edit: current, mta } = yield* Fixture
          yield* Ref.set(current, edit)
          const client = yield* SmtpClient.connect(mta.port)
          const { message: answer, queueId } = yield* client.sendMail({
            from: table.sender,
            to: table.recipients,
            message
          })
          assert.strictEqual(answer?.code, 250)
          const delivered = yield* mta.takeOne({ queueId })
          assert.deepStrictEqual(
            delivered.fields.filter((field) => !/^(?:Received|Return-Path):/.test(field)),
            expected.fields ?? table.fields
          )
          assert.strictEqual(delivered.body, expected.body ?? table.body)
          assert.strictEqual(delivered.sender, expected.sender ?? table.sender)
          assert.sameMembers([...delivered.recipients], [...expected.recipients ?? table.recipients])
        }).pipe(Effect.scoped))
    }
  })

Postfix.describePostfix(
  "documents with Postfix",
  suite((address) => Postfix.make({ milters: FilterServer.forPostfix(address) }))
)

Sendmail.describeSendmail("documents with Sendmail", suite((address) => Sendmail.make({ filters: [{ address }] })))

const truncating = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) => () =>
  it.live("a filter that truncates sees the beginning, and the mail is delivered whole", () =>
    Effect.gen(function*() {
      const seen: Array<{ readonly body: string; readonly isTruncated: boolean }> = []
      const filter = Message.make("cutting", { maxBytes: 100_000, tooLarge: "truncate", modify: ["headers"] }).on({
        document: Effect.fnUntraced(function*({ body, headers, isTruncated }) {
          seen.push({ body: yield* body.text, isTruncated })
          yield* headers.append("X-Seen", isTruncated ? "in part" : "whole")
          return Verdict.continue
        })
      })
      const mta = yield* start(yield* FilterServer.serve(filter))
      const client = yield* SmtpClient.connect(mta.port)
      const send = (lines: number) =>
        Effect.gen(function*() {
          const body = Array.from({ length: lines }, (_, line) => `line ${line} of a body\n`).join("")
          const sent = SmtpClient.crlf(`From: <${table.sender}>\nSubject: hello\n\n${body}`)
          const { message, queueId } = yield* client.sendMail({
            from: table.sender,
            to: table.recipients,
            message: sent,
            mailParameters: `SIZE=${sent.length}`
          })
          assert.strictEqual(message?.code, 250)
          const delivered = yield* mta.takeOne({ queueId })
          assert.strictEqual(delivered.body, body)
          const mark = delivered.fields.find((field) => field.startsWith("X-Seen:"))
          return { mark, body: body.replaceAll("\n", "\r\n") }
        })
      const large = yield* send(50_000)
      assert.strictEqual(large.mark, "X-Seen: in part")
      const small = yield* send(10)
      assert.strictEqual(small.mark, "X-Seen: whole")
      const [first, second] = seen
      assert.isTrue(first!.isTruncated)
      // The header is a part of what is counted.
      assert.isBelow(first!.body.length, 100_000)
      assert.isAbove(first!.body.length, 99_000)
      assert.strictEqual(first!.body, large.body.slice(0, first!.body.length))
      assert.deepStrictEqual(second, { body: small.body, isTruncated: false })
    }).pipe(Effect.scoped))

Postfix.describePostfix(
  "truncated documents with Postfix",
  truncating((address) => Postfix.make({ milters: FilterServer.forPostfix(address) }))
)

Sendmail.describeSendmail(
  "truncated documents with Sendmail",
  truncating((address) => Sendmail.make({ filters: [{ address }] }))
)
