/** An SMTP server in Node that signs with opendkim and verifies with it. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as RawMessage from "effect-milter/RawMessage"
import { listen } from "../../examples/smtp_server/server.ts"
import { describeDaemon } from "../../testbed/daemon.ts"
import { opendkim, prerequisites } from "../../testbed/opendkim.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as smtpServer from "../support/smtpServer.ts"
import { added, outside, send } from "./support/send.ts"

describeDaemon("an SMTP server with opendkim", prerequisites, () => {
  it.live("delivers what is signed", () =>
    Effect.gen(function*() {
      const signer = yield* opendkim()
      const { deliver, delivered } = smtpServer.collector()
      const port = yield* listen(0, [signer], deliver).pipe(
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
      for (const { bytes, recipients, sender } of delivered) {
        const raw = RawMessage.parse(bytes)
        assert.strictEqual(raw.headers[0]?.[0], "DKIM-Signature")
        const verified = yield* send(signer, { ...raw, from: sender, to: recipients, client: outside })
        assert.match(added(verified, "Authentication-Results").join(), /dkim=pass/)
      }
    }))

  it.live("signs for users who have logged in, and for nobody else", () =>
    Effect.gen(function*() {
      // No host is internal to it, so that {auth_type} decides.
      const signer = yield* opendkim(undefined, undefined, "192.0.2.99")
      const { deliver, delivered } = smtpServer.collector()
      const hooks = yield* NodeSmtpServer.hooks([signer], deliver).pipe(Effect.provide(NodeMilterClient.layer))
      const port = yield* smtpServer.listen(hooks, {
        allowInsecureAuth: true,
        onAuth: (auth, _, callback) => callback(null, { user: auth.username })
      })
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
      const signed = delivered.map(({ text }) => /^DKIM-Signature:/m.test(text))
      assert.deepStrictEqual(signed, [false, true])
    }).pipe(Effect.scoped))
})
