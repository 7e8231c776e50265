/** The example that puts a milter into an SMTP server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import { hostname } from "node:os"
import { listen } from "../../examples/smtp_server/server.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { answering } from "../support/filters.ts"
import { quiet, serveFilter } from "../support/listeners.ts"
import picky from "../support/modules/filter.ts"
import * as smtpServer from "../support/smtpServer.ts"

const filterAddress = serveFilter(picky)

/** The example before these filters, and what it delivers. */
const serving = (...filters: ReadonlyArray<string>) => {
  const { deliver, delivered } = smtpServer.collector()
  return listen(0, filters, deliver).pipe(
    Effect.map((port) => ({ port, delivered })),
    Effect.provide([NodeMilterClient.layer, quiet])
  )
}

const message = "From: alice@example.org\r\nSubject: hello\r\n\r\n.\r\nHello\r\n"

const mail: SmtpClient.Mail = { from: "alice@example.org", to: "bob@example.net", message }

describe("an SMTP server with filters", () => {
  it.live("delivers what they let pass, with their changes", () =>
    Effect.gen(function*() {
      const filter = yield* filterAddress
      const { delivered, port } = yield* serving(filter, filter)
      const client = yield* SmtpClient.connect(port)
      const accepted = yield* client.sendMail({ ...mail, mailParameters: "BODY=8BITMIME" })
      assert.strictEqual(accepted.message?.code, 250)
      assert.strictEqual(delivered[0]?.text, message.replace("\r\n\r\n", "\r\nX-Picky: yes\r\nX-Picky: yes\r\n\r\n"))
      const edited = yield* client.sendMail({
        ...mail,
        from: "editor@example.org",
        to: ["bob@example.net", "carol@example.net"]
      })
      assert.strictEqual(edited.message?.code, 250)
      // Both filters add dave; as with Postfix the message comes once.
      assert.deepStrictEqual(delivered[1]?.recipients.toSorted(), ["carol@example.net", "dave@example.net"])
      assert.match(delivered[1]?.text ?? "", /^From: .*\r\nSubject: edited\r\n[^]*\r\n\r\none\r\nnew\r\nthree\r\n$/)
      const held = yield* client.sendMail({ ...mail, from: "suspect@example.org" })
      assert.strictEqual(held.message?.code, 250)
      assert.strictEqual(delivered[2]?.quarantined, "looked at by hand")
      yield* client.quit
    }))

  it.live("refuses in their words, at the command", () =>
    Effect.gen(function*() {
      const { delivered, port } = yield* serving(yield* filterAddress)
      const client = yield* SmtpClient.connect(port)
      const sender = yield* client.sendMail({ ...mail, from: "mallory@example.com" })
      assert.strictEqual(sender.mail.text, "550 5.7.1 not you")
      const recipient = yield* client.sendMail({ ...mail, to: ["busy@example.net", "bob@example.net"] })
      assert.deepStrictEqual(recipient.rcpt.map(({ text }) => text), ["451 4.2.1 on holiday", "250 Accepted"])
      assert.strictEqual(recipient.message?.code, 250)
      assert.deepStrictEqual(delivered[0]?.recipients, ["bob@example.net"])
      // Given up, and the next one is another.
      yield* client.pipeline(["MAIL FROM:<editor@example.org>", "RCPT TO:<bob@example.net>", "RSET"])
      const next = yield* client.sendMail(mail)
      assert.strictEqual(next.message?.code, 250)
      assert.include(delivered[1]?.text, "Subject: hello")
      const discarded = yield* client.sendMail({ ...mail, to: "nobody@example.net" })
      assert.strictEqual(discarded.message?.code, 250)
      assert.lengthOf(delivered, 2)
    }))

  it.live("puts mail off while a filter is away, and what cannot be delivered", () =>
    Effect.gen(function*() {
      const { delivered, port } = yield* serving("inet:1@127.0.0.1")
      const client = yield* SmtpClient.connect(port)
      assert.match(client.greeting.text, /^451 4\./)
      assert.lengthOf(delivered, 0)
      const full = yield* listen(0, [yield* filterAddress], () => Effect.fail("the disk is full")).pipe(
        Effect.provide([NodeMilterClient.layer, quiet])
      )
      const other = yield* SmtpClient.connect(full)
      assert.strictEqual((yield* other.sendMail(mail)).message?.text, "451 4.3.0 Please try again later")
    }))

  it.live("refuses what is too long for the server", () =>
    Effect.gen(function*() {
      const hooks = yield* NodeSmtpServer.hooks([yield* filterAddress], () => Effect.die("is not delivered")).pipe(
        Effect.provide(NodeMilterClient.layer)
      )
      const port = yield* smtpServer.listen(hooks, { size: 100 })
      const client = yield* SmtpClient.connect(port)
      const result = yield* client.sendMail({ ...mail, message: `${message}${"x".repeat(100)}` })
      assert.strictEqual(result.message?.text, "552 5.3.4 Message too big")
    }))

  it.live("lets go of the filters with the client", () =>
    Effect.gen(function*() {
      const filter = yield* filterAddress
      const { port } = yield* serving(filter)
      const client = yield* SmtpClient.connect(port)
      yield* client.command("EHLO there")
      yield* client.command("MAIL FROM:<alice@example.org>")
      const count = () =>
        Effect.map(MilterServer.status, (servers) => servers.reduce((sum, { sessions }) => sum + sessions, 0))
      assert.strictEqual(yield* count(), 1)
      yield* client.reset
      while ((yield* count()) > 0) yield* Effect.sleep(5)
    }))

  const sessionOf = (session: Partial<NodeSmtpServer.Session>): NodeSmtpServer.Session => ({
    id: "1",
    remoteAddress: "127.0.0.1",
    remotePort: 4711,
    clientHostname: "localhost",
    hostNameAppearsAs: "there",
    ...session
  })

  /** What a filter is told of a session at MAIL, by name. */
  const told = Effect.fnUntraced(function*(session: NodeSmtpServer.Session, options?: MilterClient.ChainOptions) {
    const macros: { [name: string]: string | undefined } = {}
    const seeing = Milter.make("seeing").on({
      mail: (_, { session }) =>
        Effect.sync(() => {
          macros["hostname"] = session.hostname
          const names = ["j", "v", "auth_type", "auth_authen", "tls_version", "cipher", "cipher_bits"]
          for (const name of names) macros[name] = session.macros.get(name)
          return Verdict.continue
        })
    })
    const address = yield* serveFilter(seeing)
    const hooks = yield* NodeSmtpServer.hooks([address], () => Effect.void, options).pipe(
      Effect.provide(NodeMilterClient.layer)
    )
    const answered = (ask: (callback: NodeSmtpServer.Callback) => void) =>
      Effect.callback<void>((resume) => ask((error) => resume(error ? Effect.die(error) : Effect.void)))
    yield* answered((callback) => hooks.onConnect(session, callback))
    yield* answered((callback) => hooks.onMailFrom({ address: "alice@example.org" }, session, callback))
    hooks.onClose(session)
    return macros
  })

  it.live("tells them the truth", () =>
    Effect.gen(function*() {
      const plain = yield* told(sessionOf({}))
      assert.deepStrictEqual(plain, {
        hostname: "localhost",
        j: hostname(),
        v: "smtp-server",
        auth_type: undefined,
        auth_authen: undefined,
        tls_version: undefined,
        cipher: undefined,
        cipher_bits: undefined
      })
      const secure = yield* told(
        sessionOf({
          // Anybody can call an address so.
          clientHostname: "localhost",
          remoteAddress: "192.0.2.1",
          user: { username: "alice", method: "PLAIN" },
          secure: true,
          tlsOptions: { name: "TLS_AES_256_GCM_SHA384", version: "TLSv1.3" }
        }),
        { macros: { j: "mail.example.com" } }
      )
      assert.deepStrictEqual(secure, {
        hostname: "[192.0.2.1]",
        j: "mail.example.com",
        v: "smtp-server",
        auth_type: "PLAIN",
        auth_authen: "alice",
        tls_version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        cipher_bits: "256"
      })
      const named = yield* told(sessionOf({ user: "bob" }))
      assert.deepStrictEqual([named["auth_type"], named["auth_authen"]], ["unknown", "bob"])
    }).pipe(Effect.scoped))

  it.live("closes the connection after 421, wherever a filter says it", () =>
    Effect.gen(function*() {
      const shutting = Verdict.tempFail({ code: "421", enhanced: "4.7.0", text: "not now" })
      const stages = ["mail", "rcpt", "data", "header", "endOfHeaders", "body", "endOfMessage"] as const
      for (const stage of stages) {
        const { port } = yield* serving(yield* serveFilter(answering({ [stage]: shutting })))
        const client = yield* SmtpClient.connect(port)
        const { last } = yield* client.sendMail(mail)
        assert.strictEqual(last.text, "421 4.7.0 not now", stage)
        assert.strictEqual(yield* client.awaitClosed, "end", stage)
      }
    }).pipe(Effect.scoped))

  it.live("keeps the bytes after the colon", () =>
    Effect.gen(function*() {
      const { delivered, port } = yield* serving()
      const client = yield* SmtpClient.connect(port)
      const odd = "From:alice@example.org\r\nSubject:\r\nTo:\tbob@example.net\r\nX-Fold:\r\n one\r\n\r\nHello\r\n"
      assert.strictEqual((yield* client.sendMail({ ...mail, message: odd })).message?.code, 250)
      assert.strictEqual(delivered[0]?.text, odd)
    }))
})
