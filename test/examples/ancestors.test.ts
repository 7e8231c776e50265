/** The examples that purepythonmilter has, too: several messages on one connection, each with what belongs to it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { appendHeaderIp } from "../../examples/append_header_ip/filter.ts"
import { changeBody } from "../../examples/change_body/filter.ts"
import { debugLogAll } from "../../examples/debug_log_all/filter.ts"
import { jsonLine } from "../../examples/support/jsonLine.ts"

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "one"]],
  body: "Hello\n"
}

describe("append_header_ip", () => {
  it.effect("adds the client's address to each message of a connection, with every MTA", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const outcomes = yield* MilterTest.run(
          appendHeaderIp(),
          (mta) => Effect.all([mta.sendMessage(message), mta.sendMessage(message)]),
          { as }
        )
        for (const outcome of outcomes) {
          MilterTest.assertAccepted(outcome, { headers: { "X-MilterExample-Connect-IP": "192.0.2.1" } })
          assert.lengthOf(outcome.modifications, 1)
        }
      }
    }))

  it.effect("takes another name, and IPv6", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(appendHeaderIp("X-Client"), {
        ...message,
        client: { address: "2001:DB8::1" }
      })
      MilterTest.assertAccepted(outcome, { headers: { "X-Client": "2001:db8::1" } })
    }))

  it.effect("adds nothing for a client without an IP address", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.run(
        appendHeaderIp(),
        Effect.fnUntraced(function*(mta) {
          yield* mta.connect({ hostname: "localhost", address: "/run/client" })
          yield* mta.mail("<alice@example.org>")
          yield* mta.rcpt("<bob@example.net>")
          return yield* mta.endOfMessage()
        })
      )
      assert.deepStrictEqual(outcome.modifications, [])
    }))
})

describe("change_body", () => {
  it.effect("replaces the body of each message of a connection", () =>
    Effect.gen(function*() {
      // Older ones let nobody replace a body.
      for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
        const outcomes = yield* MilterTest.run(
          changeBody(),
          (mta) =>
            Effect.all([mta.sendMessage(message), mta.sendMessage({ ...message, body: "other\n".repeat(20_000) })]),
          { as }
        )
        for (const outcome of outcomes) MilterTest.assertAccepted(outcome, { body: "foobar\n" })
      }
    }))

  it.effect("takes lines, in any spelling, and nothing", () =>
    Effect.gen(function*() {
      const lines = yield* MilterTest.message(changeBody("one\ntwo\r\nthree\rfour\n"), message)
      MilterTest.assertAccepted(lines, { body: "one\ntwo\nthree\nfour\n" })
      MilterTest.assertAccepted(yield* MilterTest.message(changeBody(""), message), { body: "" })
    }))
})

/** The events of the log lines that a filter writes. */
const eventsOf = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ message }) => {
      const line = Array.isArray(message) ? message.join(" ") : String(message)
      if (line.includes(" macros {")) lines.push(line)
    })
    yield* Effect.provide(effect, Logger.layer([logger]))
    return lines.map((line) => {
      const [, name, details, macros] = /^(\w+) (\{.*\}) macros (\{.*\})$/.exec(line)!
      return { name, details: JSON.parse(details!), macros: JSON.parse(macros!) }
    })
  })

describe("debug_log_all", () => {
  it.effect("logs every event with all macros, refused recipients included", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf(MilterTest.run(
        debugLogAll,
        Effect.fnUntraced(function*(mta) {
          const outcome = yield* mta.sendMessage({
            ...message,
            to: [
              { address: "carol@example.net", refused: { enhanced: "5.1.1", text: "User unknown" } },
              "bob@example.net"
            ],
            macros: { mail: { auth_authen: "alice" } },
            parameters: ["SIZE=100"]
          })
          MilterTest.assertAccepted(outcome, { recipients: ["bob@example.net"] })
          assert.deepStrictEqual(outcome.modifications, [])
          yield* mta.unknown("XYZZY")
          yield* mta.mail("<second@example.org>")
          yield* mta.abort()
        })
      ))
      assert.deepStrictEqual(events.map(({ name }) => name), [
        "connect",
        "helo",
        "mail",
        "rejectedRecipient",
        "rcpt",
        "data",
        "header",
        "endOfHeaders",
        "body",
        "endOfMessage",
        "unknown",
        "mail",
        "abort",
        "disconnect"
      ])
      const of = (name: string) => events.find((event) => event.name === name)!
      assert.deepStrictEqual(of("connect").details, {
        hostname: "client.example.org",
        client: "192.0.2.1",
        kind: "IPv4",
        origin: "smtp"
      })
      assert.deepStrictEqual(of("mail").details, {
        address: "alice@example.org",
        raw: "<alice@example.org>",
        parameters: ["SIZE=100"]
      })
      assert.strictEqual(of("mail").macros.auth_authen, "alice")
      assert.deepInclude(of("rejectedRecipient").details, {
        address: "carol@example.net",
        enhanced: "5.1.1",
        text: "User unknown"
      })
      assert.deepStrictEqual(of("header").details, { name: "Subject", value: "one" })
      assert.deepStrictEqual(of("body").details, { bytes: 7 })
      assert.deepStrictEqual(of("endOfMessage").details, { recipients: ["bob@example.net"] })
      assert.isString(of("endOfMessage").macros.i)
      assert.deepStrictEqual(of("unknown").details, { line: "XYZZY" })
      // Macros of one message are not those of the next.
      assert.notProperty(events.at(-3)!.macros, "auth_authen")
    }))

  it.effect("writes one line, whatever a client says", () =>
    Effect.gen(function*() {
      const value = "one\n two \u202e\u0085\u2028 \u001b[31m \ud83d\ude00"
      const [header] = (yield* eventsOf(
        MilterTest.message(debugLogAll, { ...message, headers: [["Subject", value]] })
      )).filter(({ name }) => name === "header")
      assert.strictEqual(header!.details.value, value)
    }))
})

describe("JSON lines", () => {
  it("read back as what was written, without control characters", () => {
    const value = { text: "a\n\u0000\u007f\u0085\u200b\u2028\u202e\u{e0001}\ud800ü\u{1f600}" }
    const line = jsonLine(value)
    assert.deepStrictEqual(JSON.parse(line), value)
    assert.notMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
    assert.include(line, "ü\u{1f600}")
    assert.strictEqual(jsonLine(["abc", "abcd"], 3), "[\"abc\",\"abc…\"]")
  })
})
