/** The harness itself, without a filter: what the other integration tests take for granted. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import * as Postfix from "../../testbed/postfix.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"

const { crlf } = SmtpClient

const date = "Date: Mon, 01 Jan 2024 00:00:00 +0000"

const plain = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: plain
${date}
Message-ID: <1@example.org>

Hello, Bob.
.
..two dots
.one dot
`)

const lf = (text: string) => text.replaceAll("\r\n", "\n")

Postfix.describePostfix("Postfix harness", () => {
  layer(
    Postfix.layer({
      milters: "",
      listeners: {
        holding: { milters: "", cleanupOptions: { header_checks: "static:{HOLD for inspection}" } },
        named: { milters: "", options: { myhostname: "other.test.example" } },
        unreachable: { milters: "inet:127.0.0.1:1" },
        rejecting: { milters: "{ inet:127.0.0.1:1, default_action=reject }" }
      }
    })
  )((it) => {
    it.effect("delivers what was sent, byte for byte", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        assert.strictEqual(client.greeting.code, 220)
        const result = yield* client.sendMail({
          from: "alice@example.org",
          to: ["bob@test.example", "carol@elsewhere.example"],
          message: plain
        })
        assert.strictEqual(result.message?.text, `250 2.0.0 Ok: queued as ${result.queueId}`)
        assert.deepStrictEqual(result.rcpt.map(({ text }) => text), ["250 2.1.5 Ok", "250 2.1.5 Ok"])
        const message = yield* postfix.takeOne({ queueId: result.queueId })
        assert.strictEqual(message.queueId, result.queueId)
        assert.strictEqual(message.sender, "alice@example.org")
        assert.deepStrictEqual(message.recipients, ["bob@test.example", "carol@elsewhere.example"])
        assert.strictEqual(Postfix.withoutReceived(message), lf(plain))
        assert.strictEqual(message.body, "Hello, Bob.\n.\n..two dots\n.one dot\n")
        assert.deepStrictEqual(
          message.headers.map(([name]) => name),
          ["Received", "From", "To", "Subject", "Date", "Message-ID"]
        )
        assert.deepStrictEqual(Postfix.headerValues(message, "subject"), ["plain"])
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
        assert.strictEqual((yield* client.quit).code, 221)
        assert.isTrue(yield* client.isClosed)
        yield* postfix.awaitLog(new RegExp(`${result.queueId}: removed`))
      }))

    it.effect("delivers in order of arrival and keeps envelopes apart", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        const sent: Array<string | undefined> = []
        for (const from of ["one@example.org", "", "\"odd one\"@example.org"]) {
          sent.push((yield* client.sendMail({ from, to: "\"a b\"@test.example", message: plain })).queueId)
        }
        const messages = yield* postfix.takeDelivered(3)
        assert.deepStrictEqual(messages.map(({ queueId }) => queueId), sent)
        assert.deepStrictEqual(
          messages.map(({ sender }) => sender),
          ["one@example.org", "", "\"odd one\"@example.org"]
        )
        assert.deepStrictEqual(messages[0]?.recipients, ["\"a b\"@test.example"])
        assert.deepStrictEqual(yield* postfix.delivered, [])
      }))

    it.effect("forgets a transaction at RSET", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        const replies = [
          yield* client.command("EHLO client.example.org"),
          yield* client.command("MAIL FROM:<alice@example.org>"),
          yield* client.command("RCPT TO:<bob@test.example>"),
          yield* client.command("RSET"),
          yield* client.command("RCPT TO:<bob@test.example>"),
          yield* client.data(plain)
        ]
        assert.deepStrictEqual(replies.map(({ code }) => code), [250, 250, 250, 250, 503, 503])
        assert.strictEqual(replies[0]?.lines[0], "mx.test.example")
        assert.strictEqual(replies[4]?.enhanced, "5.5.1")
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
      }))

    it.effect("answers a pipelined group in order", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        yield* client.command("EHLO client.example.org")
        const replies = yield* client.pipeline([
          "MAIL FROM:<alice@example.org>",
          "RCPT TO:<unknown@test.example>",
          "RCPT TO:<bob@test.example>",
          "DATA"
        ])
        assert.deepStrictEqual(replies.map(({ code, enhanced }) => [code, enhanced]), [
          [250, "2.1.0"],
          [550, "5.1.1"],
          [250, "2.1.5"],
          [354, undefined]
        ])
        assert.strictEqual((yield* client.content(plain)).code, 250)
        assert.deepStrictEqual((yield* postfix.takeOne()).recipients, ["bob@test.example"])
      }))

    it.effect("carries three megabytes", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        const line = `${"0123456789".repeat(7)}\r\n`
        const message = `${plain}${line.repeat(Math.ceil(3_000_000 / line.length))}`
        const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        assert.isTrue(result.accepted)
        const delivered = yield* postfix.takeOne({ queueId: result.queueId })
        assert.isTrue(Postfix.withoutReceived(delivered) === lf(message))
      }))

    it.effect("leaves bytes that are not UTF-8, folds and spaces of a header alone", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.port)
        const message = crlf(`From: alice@example.org
${date}
Message-ID: <2@example.org>
X-Latin: caf\xe9 \xff\x80
X-Folded: one
\ttwo
  three
X-Tight:no space
X-Wide:   three spaces
X-Empty:

body \xe9\x00\xff
`)
        const { queueId } = yield* client.sendMail({
          from: "alice@example.org",
          to: "bob@test.example",
          message,
          mailParameters: "BODY=8BITMIME"
        })
        const delivered = yield* postfix.takeOne({ queueId })
        assert.strictEqual(Postfix.withoutReceived(delivered), lf(message))
        assert.deepStrictEqual(delivered.headers.slice(4), [
          ["X-Latin", "caf\xe9 \xff\x80"],
          ["X-Folded", "one\n\ttwo\n  three"],
          ["X-Tight", "no space"],
          ["X-Wide", "  three spaces"],
          ["X-Empty", ""]
        ])
        assert.strictEqual(delivered.fields[6], "X-Tight:no space")
        assert.strictEqual(delivered.body, "body \xe9\x00\xff\n")
      }))

    it.effect("takes local mail from sendmail -t", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        yield* postfix.submitLocal(lf(plain), ["-t", "-i", "-f", "root@test.example"])
        const delivered = yield* postfix.takeOne()
        assert.strictEqual(delivered.sender, "root@test.example")
        assert.deepStrictEqual(delivered.recipients, ["bob@test.example"])
        assert.match(Postfix.headerValues(delivered, "Received")[0] ?? "", /\(Postfix, from userid 0\)/)
        assert.strictEqual(Postfix.withoutReceived(delivered), lf(plain))
      }))

    it.effect("shows, takes and releases what is on hold", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const client = yield* SmtpClient.connect(postfix.portOf("holding"))
        const mail = {
          from: "alice@example.org",
          to: ["bob@test.example", "carol@test.example"],
          message: plain,
          rcptParameters: "NOTIFY=NEVER"
        }
        const first = yield* client.sendMail(mail)
        const second = yield* client.sendMail(mail)
        assert.deepStrictEqual(yield* postfix.awaitIdle(), [])
        const [held] = yield* postfix.takeHeld(1, { queueId: first.queueId })
        assert.strictEqual(held?.queueId, first.queueId)
        assert.strictEqual(held?.sender, "alice@example.org")
        assert.deepStrictEqual(held?.recipients, ["bob@test.example", "carol@test.example"])
        assert.strictEqual(held === undefined ? "" : Postfix.withoutReceived(held), lf(plain))
        assert.deepInclude(held?.records ?? [], ["notify_flags", "1"])
        assert.deepStrictEqual((yield* postfix.held).map(({ queueId }) => queueId), [second.queueId])
        yield* postfix.release(second.queueId ?? "")
        assert.strictEqual((yield* postfix.takeOne()).queueId, second.queueId)
        assert.deepStrictEqual(yield* postfix.held, [])
      }))

    it.effect("has ports with settings of their own", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const named = yield* SmtpClient.connect(postfix.portOf("named"))
        assert.strictEqual(named.greeting.text, "220 other.test.example ESMTP Postfix")
        const unreachable = yield* SmtpClient.connect(postfix.portOf("unreachable"))
        assert.strictEqual(unreachable.greeting.code, 220)
        const deferred = yield* unreachable.sendMail({ from: "a@example.org", to: "b@test.example", message: plain })
        assert.strictEqual(deferred.mail.text, "451 4.7.1 Service unavailable - try again later")
        assert.strictEqual(deferred.last, deferred.mail)
        assert.isFalse(deferred.accepted)
        const rejecting = yield* SmtpClient.connect(postfix.portOf("rejecting"))
        const refused = yield* rejecting.sendMail({ from: "a@example.org", to: "b@test.example", message: plain })
        assert.strictEqual(refused.mail.text, "550 5.5.0 Service unavailable")
      }))

    it.effect("listens on ::1 too, where there is one", (context) =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        if (!postfix.ipv6) return context.skip("this machine has no ::1")
        for (const port of [postfix.port, postfix.portOf("named")]) {
          const client = yield* SmtpClient.connect(port, { host: "::1" })
          assert.strictEqual(client.greeting.code, 220)
        }
      }))

    it.effect("changes its configuration for the next session", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const greeting = Effect.scoped(Effect.gen(function*() {
          const client = yield* SmtpClient.connect(postfix.port)
          yield* client.quit
          return client.greeting.text
        }))
        for (const banner of ["one", "two", "three", "four", "five", "$myhostname ESMTP $mail_name"]) {
          yield* postfix.reconfigure({ smtpd_banner: banner })
          assert.strictEqual(
            yield* greeting,
            banner.startsWith("$") ? `220 ${postfix.hostname} ESMTP Postfix` : `220 ${banner}`
          )
        }
      }))

    it.effect("clears every queue", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const mail = { from: "alice@example.org", to: "bob@test.example", message: plain }
        yield* (yield* SmtpClient.connect(postfix.portOf("holding"))).sendMail(mail)
        yield* (yield* SmtpClient.connect(postfix.port)).sendMail(mail)
        assert.lengthOf(yield* postfix.awaitDelivered(1), 1)
        yield* postfix.clear
        assert.deepStrictEqual(yield* postfix.held, [])
        assert.deepStrictEqual(yield* postfix.delivered, [])
        assert.isTrue(yield* postfix.queueEmpty)
      }))

    it.effect("says what did not come, with the log", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        const error = yield* Effect.flip(postfix.takeOne({ timeout: 20, queueId: "none" }))
        assert.match(error.message, /^1 delivered of none: not after 20 ms\n/)
      }))
  })

  describe("SMTP client", () => {
    it.effect("takes the end of the connection for an answer", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.make({ milters: "", mainCf: { smtpd_hard_error_limit: "1" } })
        const client = yield* SmtpClient.connect(postfix.port)
        const refused = yield* client.command("WHAT")
        assert.strictEqual(refused.text, "500 5.5.2 Error: command not recognized")
        const [hangup, after] = yield* client.pipeline(["WHAT", "NOOP"])
        assert.strictEqual(hangup?.code, 421)
        assert.oneOf(after?.ended, ["end", "reset"])
        assert.strictEqual(after?.code, 0)
        assert.strictEqual(yield* client.awaitClosed, after?.ended)
        assert.isTrue(yield* client.isClosed)
        assert.strictEqual((yield* client.command("NOOP")).ended, after?.ended)
      }))

    it.effect("hangs up in the way that is asked for", () =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.make({ milters: "" })
        const dropped = yield* SmtpClient.connect(postfix.port)
        yield* dropped.command("EHLO dropped.example.org")
        yield* dropped.reset
        assert.strictEqual((yield* dropped.command("NOOP")).ended, "reset")
        yield* postfix.awaitLog(/lost connection after EHLO/)
        const hasty = yield* SmtpClient.open(postfix.port)
        yield* hasty.raw("EHLO hasty.example.org\r\nNOO")
        yield* hasty.raw(new Uint8Array([0x50, 0x0d, 0x0a]))
        assert.deepStrictEqual([(yield* hasty.read).code, (yield* hasty.read).code, (yield* hasty.read).code], [
          220,
          250,
          250
        ])
        yield* hasty.close
        yield* postfix.awaitLog(/disconnect from .* ehlo=1 noop=1/)
      }))
  })

  it.effect("starts several side by side and leaves nothing behind", () =>
    Effect.gen(function*() {
      const instances = yield* Effect.scoped(Effect.gen(function*() {
        const instances = yield* Effect.all([Postfix.make({ milters: "" }), Postfix.make({ milters: "" })], {
          concurrency: "unbounded"
        })
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
      const error = yield* Effect.flip(Postfix.make({ milters: "", masterCf: "broken inet n" }))
      assert.match(error.message, /^Postfix does not start\n/)
      assert.match(error.message, /fatal/)
    }))
})
