/** An SMTP server in Node that signs with opendkim and verifies with it. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as RawMessage from "effect-milter/RawMessage"
import type { AddressInfo } from "node:net"
import { SMTPServer } from "smtp-server"
import { listen } from "../../examples/smtp_server/server.ts"
import { describeDaemon } from "../../testbed/daemon.ts"
import { opendkim, prerequisites } from "../../testbed/opendkim.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { added, outside, send } from "./support/send.ts"

describeDaemon("an SMTP server with opendkim", prerequisites, () => {
  it.live("delivers what is signed", () =>
    Effect.gen(function*() {
      const signer = yield* opendkim()
      const delivered: Array<NodeSmtpServer.Mail> = []
      const port = yield* listen(0, [signer], (mail) => Effect.sync(() => void delivered.push(mail))).pipe(
        Effect.provide(NodeMilterClient.layer)
      )
      const client = yield* SmtpClient.connect(port)
      for (const body of ["Hello\r\n..\r\n", `${"0123456789".repeat(7)}\r\n`.repeat(2000)]) {
        const { message } = yield* client.sendMail({
          from: "alice@example.org",
          to: ["bob@example.net", "carol@example.net"],
          message: `From: Alice <alice@example.org>\r\nSubject:  gr\xc3\xbc\xc3\x9fe\r\n\tund mehr\r\n\r\n${body}`
        })
        assert.strictEqual(message?.code, 250)
      }
      yield* client.quit
      assert.lengthOf(delivered, 2)
      for (const { message, recipients, sender } of delivered) {
        const raw = RawMessage.parse(message)
        assert.strictEqual(raw.headers[0]?.[0], "DKIM-Signature")
        const verified = yield* send(signer, { ...raw, from: sender, to: recipients, client: outside })
        assert.match(added(verified, "Authentication-Results").join(), /dkim=pass/)
      }
    }))

  it.live("signs for users who have logged in, and for nobody else", () =>
    Effect.gen(function*() {
      // No host is internal to it, so that {auth_type} decides.
      const signer = yield* opendkim(undefined, undefined, "192.0.2.99")
      const delivered: Array<NodeSmtpServer.Mail> = []
      const hooks = yield* NodeSmtpServer.hooks([signer], (mail) => Effect.sync(() => void delivered.push(mail))).pipe(
        Effect.provide(NodeMilterClient.layer)
      )
      const server = new SMTPServer({
        authOptional: true,
        allowInsecureAuth: true,
        disabledCommands: ["STARTTLS"],
        onAuth: (auth, _, callback) => callback(null, { user: auth.username }),
        ...hooks
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.callback<void>((resume) => server.close(() => resume(Effect.void)))
      )
      const { port } = server.server.address() as AddressInfo // it listens on TCP
      const mail = {
        from: "alice@example.org",
        to: "bob@example.net",
        message: "From: alice@example.org\r\nSubject: hello\r\n\r\nHello\r\n"
      }
      const stranger = yield* SmtpClient.connect(port)
      yield* stranger.sendMail(mail)
      yield* stranger.quit
      const user = yield* SmtpClient.connect(port)
      yield* user.command("EHLO there")
      const login = Buffer.from("\0alice\0secret").toString("base64")
      assert.strictEqual((yield* user.command(`AUTH PLAIN ${login}`)).code, 235)
      yield* user.sendMail(mail)
      yield* user.quit
      const signed = delivered.map(({ message }) => /^DKIM-Signature:/m.test(new TextDecoder().decode(message)))
      assert.deepStrictEqual(signed, [false, true])
    }).pipe(Effect.scoped))
})
