/**
 * Every modification on a real Postfix and a real Sendmail: what each delivers, whether that is the same, and whether it
 * is what `Delivery` says. What docs/operate/mta-differences.md tells of modifications stands on these.
 */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Postfix from "../../testbed/postfix.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import { crlf } from "../../testbed/smtpClient.ts"
import * as Random from "../support/random.ts"
import * as Delivering from "./support/delivering.ts"
import { withNotes as message } from "./support/messages.ts"
import * as RandomMail from "./support/randomMail.ts"

class Mtas extends Context.Service<Mtas, {
  readonly postfix: Delivering.Mta
  readonly sendmail: Delivering.Mta
}>()("test/Mtas") {}

const mtas = Layer.effect(
  Mtas,
  Effect.all({ postfix: Delivering.makePostfix, sendmail: Delivering.makeSendmail }, { concurrency: "unbounded" })
)

const mail = { from: "alice@example.org", to: ["bob@test.example", "dan@test.example"], message }

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1")

const inOrder = (...edits: ReadonlyArray<Delivering.Edit>): Delivering.Edit => (edit) =>
  Effect.forEach(edits, (each) => each(edit))

const tuesday = "Tue, 02 Jan 2024 00:00:00 +0000"

/** The fields of a letter that have one of these names, or all. */
const fields = (...names: ReadonlyArray<string>) => ({ text }: Delivering.Letter): ReadonlyArray<string> =>
  text.slice(0, text.indexOf("\n\n")).split(/\n(?![ \t])/).filter((field) =>
    names.length === 0 || names.some((name) => field.toLowerCase().startsWith(`${name.toLowerCase()}:`))
  )

const body = ({ text }: Delivering.Letter): string => text.slice(text.indexOf("\n\n") + 2)

const recipients = ({ to }: Delivering.Letter): ReadonlyArray<string> => to

const sender = ({ from }: Delivering.Letter): string => from

const where = (name: string) => (letter: Delivering.Letter): number =>
  fields()(letter).findIndex((field) => field.startsWith(`${name}:`))

interface Same {
  readonly edit: Delivering.Edit
  readonly look: (letter: Delivering.Letter) => unknown
  readonly expected: unknown
}

interface Different {
  readonly edit: Delivering.Edit
  readonly look: (letter: Delivering.Letter) => unknown
  readonly postfix: unknown
  readonly sendmail: unknown
}

const text = fields("X-New", "X-Note")

