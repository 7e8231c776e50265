/** Message: what a document reads, edits and sends. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Option, Ref, Stream } from "effect"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import { acceptingKey, listenerOf } from "../src/internal/net/listener.ts"
import * as Ledger from "./support/ledger.ts"
import * as table from "./support/messageEdits.ts"

const bytes = (text: string): Uint8Array => ByteString.toBytes(ByteString.make(text))

const message: MilterClient.Message = {
  from: table.sender,
  to: table.recipients,
  headers: table.fields.map((field) => {
    const colon = field.indexOf(":")
    return [field.slice(0, colon), bytes(field.slice(colon + 2))]
  }),
  body: bytes(table.body.replaceAll("\n", "\r\n"))
}

const short: MilterClient.Message = {
  from: "alice@example.org",
  to: ["bob@example.net", "carol@example.net"],
  headers: [["Subject", "hello"]],
  body: "Hello\n"
}

/** What a hook finds in the message. */
const seen = <A>(
  look: (document: Message.Document) => Effect.Effect<A>,
  sent: MilterClient.Message = message,
  options?: MilterTest.Options
) =>
  Effect.gen(function*() {
    const found = yield* Ref.make(Option.none<A>())
    const filter = Message.make("looking").on({
      document: (document) =>
        Effect.as(Effect.flatMap(look(document), (value) => Ref.set(found, Option.some(value))), Verdict.continue)
    })
    MilterTest.assertAccepted(yield* MilterTest.message(filter, sent, options))
    return Option.getOrThrow(yield* Ref.get(found))
  })

/** Why an edit cannot be made; the filter goes on all the same. */
const defectOf = (edit: table.Edit) =>
  Effect.gen(function*() {
    const found = yield* Ref.make("")
    const filter = table.editing((document) =>
      Effect.catchDefect(edit(document), (defect) => Ref.set(found, defect instanceof Error ? defect.message : "?"))
    )
    yield* MilterTest.message(filter, message)
    return yield* Ref.get(found)
  })

describe("edits", () => {
  for (const as of MilterTest.mtas.filter(({ name }) => !name.startsWith("Postfix 2.3"))) {
    for (const { edit, ...expected } of [...table.cases, ...table.randomCases(50)]) {
      it.effect(`${expected.name}: ${as.name}`, () =>
        Effect.gen(function*() {
          const outcome = yield* MilterTest.message(table.editing(edit), message, { as })
          const delivered = outcome.delivered
          assert(delivered !== undefined, MilterTest.format(outcome))
          assert.deepStrictEqual(
            delivered.headers.map(({ name, value }): string => `${name}:${value}`),
            [...expected.fields ?? table.fields]
          )
          assert.strictEqual(
            ByteString.fromBytes(delivered.body).replaceAll("\r\n", "\n"),
            expected.body ?? table.body
          )
          assert.strictEqual(delivered.sender, expected.sender ?? table.sender)
          assert.sameMembers(
            delivered.recipients.map(({ address }): string => address),
            [...expected.recipients ?? table.recipients]
          )
        }))
    }
  }
})

describe("edits without the leading-space step", () => {
  for (const { edit, fields, name } of table.randomCases(20)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const filter = Message.make("header", { modify: ["headers"] }).on({
          document: (document) => Effect.as(edit(document), Verdict.continue)
        })
        const { delivered } = yield* MilterTest.message(filter, message, { as: MilterTest.postfix23 })
        assert.deepStrictEqual(
          delivered?.headers.map(({ name, value }): string => `${name}:${value}`),
          [...fields ?? table.fields]
        )
      }))
  }
})

