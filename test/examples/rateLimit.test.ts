/** The example rate_limit. */
import { assert, describe, it } from "@effect/vitest"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { TestClock } from "effect/testing"
import * as Fs from "node:fs"
import { rateLimit } from "../../examples/rate_limit/filter.ts"
import * as Tiers from "../../examples/rate_limit/tiers.ts"
import { Unavailable, Usage } from "../../examples/rate_limit/usage.ts"

const tiers = Effect.runSync(Tiers.parse(JSON.stringify({
  tiers: {
    small: [{ recipients: 3, per: "1 hour" }, { recipients: 5, per: "1 day" }],
    large: [{ recipients: 100, per: "1 minute" }],
    free: []
  },
  accounts: { Alice: "small", bob: "large", monitor: "free" },
  otherwise: "small"
})))

const filter = rateLimit(tiers, { whenDown: "tempfail" })

/** Recipients that do not exist for the MTA are refused by it. */
const message = (account: string, recipients: number): MilterClient.Message => ({
  from: "alice@example.org",
  to: Array.from({ length: recipients }, (_, index) => `${index}@example.net`),
  macros: account === "" ? {} : { mail: { "{auth_authen}": account } }
})

/** How many recipients were accepted; the message is if at least one was. */
const send = (account: string, recipients: number) =>
  Effect.map(
    MilterTest.message(filter, message(account, recipients)),
    ({ delivered }) => delivered?.recipients.length ?? 0
  )

const billed = (month = "2026-11") => Usage.use((usage) => usage.billed(month))

/** 22 November 2026, 12:00 UTC. */
const noon = TestClock.setTime(Date.UTC(2026, 10, 22, 12))

describe("rate_limit", () => {
  it.effect("limits the recipients of an account, for each hour and each day", () =>
    Effect.gen(function*() {
      yield* noon
      assert.strictEqual(yield* send("alice", 2), 2)
      yield* TestClock.adjust("50 minutes")
      const outcome = yield* MilterTest.message(filter, message("alice", 2))
      assert.deepStrictEqual(outcome.delivered?.recipients.map(({ address }) => address), ["0@example.net"])
      const refused: unknown = outcome.recipients[1]!.answer
      assert.deepStrictEqual(refused, {
        _tag: "Reply",
        code: "450",
        enhanced: "4.7.1",
        lines: ["You have used up 3 recipients in 1h; try again in 10m"]
      })
      assert.strictEqual(yield* send("alice", 1), 0)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* send("alice", 4), 2, "the day is full")
      yield* TestClock.adjust("10 hours")
      assert.strictEqual(yield* send("alice", 1), 0)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* send("alice", 4), 3)
    }).pipe(Effect.provide(Usage.layerMemory)))

  it.effect("gives each account its own, by its tier", () =>
    Effect.gen(function*() {
      yield* noon
      assert.strictEqual(yield* send("alice", 4), 3)
      assert.strictEqual(yield* send("ALICE", 1), 0, "the same account")
      assert.strictEqual(yield* send("bob", 50), 50)
      assert.strictEqual(yield* send("carol", 4), 3)
      assert.strictEqual(yield* send("toString", 4), 3)
      assert.strictEqual(yield* send("monitor", 200), 200)
      assert.strictEqual(yield* send("", 10), 10, "no login, no account")
      assert.deepStrictEqual(yield* billed(), [
        { tier: "small", account: "alice", recipients: 3 },
        { tier: "large", account: "bob", recipients: 50 },
        { tier: "small", account: "carol", recipients: 3 },
        { tier: "free", account: "monitor", recipients: 200 },
        { tier: "small", account: "tostring", recipients: 3 }
      ])
    }).pipe(Effect.provide(Usage.layerMemory)))

  it.effect("counts accepted recipients only, and gives back what was not", () =>
    Effect.gen(function*() {
      yield* noon
      yield* MilterTest.run(
        filter,
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
          const begin = Effect.andThen(
            mta.macros("mail", { "{auth_authen}": "alice" }),
            mta.mail("<alice@example.org>")
          )
          for (const end of [mta.abort(), mta.quitNewConnection()]) {
            yield* begin
            assert.strictEqual((yield* mta.rcpt("<one@example.net>"))._tag, "Continue")
            assert.strictEqual((yield* mta.rcpt("<two@example.net>"))._tag, "Continue")
            yield* end
          }
        })
      )
      // The MTA refuses one, and nothing of a message without recipients counts.
      const { macros } = message("alice", 0)
      const refused = { address: "<nobody@example.net>", refused: { enhanced: "5.1.1", text: "no such user" } }
      yield* MilterTest.message(filter, { from: "alice@example.org", to: [refused], macros: macros! })
      assert.strictEqual(yield* send("alice", 4), 3)
      assert.deepStrictEqual(yield* billed(), [{ tier: "small", account: "alice", recipients: 3 }])
    }).pipe(Effect.provide(Usage.layerMemory)))

  it.effect("gives back to the hour from which it was taken", () =>
    Effect.gen(function*() {
      yield* noon
      yield* TestClock.adjust("59 minutes")
      yield* MilterTest.run(
        filter,
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
          yield* mta.macros("mail", { "{auth_authen}": "alice" })
          yield* mta.mail("<alice@example.org>")
          yield* mta.rcpt("<one@example.net>")
          yield* TestClock.adjust("2 minutes")
          yield* mta.rcpt("<two@example.net>")
          yield* mta.abort()
        })
      )
      assert.strictEqual(yield* send("alice", 4), 3)
    }).pipe(Effect.provide(Usage.layerMemory)))

  it.effect("bills by month", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 11, 31, 23, 59))
      yield* send("bob", 2)
      yield* TestClock.adjust("1 minute")
      yield* send("bob", 3)
      assert.deepStrictEqual(yield* billed("2026-12"), [{ tier: "large", account: "bob", recipients: 2 }])
      assert.deepStrictEqual(yield* billed("2027-01"), [{ tier: "large", account: "bob", recipients: 3 }])
      assert.deepStrictEqual(yield* billed("2027-02"), [])
    }).pipe(Effect.provide(Usage.layerMemory)))
})

