/** The harness itself, without a filter: what the other integration tests take for granted. */
import { assert, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"

const { crlf } = SmtpClient

const plain = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: plain
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>

Hello, Bob.
.
..two dots
.one dot
`)

const lf = (text: string) => text.replaceAll("\r\n", "\n")

// Port 1 on loopback has nobody.
const unreachable = "inet:1@127.0.0.1"

Sendmail.describeSendmail("Sendmail harness", () => {
  layer(
    Sendmail.layer({
      filters: [],
      listeners: {
        tempFailing: [{ address: unreachable }],
        rejecting: [{ address: unreachable, flags: "R" }],
        closing: [{ address: unreachable, flags: "4" }],
        passing: [{ address: unreachable, flags: "" }]
      }
    })
  )((it) => {
    it.effect("delivers what was sent, byte for byte", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        assert.match(sendmail.version, /^8\.1[78]\./)
        const client = yield* SmtpClient.connect(sendmail.port)
        assert.match(client.greeting.text, /^220 mx\.test\.example ESMTP Sendmail /)
        const result = yield* client.sendMail({
          from: "alice@example.org",
          to: ["bob@test.example", "Carol@Elsewhere.example"],
          message: plain
        })
        assert.strictEqual(result.message?.text, `250 2.0.0 ${result.queueId} Message accepted for delivery`)
        const message = yield* sendmail.takeOne({ queueId: result.queueId })
        assert.strictEqual(message.queueId, result.queueId)
        assert.strictEqual(message.sender, "alice@example.org")
        assert.deepStrictEqual(message.recipients, ["Carol@Elsewhere.example", "bob@test.example"])
        assert.strictEqual(Sendmail.withoutReceived(message), lf(plain))
        assert.strictEqual(message.body, "Hello, Bob.\n.\n..two dots\n.one dot\n")
        assert.deepStrictEqual(
          message.headers.map(([name]) => name),
          ["Received", "From", "To", "Subject", "Date", "Message-ID"]
        )
        assert.deepStrictEqual(yield* sendmail.awaitIdle(), [])
        assert.strictEqual((yield* client.quit).code, 221)
        yield* sendmail.awaitLog(new RegExp(`${result.queueId}: to=.* stat=Sent`))
      }))

    it.effect("delivers in order of arrival and keeps envelopes apart", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const client = yield* SmtpClient.connect(sendmail.port)
        const sent: Array<string | undefined> = []
        for (const from of ["one@example.org", "", "Two@Example.Org"]) {
          sent.push((yield* client.sendMail({ from, to: "bob@test.example", message: plain })).queueId)
        }
        const messages = yield* sendmail.takeDelivered(3)
        assert.deepStrictEqual(messages.map(({ queueId }) => queueId), sent)
        assert.deepStrictEqual(messages.map(({ sender }) => sender), ["one@example.org", "", "Two@Example.Org"])
        assert.deepStrictEqual(yield* sendmail.delivered, [])
      }))

    it.effect("refuses recipients that it does not know", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const client = yield* SmtpClient.connect(sendmail.port)
        const { last } = yield* client.sendMail({ from: "a@example.org", to: "unknown1@test.example", message: plain })
        assert.strictEqual(last.text, "550 5.1.1 <unknown1@test.example>... User unknown")
      }))

    it.effect("takes eight bits, folds and spaces as they are, and three megabytes", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const client = yield* SmtpClient.connect(sendmail.port)
        const odd =
          "X-Latin: caf\xe9\r\nX-Folded: one\r\n\ttwo\r\n  three\r\nX-Tight:none\r\nX-Wide:   three\r\nX-Empty:\r\n"
        const message = plain.replace("Subject", `${odd}Subject`) + `${"0123456789".repeat(7)}\xe9\r\n`.repeat(42_000)
        const result = yield* client.sendMail({ from: "a@example.org", to: "b@test.example", message })
        assert.isTrue(Sendmail.withoutReceived(yield* sendmail.takeOne({ queueId: result.queueId })) === lf(message))
      }))

    it.effect("has ports with filters of their own", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const answers: Array<string> = []
        for (const name of ["tempFailing", "rejecting", "closing", "passing"]) {
          const client = yield* SmtpClient.connect(sendmail.portOf(name))
          const { last } = client.greeting.code === 220
            ? yield* client.sendMail({ from: "a@example.org", to: "b@test.example", message: plain })
            : { last: client.greeting }
          answers.push(last.text.replace(/\w+ Message/, "ID Message"))
        }
        assert.deepStrictEqual(answers, [
          "451 4.3.2 Please try again later",
          "554 mx.test.example ESMTP not accepting messages",
          "421 4.7.0 mx.test.example closing connection",
          "250 2.0.0 ID Message accepted for delivery"
        ])
        yield* sendmail.takeDelivered(1)
      }))

    it.effect("listens on ::1 too, where there is one", (context) =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        if (!sendmail.ipv6) return context.skip("this machine has no ::1")
        for (const port of [sendmail.port, sendmail.portOf("passing")]) {
          const client = yield* SmtpClient.connect(port, { host: "::1" })
          assert.strictEqual(client.greeting.code, 220)
        }
      }))

    it.effect("says what did not come, with the log", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const error = yield* Effect.flip(sendmail.takeOne({ timeout: 20, queueId: "none" }))
        assert.match(error.message, /^1 delivered of none: not after 20 ms\n/)
      }))
  })

  it.effect("starts several side by side and leaves nothing behind", () =>
    Effect.gen(function*() {
      const instances = yield* Effect.scoped(Effect.gen(function*() {
        const instances = yield* Effect.all([Sendmail.make({ filters: [] }), Sendmail.make({ filters: [] })], {
          concurrency: "unbounded"
        })
        // Sessions that are open when it stops.
        for (const { port } of instances) yield* SmtpClient.connect(port)
        return instances
      }))
      assert.lengthOf(new Set(instances.map(({ port }) => port)), 2)
      for (const { directory, port } of instances) {
        const refused = yield* Effect.flip(SmtpClient.connect(port))
        assert.match(refused.message, /ECONNREFUSED/)
        assert.isFalse(existsSync(directory))
      }
    }))

  it.effect("says why it does not start", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Sendmail.make({ filters: [], mc: ["LOCAL_CONFIG", "O NoSuchOption=1", "Mbroken"] })
      )
      assert.match(error.message, /^Sendmail does not start\n/)
      assert.match(error.message, /NoSuchOption/)
    }))
})
