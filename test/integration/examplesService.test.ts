/** The example service: one process with an HTTP API and a milter, on a real PostgreSQL, behind a real Postfix. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Http from "node:http"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { spawn } from "../../testbed/childProcess.ts"
import { freePort, poll } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as PostgresServer from "../../testbed/postgres.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"

const program = (file: string) => fileURLToPath(new URL(`../../examples/service/${file}`, import.meta.url))

/** Starts the service, and waits until it listens. */
const start = Effect.fnUntraced(function*(file: string, env: { readonly [name: string]: string }) {
  const port = yield* freePort(["127.0.0.1"])
  const child = yield* spawn(process.execPath, ["-C", "effect-milter-source", program(file)], {
    env: { ...env, HTTP_PORT: String(port) }
  })
  yield* realTime(child.shows(/Listening on http:/))
  return { child, port }
})

const withMilter = Effect.fnUntraced(function*(env: { readonly [name: string]: string }) {
  const service = yield* start("main.ts", { MILTER_LISTEN: "inet:0", ...env })
  const [, milterPort] = yield* realTime(service.child.shows(/listens on inet:(\d+)@127\.0\.0\.1/))
  return { ...service, milterPort: Number(milterPort), milter: `inet:127.0.0.1:${milterPort}` }
})

class Fixture extends Context.Service<Fixture, {
  readonly server: PostgresServer.Server
  readonly database: string
  readonly service: Effect.Success<ReturnType<typeof withMilter>>
  readonly postfix: Postfix.Instance<never>
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const server = yield* PostgresServer.make
    const database = yield* server.database("accounts")
    const service = yield* withMilter({ DATABASE_URL: database })
    return { database, postfix: yield* Postfix.make({ milters: service.milter }), server, service }
  })
)

/** One request on a connection of its own. */
const request = (port: number, method: string, path: string) =>
  Effect.callback<{ readonly status: number; readonly text: string }>((resume) => {
    const sent = Http.request({ port, host: "127.0.0.1", method, path, agent: false }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (piece: string) => (text += piece))
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, text })))
    })
    sent.on("error", (error) => resume(Effect.succeed({ status: 0, text: error.message })))
    sent.end()
  })

const missing = PostgresServer.missingPrerequisite() ?? Postfix.missingPrerequisite()

