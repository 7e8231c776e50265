/** The example rate_limit: two processes that share a real Redis, behind a real Postfix with SMTP AUTH. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import type { Window } from "../../examples/rate_limit/tiers.ts"
import { Usage } from "../../examples/rate_limit/usage.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as RedisServer from "../../testbed/redisServer.ts"
import * as Sasl from "../../testbed/sasl.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Example from "./support/exampleProcess.ts"
import * as FilterServer from "./support/filterServer.ts"

const name = "rate_limit"

// Windows so long that none ends during the test.
const tiers = JSON.stringify({
  tiers: { small: [{ recipients: 20, per: "1000 days" }], large: [{ recipients: 1000, per: "1000 days" }] },
  accounts: { bob: "large", carol: "large" },
  otherwise: "small"
})

/** Refuses recipients called `refused`, and stands in front of the one that counts. */
const refusing = Milter.make("refusing").on({
  rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "refused" ? Verdict.reject() : Verdict.continue)
})

class Fixture extends Context.Service<Fixture, {
  readonly postfix: Postfix.Instance<"one" | "two" | "pass" | "memory" | "later">
  readonly redis: { readonly port: number; readonly url: string; readonly stop: Effect.Effect<void> }
  readonly tiers: string
}>()("test/Fixture") {}

const passwords = { alice: "secret", bob: "secret", carol: "secret", dave: "secret", erin: "secret" }

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const port = yield* RedisServer.freePort
    const server = yield* RedisServer.start(port)
    const url = `redis://127.0.0.1:${port}`
    const directory = Fs.mkdtempSync("/tmp/effect-milter-tiers-")
    yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(directory, { recursive: true })))
    const file = `${directory}/tiers.json`
    Fs.writeFileSync(file, tiers)
    const filter = (...args: ReadonlyArray<string>) =>
      Effect.map(Example.serve(name, ["--tiers", file, ...args]), ({ milter }) => milter)
    const one = yield* filter("--redis", url)
    const two = yield* filter("--redis", url)
    const first = FilterServer.forPostfix(yield* FilterServer.serve(refusing))
    const postfix = yield* Postfix.make({
      milters: "",
      mainCf: yield* Sasl.settings(passwords),
      listeners: {
        one: { milters: one },
        two: { milters: `${first}, ${two}` },
        pass: { milters: yield* filter("--redis", url, "--when-down", "pass") },
        memory: { milters: yield* filter() },
        // Refuses by the content, after the filter has let it pass.
        later: {
          milters: one,
          cleanupOptions: { header_checks: "regexp:{{/^Subject: bad/ REJECT not this}}" }
        }
      }
    })
    const stop = Effect.andThen(server.signal("SIGKILL"), server.exit)
    return { postfix, redis: { port, url, stop: Effect.asVoid(realTime(stop)) }, tiers: file }
  })
)

const missing = RedisServer.missingPrerequisite() ?? Postfix.missingPrerequisite()

