/** A sequence of filters beside the same filters as milters of their own: what arrives has to be the same. */
import { assert, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as FilterServer from "./support/filterServer.ts"
import { withNotes as message } from "./support/messages.ts"

const lines = (...texts: ReadonlyArray<string>) => Stream.make(...texts.map((text) => new TextEncoder().encode(text)))

/** Edits headers and body; the body has line ends that no MTA would show a filter. */
const editing = Milter.make("editing", { modify: ["insertHeader", "changeHeader", "deleteHeader", "replaceBody"] }).on({
  endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
    yield* edit.deleteHeader("X-Note", 2)
    yield* edit.changeHeader("Subject", 1, "second\n and folded")
    yield* edit.insertHeader(1, "X-Top", "above")
    yield* edit.insertHeader(9999, "X-Note", "four")
    yield* edit.replaceBody(lines("a new body\n", "x".repeat(200_000), "\r\nits last line"))
    return Verdict.continue
  })
})

/** Hashes the message as it streams by, and says at its end what it was. */
const hashing = Milter.make("hashing", {
  modify: ["insertHeader", "changeHeader"],
  message: () => Effect.sync(() => createHash("sha256"))
}).on({
  endOfMessage: Effect.fnUntraced(function*(_, { edit, message }) {
    yield* edit.insertHeader(9999, "X-Hash", message.digest("hex"))
    // The third of those that it sees.
    yield* edit.changeHeader("X-Note", 3, "changed")
    return Verdict.continue
  })
}, {
  header: ({ name, raw }, { message }) => Effect.sync(() => void message.update(`${name}:${raw}\n`, "latin1")),
  body: ({ bytes }, { message }) => Effect.sync(() => void message.update(bytes))
})

const serve = <R>(filter: Milter.Filter<never, R>) => Effect.map(FilterServer.serve(filter), FilterServer.forPostfix)

/** What arrives, without what is of this one delivery. */
const comparable = (mail: { readonly fields: ReadonlyArray<string>; readonly body: string }) => ({
  fields: mail.fields.filter((field) => !/^(Received|Return-Path|Delivered-To|X-Original-To)/.test(field)),
  body: mail.body
})

const checked = (one: ReturnType<typeof comparable>, other: ReturnType<typeof comparable>): void => {
  assert.deepStrictEqual(one, other)
  const note = one.fields.filter((field) => field.startsWith("X-Note"))
  assert.deepStrictEqual(note, ["X-Note: one", "X-Note: three", "X-Note: changed"])
  assert.strictEqual(one.fields.filter((field) => field.startsWith("X-Hash")).length, 1)
  assert.isTrue(one.body.startsWith("a new body\n"))
}

Postfix.describePostfix("a sequence with Postfix", () => {
  layer(Layer.effect(
    Postfix.Postfix,
    Effect.gen(function*() {
      const one = yield* serve(editing)
      const other = yield* serve(hashing)
      const both = yield* serve(Milter.sequence([editing, hashing]))
      return yield* Postfix.make<string>({ milters: both, listeners: { separate: { milters: `${one},${other}` } } })
    })
  ))((it) => {
    it.effect("delivers what two milters behind it would", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const send = Effect.fnUntraced(function*(port: number) {
          const client = yield* SmtpClient.connect(port)
          // Two on one connection: the second begins anew.
          const mails = []
          for (let count = 0; count < 2; count++) {
            const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
            assert.strictEqual(result.message?.code, 250)
            mails.push(comparable(yield* postfix.takeOne({ queueId: result.queueId })))
          }
          assert.deepStrictEqual(mails[1], mails[0])
          return mails[0]!
        }, Effect.scoped)
        checked(yield* send(postfix.port), yield* send(postfix.portOf("separate")))
      }))
  })
})

class Two extends Context.Service<Two, {
  readonly sequence: Sendmail.Instance<never>
  readonly separate: Sendmail.Instance<never>
}>()("test/Two") {}

Sendmail.describeSendmail("a sequence with Sendmail", () => {
  layer(Layer.effect(
    Two,
    Effect.gen(function*() {
      const one = yield* FilterServer.serve(editing)
      const other = yield* FilterServer.serve(hashing)
      const both = yield* FilterServer.serve(Milter.sequence([editing, hashing]))
      return {
        sequence: yield* Sendmail.make({ filters: [{ address: both }] }),
        separate: yield* Sendmail.make({ filters: [{ address: one }, { address: other }] })
      }
    })
  ))((it) => {
    it.effect("delivers what two milters behind it would", () =>
      Effect.gen(function*() {
        const { separate, sequence } = yield* Two
        const send = Effect.fnUntraced(function*(sendmail: Sendmail.Instance<never>) {
          const client = yield* SmtpClient.connect(sendmail.port)
          const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
          assert.strictEqual(result.message?.code, 250)
          return comparable(yield* sendmail.takeOne())
        }, Effect.scoped)
        checked(yield* send(sequence), yield* send(separate))
      }))
  })
})