describeWith(missing, "examples/service", () => {
  layer(fixture)((it) => {
    const api = (method: string, path: string) =>
      Effect.flatMap(Fixture, ({ service }) => request(service.port, method, path))

    const bob = "/accounts/bob@test.example/blocked"

    const send = (client: SmtpClient.SmtpClient, from: string, to: string | ReadonlyArray<string>) =>
      Effect.map(
        client.sendMail({ from, to, message: "Subject: hello\r\n\r\nHello.\r\n" }),
        ({ last, rcpt }) => ({ last: last.text, rcpt: rcpt.map(({ code }) => code) })
      )

    const connect = Effect.flatMap(Fixture, ({ postfix }) => SmtpClient.connect(postfix.port))

    it.effect("refuses what was blocked by HTTP, from one message of a session to the next", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        assert.deepStrictEqual(yield* api("GET", "/readyz"), { status: 200, text: "" })
        const client = yield* connect
        const both = ["bob@test.example", "carol@test.example"]
        assert.deepStrictEqual((yield* send(client, "Alice@Example.org", both)).rcpt, [250, 250])
        assert.strictEqual((yield* api("PUT", `${bob}/alice@EXAMPLE.org`)).status, 204)
        assert.strictEqual((yield* api("PUT", `${bob}/spam.example`)).status, 204)
        assert.strictEqual((yield* api("GET", bob)).text, "[\"alice@example.org\",\"spam.example\"]")
        const second = yield* send(client, "Alice@Example.org", both)
        assert.deepStrictEqual(second.rcpt, [550, 250])
        assert.match(second.last, /^250 /)
        const refused = yield* send(client, "anybody@spam.example", "bob@test.example")
        assert.strictEqual(refused.last, "550 5.7.1 This recipient does not want mail from you")
        yield* client.command("RSET")
        assert.strictEqual((yield* api("DELETE", `${bob}/spam.example`)).status, 204)
        assert.match((yield* send(client, "anybody@spam.example", "bob@test.example")).last, /^250 /)
        const delivered = yield* postfix.awaitIdle()
        assert.deepStrictEqual(delivered.map(({ recipients }) => recipients.join()), [
          both.join(),
          "carol@test.example",
          "bob@test.example"
        ])
        yield* postfix.clear
      }))

    it.effect("has one log and one set of metrics", () =>
      Effect.gen(function*() {
        const { service } = yield* Fixture
        const { text } = yield* api("GET", "/metrics")
        assert.match(text, /milter_messages_total\{filter="blocked_senders",outcome="accepted"\} 3/)
        yield* realTime(service.child.shows(/^\{"message":.*"filter":"blocked_senders"/m))
        yield* realTime(service.child.shows(/^\{"message":.*"http\.url":"\/metrics"/m))
        for (const line of service.child.output.trim().split("\n")) {
          assert.doesNotThrow(() => void JSON.parse(line), line)
        }
      }))

    it.effect("was a service without a milter before, on the same database", () =>
      Effect.gen(function*() {
        const { database } = yield* Fixture
        const before = yield* start("before.ts", { DATABASE_URL: database })
        assert.strictEqual((yield* request(before.port, "GET", bob)).text, "[\"alice@example.org\"]")
        assert.strictEqual((yield* request(before.port, "GET", "/readyz")).status, 404)
        yield* before.child.signal("SIGTERM")
        assert.strictEqual(yield* realTime(before.child.exit), 0)
      }))

    it.effect("puts both off while the database is gone", () =>
      Effect.gen(function*() {
        const { postfix, server, service } = yield* Fixture
        const client = yield* connect
        yield* server.stop
        assert.deepStrictEqual(yield* api("GET", bob), { status: 503, text: "try again later" })
        assert.strictEqual(
          (yield* send(client, "anybody@example.org", "bob@test.example")).last,
          "451 4.3.0 Cannot look up what the recipient wants, please try again later"
        )
        yield* server.start
        yield* poll(
          10_000,
          Effect.map(request(service.port, "GET", bob), ({ status }) => status === 200 ? true : undefined)
        )
        yield* client.command("RSET")
        assert.match((yield* send(client, "anybody@example.org", "bob@test.example")).last, /^250 /)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))

    it.effect("stops both parts in order, and the database after them", () =>
      Effect.gen(function*() {
        const { database, postfix } = yield* Fixture
        const service = yield* withMilter({ DATABASE_URL: database })
        yield* postfix.reconfigure({ smtpd_milters: service.milter })
        // In the middle of a message, and of a request.
        const client = yield* connect
        yield* client.command("EHLO client.example.org")
        yield* client.command("MAIL FROM:<alice@example.org>")
        assert.strictEqual((yield* client.command("RCPT TO:<carol@test.example>")).code, 250)
        const half = Net.connect({ port: service.port, host: "127.0.0.1" })
        yield* Effect.addFinalizer(() => Effect.sync(() => half.destroy()))
        let answered = ""
        half.setEncoding("utf8").on("data", (text: string) => (answered += text)).on("error", () => undefined)
        half.write(`PUT ${bob}/late@example.org HTTP/1.1\r\nHost: x\r\nX-Half: `)
        yield* realTime(Effect.sleep(200))

        yield* service.child.signal("SIGTERM")
        yield* realTime(service.child.shows(/stops when its open connections have ended \(1\)/))
        half.write("yes\r\n\r\n")
        // The filter asks the database while the service stops.
        const refused = yield* client.command("RCPT TO:<bob@test.example>")
        assert.strictEqual(refused.text, "550 5.7.1 This recipient does not want mail from you")
        assert.strictEqual((yield* client.data("Subject: last\r\n\r\nHello.\r\n")).code, 250)
        yield* client.quit
        assert.strictEqual(yield* realTime(service.child.exit), 0)
        assert.match(answered, /^HTTP\/1\.1 204 /)
        assert.strictEqual((yield* request(service.port, "GET", bob)).status, 0)
        assert.strictEqual((yield* api("GET", bob)).text, "[\"alice@example.org\",\"late@example.org\"]")
        const [delivered] = yield* postfix.awaitIdle()
        assert.deepStrictEqual(delivered?.recipients, ["carol@test.example"])
        yield* postfix.clear
      }))

    it.effect("says in one line what is wrong, and starts neither part", () =>
      Effect.gen(function*() {
        const { database, service } = yield* Fixture
        const good = {
          DATABASE_URL: database,
          MILTER_LISTEN: "inet:0",
          HTTP_PORT: String(yield* freePort(["127.0.0.1"]))
        }
        for (
          const [env, args, line] of [
            [{ DATABASE_URL: undefined }, [], /^service: there is no DATABASE_URL\n$/],
            [{ DATABASE_URL: "mysql://geheim@host/x" }, [], /^service: DATABASE_URL is [^\n]*postgres:[^\n]*\n$/],
            [
              { DATABASE_URL: "postgres://me:geheim@127.0.0.1:1/x" },
              [],
              /^service: no database at 127\.0\.0\.1:1: connect ECONNREFUSED [^\n]*\n$/
            ],
            [{ HTTP_PORT: "http" }, [], /^service: [^\n]*HTTP_PORT\n$/],
            [{ HTTP_PORT: String(service.port) }, [], /^service: [^\n]*EADDRINUSE[^\n]*\n$/],
            [
              { MILTER_LISTEN: `inet:${service.milterPort}@127.0.0.1` },
              [],
              /^service: cannot listen on [^\n]*: address already in use\n$/
            ],
            [{ MILTER_LISTEN: "everywhere" }, [], /^service: cannot listen on everywhere: [^\n]*\n$/],
            [{ MILTER_COMMAND_TIMEOUT: "soon" }, [], /^service: [^\n]*MILTER_COMMAND_TIMEOUT\n$/],
            [{ LOG_LEVEL: "loud" }, [], /^service: [^\n]*LOG_LEVEL\n$/],
            [{}, ["--port", "1"], /^service: [^\n]*--port[^\n]*\n$/]
          ] as const
        ) {
          const all = Object.entries({ ...good, ...env })
          const { code, stderr } = yield* Example.run("service", args, {
            env: Object.fromEntries(all.filter((entry): entry is [string, string] => entry[1] !== undefined))
          })
          assert.match(stderr, line)
          assert.notInclude(stderr, "geheim")
          assert.strictEqual(code, 1)
        }
      }))
  })
})