describe("reading", () => {
  it.effect("a header as people see it", () =>
    Effect.gen(function*() {
      const found = yield* seen(({ headers }) =>
        Effect.sync(() => ({
          subject: headers.get("subject"),
          raw: headers.field("Subject")?.raw,
          second: headers.get("X-NOTE", 2),
          fourth: headers.get("X-Note", 4),
          all: headers.getAll("x-note"),
          none: headers.getAll("X-None"),
          names: headers.fields.map(({ name }) => name),
          latin: headers.field("X-Latin")?.bytes,
          wellFormed: headers.field("X-Latin")?.wellFormed
        }))
      )
      assert.deepStrictEqual(found, {
        subject: "Grüße from here",
        raw: ByteString.make(" =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= from\n here"),
        second: "two",
        fourth: undefined,
        all: ["one", "two", "three"],
        none: [],
        names: table.fields.map((field) => field.slice(0, field.indexOf(":"))),
        latin: ByteString.make("caf\u00e9"),
        wellFormed: false
      })
    }))

  it.effect("addresses and groups of all fields of a name", () =>
    Effect.gen(function*() {
      const { addresses, flat } = yield* seen(({ headers }) =>
        Effect.sync(() => ({ addresses: headers.addresses("To"), flat: Message.mailboxes(headers.addresses("to")) })), {
        ...message,
        headers: [
          ["To", "Team: bob@test.example, \"Carol C.\" <carol@test.example>;, =?ISO-8859-1?Q?J=F6rg?= <j@example.org>"],
          ["Subject", "x"],
          ["to", "dave@example.org (Dave)"]
        ]
      })
      assert.deepStrictEqual(addresses, [
        {
          name: "Team",
          members: [{ name: "", address: "bob@test.example" }, { name: "Carol C.", address: "carol@test.example" }]
        },
        { name: "Jörg", address: "j@example.org" },
        { name: "Dave", address: "dave@example.org" }
      ])
      assert.deepStrictEqual(
        flat.map(({ address }) =>
          address
        ),
        [
          "bob@test.example",
          "carol@test.example",
          "j@example.org",
          "dave@example.org"
        ]
      )
    }))

  it.effect("dates of RFC 5322, obsolete ones too", () =>
    Effect.gen(function*() {
      const dates: ReadonlyArray<readonly [text: string, iso: string | undefined]> = [
        ["Mon, 01 Jan 2024 01:30:00 +0130", "2024-01-01T00:00:00.000Z"],
        ["1 Jan 2024 00:00 GMT", "2024-01-01T00:00:00.000Z"],
        ["Thu, 29 Feb 2024\r\n 12:00:00 -0800 (PST)", "2024-02-29T20:00:00.000Z"],
        ["21 Nov 97 09:55:06 EST", "1997-11-21T14:55:06.000Z"],
        ["21 Nov 26 09:55:06 Z", "2026-11-21T09:55:06.000Z"],
        ["30 Feb 2024 12:00:00 +0000", undefined],
        ["1 Foo 2024 12:00:00 +0000", undefined],
        ["1 Jan 2024 24:00:00 +0000", undefined],
        ["yesterday", undefined],
        ["", undefined]
      ]
      for (const [text, iso] of dates) {
        const date = yield* seen(({ headers }) => Effect.sync(() => headers.date()), {
          ...message,
          headers: [["Date", text]]
        })
        assert.strictEqual(date && DateTime.formatIso(date), iso, text)
      }
      assert.isUndefined(yield* seen(({ headers }) => Effect.sync(() => headers.date("Resent-Date"))))
    }))

  it.effect("envelope, body and source, with and without the leading-space step", () =>
    Effect.gen(function*() {
      for (const as of [MilterTest.postfix, MilterTest.postfix23]) {
        const found = yield* seen(
          Effect.fnUntraced(function*(document) {
            return {
              sender: document.sender.address,
              size: document.parameters.size,
              recipients: document.recipients.map(({ recipient }) => recipient.address),
              bodySize: document.body.size,
              text: yield* document.body.text,
              source: ByteString.fromBytes(yield* Stream.mkUint8Array(document.source))
            }
          }),
          { ...message, parameters: ["SIZE=400"] },
          { as }
        )
        assert.deepStrictEqual(found, {
          sender: table.sender,
          size: 400,
          recipients: [...table.recipients],
          bodySize: 13,
          text: "Hello, Bob.\r\n",
          source: ByteString.make([...table.fields, "", table.body].join("\n").replaceAll("\n", "\r\n"))
        })
      }
    }))

  it.effect("shows the edits so far", () =>
    Effect.gen(function*() {
      const found = yield* Ref.make<ReadonlyArray<unknown>>([])
      yield* MilterTest.message(
        table.editing(Effect.fnUntraced(function*(document) {
          yield* document.headers.set("Subject", "Grüße")
          yield* document.replaceBody("new\n")
          yield* document.setSender("eve@example.org")
          yield* document.removeRecipient(table.recipients[0]!)
          yield* Ref.set(found, [
            document.headers.get("Subject"),
            yield* document.body.text,
            document.sender.domain,
            document.recipients.length
          ])
        })),
        message
      )
      assert.deepStrictEqual(yield* Ref.get(found), ["Grüße", "new\r\n", "example.org", 1])
    }))
})