/** Both deliver the same to the byte. */
const same: Readonly<Record<string, Same>> = {
  "addHeader: a name that is not there": {
    edit: (edit) => edit.addHeader("X-New", "v"),
    look: where("X-New"),
    expected: 8
  },
  "addHeader: folded": {
    edit: (edit) => edit.addHeader("X-New", "one\r\n two\r\n\tthree"),
    look: fields("X-New"),
    expected: ["X-New: one\n two\n\tthree"]
  },
  "addHeader: not ASCII": {
    edit: (edit) => edit.addHeader("X-New", "Grüße"),
    look: fields("X-New"),
    expected: ["X-New: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="]
  },
  "addHeader: empty": { edit: (edit) => edit.addHeader("X-New", ""), look: fields("X-New"), expected: ["X-New:"] },
  "insertHeader: 1, twice": {
    edit: inOrder((edit) => edit.insertHeader(1, "X-New", "a"), (edit) => edit.insertHeader(1, "X-New", "b")),
    look: (letter) => fields()(letter).slice(0, 2),
    expected: ["X-New: b", "X-New: a"]
  },
  "insertHeader: 1 and then 0": {
    edit: inOrder((edit) => edit.insertHeader(1, "X-New", "1"), (edit) => edit.insertHeader(0, "X-New", "0")),
    look: (letter) => fields()(letter).slice(0, 2),
    expected: ["X-New: 0", "X-New: 1"]
  },
  "insertHeader: beyond the end, twice": {
    edit: inOrder((edit) => edit.insertHeader(1000, "X-New", "a"), (edit) => edit.insertHeader(1000, "X-New", "b")),
    look: (letter) => fields()(letter).slice(-2),
    expected: ["X-New: a", "X-New: b"]
  },
  "insertHeader: a name that Sendmail has a place for": {
    edit: (edit) => edit.insertHeader(1, "Date", tuesday),
    look: where("Date"),
    expected: 0
  },
  "changeHeader: one of several": {
    edit: (edit) => edit.changeHeader("X-Note", 2, "v"),
    look: text,
    expected: ["X-Note: one", "X-Note: v", "X-Note: three"]
  },
  "changeHeader: a name that is not there": {
    edit: (edit) => edit.changeHeader("X-New", 1, "v"),
    look: where("X-New"),
    expected: 8
  },
  "changeHeader: to nothing": {
    edit: (edit) => edit.changeHeader("Subject", 1, ""),
    look: fields("Subject"),
    expected: ["Subject: "]
  },
  "changeHeader: fields that Sendmail has a place for": {
    edit: inOrder(
      (edit) => edit.changeHeader("Date", 1, tuesday),
      (edit) => edit.changeHeader("From", 1, "Carol <carol@example.org>")
    ),
    look: fields("From", "Date"),
    expected: ["From: Carol <carol@example.org>", `Date: ${tuesday}`]
  },
  "deleteHeader: from the highest down": {
    edit: inOrder((edit) => edit.deleteHeader("X-Note", 2), (edit) => edit.deleteHeader("X-Note", 1)),
    look: text,
    expected: ["X-Note: three"]
  },
  "deleteHeader: one that is not there": {
    edit: (edit) => edit.deleteHeader("X-New", 1),
    look: text,
    expected: ["X-Note: one", "X-Note: two", "X-Note: three"]
  },
  "deleteHeader: what a message has to have": {
    edit: inOrder(
      (edit) => edit.deleteHeader("Date", 1),
      (edit) => edit.deleteHeader("From", 1),
      (edit) => edit.deleteHeader("Message-Id", 1)
    ),
    look: (letter) => fields()(letter)[0],
    expected: "To: bob@test.example"
  },
  "deleteHeader: the MTA's own Received": {
    edit: (edit) => edit.deleteHeader("Received", 1),
    look: (letter) => fields()(letter).length,
    expected: 8
  },
  "replaceBody": { edit: (edit) => edit.replaceBody(bytes("new\r\nbody\r\n")), look: body, expected: "new\nbody\n" },
  "replaceBody: with LF": {
    edit: (edit) => edit.replaceBody(bytes("new\nbody\n")),
    look: body,
    expected: "new\nbody\n"
  },
  "replaceBody: without a last line end": {
    edit: (edit) => edit.replaceBody(bytes("new\r\nbody")),
    look: body,
    expected: "new\nbody\n"
  },
  "replaceBody: with nothing": { edit: (edit) => edit.replaceBody(bytes("")), look: body, expected: "" },
  "replaceBody: dots, a CR, a NUL, eight bits, empty lines": {
    edit: (edit) => edit.replaceBody(bytes(".\r\n..\r\n.x\r\na\rb\r\na\0b\r\n\xe9\r\n\r\n\r\n")),
    look: body,
    expected: ".\n..\n.x\na\rb\na\0b\n\xe9\n\n\n"
  },
  "replaceBody: a stream of 1 MB, and a field after it": {
    edit: inOrder(
      (edit) =>
        edit.replaceBody(Stream.fromIterable(Array.from({ length: 250 }, () => bytes(`${"x".repeat(4094)}\r\n`)))),
      (edit) => edit.addHeader("X-New", "v")
    ),
    look: (letter) => [body(letter) === `${"x".repeat(4094)}\n`.repeat(250), fields("X-New")(letter)],
    expected: [true, ["X-New: v"]]
  },
  "addRecipient": {
    edit: (edit) => edit.addRecipient("carol@test.example"),
    look: recipients,
    expected: ["bob@test.example", "carol@test.example", "dan@test.example"]
  },
  "addRecipient: twice": {
    edit: inOrder((edit) => edit.addRecipient("carol@test.example"), (edit) => edit.addRecipient("carol@test.example")),
    look: recipients,
    expected: ["bob@test.example", "carol@test.example", "dan@test.example"]
  },
  "addRecipient: one that the MTA refuses clients": {
    edit: (edit) => edit.addRecipient("unknown@test.example"),
    look: recipients,
    expected: ["bob@test.example", "dan@test.example", "unknown@test.example"]
  },
  "addRecipientWithParameters": {
    edit: (edit) =>
      edit.addRecipientWithParameters("carol@test.example", "ORCPT=rfc822;x@example.org NOTIFY=SUCCESS,FAILURE"),
    look: recipients,
    expected: ["bob@test.example", "carol@test.example", "dan@test.example"]
  },
  "deleteRecipient": {
    edit: (edit) => edit.deleteRecipient("bob@test.example"),
    look: recipients,
    expected: ["dan@test.example"]
  },
  "deleteRecipient: one that is not there": {
    edit: (edit) => edit.deleteRecipient("nobody@test.example"),
    look: recipients,
    expected: ["bob@test.example", "dan@test.example"]
  },
  "deleteRecipient and addRecipient": {
    edit: inOrder((edit) => edit.deleteRecipient("bob@test.example"), (edit) => edit.addRecipient("bob@test.example")),
    look: recipients,
    expected: ["bob@test.example", "dan@test.example"]
  },
  "changeSender": {
    edit: (edit) => edit.changeSender("carol@example.org"),
    look: sender,
    expected: "carol@example.org"
  },
  "changeSender: to nobody": { edit: (edit) => edit.changeSender(""), look: sender, expected: "" },
  "changeSender: with upper case": {
    edit: (edit) => edit.changeSender("Carol@Example.ORG"),
    look: sender,
    expected: "Carol@Example.ORG"
  },
  "changeSender: with parameters": {
    edit: (edit) => edit.changeSender("carol@example.org", "RET=HDRS ENVID=abc"),
    look: sender,
    expected: "carol@example.org"
  },
  "changeSender: twice": {
    edit: inOrder((edit) => edit.changeSender("x@example.org"), (edit) => edit.changeSender("y@example.org")),
    look: sender,
    expected: "y@example.org"
  }
}

