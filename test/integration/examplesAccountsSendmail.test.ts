/** The examples for accounts, as processes, with a real Sendmail. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import { createServer } from "node:http"
import * as Path from "node:path"
import * as FakeApi from "../../examples/sender_restriction/fakeApi.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Listeners from "../support/listeners.ts"
import * as Example from "./support/exampleProcess.ts"

const keys = { MILTER_ACCOUNT_KEYS: `test:${randomBytes(32).toString("base64")}` }

const tiers = JSON.stringify({
  tiers: { small: [{ recipients: 3, per: "1000 days" }] },
  accounts: {},
  otherwise: "small"
})

class Fixture extends Context.Service<Fixture, Sendmail.Instance<"restricted" | "limited">>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const file = Path.join(yield* Listeners.directory, "tiers.json")
    Fs.writeFileSync(file, tiers)
    const api = yield* Layer.build(
      Layer.provideMerge(FakeApi.layer, NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
    )
    const { address } = Context.get(api, HttpServer.HttpServer)
    const url = `http://127.0.0.1:${"port" in address ? address.port : 0}/check`
    return yield* Sendmail.make({
      filters: [yield* Example.serve("account_header", [], keys)],
      listeners: {
        restricted: [yield* Example.serve("sender_restriction", ["--api-url", url])],
        limited: [yield* Example.serve("rate_limit", ["--tiers", file])]
      },
      // As if everybody had logged in: a real login would take a password server.
      mc: ["LOCAL_CONFIG", "D{auth_authen}alice", "D{auth_type}PLAIN"]
    })
  })
)

const message = (more = "") =>
  SmtpClient.crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: hello
Message-ID: <1@example.org>
Date: Mon, 01 Jan 2024 00:00:00 +0000
${more}
Hello, Bob.
`)

const forged = `X-Account-Data: v1.test.forged
x-account-data: forged
 too
X-Account-Data : forged with a blank
`

Sendmail.describeSendmail("examples for accounts, with Sendmail", () => {
  layer(fixture)((it) => {
    const connect = (name?: "restricted" | "limited") =>
      Effect.flatMap(
        Fixture,
        (sendmail) => SmtpClient.connect(name === undefined ? sendmail.port : sendmail.portOf(name))
      )

    it.effect("account_header removes forged fields and adds its own", () =>
      Effect.gen(function*() {
        const sendmail = yield* Fixture
        const client = yield* connect()
        for (const content of [message(forged), message()]) {
          const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message: content })
          assert.strictEqual(result.last.code, 250, result.last.text)
          const mail = yield* sendmail.takeOne({ queueId: result.queueId })
          assert.lengthOf(mail.raw.match(/account-data/gi) ?? [], 1)
          assert.notMatch(mail.raw, /forged/)
          const { code, stderr, stdout } = yield* Example.run("account_header", ["decrypt"], {
            env: keys,
            input: mail.raw
          })
          assert.deepStrictEqual([code, stderr], [0, ""])
          assert.deepInclude(JSON.parse(stdout), {
            login: "alice",
            mechanism: "PLAIN",
            queueId: mail.queueId,
            sender: "alice@example.org",
            messageId: "<1@example.org>"
          })
        }
      }))

    it.effect("sender_restriction lets pass what the API allows", () =>
      Effect.gen(function*() {
        const sendmail = yield* Fixture
        const client = yield* connect("restricted")
        const send = (from: string, more?: string) =>
          client.sendMail({ from, to: "bob@test.example", message: message(more) })
        assert.strictEqual(
          (yield* send("boss@example.org")).mail.text,
          "550 5.7.1 <boss@example.org>... alice may not send as <boss@example.org>"
        )
        const refused = yield* send("news@example.net", "X-Campaign-Id: autumn\n")
        assert.strictEqual(refused.message?.text, "550 5.7.1 The campaign autumn is not approved")
        const passed = yield* send("news@example.net", "X-Campaign-Id: spring\n")
        assert.strictEqual((yield* sendmail.takeOne({ queueId: passed.queueId })).body, "Hello, Bob.\n")
      }))

    it.effect("rate_limit counts what was accepted", () =>
      Effect.gen(function*() {
        const sendmail = yield* Fixture
        const client = yield* connect("limited")
        const send = (...to: ReadonlyArray<string>) =>
          client.sendMail({
            from: "alice@example.org",
            to: to.map((name) => `${name}@test.example`),
            message: message()
          })
        yield* client.command("EHLO client.example.org")
        yield* client.command("MAIL FROM:<alice@example.org>")
        assert.strictEqual((yield* client.command("RCPT TO:<given-up@test.example>")).code, 250)
        yield* client.command("RSET")
        const result = yield* send("unknown", "bob", "carol")
        assert.deepStrictEqual(result.rcpt.map(({ code }) => code), [550, 250, 250])
        yield* sendmail.takeOne({ queueId: result.queueId })
        const last = yield* send("dave", "erin")
        assert.deepStrictEqual(last.rcpt.map(({ code }) => code), [250, 450])
        assert.match(
          last.rcpt[1]!.text,
          /^450 4\.7\.1 <erin@test\.example>\.\.\. You have used up 3 recipients in 1000d; try again in /
        )
        assert.deepStrictEqual((yield* sendmail.takeOne({ queueId: last.queueId })).recipients, ["dave@test.example"])
      }))
  })
})
