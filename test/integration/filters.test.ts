/** What filters see of real sessions and what their modifications do to the delivered mail, with a real Postfix. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import * as Postfix from "../../testbed/postfix.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Editing from "./support/editing.ts"
import * as FilterServer from "./support/filterServer.ts"
import { withNotes as message } from "./support/messages.ts"
import * as Watching from "./support/watching.ts"

const { ended, small } = Watching

class Fixture
  extends Context.Service<Fixture, { readonly edit: Ref.Ref<Editing.Edit>; readonly events: Watching.Events }>()(
    "test/Fixture"
  )
{}

const fixture = Layer.effectContext(Effect.gen(function*() {
  const edit = yield* Ref.make(Editing.nothing)
  const events = yield* Ref.make<ReadonlyArray<string>>([])
  const editor = FilterServer.forPostfix(yield* FilterServer.serve(Editing.make(edit)))
  const watcher = FilterServer.forPostfix(yield* FilterServer.serve(Watching.make(events)))
  const postfix = yield* Postfix.make<string>({
    milters: editor,
    nonSmtpdMilters: watcher,
    listeners: {
      watched: {
        milters: watcher,
        options: {
          smtpd_recipient_restrictions: "check_recipient_access inline:{unknown@test.example=reject}, permit_mynetworks"
        }
      },
      remote: { milters: watcher, options: { local_header_rewrite_clients: "" } },
      both: { milters: `${editor},${watcher}` }
    }
  })
  return Context.make(Fixture, { edit, events }).pipe(Context.add(Postfix.Postfix, postfix))
}))

Postfix.describePostfix("filters with Postfix", () => {
  layer(fixture)((it) => {
    /** Sends the message through the editing filter and gives what arrived. */
    const edited = Effect.fnUntraced(function*(edit: Editing.Edit, to: ReadonlyArray<string> = ["bob@test.example"]) {
      const postfix = yield* Postfix.Postfix
      yield* Ref.set((yield* Fixture).edit, edit)
      const client = yield* SmtpClient.connect(postfix.port)
      const result = yield* client.sendMail({ from: "alice@example.org", to, message })
      assert.strictEqual(result.message?.code, 250)
      return yield* postfix.takeOne({ queueId: result.queueId })
    }, Effect.scoped)

    const names = (mail: Postfix.Delivered) => mail.headers.map(([name]) => name)

    it.effect("adds a header at the end", () =>
      Effect.gen(function*() {
        const mail = yield* edited((edit) => edit.addHeader("X-Added", "a value"))
        assert.deepStrictEqual(mail.fields.at(-1), "X-Added: a value")
        assert.strictEqual(mail.body, "Hello, Bob.\n")
      }))

    it.effect("encodes and folds what it adds, and nothing breaks out", () =>
      Effect.gen(function*() {
        const mail = yield* edited((edit) =>
          Effect.andThen(
            edit.addHeader("X-Text", "Grüße, 100 %"),
            edit.addHeader("X-Folded", "one\r\n two\n\tthree")
          )
        )
        assert.deepStrictEqual(mail.fields.slice(-2), [
          "X-Text: =?UTF-8?Q?Gr=C3=BC=C3=9Fe=2C?= 100 %",
          "X-Folded: one\n two\n\tthree"
        ])
      }))

    it.effect("tempfails a message when an edit cannot be made", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        yield* Ref.set((yield* Fixture).edit, (edit) => edit.addHeader("X-Bad", "one\r\nBcc: eve@example.org"))
        const client = yield* SmtpClient.connect(postfix.port)
        const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        assert.strictEqual(result.message?.code, 451)
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
      }))

    it.effect("inserts headers above and below Received and at the end", () =>
      Effect.gen(function*() {
        const mail = yield* edited((edit) =>
          edit.insertHeader(1, "X-Below", "1").pipe(
            Effect.andThen(edit.insertHeader(0, "X-Above", "0")),
            Effect.andThen(edit.insertHeader(1000, "X-Last", "n"))
          )
        )
        assert.deepStrictEqual(names(mail).slice(0, 3), ["X-Above", "Received", "X-Below"])
        assert.strictEqual(names(mail).at(-1), "X-Last")
      }))

    it.effect("changes and deletes headers by occurrence", () =>
      Effect.gen(function*() {
        const mail = yield* edited((edit) =>
          edit.changeHeader("x-note", 2, "changed").pipe(
            Effect.andThen(edit.deleteHeader("X-Note", 3)),
            Effect.andThen(edit.deleteHeader("X-Note", 1)),
            Effect.andThen(edit.changeHeader("Subject", 1, "")),
            Effect.andThen(edit.changeHeader("X-New", 1, "from nothing"))
          )
        )
        assert.deepStrictEqual(Postfix.headerValues(mail, "X-Note"), ["changed"])
        assert.deepStrictEqual(Postfix.headerValues(mail, "Subject"), [""])
        assert.deepStrictEqual(Postfix.headerValues(mail, "X-New"), ["from nothing"])
      }))

    it.effect("replaces the body: by bytes, by a stream of 3 MB, by nothing", () =>
      Effect.gen(function*() {
        const text = (chunk: string) => new TextEncoder().encode(chunk)
        assert.strictEqual((yield* edited((edit) => edit.replaceBody(text("new\r\n")))).body, "new\n")
        assert.strictEqual((yield* edited((edit) => edit.replaceBody(text("")))).body, "")
        const line = "0123456789".repeat(7)
        const large = Stream.fromIterable(Array.from({ length: 300 }, () => text(`${line}\r\n`.repeat(150))))
        const mail = yield* edited((edit) => edit.replaceBody(large))
        assert.strictEqual(mail.body.length, 300 * 150 * 71)
        assert.strictEqual(mail.body, `${line}\n`.repeat(300 * 150))
      }))

    it.effect("adds and removes recipients, changes the sender", () =>
      Effect.gen(function*() {
        const mail = yield* edited((edit) =>
          edit.addRecipient("carol@test.example").pipe(
            Effect.andThen(edit.addRecipientWithParameters("dave@test.example", "NOTIFY=NEVER")),
            Effect.andThen(edit.deleteRecipient("bob@test.example")),
            Effect.andThen(edit.changeSender("bounces@example.net"))
          ), ["bob@test.example", "erin@test.example"])
        assert.deepStrictEqual(mail.recipients, ["carol@test.example", "dave@test.example", "erin@test.example"])
        assert.strictEqual(mail.sender, "bounces@example.net")
        assert.strictEqual((yield* edited((edit) => edit.changeSender(""))).sender, "")
      }))

    it.effect("drops a message without recipients", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        yield* Ref.set((yield* Fixture).edit, (edit) => edit.deleteRecipient("bob@test.example"))
        const client = yield* SmtpClient.connect(postfix.port)
        const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        assert.strictEqual(result.message?.code, 250)
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
      }))

    it.effect("puts a message on hold", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        yield* Ref.set((yield* Fixture).edit, (edit) => edit.quarantine("looks odd"))
        const client = yield* SmtpClient.connect(postfix.port)
        const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        assert.strictEqual(result.message?.code, 250)
        const [held] = yield* postfix.takeHeld(1)
        assert.strictEqual(held?.queueId, result.queueId)
        // In this order: Postfix 3.7, and 3.10.
        yield* postfix.awaitLog(/milter triggers HOLD action|milter-hold: END-OF-MESSAGE .* looks odd/)
      }))

    it.effect("shows the edits of one filter to the next", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const { edit, events } = yield* Fixture
        yield* Ref.set(edit, (edit) => edit.addHeader("X-Added", "seen by the next"))
        yield* Ref.set(events, [])
        const client = yield* SmtpClient.connect(postfix.portOf("both"))
        yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        yield* postfix.takeDelivered(1)
        assert.include(yield* Ref.get(events), "header X-Added: seen by the next")
      }))

    /** Runs a session with the watching filter and gives its notes, once there are as many as expected. */
    const watched = Effect.fnUntraced(function*<E, R>(
      count: number,
      session: (client: SmtpClient.SmtpClient) => Effect.Effect<unknown, E, R>,
      listener = "watched"
    ) {
      const postfix = yield* Postfix.Postfix
      const { events } = yield* Fixture
      yield* Ref.set(events, [])
      const client = yield* SmtpClient.connect(postfix.portOf(listener))
      yield* session(client)
      yield* client.close
      yield* postfix.awaitIdle()
      yield* postfix.clear
      return yield* Watching.notes(events, count)
    }, Effect.scoped)

    // Postfix completes what a message lacks.
    const isAdded = (line: string) => /^header (From|Date|Message-Id|To):/.test(line)

    it.effect("keeps two messages and a RSET between them apart", () =>
      Effect.gen(function*() {
        const lines = yield* watched(19, Watching.twoMessages)
        assert.deepStrictEqual(lines.filter((line) => !isAdded(line)), [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail one@example.org",
          "rcpt bob@test.example queue id unknown",
          "header Subject: hi",
          ended("bob@test.example"),
          "end of one@example.org: Accepted",
          "mail two@example.org",
          "rcpt carol@test.example queue id unknown",
          "end of two@example.org: given up",
          "mail three@example.org",
          "rcpt dave@test.example queue id unknown",
          "rcpt refused@test.example queue id known",
          "header Subject: hi",
          ended("dave@test.example"),
          "end of three@example.org: Accepted"
        ])
      }))

    it.effect("shows parameters and recipients that the MTA refused", () =>
      Effect.gen(function*() {
        const lines = yield* watched(5, (client) =>
          Effect.gen(function*() {
            yield* client.command("EHLO client.example.org")
            yield* client.command("MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME")
            assert.strictEqual((yield* client.command("RCPT TO:<unknown@test.example>")).code, 554)
            yield* client.command("QUIT")
          }))
        assert.deepStrictEqual(lines, [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail a@example.org SIZE=100 BODY=8BITMIME",
          "rejected unknown@test.example 5.7.1",
          "end of a@example.org: given up"
        ])
      }))

    it.effect("takes a body of 3 MB and headers that are folded or not UTF-8", () =>
      Effect.gen(function*() {
        const large = "0123456789".repeat(7) + "\r\n"
        const content = "Subject: one\r\n two\r\n\tthree\r\nX-Bytes: gr\xfc\xdfe\r\nX-None:none\r\n\r\n" +
          large.repeat(42_000)
        const lines = yield* watched(9, (client) =>
          client.sendMail({ from: "a@example.org", to: "bob@test.example", message: Buffer.from(content, "latin1") }))
        assert.deepStrictEqual(
          lines.filter((line) =>
            line.startsWith("header") && !isAdded(line)
          ),
          [
            "header Subject: one\n two\n\tthree",
            "header X-Bytes: gr\xfc\xdfe",
            "header X-None:none"
          ]
        )
        assert.include(
          lines,
          `body ${42_000 * large.length} ${Watching.sha256(large.repeat(42_000))} to bob@test.example, queue id known`
        )
      }))

    it.effect("completes only messages from its own host", () =>
      Effect.gen(function*() {
        const headers = Effect.fnUntraced(function*(count: number, listener: string) {
          const mail = { from: "a@example.org", to: "bob@test.example", message: small }
          return (yield* watched(count, (client) => client.sendMail(mail), listener)).filter((line) =>
            line.startsWith("header")
          ).map((line) => line.slice(0, line.indexOf(":")))
        })
        assert.deepStrictEqual(yield* headers(9, "watched"), [
          "header Subject",
          "header Message-Id",
          "header Date",
          "header From"
        ])
        assert.deepStrictEqual(yield* headers(6, "remote"), ["header Subject"])
      }))

    it.effect("takes a bare LF for a line end, as Postfix does unless told otherwise", () =>
      Effect.gen(function*() {
        const lines = yield* watched(9, (client) =>
          Effect.gen(function*() {
            for (const line of ["EHLO x", "MAIL FROM:<a@example.org>", "RCPT TO:<bob@test.example>", "DATA"]) {
              yield* client.command(line)
            }
            yield* client.raw("Subject: bare\r\n\r\nLF\nhere\r\n.\r\n")
            assert.strictEqual((yield* client.read).code, 250)
          }))
        assert.include(lines, `body 10 ${Watching.sha256("LF\r\nhere\r\n")} to bob@test.example, queue id known`)
      }))

    it.effect("answers a pipelining client", () =>
      Effect.gen(function*() {
        const lines = yield* watched(8, Watching.pipelined)
        assert.deepStrictEqual(lines, [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail a@example.org",
          "rcpt bob@test.example queue id unknown",
          "rcpt refused@test.example queue id known",
          "end of a@example.org: given up",
          "mail b@example.org",
          "end of b@example.org: given up"
        ])
      }))

    it.effect("filters local submission, where a refused recipient refuses the message", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const { events } = yield* Fixture
        yield* Ref.set(events, [])
        yield* postfix.submitLocal("From: root@test.example\nTo: bob@test.example\nSubject: local\n\nbody\n")
        const [mail] = yield* postfix.takeDelivered(1)
        assert.deepStrictEqual(mail?.recipients, ["bob@test.example"])
        const lines = yield* Watching.notes(events, 8)
        assert.strictEqual(lines[0], "connect IPv4 local")
        assert.include(lines, "rcpt bob@test.example queue id known")
        assert.include(lines, ended("bob@test.example"))

        yield* postfix.submitLocal("From: root@test.example\nTo: refused@test.example\nSubject: local\n\nbody\n")
        // The refusal becomes a bounce to the sender, the null sender of which the filter sees as well.
        const [bounce] = yield* postfix.takeDelivered(1)
        assert.strictEqual(bounce?.sender, "")
        assert.include(bounce?.raw ?? "", "no such user")
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
      }))

    it.effect("serves on a UNIX socket", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const { edit } = yield* Fixture
        const path = Path.join(postfix.directory, "filter.sock")
        yield* Ref.set(edit, (edit) => edit.addHeader("X-Socket", "unix"))
        assert.strictEqual(
          yield* FilterServer.serve(Editing.make(edit), { listen: `unix:${path}`, mode: 0o666 }),
          `unix:${path}`
        )
        yield* postfix.reconfigure({ smtpd_milters: `unix:${path}` })
        const mail = yield* edited((edit) => edit.addHeader("X-Socket", "unix"))
        assert.deepStrictEqual(Postfix.headerValues(mail, "X-Socket"), ["unix"])
      }))
  })
})
