/** The example sender_restriction, as a process, with a real Postfix, SMTP AUTH and an HTTP API. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { createServer } from "node:http"
import * as Net from "node:net"
import * as FakeApi from "../../examples/sender_restriction/fakeApi.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sasl from "../../testbed/sasl.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"

const name = "sender_restriction"
const modes = ["tempfail", "reject", "pass"] as const

class Fixture extends Context.Service<Fixture, {
  readonly postfix: Postfix.Instance<typeof modes[number] | "hanging">
  readonly stopApi: Effect.Effect<void>
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const api = yield* FakeApi.layer.pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
      Layer.build,
      Scope.provide(scope)
    )
    const { address } = Context.get(api, HttpServer.HttpServer)
    const port = "port" in address ? address.port : 0
    const filter = (apiPort: number, ...args: ReadonlyArray<string>) =>
      Effect.map(
        Example.serve(name, ["--api-url", `http://127.0.0.1:${apiPort}/check`, "--cache-time", "1 millis", ...args]),
        ({ milter }) => milter
      )
    const silent = yield* Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer(() => undefined).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    // It listens on TCP.
    const silentPort = (silent.address() as Net.AddressInfo).port
    const [tempfail, reject, pass] = yield* Effect.forEach(modes, (mode) => filter(port, "--when-down", mode))
    const postfix = yield* Postfix.make({
      milters: "",
      mainCf: yield* Sasl.settings({ alice: "secret", mallory: "secret" }),
      listeners: {
        tempfail: { milters: tempfail },
        reject: { milters: reject! },
        pass: { milters: pass! },
        hanging: { milters: yield* filter(silentPort, "--timeout", "500 millis") }
      }
    })
    return { postfix, stopApi: Scope.close(scope, Exit.void) }
  })
)

const message = (headers = "") => SmtpClient.crlf(`From: alice@example.org\nSubject: hello\n${headers}\nHello, Bob.\n`)

Postfix.describePostfix("examples/sender_restriction", () => {
  layer(fixture)((it) => {
    const send = Effect.fnUntraced(function*(
      listener: typeof modes[number] | "hanging",
      user: string | undefined,
      from: string,
      content = message()
    ) {
      const { postfix } = yield* Fixture
      const client = yield* SmtpClient.connect(postfix.portOf(listener))
      if (user !== undefined) assert.strictEqual((yield* Sasl.login(client, user, "secret")).code, 235)
      const result = yield* client.sendMail({ from, to: "bob@test.example", message: content })
      if (result.accepted) {
        const mail = yield* postfix.takeOne({ queueId: result.queueId })
        assert.strictEqual(mail.sender, from)
        assert.include(mail.raw, "Hello, Bob.")
      }
      return result
    }, Effect.scoped)

    it.effect("lets accounts send as whom the API says", () =>
      Effect.gen(function*() {
        assert.isTrue((yield* send("tempfail", "alice", "alice@example.org")).accepted)
        assert.isTrue((yield* send("tempfail", "alice", "news@example.net")).accepted)
        assert.isTrue((yield* send("tempfail", undefined, "anybody@example.com")).accepted)
        const other = yield* send("tempfail", "alice", "boss@example.org")
        assert.strictEqual(other.mail.text, "550 5.7.1 alice may not send as <boss@example.org>")
        const mallory = yield* send("tempfail", "mallory", "alice@example.org")
        assert.strictEqual(mallory.mail.text, "550 5.7.1 mallory may not send mail")
      }))

    it.effect("lets campaigns pass that are approved", () =>
      Effect.gen(function*() {
        assert.isTrue(
          (yield* send("tempfail", "alice", "news@example.net", message("X-Campaign-Id: spring\n"))).accepted
        )
        const refused = yield* send("tempfail", "alice", "news@example.net", message("X-Campaign-Id: autumn\n"))
        assert.strictEqual(refused.message?.text, "550 5.7.1 The campaign autumn is not approved")
      }))

    it.effect("does what it was told when the API does not answer in time", () =>
      Effect.gen(function*() {
        const refused = yield* send("hanging", "alice", "alice@example.org")
        assert.strictEqual(
          refused.mail.text,
          "451 4.7.1 Cannot check the sender now, please try again later"
        )
      }))

    it.effect("does what it was told when the API is gone", () =>
      Effect.gen(function*() {
        yield* (yield* Fixture).stopApi
        const [tempfail, reject, pass] = yield* Effect.forEach(
          modes,
          (mode) => send(mode, "alice", "alice@example.org")
        )
        assert.strictEqual(tempfail.mail.text, "451 4.7.1 Cannot check the sender now, please try again later")
        assert.strictEqual(reject!.mail.text, "550 5.7.1 Cannot check the sender now")
        assert.isTrue(pass!.accepted)
      }))

    it.effect("answers what is wrong with one line", () =>
      Effect.gen(function*() {
        const url = ["--api-url", "http://127.0.0.1:1/"]
        for (
          const [args, env, line] of [
            [[], {}, /^sender_restriction: [^\n]*--api-url[^\n]*\n$/],
            [["--api-url", "ftp://x/"], {}, /^sender_restriction: [^\n]*http: or https:[^\n]*\n$/],
            [[...url, "--timeout", "1 minute"], {}, /^sender_restriction: [^\n]*at most 7s[^\n]*\n$/],
            [[...url, "--when-down", "drop"], {}, /^sender_restriction: [^\n]*--when-down[^\n]*\n$/],
            [url, { MILTER_CACHE_SIZE: "0" }, /^sender_restriction: [^\n]*MILTER_CACHE_SIZE[^\n]*\n$/]
          ] as const
        ) {
          const { code, stderr, stdout } = yield* Example.run(name, ["--listen", "inet:0", ...args], { env })
          assert.match(stderr, line)
          assert.deepStrictEqual([code, stdout], [1, ""])
        }
      }))
  })
})
