/** A client whose address nobody knows, behind a real Postfix: the session goes on, and the filter is told so. */
import { assert, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Postfix from "../../testbed/postfix.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as FilterServer from "./support/filterServer.ts"

Postfix.describePostfix("a client without an address, with Postfix", () => {
  it.live("is unknown, and its mail is filtered", () =>
    Effect.gen(function*() {
      const clients: Array<string> = []
      const tagging = Milter.make("tagging", { modify: ["addHeader"] }).on({
        connect: ({ client }) =>
          Effect.sync(() => {
            clients.push(client._tag)
            return Verdict.continue
          }),
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tagged", "yes"), Verdict.continue)
      })
      const tap = yield* FilterServer.tap(yield* FilterServer.serve(tagging))
      const postfix = yield* Postfix.make({
        milters: FilterServer.forPostfix(tap.address),
        mainCf: { smtpd_authorized_xclient_hosts: "127.0.0.1" }
      })
      const client = yield* SmtpClient.connect(postfix.port)
      yield* client.command("EHLO proxy.example.org")
      tap.takePackets()
      assert.strictEqual((yield* client.command("XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]")).code, 220)
      yield* client.command("EHLO client.example.org")
      const { last, queueId } = yield* client.sendMail({
        from: "alice@example.org",
        to: "bob@test.example",
        message: "Subject: hello\r\n\r\nHello\r\n"
      })
      assert.strictEqual(last.code, 250, last.text)
      yield* client.quit
      const delivered = yield* postfix.takeOne({ queueId })
      assert.deepStrictEqual(Postfix.headerValues(delivered, "X-Tagged"), ["yes"])
      // What Postfix really sends.
      const connect = tap.takePackets().find((packet) => packet._tag === "Connect")
      assert.isTrue(connect?.address._tag === "IPv4" && connect.address.address === ByteString.make("unknown"))
      assert.deepStrictEqual(clients, ["IPv4", "Unknown"])
    }).pipe(Effect.scoped))
})