describe("the envelope", () => {
  it.effect("changes by the bytes of RCPT, and without parameters of its own", () =>
    Effect.gen(function*() {
      const filter = table.editing(Effect.fnUntraced(function*(document) {
        yield* document.setSender("eve@example.org")
        yield* document.removeRecipient("bob@example.net")
        yield* document.addRecipient("CAROL@example.net")
        yield* document.addRecipient("dave@example.net")
      }))
      for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
        const { modifications } = yield* MilterTest.message(filter, {
          ...short,
          to: ["<\"Bob\"@Example.NET>", "Bob@Example.Net", "carol@example.net"],
          parameters: ["RET=HDRS", "ENVID=1"]
        }, { as })
        assert.deepStrictEqual(modifications, [
          { _tag: "ChangeSender", sender: ByteString.make("<eve@example.org>") },
          { _tag: "DeleteRecipient", recipient: ByteString.make("<Bob@Example.Net>") },
          { _tag: "AddRecipient", recipient: ByteString.make("<dave@example.net>") }
        ])
      }
    }))
})

describe("what cannot be", () => {
  const cases: ReadonlyArray<readonly [what: string, edit: table.Edit, reason: RegExp]> = [
    [
      "a line break",
      ({ headers }) => headers.append("X-A", "1\r\nBcc: eve@example.org"),
      /header value .*a fold|folded/
    ],
    ["a NUL", ({ headers }) => headers.prepend("X-A", "1\0"), /header value .*NUL/],
    ["a name with a colon", ({ headers }) => headers.set("X-A:", "1"), /header name/],
    ["no name", ({ headers }) => headers.remove(""), /header name/],
    ["a new name with a space", ({ headers }) => headers.rename("X-Note", "X Note"), /header name/],
    ["no occurrence", ({ headers }) => headers.set("X-Note", "1", 0), /occurrence "0"/],
    ["half an occurrence", ({ headers }) => headers.remove("X-Note", 1.5), /occurrence "1.5"/],
    ["two recipients in one", (document) => document.addRecipient("a@example.org,b@example.org"), /address/],
    ["a recipient outside ASCII", (document) => document.addRecipient("jörg@example.org"), /address/],
    ["the null sender as recipient", (document) => document.addRecipient("<>"), /address/],
    ["a sender with a space", (document) => document.setSender("a b@example.org"), /address/],
    [
      "no recipient",
      (document) => Effect.forEach(table.recipients, (recipient) => document.removeRecipient(recipient)),
      /recipient to remove "Carol@test.example".*discardMessage/
    ]
  ]
  for (const [what, edit, reason] of cases) {
    it.effect(`${what} is a defect at once`, () =>
      Effect.gen(function*() {
        assert.match(yield* defectOf(edit), reason)
      }))
  }

  it.effect("a defect puts the message off", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(table.editing(({ headers }) => headers.append("", "")), message)
      MilterTest.assertTempFailed(outcome)
    }))
})

describe("the MTA is not known", () => {
  it.effect("so what is new between others comes to the nearer end", () =>
    Effect.gen(function*() {
      const unknown = { i: "message-1" }
      const { delivered } = yield* MilterTest.message(
        table.editing(({ headers }) =>
          Effect.andThen(headers.rename("X-Note", "X-Renamed", 3), headers.rename("To", "X-To"))
        ),
        {
          ...message,
          macros: { connect: { v: "Other 1.0" }, mail: unknown, rcpt: unknown, data: unknown, endOfMessage: unknown }
        }
      )
      assert.deepStrictEqual(
        delivered?.headers.map(({ name }): string => name),
        ["X-To", "From", "Subject", "X-Note", "X-Note", "X-Latin", "Date", "Message-ID", "X-Renamed"]
      )
    }))
})