describeWith(missing, "examples/rate_limit", () => {
  layer(fixture)((it) => {
    type ListenerName = "one" | "two" | "pass" | "memory" | "later"

    const message = (subject: string) => SmtpClient.crlf(`From: a@example.org\nSubject: ${subject}\n\nHello.\n`)

    /** One message; gives the codes for its recipients, and that for the message. */
    const send = Effect.fnUntraced(function*(
      listener: ListenerName,
      user: string,
      recipients: ReadonlyArray<string> | number,
      subject = "hello"
    ) {
      const { postfix } = yield* Fixture
      const client = yield* SmtpClient.connect(postfix.portOf(listener))
      assert.strictEqual((yield* Sasl.login(client, user, "secret")).code, 235)
      const to = typeof recipients === "number"
        ? Array.from({ length: recipients }, (_, index) => `r${index}`)
        : recipients
      const result = yield* client.sendMail({
        from: `${user}@example.org`,
        to: to.map((localPart) => `${localPart}@test.example`),
        message: message(subject)
      })
      yield* client.quit
      return {
        codes: result.rcpt.map(({ code }) => code),
        last: result.last,
        texts: result.rcpt.map(({ text }) => text)
      }
    }, Effect.scoped)

    /** What the report says of an account. */
    const billed = Effect.fnUntraced(function*(account: string) {
      const { redis } = yield* Fixture
      const { code, stderr, stdout } = yield* Example.run(name, ["report", "--redis", redis.url])
      assert.deepStrictEqual([code, stderr], [0, ""])
      const lines: ReadonlyArray<{ readonly account: string; readonly recipients: number }> = stdout.trim().split("\n")
        .filter((line) => line !== "").map((line) => JSON.parse(line))
      return lines.find((line) => line.account === account)?.recipients ?? 0
    })

    it.effect("has one limit for two processes, whoever is asked, all at once", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        // 12 messages with 3 recipients each, over both, at the same time: 20 of 36 are let through.
        const sent = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, index) => index),
          (index) => send(index % 2 === 0 ? "one" : "two", "alice", 3),
          { concurrency: "unbounded" }
        )
        const codes = sent.flatMap(({ codes }) => codes)
        assert.lengthOf(codes.filter((code) => code === 250), 20)
        assert.lengthOf(codes.filter((code) => code === 450), 16)
        const delivered = yield* postfix.awaitIdle()
        yield* postfix.clear
        assert.strictEqual(delivered.flatMap(({ recipients }) => recipients).length, 20)
        assert.strictEqual(yield* billed("alice"), 20)
        for (const listener of ["one", "two"] as const) {
          const { texts } = yield* send(listener, "alice", 1)
          assert.match(texts[0]!, /^450 4\.7\.1 You have used up 20 recipients in 1000d; try again in \d+d/)
        }
        // Others have their own.
        assert.deepStrictEqual((yield* send("one", "dave", 1)).codes, [250])
      }))

    it.effect("counts those that were accepted, of messages that were accepted", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        // Refused by the MTA, refused by another filter, accepted.
        const { codes } = yield* send("two", "bob", ["unknown", "refused", "good", "better"])
        assert.deepStrictEqual(codes, [550, 550, 250, 250])
        assert.strictEqual(yield* billed("bob"), 2)
        // Refused by its content after the filter has seen all of it.
        const refused = yield* send("later", "bob", 3, "bad")
        assert.deepStrictEqual([refused.codes, refused.last.code], [[250, 250, 250], 550])
        // Given up by the client, in two ways.
        const client = yield* SmtpClient.connect(postfix.portOf("one"))
        yield* Sasl.login(client, "bob", "secret")
        for (const end of [client.command("RSET"), client.reset]) {
          yield* client.command("MAIL FROM:<bob@example.org>")
          assert.strictEqual((yield* client.command("RCPT TO:<good@test.example>")).code, 250)
          yield* end
        }
        yield* postfix.awaitIdle()
        yield* postfix.clear
        assert.strictEqual(yield* billed("bob"), 2)
      }))

    it.effect("gives back what was not accepted: the whole limit is there afterwards", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        assert.deepStrictEqual((yield* send("later", "erin", 20, "bad")).last.code, 550)
        const { codes } = yield* send("two", "erin", 21)
        assert.lengthOf(codes.filter((code) => code === 250), 20)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))

    it.effect("does without Redis, for itself", () =>
      Effect.gen(function*() {
        const { postfix } = yield* Fixture
        const { codes } = yield* send("memory", "alice", 21)
        assert.lengthOf(codes.filter((code) => code === 250), 20)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))

    it.effect("answers what is wrong with one line", () =>
      Effect.gen(function*() {
        const { redis, tiers } = yield* Fixture
        const bad = `${tiers}.bad`
        Fs.writeFileSync(bad, "{}")
        for (
          const [args, line] of [
            [[], /^rate_limit: [^\n]*--tiers[^\n]*\n$/],
            [["--tiers", "/does/not/exist"], /^rate_limit: the tiers \/does\/not\/exist cannot be read: NotFound\n$/],
            [["--tiers", bad], /^rate_limit: the tiers \/[^\n]* are not in order: [^\n]*\n$/],
            [["--tiers", tiers, "--redis", "localhost"], /^rate_limit: [^\n]*redis:\/\/[^\n]*\n$/],
            [
              ["--tiers", tiers, "--redis", "redis://user:geheim@127.0.0.1:1"],
              /^rate_limit: no Redis at 127\.0\.0\.1:1: [^\n]*ECONNREFUSED[^\n]*\n$/
            ],
            [["--tiers", tiers, "--when-down", "reject"], /^rate_limit: [^\n]*--when-down[^\n]*\n$/],
            [["report"], /^report: [^\n]*--redis[^\n]*\n$/],
            [["report", "--redis", "redis://127.0.0.1:1"], /^report: no Redis at 127\.0\.0\.1:1: [^\n]*\n$/],
            [["report", "--redis", redis.url, "--month", "May"], /^report: [^\n]*2026-11[^\n]*\n$/]
          ] as const
        ) {
          const all = args[0] === "report" ? args : ["--listen", "inet:0", ...args]
          const { code, stderr, stdout } = yield* Example.run(name, all)
          assert.match(stderr, line)
          assert.notInclude(stderr, "geheim")
          assert.deepStrictEqual([code, stdout], [1, ""])
        }
      }))

    it.effect("does what it was told while Redis is gone, and goes on when it is back", () =>
      Effect.gen(function*() {
        const { postfix, redis } = yield* Fixture
        yield* redis.stop
        const later = yield* send("one", "carol", 1)
        assert.deepStrictEqual(later.texts, ["451 4.3.0 Cannot check your limits now, please try again later"])
        assert.deepStrictEqual((yield* send("pass", "carol", 3)).codes, [250, 250, 250])
        yield* RedisServer.start(redis.port)
        const isBack = Effect.map(send("one", "carol", 1), ({ codes }) => codes[0] === 250)
        let turns = 0
        while (!(yield* isBack)) {
          assert.isBelow(turns++, 60)
          yield* realTime(Effect.sleep(500))
        }
        assert.strictEqual(yield* billed("carol"), 1)
        yield* postfix.awaitIdle()
        yield* postfix.clear
      }))
  })
})