/** What a filter that runs on both has to know. */
const different: Readonly<Record<string, Different>> = {
  "addHeader: a name that is there": {
    edit: (edit) => edit.addHeader("X-Note", "v"),
    look: text,
    postfix: ["X-Note: one", "X-Note: two", "X-Note: three", "X-Note: v"],
    sendmail: ["X-Note: v", "X-Note: one", "X-Note: two", "X-Note: three"]
  },
  "addHeader: twice the same name": {
    edit: inOrder((edit) => edit.addHeader("X-New", "1"), (edit) => edit.addHeader("X-New", "2")),
    look: fields("X-New"),
    postfix: ["X-New: 1", "X-New: 2"],
    sendmail: ["X-New: 2", "X-New: 1"]
  },
  "addHeader: a field that Sendmail has a place for": {
    edit: (edit) => edit.addHeader("Date", tuesday),
    look: (letter) => fields()(letter).indexOf(`Date: ${tuesday}`),
    postfix: 8,
    sendmail: 0
  },
  "insertHeader: in the middle": {
    edit: (edit) => edit.insertHeader(3, "X-New", "v"),
    look: where("X-New"),
    postfix: 2,
    sendmail: 0
  },
  "changeHeader: beyond the last": {
    edit: (edit) => edit.changeHeader("X-Note", 4, "v"),
    look: text,
    postfix: ["X-Note: one", "X-Note: two", "X-Note: three", "X-Note: v"],
    sendmail: ["X-Note: v", "X-Note: one", "X-Note: two", "X-Note: three"]
  },
  "changeHeader: the name in other letters": {
    edit: (edit) => edit.changeHeader("x-note", 2, "v"),
    look: text,
    postfix: ["X-Note: one", "x-note: v", "X-Note: three"],
    sendmail: ["X-Note: one", "X-Note: v", "X-Note: three"]
  },
  "changeHeader: after a deletion": {
    edit: inOrder((edit) => edit.deleteHeader("X-Note", 1), (edit) => edit.changeHeader("X-Note", 1, "v")),
    look: text,
    postfix: ["X-Note: v", "X-Note: three"],
    sendmail: ["X-Note: v", "X-Note: two", "X-Note: three"]
  },
  "deleteHeader: from the lowest up": {
    edit: inOrder((edit) => edit.deleteHeader("X-Note", 1), (edit) => edit.deleteHeader("X-Note", 2)),
    look: text,
    postfix: ["X-Note: two"],
    sendmail: ["X-Note: three"]
  },
  "addRecipient: one that is there": {
    edit: (edit) => edit.addRecipient("bob@test.example"),
    look: recipients,
    postfix: ["bob@test.example", "bob@test.example", "dan@test.example"],
    sendmail: ["bob@test.example", "dan@test.example"]
  },
  "addRecipient: again with parameters": {
    edit: inOrder(
      (edit) => edit.addRecipient("carol@test.example"),
      (edit) => edit.addRecipientWithParameters("carol@test.example", "NOTIFY=NEVER")
    ),
    look: recipients,
    postfix: ["bob@test.example", "carol@test.example", "carol@test.example", "dan@test.example"],
    sendmail: ["bob@test.example", "carol@test.example", "dan@test.example"]
  },
  "deleteRecipient: in other letters": {
    edit: (edit) => edit.deleteRecipient("BOB@test.example"),
    look: recipients,
    postfix: ["bob@test.example", "dan@test.example"],
    sendmail: ["dan@test.example"]
  },
  "quarantine: the reason": {
    edit: (edit) => edit.quarantine("looks odd"),
    look: ({ held }) => held,
    postfix: "",
    sendmail: "looks odd"
  }
}