describe("stages before", () => {
  /** What a filter is asked, by stage. */
  const asked = (filter: Milter.Filter<never, never>) =>
    MilterTest.run(
      filter,
      Effect.fnUntraced(function*(mta) {
        yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
        const answers = [
          yield* mta.mail("<alice@example.org>", ["SIZE=400"]),
          yield* mta.rcpt("<bob@example.net>"),
          yield* mta.data(),
          yield* mta.header("Subject", "hello"),
          yield* mta.endOfHeaders(),
          yield* mta.body("Hello\r\n"),
          (yield* mta.endOfMessage()).verdict
        ]
        return answers.map((answer) => answer._tag === "NotSent" ? answer.because : answer._tag)
      })
    )

  const never = () => Effect.die("not to be called")

  it.effect("all that is needed is asked for, and answered at the end", () =>
    Effect.gen(function*() {
      const filter = Message.make("whole").on({ document: () => Effect.succeed(Verdict.continue) })
      assert.deepStrictEqual(
        yield* asked(filter),
        ["Continue", "NotAnswered", "step", "NotAnswered", "step", "NotAnswered", "Continue"]
      )
    }))

  it.effect("without a body none is asked for", () =>
    Effect.gen(function*() {
      const filter = Message.make("header", { body: false }).on({ document: () => Effect.succeed(Verdict.reject()) })
      assert.deepStrictEqual(
        yield* asked(filter),
        ["Continue", "NotAnswered", "step", "NotAnswered", "step", "step", "Reject"]
      )
    }))

  it.effect("may settle the message", () =>
    Effect.gen(function*() {
      const accept = () => Effect.succeed(Verdict.acceptMessage)
      const filter = (stage: "mail" | "rcpt" | "endOfHeaders") =>
        Message.make("early").on({ [stage]: accept, document: never })
      const after = (count: number) => Array.from({ length: count }, () => "decided")
      assert.deepStrictEqual(yield* asked(filter("mail")), ["Accept", ...after(6)])
      assert.deepStrictEqual(yield* asked(filter("rcpt")), ["Continue", "Accept", ...after(5)])
      assert.deepStrictEqual(
        yield* asked(filter("endOfHeaders")),
        ["Continue", "NotAnswered", "step", "NotAnswered", "Accept", ...after(2)]
      )
    }))

  it.effect("see the message as far as it has come, and its state", () =>
    Effect.gen(function*() {
      const filter = Message.make("state", {
        connection: ({ hostname }) => Effect.succeed(hostname),
        message: (mail, { connection }) => Ref.make([connection, mail.sender.address])
      }).on({
        rcpt: ({ recipient }, { message }) =>
          Effect.as(Ref.update(message, (seen) => [...seen, recipient.address]), Verdict.continue),
        endOfHeaders: ({ headers, recipients }, { message }) =>
          Effect.as(
            Ref.update(message, (seen) => [...seen, `${headers.get("Subject")} to ${recipients.length}`]),
            Verdict.continue
          ),
        document: (document, { message }) =>
          Effect.map(Ref.get(message), (seen) =>
            Verdict.reject({ enhanced: "5.7.1", text: [...seen, `${document.body.size}`].join(", ") }))
      })
      MilterTest.assertRejected(yield* MilterTest.message(filter, short), {
        reply: "550 5.7.1 client.example.org, alice@example.org, bob@example.net, carol@example.net, hello to 2, 7"
      })
    }))
})

