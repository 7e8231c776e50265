/** The examples as processes, started by their commands, with a real Postfix: what the client reads, what is delivered. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Child } from "../../testbed/childProcess.ts"
import { freePort } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Listeners from "../support/listeners.ts"
import * as Example from "./support/exampleProcess.ts"
import { from, lf, messageOf, to } from "./support/messages.ts"

const { crlf } = SmtpClient

class Examples extends Context.Service<Examples, {
  readonly children: ReadonlyArray<Child>
  readonly debug: Child
  readonly log: string
  readonly reload: Child
  readonly blocked: string
  /** Where observability answers to HTTP. */
  readonly http: number
}>()("test/Examples") {}

// Trusted clients get a From where there is none, and may tell whom they stand for.
const anyClient = { local_header_rewrite_clients: "", smtpd_authorized_xclient_hosts: "127.0.0.1" }

const fixture = Layer.effectContext(Effect.gen(function*() {
  const directory = yield* Listeners.directory
  const log = Path.join(directory, "messages.log")
  const blocked = Path.join(directory, "blocked.txt")
  Fs.writeFileSync(blocked, "spam.example\n")
  const http = yield* freePort(["127.0.0.1"])
  const [address, body, debug, aligned, authenticated, instance, json, modules, reload, observed] = yield* Effect.all([
    Example.serveByName("append_header_ip"),
    Example.serveByName("change_body", ["--listen", `unix:${directory}/body.sock`, "--mode", "666"], {
      MILTER_NEWBODY: "This is new.\nAll of it."
    }),
    Example.serveByName("debug_log_all"),
    Example.serveByName("alignment", ["--alignment=strict"]),
    Example.serveByName("alignment", ["--only", "authenticated", "--networks", "192.0.2.0/24"]),
    Example.serveByName("instance_header"),
    Example.serveByName("json_log", ["--file", log, "--headers", "Subject"]),
    Example.serveByName("modules", ["--accounts", "Bob@test.example, carol@test.example"]),
    Example.serveByName("reload", [], { MILTER_BLOCKED: blocked }),
    Example.serveByName("observability", [], { HTTP_PORT: String(http) })
  ], { concurrency: 2 })
  const postfix = yield* Postfix.make<string>({
    milters: address.milter,
    mainCf: { smtpd_authorized_xclient_hosts: "127.0.0.1" },
    listeners: {
      body: { milters: body.milter },
      debug: {
        milters: debug.milter,
        options: {
          smtpd_recipient_restrictions: "check_recipient_access inline:{unknown@test.example=reject}, permit_mynetworks"
        }
      },
      aligned: { milters: aligned.milter, options: anyClient },
      authenticated: { milters: authenticated.milter, options: anyClient },
      smtp: { milters: instance.milter },
      submission: { milters: instance.milter, options: { milter_macro_daemon_name: "submission" } },
      json: { milters: json.milter },
      modules: { milters: modules.milter, options: anyClient },
      reload: { milters: reload.milter },
      observed: { milters: observed.milter }
    }
  })
  const children = [address, body, debug, aligned, authenticated, instance, json, modules, reload, observed]
    .map(({ child }) => child)
  return Context.make(Examples, { children, debug: debug.child, log, reload: reload.child, blocked, http }).pipe(
    Context.add(Postfix.Postfix, postfix)
  )
}))

/** Says who the client stands for. */
const standFor = (client: SmtpClient.SmtpClient, attributes: string) =>
  Effect.gen(function*() {
    yield* client.command("EHLO client.example.org")
    assert.strictEqual((yield* client.command(`XCLIENT ${attributes}`)).code, 220)
    yield* client.command("EHLO client.example.org")
  })