describe("without an answer", () => {
  /** Answers the first `up` questions. */
  const failing = (up: number) => {
    let asked = 0
    const gone = Effect.fail(new Unavailable({ message: "Redis is gone" }))
    const lines: Array<string> = []
    const layer = Layer.merge(
      Layer.succeed(Usage, {
        reserve: () => Effect.suspend(() => ++asked > up ? gone : Effect.undefined),
        release: () => gone,
        bill: () => gone,
        billed: () => gone
      }),
      Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
    )
    return { layer, lines, asked: () => asked }
  }

  it.effect("puts mail off, or lets it pass", () => {
    const { layer, lines } = failing(0)
    return Effect.gen(function*() {
      MilterTest.assertTempFailed(yield* MilterTest.message(filter, message("alice", 1)), {
        stage: "rcpt",
        reply: "451 4.3.0 Cannot check your limits now, please try again later"
      })
      const passing = rateLimit(tiers, { whenDown: "pass" })
      const outcome = yield* MilterTest.message(passing, message("alice", 9))
      MilterTest.assertAccepted(outcome)
      assert.lengthOf(outcome.delivered!.recipients, 9)
      assert.include(lines, "Redis is gone: tempfail")
      assert.include(lines, "Redis is gone: pass")
    }).pipe(Effect.provide(layer))
  })

  it.effect("logs what is not billed", () => {
    const { layer, lines } = failing(9)
    return Effect.gen(function*() {
      yield* noon
      MilterTest.assertAccepted(yield* MilterTest.message(filter, message("bob", 2)))
      assert.include(
        lines,
        "not billed: {\"month\":\"2026-11\",\"tier\":\"large\",\"account\":\"bob\",\"recipients\":2} (Redis is gone)"
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not count a message that it fails at", () => {
    const { layer, lines } = failing(2)
    return Effect.gen(function*() {
      yield* noon
      const passing = rateLimit(tiers, { whenDown: "pass" })
      MilterTest.assertAccepted(yield* MilterTest.message(passing, message("bob", 4)))
      assert.deepStrictEqual(lines.filter((line) => /^Redis|billed/.test(line)), ["Redis is gone: pass"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("leaves Redis alone after a while", () => {
    const { asked, layer } = failing(0)
    return Effect.gen(function*() {
      const outcome = MilterTest.message(filter, message("alice", 4))
      const all = Effect.gen(function*() {
        for (let turn = 0; turn < 3; turn++) MilterTest.assertTempFailed(yield* outcome)
      })
      yield* MilterTest.run(
        filter,
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
          yield* mta.macros("mail", { "{auth_authen}": "alice" })
          yield* mta.mail("<alice@example.org>")
          for (let turn = 0; turn < 9; turn++) {
            assert.strictEqual((yield* mta.rcpt("<one@example.net>"))._tag, "Reply")
          }
          assert.strictEqual(asked(), 5)
          yield* TestClock.adjust("5 seconds")
          yield* mta.rcpt("<one@example.net>")
          assert.strictEqual(asked(), 6)
        })
      )
      yield* all
    }).pipe(Effect.provide(layer))
  })
})

describe("tiers", () => {
  it.effect("of the example are in order", () =>
    Effect.gen(function*() {
      const file = new URL("../../examples/rate_limit/tiers.json", import.meta.url)
      const json = Fs.readFileSync(file, "utf8")
      assert.include(Fs.readFileSync(new URL("README.md", file), "utf8"), json)
      const found = yield* Tiers.parse(json)
      assert.strictEqual(Tiers.tierOf(found, "alice"), "business")
      assert.strictEqual(Tiers.tierOf(found, "constructor"), "free")
    }))

  const good = { tiers: { a: [] }, accounts: {}, otherwise: "a" }
  for (
    const [what, json, complaint] of [
      ["no JSON", "{", /JSON/],
      ["a missing part", JSON.stringify({ ...good, otherwise: undefined }), /otherwise/],
      ["an unknown default", JSON.stringify({ ...good, otherwise: "b" }), /^there is no tier b$/],
      ["an unknown tier", JSON.stringify({ ...good, accounts: { alice: "toString" } }), /^there is no tier toString$/],
      ["a bad name", JSON.stringify({ ...good, tiers: { "a b": [] } }), /a b/],
      ["no recipients", JSON.stringify({ ...good, tiers: { a: [{ recipients: 0, per: "1 day" }] } }), /recipients/],
      ["no time", JSON.stringify({ ...good, tiers: { a: [{ recipients: 1, per: "soon" }] } }), /per/],
      ["too short a time", JSON.stringify({ ...good, tiers: { a: [{ recipients: 1, per: "1 millis" }] } }), /1 second/]
    ] as const
  ) {
    it.effect(`are refused with ${what}`, () =>
      Effect.gen(function*() {
        const { message } = yield* Effect.flip(Tiers.parse(json))
        assert.match(message, complaint)
        assert.notInclude(message, "\n")
      }))
  }
})