describe("size", () => {
  const limited = (options: { readonly maxBytes: number; readonly tooLarge?: Milter.FailurePolicy }) =>
    Message.make("limited", { ...options, modify: ["headers"] }).on({
      document: ({ headers }) => Effect.as(headers.append("X-Seen", "yes"), Verdict.continue)
    })

  const large: MilterClient.Message = { ...short, body: "x".repeat(200_000) }

  it.effect("of the body, refused while it comes", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(limited({ maxBytes: 100_000 }), large)
      MilterTest.assertRejected(outcome, {
        reply: "552 5.3.4 The message is too large",
        stage: "body"
      })
    }))

  it.effect("announced, refused at MAIL", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(limited({ maxBytes: 1000 }), { ...short, parameters: ["SIZE=1001"] })
      MilterTest.assertRejected(outcome, { reply: /^552 /, stage: "mail" })
    }))

  it.effect("of the header, refused at the end", () =>
    Effect.gen(function*() {
      const headers = [["X-Long", "x".repeat(2000)]] as const
      const outcome = yield* MilterTest.message(limited({ maxBytes: 1000 }), { ...short, headers, body: "" })
      MilterTest.assertRejected(outcome, { reply: /^552 /, stage: "endOfMessage" })
    }))

  it.effect("passed unseen, if so wished", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(limited({ maxBytes: 1000, tooLarge: "pass" }), large)
      MilterTest.assertAccepted(outcome)
      assert.isEmpty(outcome.modifications)
    }))

  it.effect("within the limit", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(limited({ maxBytes: 100 }), { ...short, parameters: ["SIZE=50"] })
      MilterTest.assertAccepted(outcome, { headers: { "X-Seen": "yes" } })
    }))
})

describe("a document", () => {
  it.effect("can be taken apart", () =>
    Effect.gen(function*() {
      const filter = Message.make("taking", {
        modify: ["headers", "body", "recipients", "sender", "quarantine"]
      }).on({
        document: Effect.fnUntraced(function*(document) {
          const { addRecipient, headers, quarantine, removeRecipient, replaceBody, setSender } = document
          const { addresses, append, date, field, get, getAll, prepend, remove, rename, set } = headers
          yield* append("X-Last", "yes")
          yield* prepend("X-First", "yes")
          yield* set("X-Set", "yes")
          yield* rename("X-Set", "X-Renamed")
          yield* remove("X-Last")
          assert.deepStrictEqual([get("X-First"), getAll("X-First"), field("X-First")?.value], ["yes", ["yes"], "yes"])
          assert.deepStrictEqual([addresses("X-First").length, date("X-First")], [1, undefined])
          yield* addRecipient("dave@example.net")
          yield* removeRecipient("dave@example.net")
          yield* setSender("someone@example.org")
          yield* replaceBody("new")
          yield* quarantine("a look")
          return Verdict.continue
        })
      })
      const outcome = yield* MilterTest.message(filter, short)
      MilterTest.assertAccepted(outcome, {
        headers: { "X-First": "yes", "X-Renamed": "yes", "X-Last": undefined },
        body: "new\n",
        quarantined: "a look"
      })
    }))

  it.effect("can be taken apart down to its parts", () =>
    Effect.gen(function*() {
      const filter = Message.make("taking", { modify: ["mime"] }).on({
        document: Effect.fnUntraced(function*({ mime }) {
          const { append, attach, prepend, removeMarked } = mime
          yield* append({ text: "the end", mark: "end" })
          yield* removeMarked("end")
          yield* prepend({ text: "the beginning" })
          yield* attach({ filename: "a.txt", type: "text/plain", content: "attached" })
          return Verdict.continue
        }, Effect.orDie)
      })
      const outcome = yield* MilterTest.message(filter, short)
      assert(outcome._tag === "Accepted" && outcome.delivered !== undefined)
      assert.match(Buffer.from(outcome.delivered.body).toString(), /the beginning[^]*a\.txt/)
    }))

  it.effect("whose body gets the bytes that it has sends no body", () =>
    Effect.gen(function*() {
      const body = "x".repeat(100_000)
      const same = table.editing((document) => document.replaceBody(document.body.stream))
      const { delivered, modifications } = yield* MilterTest.message(same, { ...short, body })
      assert.deepStrictEqual(modifications, [])
      assert.strictEqual(delivered?.body.length, 100_002)
      const other = table.editing((document) => document.replaceBody(`${body.slice(1)}y\n`))
      const changed = yield* MilterTest.message(other, { ...short, body })
      assert.deepStrictEqual(new Set(changed.modifications.map(({ _tag }) => _tag)), new Set(["ReplaceBody"]))
    }))
})

