/** The examples as processes with a real Sendmail: several messages on one connection, what is delivered, what is refused. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import type { Child } from "../../testbed/childProcess.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Listeners from "../support/listeners.ts"
import * as Example from "./support/exampleProcess.ts"
import { from, lf, messageOf, to } from "./support/messages.ts"

class Fixture extends Context.Service<Fixture, {
  readonly sendmail: Sendmail.Instance
  readonly debug: Child
  readonly log: string
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const log = Path.join(yield* Listeners.directory, "messages.log")
    const names = ["append_header_ip", "change_body", "debug_log_all", "alignment", "instance_header"]
    const served = yield* Effect.forEach(names, (name) => Example.serve(name, []), { concurrency: 2 })
    const json = yield* Example.serve("json_log", ["--file", log])
    const [address, body, debug, aligned, instance] = served
    const sendmail = yield* Sendmail.make<string>({
      filters: [address!],
      listeners: {
        body: [body!],
        debug: [debug!],
        aligned: [aligned!],
        instance: [instance!],
        json: [json]
      }
    })
    return { sendmail, debug: debug!.child, log }
  })
)

Sendmail.describeSendmail("examples with Sendmail", () => {
  layer(fixture)((it) => {
    const connect = (name?: string) =>
      Effect.gen(function*() {
        const { sendmail } = yield* Fixture
        return yield* SmtpClient.connect(name === undefined ? sendmail.port : sendmail.portOf(name))
      })

    const delivered = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient, message: string, sender = from) {
      const result = yield* client.sendMail({ from: sender, to, message })
      assert.strictEqual(result.last.code, 250, result.last.text)
      return yield* (yield* Fixture).sendmail.takeOne({ queueId: result.queueId })
    })

    it.effect("append_header_ip adds the client's address to each message of a session", () =>
      Effect.gen(function*() {
        const client = yield* connect()
        for (const subject of ["one", "two"]) {
          const mail = yield* delivered(client, messageOf(subject))
          assert.deepStrictEqual(Sendmail.headerValues(mail, "X-MilterExample-Connect-IP"), ["127.0.0.1"])
          assert.strictEqual(mail.body, "Hello, Bob.\n")
          yield* client.command("MAIL FROM:<eve@example.org>")
          yield* client.command("RSET")
        }
      }))

    it.effect("change_body replaces each body and nothing else", () =>
      Effect.gen(function*() {
        const client = yield* connect("body")
        for (const subject of ["one", "two"]) {
          assert.strictEqual(
            Sendmail.withoutReceived(yield* delivered(client, messageOf(subject))),
            lf(messageOf(subject)).replace("Hello, Bob.", "foobar")
          )
        }
      }))

    it.effect("debug_log_all logs every event with its macros, and changes nothing", () =>
      Effect.gen(function*() {
        const { debug } = yield* Fixture
        const client = yield* connect("debug")
        yield* client.command("EHLO client.example.org")
        yield* client.command("XYZZY now")
        yield* client.command("MAIL FROM:<eve@example.org>")
        assert.strictEqual((yield* client.command("RCPT TO:<unknown@test.example>")).code, 550)
        yield* client.command("RSET")
        const mail = yield* delivered(client, messageOf("one"))
        assert.strictEqual(Sendmail.withoutReceived(mail), lf(messageOf("one")))
        yield* client.quit
        yield* realTime(debug.shows(/ disconnect \{/))
        const events = Example.eventsIn(debug.output)
        assert.deepStrictEqual(events.map(({ name }) => name), [
          "connect",
          "helo",
          "unknown",
          "mail",
          // Not the recipient: Sendmail shows none of those that its check_rcpt has refused.
          "abort",
          "mail",
          "rcpt",
          "data",
          ...Array.from({ length: 5 }, () => "header"),
          "endOfHeaders",
          "body",
          "endOfMessage",
          "disconnect"
        ])
        assert.strictEqual(events.at(-2)?.macros.i, mail.queueId)
      }))

    it.effect("alignment compares From with the envelope sender, message by message", () =>
      Effect.gen(function*() {
        const client = yield* connect("aligned")
        yield* delivered(client, messageOf("one"), "bounces@mail.example.org")
        const refused = yield* client.sendMail({ from: "eve@evil.example", to, message: messageOf("two") })
        assert.strictEqual(
          refused.message?.text,
          "550-5.7.1 The address in From is of example.org, but the message is sent by evil.example.\n" +
            "550 5.7.1 Both must be of the same organization: change From, or send with the account of that address."
        )
        const twice = yield* client.sendMail({ from, to, message: messageOf("three", "From: eve@evil.example\n") })
        assert.match(twice.message?.text ?? "", /^554 5\.6\.0 The message has several From fields/)
        yield* delivered(client, messageOf("four"), "")
        assert.deepStrictEqual(yield* (yield* Fixture).sendmail.awaitIdle(), [])
      }))

    it.effect("instance_header says which daemon has received each message, whatever came with it", () =>
      Effect.gen(function*() {
        const { sendmail } = yield* Fixture
        const client = yield* connect("instance")
        for (const forged of ["", "X-Smtpd-Instance: forged\nX-Note: stays\nx-smtpd-instance: again\n"]) {
          const mail = yield* delivered(client, messageOf("one", forged))
          const [value, ...others] = Sendmail.headerValues(mail, "X-Smtpd-Instance")
          assert.match(value ?? "", /^MTA\d; address=127\.0\.0\.1; port=\d+; host=mx\.test\.example$/)
          assert.include(value, `port=${sendmail.portOf("instance")};`)
          assert.deepStrictEqual(others, [])
          assert.deepStrictEqual(Sendmail.headerValues(mail, "X-Note"), forged === "" ? [] : ["stays"])
        }
      }))

    it.effect("json_log writes a line about each message, given up ones included, and changes nothing", () =>
      Effect.gen(function*() {
        const { log } = yield* Fixture
        const client = yield* connect("json")
        const one = yield* delivered(client, messageOf("one"))
        yield* client.command("MAIL FROM:<eve@example.org>")
        assert.strictEqual((yield* client.command("RCPT TO:<unknown@test.example>")).code, 550)
        yield* client.command("RSET")
        const two = yield* delivered(client, messageOf("two"))
        assert.deepStrictEqual([one, two].map(Sendmail.withoutReceived), [lf(messageOf("one")), lf(messageOf("two"))])
        const lines = yield* Example.linesOf(log, 3)
        // Its client never learns it.
        const aborted = lines[1]?.queueId
        assert.match(aborted, /^[0-9A-Za-z]{6,}$/)
        assert.notInclude([one.queueId, two.queueId], aborted)
        assert.deepStrictEqual(
          lines.map(({ outcome, queueId, recipients, refused, sender }) =>
            [outcome, queueId, sender, recipients, refused.length] as const
          ),
          [
            ["passed", one.queueId, from, [to], 0],
            ["aborted", aborted, "eve@example.org", [], 0],
            ["passed", two.queueId, from, [to], 0]
          ]
        )
      }))
  })
})
