/** The example account_header, as a process, with a real Postfix, SMTP AUTH and TLS. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sasl from "../../testbed/sasl.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"

const name = "account_header"
const field = "X-Account-Data"
const key = (id: string) => `${id}:${randomBytes(32).toString("base64")}\n`
const [old, recent] = [key("old"), key("recent")]

class Fixture extends Context.Service<Fixture, {
  readonly postfix: Postfix.Instance<"rotated" | "tls">
  /** A file with both keys. */
  readonly keys: string
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const before = yield* Example.serve(name, [], { MILTER_ACCOUNT_KEYS: old })
    const postfix = yield* Postfix.make({
      milters: before.milter,
      mainCf: yield* Sasl.settings({ alice: "secret" }),
      listeners: {
        tls: { milters: before.milter, options: yield* Sasl.tls },
        rotated: { milters: "" }
      }
    })
    const keys = `${postfix.directory}/keys`
    Fs.writeFileSync(keys, old + recent, { mode: 0o600 })
    return { keys, postfix }
  })
)

const message = SmtpClient.crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: hello
Message-ID: <1@example.org>
${field}: v1.recent.forged
x-account-data: forged
 too
X-Account-Data : forged with a blank

Hello, Bob.
`)

Postfix.describePostfix("examples/account_header", () => {
  layer(fixture)((it) => {
    const sent = Effect.fnUntraced(function*(port: number, user?: string) {
      const { postfix } = yield* Fixture
      const client = yield* SmtpClient.connect(port)
      if (user !== undefined) assert.strictEqual((yield* Sasl.login(client, user, "secret")).code, 235)
      const result = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
      assert.isTrue(result.accepted, result.last.text)
      return yield* postfix.takeOne({ queueId: result.queueId })
    }, Effect.scoped)

    const decrypt = (input: string) =>
      Effect.flatMap(Fixture, ({ keys }) => Example.run(name, ["decrypt", "--keys", keys], { input }))

    it.effect("tells the account, the client and TLS to who has the key", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        const tunnel = yield* Sasl.tlsTunnel(postfix.portOf("tls"))
        const mail = yield* sent(tunnel, "alice")
        const values = Postfix.headerValues(mail, field)
        assert.lengthOf(values, 1)
        assert.match(values[0]!, /^v1\.old\.[\w-]+\n /)
        const { code, stderr, stdout } = yield* decrypt(mail.raw)
        assert.deepStrictEqual([code, stderr], [0, ""])
        const data = JSON.parse(stdout)
        assert.deepInclude(data, {
          login: "alice",
          mechanism: "PLAIN",
          helo: "client.example.org",
          queueId: mail.queueId,
          sender: "alice@example.org",
          messageId: "<1@example.org>"
        })
        assert.strictEqual(data.client.address, "127.0.0.1")
        assert.match(data.tls.version, /^TLSv1\.[23]$/)
        assert.match(data.time, /^20\d\d-.*Z$/)
        assert.deepStrictEqual(JSON.parse((yield* decrypt(values[0]!)).stdout), data)
      }))

    it.effect("removes forged fields, of mail without a login too", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        const other = yield* sent(postfix.port)
        assert.notMatch(other.raw, /account-data|forged/i)
        const mail = yield* sent(postfix.port, "alice")
        assert.lengthOf(Postfix.headerValues(mail, field), 1)
        assert.strictEqual(JSON.parse((yield* decrypt(mail.raw)).stdout).tls, undefined)
      }))

    it.effect("decrypts with the older key after a rotation, and encrypts with the newer", () =>
      Effect.gen(function*() {
        const { keys, postfix } = yield* Fixture
        const before = yield* sent(postfix.port, "alice")
        const { milter } = yield* Example.serve(name, ["--keys", keys])
        yield* postfix.reconfigure({ smtpd_milters: milter })
        const after = yield* sent(postfix.port, "alice")
        assert.match(Postfix.headerValues(after, field)[0]!, /^v1\.recent\./)
        for (const mail of [before, after]) {
          const { code, stdout } = yield* decrypt(mail.raw)
          assert.deepStrictEqual([code, JSON.parse(stdout).queueId], [0, mail.queueId])
        }
        const other = { MILTER_ACCOUNT_KEYS: recent }
        const { code, stderr } = yield* Example.run(name, ["decrypt"], { env: other, input: before.raw })
        assert.deepStrictEqual([code, stderr], [1, "decrypt: X-Account-Data: there is no key old\n"])
      }))

    it.effect("answers what is wrong with one line", () =>
      Effect.gen(function*() {
        const { keys } = yield* Fixture
        const bad = `${keys}.bad`
        Fs.writeFileSync(bad, "a:c2VjcmV0\n")
        for (
          const [args, env, line] of [
            [[], {}, /^account_header: no keys: give --keys FILE or MILTER_ACCOUNT_KEYS\n$/],
            [
              ["--keys", "/does/not/exist"],
              {},
              /^account_header: the keys \/does\/not\/exist cannot be read: NotFound\n$/
            ],
            [["--keys", bad], {}, /^account_header: line 1 of the keys is not a key: [^\n]+\n$/],
            [["--headername", "a b"], {}, /^account_header: [^\n]*headername[^\n]+\n$/],
            [[], { MILTER_HEADERNAME: "a:b" }, /^account_header: [^\n]*MILTER_HEADERNAME[^\n]+\n$/],
            [["decrypt", "--kyes", keys], {}, /^decrypt: [^\n]+\n$/]
          ] as const
        ) {
          const { code, stderr, stdout } = yield* Example.run(
            name,
            ["--listen", "inet:0", ...args].slice(args[0] === "decrypt" ? 2 : 0),
            { env }
          )
          assert.match(stderr, line)
          assert.notInclude(stderr, "c2VjcmV0")
          assert.deepStrictEqual([code, stdout], [1, ""])
        }
      }))
  })
})
