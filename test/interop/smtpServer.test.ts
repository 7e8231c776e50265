/** An SMTP server in Node that signs with opendkim and verifies with it. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { NodeMilterClient, type NodeSmtpServer } from "effect-milter/node"
import * as RawMessage from "effect-milter/RawMessage"
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
})
