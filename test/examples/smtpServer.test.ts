/** The example that puts a milter into an SMTP server. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer, NodeSmtpServer } from "effect-milter/node"
import type { AddressInfo } from "node:net"
import { SMTPServer } from "smtp-server"
import { listen } from "../../examples/smtp_server/server.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { quiet } from "../support/listeners.ts"
import picky from "../support/modules/filter.ts"

const filterAddress = Effect.map(
  Layer.build(
    MilterServer.layer(picky).pipe(
      Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
      Layer.provide(quiet)
    )
  ),
  (context) => Context.get(context, MilterServer.Listener).addresses[0]!
)

/** The example before these filters, and what it delivers. */
const serving = (...filters: ReadonlyArray<string>) => {
  const delivered: Array<NodeSmtpServer.Mail> = []
  return listen(0, filters, (mail) => Effect.sync(() => void delivered.push(mail))).pipe(
    Effect.map((port) => ({ port, delivered })),
    Effect.provide([NodeMilterClient.layer, quiet])
  )
}

const message = "From: alice@example.org\r\nSubject: hello\r\n\r\n.\r\nHello\r\n"

const mail: SmtpClient.Mail = { from: "alice@example.org", to: "bob@example.net", message }

const textOf = (mail: NodeSmtpServer.Mail | undefined) => mail && new TextDecoder().decode(mail.message)

describe("an SMTP server with filters", () => {
  it.live("delivers what they let pass, with their changes", () =>
    Effect.gen(function*() {
      const filter = yield* filterAddress
      const { delivered, port } = yield* serving(filter, filter)
      const client = yield* SmtpClient.connect(port)
      const accepted = yield* client.sendMail({ ...mail, mailParameters: "BODY=8BITMIME" })
      assert.strictEqual(accepted.message?.code, 250)
      assert.strictEqual(textOf(delivered[0]), message.replace("\r\n\r\n", "\r\nX-Picky: yes\r\nX-Picky: yes\r\n\r\n"))
      const edited = yield* client.sendMail({
        ...mail,
        from: "editor@example.org",
        to: ["bob@example.net", "carol@example.net"]
      })
      assert.strictEqual(edited.message?.code, 250)
      // Both filters add dave; as with Postfix the message comes once.
      assert.deepStrictEqual(delivered[1]?.recipients.toSorted(), ["carol@example.net", "dave@example.net"])
      assert.match(textOf(delivered[1]) ?? "", /^From: .*\r\nSubject: edited\r\n[^]*\r\n\r\none\r\nnew\r\nthree\r\n$/)
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
      assert.include(textOf(delivered[1]), "Subject: hello")
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
      const server = new SMTPServer({ size: 100, authOptional: true, disabledCommands: ["STARTTLS"], ...hooks })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.callback<void>((resume) => server.close(() => resume(Effect.void)))
      )
      const { port } = server.server.address() as AddressInfo // it listens on TCP
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
})