// What the filter relies on, of both.

const redisForUsage = Layer.unwrap(Effect.gen(function*() {
  const port = yield* RedisServer.freePort
  yield* RedisServer.start(port)
  return Usage.layerRedis(`redis://127.0.0.1:${port}`)
}))

const describeUsage = (what: string, usage: Layer.Layer<Usage, unknown>) =>
  describe(what, () => {
    layer(usage)((it) => {
      const window = (recipients: number, key = randomUUID()): Window => ({
        key,
        limit: { recipients, per: Duration.hours(1) },
        ends: 3_600_000
      })

      it.effect("takes a place in all windows or in none", () =>
        Effect.gen(function*() {
          const usage = yield* Usage
          const [small, large] = [window(1), window(2)]
          assert.isUndefined(yield* usage.reserve([large, small]))
          assert.strictEqual((yield* usage.reserve([large, small]))?.key, small.key)
          assert.isUndefined(yield* usage.reserve([large]))
          assert.strictEqual((yield* usage.reserve([large]))?.key, large.key)
          assert.isUndefined(yield* usage.reserve([]))
        }))

      it.effect("gives the last place once", () =>
        Effect.gen(function*() {
          const usage = yield* Usage
          const one = window(50)
          const found = yield* Effect.all(Array.from({ length: 200 }, () => usage.reserve([one])), {
            concurrency: "unbounded"
          })
          assert.lengthOf(found.filter((full) => full === undefined), 50)
        }))

      it.effect("takes places back, but none of a window that is over", () =>
        Effect.gen(function*() {
          const usage = yield* Usage
          const one = window(2)
          yield* usage.reserve([one])
          yield* usage.reserve([one])
          yield* usage.release([one, one])
          yield* usage.release([])
          assert.isUndefined(yield* usage.reserve([one]))
          assert.isUndefined(yield* usage.reserve([one]))
          assert.strictEqual((yield* usage.reserve([one]))?.key, one.key)
          const other = window(1)
          yield* usage.release([other])
          assert.isUndefined(yield* usage.reserve([other]))
          assert.strictEqual((yield* usage.reserve([other]))?.key, other.key)
        }))

      it.effect("bills", () =>
        Effect.gen(function*() {
          const usage = yield* Usage
          const [odd, even] = ["odd account: *", "even"]
          yield* usage.bill("2026-11", { tier: "small", account: odd, recipients: 2 })
          yield* usage.bill("2026-11", { tier: "small", account: even, recipients: 1 })
          yield* usage.bill("2026-11", { tier: "small", account: odd, recipients: 3 })
          yield* usage.bill("2026-11", { tier: "large", account: odd, recipients: 7 })
          assert.sameDeepMembers([...yield* usage.billed("2026-11")], [
            { tier: "small", account: even, recipients: 1 },
            { tier: "small", account: odd, recipients: 5 },
            { tier: "large", account: odd, recipients: 7 }
          ])
          assert.deepStrictEqual(yield* usage.billed("2026-10"), [])
        }))
    })
  })

describeWith(RedisServer.missingPrerequisite(), "examples/rate_limit: what is used up", () => {
  describeUsage("in memory", Usage.layerMemory)
  describeUsage("in Redis", redisForUsage)

  it.effect("does not wait for a Redis that hangs", () =>
    Effect.gen(function*() {
      const port = yield* RedisServer.freePort
      const server = yield* RedisServer.start(port)
      const usage = Context.get(yield* Layer.build(Usage.layerRedis(`redis://127.0.0.1:${port}`)), Usage)
      yield* server.signal("SIGSTOP")
      const error = yield* realTime(Effect.flip(usage.bill("2026-11", { tier: "a", account: "b", recipients: 1 })))
      assert.strictEqual(error.message, "Redis does not answer within 2 seconds")
      yield* server.signal("SIGCONT")
    }))
})