/** What the MTAs make of messages on their own; `undefined` is what was sent. Dates and numbers are `…`. */
const completed: Readonly<
  Record<string, {
    readonly sent: string
    readonly shown?: { readonly postfix?: string; readonly sendmail?: string }
    readonly postfix?: string
    readonly sendmail?: string
  }>
> = {
  "fields that are missing": {
    sent: "Subject: s\n\nx\n",
    // Postfix adds them before the filter, Sendmail after it.
    shown: { postfix: "Subject: s\nMessage-Id: …\nDate: …\nFrom: alice@example.org\n\nx\n" },
    postfix: "Subject: s\nMessage-Id: …\nDate: …\nFrom: alice@example.org\n\nx\n",
    sendmail: "Date: …\nFrom: alice@example.org\nMessage-Id: …\nSubject: s\n\nx\n"
  },
  "lists of addresses": {
    sent:
      "From: a@example.org\nTo: a@test.example,b@test.example\nCc: c@test.example,\n d@test.example\nReply-To: e@test.example,f@test.example\nDate: …\nMessage-Id: …\n\nx\n",
    sendmail:
      "From: a@example.org\nTo: a@test.example, b@test.example\nCc: c@test.example, d@test.example\nReply-To: e@test.example, f@test.example\nDate: …\nMessage-Id: …\n\nx\n"
  },
  "addresses without a domain": {
    sent: "From: a@example.org\nTo: bob\nDate: …\nMessage-Id: …\n\nx\n",
    shown: { postfix: "From: a@example.org\nTo: bob@test.example\nDate: …\nMessage-Id: …\n\nx\n" },
    postfix: "From: a@example.org\nTo: bob@test.example\nDate: …\nMessage-Id: …\n\nx\n",
    sendmail: "From: a@example.org\nTo: bob@mx.test.example\nDate: …\nMessage-Id: …\n\nx\n"
  },
  "fields that are not sent on": {
    sent:
      "From: a@example.org\nBcc: b@test.example\nReturn-Path: <c@example.org>\nContent-Length: 2\nFull-Name: D\nDate: …\nMessage-Id: …\n\nx\n",
    shown: { postfix: "From: a@example.org\nFull-Name: D\nDate: …\nMessage-Id: …\n\nx\n" },
    postfix: "From: a@example.org\nFull-Name: D\nDate: …\nMessage-Id: …\n\nx\n",
    sendmail: "From: a@example.org\nBcc:\nDate: …\nMessage-Id: …\n\nx\n"
  },
  "a NUL": {
    sent: "From: a@example.org\nX-Nul: a\0b\nDate: …\nMessage-Id: …\n\nx\0y\n",
    shown: {
      postfix: "From: a@example.org\nX-Nul: a\nDate: …\nMessage-Id: …\n\nx\0y\n",
      sendmail: "From: a@example.org\nX-Nul: ab\nDate: …\nMessage-Id: …\n\nx\0y\n"
    },
    postfix: "From: a@example.org\nX-Nul: a\nDate: …\nMessage-Id: …\n\nx\0y\n",
    sendmail: "From: a@example.org\nX-Nul: ab\nDate: …\nMessage-Id: …\n\nx\0y\n"
  },
  "a space before the colon": {
    sent: "From: a@example.org\nX-Space : v\nDate: …\nMessage-Id: …\n\nx\n",
    shown: {
      postfix: "From: a@example.org\nX-Space: v\nDate: …\nMessage-Id: …\n\nx\n",
      sendmail: "From: a@example.org\nX-Space: v\nDate: …\nMessage-Id: …\n\nx\n"
    },
    postfix: "From: a@example.org\nX-Space: v\nDate: …\nMessage-Id: …\n\nx\n",
    sendmail: "From: a@example.org\nX-Space: v\nDate: …\nMessage-Id: …\n\nx\n"
  },
  "folds, tabs, eight bits, long lines": {
    sent: `From:a@example.org\nX-Tab:\tv\nX-Wide:  v \nX-Fold:\n v\n\tw\nX-Eight: \xe9\nSubject: ${
      "word ".repeat(300)
    }\nDate: …\nMessage-Id: …\n\n\xe9${"x".repeat(3000)}\n`
  }
}