Postfix.describePostfix("examples with Postfix", () => {
  layer(fixture)((it) => {
    const connect = (name?: string) =>
      Effect.gen(function*() {
        const postfix = yield* Postfix.Postfix
        return yield* SmtpClient.connect(name === undefined ? postfix.port : postfix.portOf(name))
      })

    /** Sends a message and gives what arrived. */
    const delivered = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient, message: string, sender = from) {
      const result = yield* client.sendMail({ from: sender, to, message })
      assert.strictEqual(result.last.code, 250, result.last.text)
      return yield* (yield* Postfix.Postfix).takeOne({ queueId: result.queueId })
    })

    it.effect("append_header_ip adds the client's address to each message of a session", () =>
      Effect.gen(function*() {
        const client = yield* connect()
        const plain = (message: string) => message.replace("\n\n", "\nX-MilterExample-Connect-IP: 127.0.0.1\n\n")
        for (const subject of ["one", "two"]) {
          const mail = yield* delivered(client, messageOf(subject))
          assert.strictEqual(Postfix.withoutReceived(mail), plain(lf(messageOf(subject))))
        }
        yield* client.command("MAIL FROM:<eve@example.org>")
        yield* client.command("RCPT TO:<eve@test.example>")
        yield* client.command("RSET")
        assert.strictEqual(
          Postfix.withoutReceived(yield* delivered(client, messageOf("three"))),
          plain(lf(messageOf("three")))
        )
        yield* standFor(client, "ADDR=IPV6:2001:db8::7 NAME=elsewhere.example")
        assert.deepStrictEqual(
          Postfix.headerValues(yield* delivered(client, messageOf("four")), "X-MilterExample-Connect-IP"),
          ["2001:db8::7"]
        )
      }))

    it.effect("change_body replaces each body and nothing else", () =>
      Effect.gen(function*() {
        const client = yield* connect("body")
        for (const subject of ["one", "two"]) {
          const mail = yield* delivered(client, messageOf(subject))
          assert.strictEqual(
            Postfix.withoutReceived(mail),
            lf(messageOf(subject)).replace("Hello, Bob.\n", "This is new.\nAll of it.\n")
          )
        }
      }))

    it.effect("debug_log_all logs every event with its macros, and changes nothing", () =>
      Effect.gen(function*() {
        const { debug } = yield* Examples
        const client = yield* connect("debug")
        yield* client.command("EHLO client.example.org")
        yield* client.command("XYZZY now")
        yield* client.command("MAIL FROM:<eve@example.org>")
        assert.strictEqual((yield* client.command("RCPT TO:<unknown@test.example>")).code, 554)
        yield* client.command("RSET")
        const mails = [yield* delivered(client, messageOf("one")), yield* delivered(client, messageOf("two"))]
        assert.deepStrictEqual(mails.map(Postfix.withoutReceived), [lf(messageOf("one")), lf(messageOf("two"))])
        yield* client.quit
        yield* realTime(debug.shows(/ disconnect \{/))
        const events = Example.eventsIn(debug.output)
        const message = [
          "mail",
          "rcpt",
          "data",
          "header",
          "header",
          "header",
          "header",
          "header",
          "endOfHeaders",
          "body",
          "endOfMessage"
        ]
        assert.deepStrictEqual(events.map(({ name }) => name), [
          "connect",
          "helo",
          "unknown",
          "mail",
          "rejectedRecipient",
          "abort",
          ...message,
          ...message,
          "disconnect"
        ])
        const refused = events.find(({ name }) => name === "rejectedRecipient")
        assert.deepInclude(refused?.details, { address: "unknown@test.example", enhanced: "5.7.1" })
        assert.deepStrictEqual(
          events.filter(({ name }) => name === "endOfMessage").map(({ macros }) => macros.i),
          mails.map(({ queueId }) => queueId)
        )
        assert.deepInclude(events[0]?.details, { client: "127.0.0.1", kind: "IPv4", origin: "smtp" })
        assert.strictEqual(events[0]?.macros.daemon_name, "mx.test.example")
      }))

    it.effect("alignment compares From with the envelope sender, message by message", () =>
      Effect.gen(function*() {
        const client = yield* connect("aligned")
        const refused = Effect.fnUntraced(function*(sender: string, message: string) {
          const { message: reply } = yield* client.sendMail({ from: sender, to, message })
          return reply!.text
        })
        const mail = yield* delivered(client, messageOf("one"))
        assert.strictEqual(Postfix.withoutReceived(mail), lf(messageOf("one")))
        assert.strictEqual(
          yield* refused("eve@evil.example", messageOf("two")),
          "550-5.7.1 The address in From is of example.org, but the message is sent by evil.example.\n" +
            "550 5.7.1 Both must have the same domain: change From, or send with the account of that address."
        )
        assert.match(
          yield* refused(from, messageOf("three", "From: eve@evil.example\n")),
          /^554 5\.6\.0 .* several From/
        )
        assert.match(yield* refused(from, crlf("Subject: four\n\nno author\n")), /^554 5\.6\.0 .* no From field/)
        assert.match(
          yield* refused(from, crlf("From: alice@example.org, eve@evil.example\n\ntwo authors\n")),
          /^554 5\.6\.0 From has several addresses/
        )
        assert.match(yield* refused(from, crlf("From: Alice\n\nno address\n")), /^554 5\.6\.0 .* cannot be read/)
        assert.match(
          yield* refused("alice@mail.example.org", messageOf("five")),
          /^550-5\.7\.1 .* sent by mail\.example\.org/
        )
        // A bounce, whoever sent it.
        assert.strictEqual((yield* delivered(client, messageOf("six"), "")).sender, "")
        assert.deepStrictEqual(yield* (yield* Postfix.Postfix).awaitIdle(), [])
      }))

    it.effect("alignment at submission looks at those who have authenticated, and at networks", () =>
      Effect.gen(function*() {
        const send = Effect.fnUntraced(function*(attributes: string, sender: string) {
          const client = yield* connect("authenticated")
          yield* standFor(client, attributes)
          const { last, queueId } = yield* client.sendMail({ from: sender, to, message: messageOf("one") })
          if (last.code === 250) yield* (yield* Postfix.Postfix).takeOne({ queueId })
          return last.code
        }, Effect.scoped)
        assert.strictEqual(yield* send("ADDR=198.51.100.7", "eve@evil.example"), 250)
        assert.strictEqual(yield* send("ADDR=198.51.100.7 LOGIN=eve", "eve@evil.example"), 550)
        assert.strictEqual(yield* send("ADDR=198.51.100.7 LOGIN=alice", "alice@mail.example.org"), 250)
        assert.strictEqual(yield* send("ADDR=192.0.2.7", "eve@evil.example"), 550)
      }))

    it.effect("instance_header says which smtpd has received each message, whatever came with it", () =>
      Effect.gen(function*() {
        for (const [name, daemon] of [["smtp", "mx.test.example"], ["submission", "submission"]] as const) {
          const port = (yield* Postfix.Postfix).portOf(name)
          const client = yield* connect(name)
          for (const forged of ["", "X-Smtpd-Instance: forged\nX-Note: stays\nx-smtpd-instance: again\n"]) {
            const mail = yield* delivered(client, messageOf("one", forged))
            assert.strictEqual(
              Postfix.withoutReceived(mail),
              lf(messageOf("one", forged === "" ? "" : "X-Note: stays\n")).replace(
                "\n\n",
                `\nX-Smtpd-Instance: ${daemon}; address=127.0.0.1; port=${port}; host=mx.test.example\n\n`
              )
            )
          }
        }
      }))

    it.effect("json_log writes a line about each message, given up ones included, and changes nothing", () =>
      Effect.gen(function*() {
        const { log } = yield* Examples
        const client = yield* connect("json")
        const one = yield* delivered(client, messageOf("one"))
        yield* client.command("MAIL FROM:<eve@example.org>")
        yield* client.command("RCPT TO:<bob@test.example>")
        yield* client.command("RSET")
        yield* client.command("MAIL FROM:<eve@example.org>")
        yield* client.command("RCPT TO:<unknown@test.example>")
        yield* client.command("RSET")
        const two = yield* delivered(client, messageOf("two"), "")
        yield* client.quit
        assert.deepStrictEqual(
          [one, two].map(Postfix.withoutReceived),
          [lf(messageOf("one")), lf(messageOf("two"))]
        )
        const lines = yield* Example.linesOf(log, 4)
        // Its client never learns it.
        const aborted = lines[1]?.queueId
        assert.match(aborted, /^[0-9A-Za-z]{6,}$/)
        assert.notInclude([one.queueId, two.queueId], aborted)
        assert.deepStrictEqual(
          lines.map(({ outcome, queueId, recipients, refused, sender, stage }) =>
            [outcome, stage, queueId, sender, recipients, refused.length] as const
          ),
          [
            ["passed", "endOfMessage", one.queueId, from, [to], 0],
            ["aborted", "rcpt", aborted, "eve@example.org", [to], 0],
            ["aborted", "rcpt", undefined, "eve@example.org", [], 1],
            ["passed", "endOfMessage", two.queueId, "", [to], 0]
          ]
        )
        assert.deepInclude(lines[0], {
          client: { address: "127.0.0.1", hostname: "[127.0.0.1]" },
          helo: "client.example.org",
          headers: { subject: ["one"] },
          bodyBytes: 13
        })
      }))

    it.effect("modules refuses recipients without an account, and marks mail from outside", () =>
      Effect.gen(function*() {
        const client = yield* connect("modules")
        yield* standFor(client, "ADDR=192.0.2.7 NAME=client.example.com")
        for (const subject of ["one", "two"]) {
          const message = messageOf(subject)
          const recipients = ["eve@test.example", to]
          const result = yield* client.sendMail({ from: "alice@example.org", to: recipients, message })
          assert.deepStrictEqual(result.rcpt.map(({ text }) => text), ["550 5.1.1 no such user", "250 2.1.5 Ok"])
          const mail = yield* (yield* Postfix.Postfix).takeOne({ queueId: result.queueId })
          assert.deepStrictEqual(mail.recipients, [to])
          assert.strictEqual(
            Postfix.withoutReceived(mail),
            `X-Origin: outside (client.example.com)\n${lf(message)}`
          )
        }
        yield* client.quit
        const inside = yield* connect("modules")
        const mail = yield* delivered(inside, messageOf("three"))
        assert.strictEqual(Postfix.withoutReceived(mail), lf(messageOf("three")))
      }))

    it.effect("reload goes by its new list after SIGHUP, in a session that was open", () =>
      Effect.gen(function*() {
        const { blocked, reload } = yield* Examples
        const client = yield* connect("reload")
        const replies = Effect.forEach(["eve@spam.example", "eve@other.example"], (sender) =>
          Effect.gen(function*() {
            const { code } = yield* client.command(`MAIL FROM:<${sender}>`)
            yield* client.command("RSET")
            return code
          }))
        yield* client.command("EHLO client.example.org")
        assert.deepStrictEqual(yield* replies, [550, 250])
        Fs.writeFileSync(blocked, "a.example\nother.example\n")
        yield* reload.signal("SIGHUP")
        yield* realTime(reload.shows(/2 domains are blocked/))
        assert.deepStrictEqual(yield* replies, [250, 550])
        const mail = yield* delivered(client, messageOf("one"), "eve@spam.example")
        assert.strictEqual(Postfix.withoutReceived(mail), lf(messageOf("one")))
      }))

    it.effect("observability counts the messages, and answers to probes", () =>
      Effect.gen(function*() {
        const { http } = yield* Examples
        const get = (path: string) => Effect.promise(() => fetch(`http://127.0.0.1:${http}${path}`))
        const client = yield* connect("observed")
        yield* delivered(client, messageOf("one"))
        const refused = yield* client.sendMail({ from: "mallory@example.com", to, message: messageOf("two") })
        assert.strictEqual(refused.mail.text, "550 5.7.1 not allowed here!")
        assert.strictEqual((yield* get("/livez")).status, 200)
        assert.strictEqual((yield* get("/readyz")).status, 200)
        const response = yield* get("/metrics")
        const metrics = yield* Effect.promise(() => response.text())
        for (const outcome of ["accepted", "rejected"]) {
          assert.match(metrics, new RegExp(`^milter_messages_total\\{.*outcome="${outcome}".*\\} 1$`, "m"))
        }
      }))

    it.effect("all of them stop when they are told to, with exit code 0", () =>
      Effect.gen(function*() {
        const { children } = yield* Examples
        const codes = Effect.forEach(children, (child) => Effect.andThen(child.signal("SIGTERM"), child.exit))
        assert.deepStrictEqual(yield* realTime(codes), children.map(() => 0))
      }))
  })
})