describe("large bodies", () => {
  it.effect("are in a file that is closed with the message", () =>
    Effect.gen(function*() {
      const ledger = Ledger.make(() => undefined)
      const network = Layer.provideMerge(
        Layer.effect(
          MilterServer.Listener,
          Effect.map(MilterServer.Listener, (listener) =>
            listenerOf({ ...listener[acceptingKey], openFile: ledger.openFile }))
        ),
        MilterTest.layer
      )
      const doubled = table.editing((document) =>
        document.replaceBody(Stream.concat(document.body.stream, document.body.stream))
      )
      const send = (body: string) =>
        MilterClient.dial(MilterTest.address).pipe(
          Effect.flatMap((mta) =>
            mta.sendMessage({ ...short, body })
          ),
          Effect.scoped
        )
      yield* Effect.gen(function*() {
        yield* send("x".repeat(1000))
        assert.strictEqual(ledger.counts.filesOpened, 0)
        const { delivered } = yield* send("x".repeat(300_000))
        assert.strictEqual(delivered?.body.length, 600_004)
      }).pipe(Effect.provide(Layer.provideMerge(MilterServer.layer(doubled), network)))
      assert.isAbove(ledger.counts.filesOpened, 0)
      assert.strictEqual(ledger.counts.filesClosed, ledger.counts.filesOpened)
    }))

  it.effect("fail with the stream that makes them", () =>
    Effect.gen(function*() {
      const filter = Message.make("failing", { modify: ["body"] }).on({
        document: (document) => Effect.as(document.replaceBody(Stream.fail("no more" as const)), Verdict.continue)
      })
      const handled = Milter.onFailure(filter, (reason) => Effect.succeed(Verdict.tempFail({ text: reason })))
      MilterTest.assertTempFailed(yield* MilterTest.message(handled, short), { reply: /no more/ })
    }))
})

describe("verdicts", () => {
  it.effect("that refuse take the edits with them", () =>
    Effect.gen(function*() {
      const filter = Message.make("refusing", { modify: ["headers", "body"] }).on({
        document: Effect.fnUntraced(function*(document) {
          yield* document.headers.append("X-A", "1")
          yield* document.replaceBody("new")
          return Verdict.discardMessage
        })
      })
      const outcome = yield* MilterTest.message(filter, short)
      MilterTest.assertDiscarded(outcome)
      assert.isEmpty(outcome.modifications)
    }))

  it.effect("hold a message", () =>
    Effect.gen(function*() {
      const filter = Message.make("holding", { modify: ["quarantine"], body: false }).on({
        document: (document) => Effect.as(document.quarantine("virus"), Verdict.continue)
      })
      const { delivered } = yield* MilterTest.message(filter, short)
      assert.strictEqual(delivered?.quarantined, "virus")
    }))

  it.effect("in a sequence, each over what the one before has made", () =>
    Effect.gen(function*() {
      const first = Message.make("first", { modify: ["headers", "body"] }).on({
        document: Effect.fnUntraced(function*(document) {
          yield* document.headers.set("Subject", "first")
          yield* document.replaceBody("first\n")
          return Verdict.continue
        })
      })
      const second = Message.make("second", { modify: ["headers"] }).on({
        document: Effect.fnUntraced(function*({ body, headers }) {
          yield* headers.set("Subject", `${headers.get("Subject")}, ${(yield* body.text).trim()}, second`)
          return Verdict.continue
        })
      })
      const outcome = yield* MilterTest.message(Milter.sequence([first, second]), short)
      MilterTest.assertAccepted(outcome, { headers: { Subject: "first, first, second" }, body: "first\n" })
      assert.strictEqual(outcome.modifications.length, 2)
    }))
})

describe("addresses", () => {
  it("are written so that they can be read again", () => {
    const text = Message.formatAddresses([
      { name: "Team", members: [{ name: "C. \"the\" \\", address: "c@example.org" }] },
      { name: "Nobody", members: [] },
      { name: "Bob Builder", address: "bob@example.org" },
      { name: "", address: "a@example.org" }
    ])
    assert.strictEqual(
      text,
      "Team: \"C. \\\"the\\\" \\\\\" <c@example.org>;, Nobody:;, Bob Builder <bob@example.org>, a@example.org"
    )
  })
})