const date = "Mon, 01 Jan 2024 00:00:00 +0000"

const filled = (message: string): string =>
  message.replace("Date: …", `Date: ${date}`).replace("Message-Id: …", "Message-Id: <1@example.org>")

const emptied = (message: string): string => message.replace(/^(Date|Message-Id): .*$/gm, "$1: …")

describeWith(
  Postfix.missingPrerequisite() ?? Sendmail.missingPrerequisite(),
  "modifications with Postfix and Sendmail",
  () => {
    layer(mtas)((it) => {
      /** On both, and that each is as its model has it. */
      const onBoth = Effect.fnUntraced(function*(edit: Delivering.Edit, sent = mail) {
        const { postfix, sendmail } = yield* Mtas
        const outcomes = { postfix: yield* postfix.send(sent, edit), sendmail: yield* sendmail.send(sent, edit) }
        for (const { delivered, modelled } of Object.values(outcomes)) {
          // Postfix lets nobody read the reason again.
          const { held } = delivered
          assert.deepStrictEqual(delivered, { ...modelled, held: held === "" ? held : modelled.held })
        }
        return { postfix: outcomes.postfix.delivered, sendmail: outcomes.sendmail.delivered }
      })

      for (const [name, { edit, expected, look }] of Object.entries(same)) {
        it.effect(`${name}: the same`, () =>
          Effect.gen(function*() {
            const { postfix, sendmail } = yield* onBoth(edit)
            assert.deepStrictEqual(look(postfix), expected)
            assert.deepStrictEqual(sendmail, postfix)
          }))
      }

      for (const [name, { edit, look, postfix, sendmail }] of Object.entries(different)) {
        it.effect(`${name}: different`, () =>
          Effect.gen(function*() {
            const delivered = yield* onBoth(edit)
            assert.deepStrictEqual({ postfix: look(delivered.postfix), sendmail: look(delivered.sendmail) }, {
              postfix,
              sendmail
            })
          }))
      }

      for (const [name, { sent, shown, ...expected }] of Object.entries(completed)) {
        it.effect(`without a filter's doing: ${name}`, () =>
          Effect.gen(function*() {
            const mtas = yield* Mtas
            for (const mta of ["postfix", "sendmail"] as const) {
              const outcome = yield* mtas[mta].send({ ...mail, message: crlf(filled(sent)) }, () => Effect.void)
              // Without edits, the model's is what the filter was shown.
              assert.strictEqual(emptied(outcome.modelled.text), shown?.[mta] ?? sent, `shown by ${mta}`)
              assert.strictEqual(emptied(outcome.delivered.text), expected[mta] ?? sent, `delivered by ${mta}`)
            }
          }))
      }

      it.effect("addHeader: To, which Sendmail 8.18 appends to the first", () =>
        Effect.gen(function*() {
          const { postfix, sendmail } = yield* onBoth((edit) => edit.addHeader("To", "carol@test.example"))
          const [bob, carol] = ["To: bob@test.example", "To: carol@test.example"]
          assert.deepStrictEqual(fields("To")(postfix), [bob, carol])
          const merged = ["To: bob@test.example, carol@test.example"]
          assert.deepStrictEqual(fields("To")(sendmail), Sendmail.mergesRecipients() ? merged : [carol, bob])
        }))

      it.effect("deleteHeader and addHeader: To, which Sendmail 8.18 does not survive", () =>
        Effect.gen(function*() {
          const { postfix, sendmail } = yield* Mtas
          const edit = inOrder(
            (edit) => edit.deleteHeader("To", 1),
            (edit) => edit.addHeader("To", "carol@test.example")
          )
          for (const mta of [postfix, sendmail]) {
            const result = yield* Effect.result(mta.send(mail, edit))
            if (mta === sendmail && Sendmail.mergesRecipients()) {
              assert(Result.isFailure(result))
              assert.strictEqual(result.failure._tag, "DeliveryError")
            } else {
              const { delivered, modelled } = Result.getOrThrow(result)
              assert.deepStrictEqual(delivered, modelled)
              assert.deepStrictEqual(fields("To")(delivered), ["To: carol@test.example"])
            }
          }
        }))

      it.effect("changeSender: what becomes of the parameters of MAIL", () =>
        Effect.gen(function*() {
          const { postfix, sendmail } = yield* Mtas
          const envelopeIds = Effect.fnUntraced(function*(change: Delivering.Edit) {
            const edit = inOrder(change, (edit) => edit.quarantine("to look at it"))
            const sent = { ...mail, mailParameters: "ENVID=given" }
            return [(yield* postfix.send(sent, edit)).envelopeId, (yield* sendmail.send(sent, edit)).envelopeId]
          })
          const to = "carol@example.org"
          assert.deepStrictEqual(yield* envelopeIds((edit) => edit.changeSender(to)), ["given", "given"])
          assert.deepStrictEqual(yield* envelopeIds((edit) => edit.changeSender(to, "ENVID=new")), ["new", "new"])
          assert.deepStrictEqual(yield* envelopeIds((edit) => edit.changeSender(to, "RET=HDRS")), ["given", undefined])
        }))

      it.effect("without a filter's doing: very long fields", () =>
        Effect.gen(function*() {
          const { postfix, sendmail } = yield* Mtas
          const long = { ...mail, message: message.replace("Subject", `X-Long: ${"x".repeat(60_000)}\r\nSubject`) }
          const { delivered, shown } = yield* postfix.send(long, () => Effect.void)
          const [field] = shown.headers.filter(({ name }) => name === "X-Long")
          assert.strictEqual(`X-Long:${field?.value}`.length, 60_000)
          assert.strictEqual(fields("X-Long")(delivered)[0]?.length, 60_000)
          const refused = yield* Effect.flip(sendmail.send(long, () => Effect.void))
          assert.include(String(refused), "552 5.6.0 Headers too large")
        }))

      it.effect("recipients that the client names twice", () =>
        Effect.gen(function*() {
          const to = ["bob@test.example", "BOB@test.example", "bob@test.example"]
          const mtas = yield* Mtas
          for (const mta of [mtas.postfix, mtas.sendmail]) {
            const { delivered, modelled, shown } = yield* mta.send({ ...mail, to }, () => Effect.void)
            assert.deepStrictEqual(shown.recipients.map(({ address }) => String(address)), to)
            assert.deepStrictEqual(delivered.to, ["bob@test.example"])
            assert.deepStrictEqual(modelled.to, delivered.to)
          }
        }))

      it.effect("edits at random are what the models say", () =>
        Effect.gen(function*() {
          const seeds = Number(process.env["EFFECT_MILTER_MAILS"] ?? 20)
          const { postfix, sendmail } = yield* Mtas
          for (let seed = 1; seed <= seeds; seed++) {
            const { edit, mail, script } = RandomMail.make(Random.make(seed))
            for (const [name, mta] of [["Postfix", postfix], ["Sendmail", sendmail]] as const) {
              const sent = yield* Effect.result(mta.send(mail, edit))
              if (Result.isSuccess(sent)) {
                const { delivered, modelled } = sent.success
                assert.deepStrictEqual(delivered, modelled, `seed ${seed} on ${name}\n${script}`)
              } else assert.strictEqual(sent.failure._tag, "DeliveryError", `seed ${seed} on ${name}\n${script}`)
            }
          }
        }))
    })
  }
)
