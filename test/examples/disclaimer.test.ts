/** The example disclaimer. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { disclaimerFor, type Disclaimers, parse } from "../../examples/disclaimer/disclaimers.ts"
import { disclaimer } from "../../examples/disclaimer/filter.ts"
import { read } from "../../scripts/repository.ts"

const disclaimers: Disclaimers = {
  "example.org": { text: "-- \nVertraulich für Sie", html: "<p>Vertraulich für Sie</p>" },
  "*": { text: "Sent by us" }
}

const filter = (options: Partial<Parameters<typeof disclaimer>[0]> = {}) =>
  disclaimer({ disclaimers, id: "acme", besideSigned: false, ...options })

const mailOf = (type: string, body: string, more: Partial<MilterClient.Message> = {}): MilterClient.Message => ({
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["From", "alice@example.org"], ["Subject", "hi"], ["MIME-Version", "1.0"], ["Content-Type", type]],
  body,
  ...more
})

const bodyOf = (outcome: MilterClient.Outcome): string => {
  MilterTest.assertAccepted(outcome)
  return Buffer.from(outcome.delivered?.body ?? []).toString("latin1")
}

describe("the file", () => {
  it.effect("the one beside the example is in order", () =>
    Effect.gen(function*() {
      const parsed = yield* parse(read("examples/disclaimer/disclaimers.json"))
      assert.deepStrictEqual(Object.keys(parsed), ["example.org", "*"])
    }))

  it.effect("says what is wrong", () =>
    Effect.gen(function*() {
      for (
        const [json, reason] of [
          ["{", /JSON/i],
          ["{\"example.org\":{}}", /text/],
          ["{\"example.org\":{\"text\":\" \"}}", /expected text|Expected text/i],
          ["{\"a@b\":{\"text\":\"x\"}}", /InvalidDisclaimers: Expected/],
          ["{\"a\":{\"text\":\"x\",\"htlm\":\"x\"}}", /htlm/]
        ] as const
      ) {
        const exit = yield* Effect.exit(parse(json))
        assert.match(String(Exit.isFailure(exit) ? exit.cause : ""), reason)
      }
    }))

  it("names domains in any case, and the others", () => {
    assert.strictEqual(disclaimerFor(disclaimers, "EXAMPLE.org"), disclaimers["example.org"])
    assert.strictEqual(disclaimerFor(disclaimers, "constructor"), disclaimers["*"])
    assert.isUndefined(disclaimerFor({}, "toString"))
  })
})

describe("the filter", () => {
  it.effect("puts the text of the sender's domain into each alternative, with every MTA", () =>
    Effect.gen(function*() {
      const mail = mailOf(
        "multipart/alternative; boundary=b",
        "--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: text/html\n\n<body>Hello</body>\n--b--\n"
      )
      for (const as of MilterTest.mtas.filter(({ name }) => !name.startsWith("Postfix 2.3"))) {
        const body = bodyOf(yield* MilterTest.message(filter(), mail, { as }))
        assert.include(body, "Hello\r\n--- acme ---\r\n--=20\r\nVertraulich f=C3=BCr Sie\r\n--- /acme ---\r\n--b")
        assert.include(
          body,
          "<body>Hello\r\n<!-- acme begin --><p>Vertraulich f&#252;r Sie</p><!-- acme end -->\r\n</body>"
        )
        const other = bodyOf(yield* MilterTest.message(filter(), { ...mail, from: "a@example.com" }, { as }))
        assert.include(other, "Hello\r\n--- acme ---\r\nSent by us\r\n--- /acme ---\r\n--b")
      }
    }))

  it.effect("and no second one into a reply that quotes it", () =>
    Effect.gen(function*() {
      const reply = mailOf("text/plain; charset=utf-8", "Yes\n> --- acme ---\n> Sent by us\n> --- /acme ---\n")
      assert.strictEqual(
        bodyOf(yield* MilterTest.message(filter(), reply)),
        reply.body!.toString().replaceAll("\n", "\r\n")
      )
    }))

  it.effect("leaves signed mail, bounces, other domains and what it does not understand", () =>
    Effect.gen(function*() {
      const signed = mailOf("multipart/signed; boundary=s", "--s\n\nHello\n--s\nContent-Type: a/b\n\nx\n--s--\n")
      const plain = mailOf("text/plain", "Hello\n")
      const only: Disclaimers = { "example.org": { text: "x" } }
      const left: ReadonlyArray<readonly [MilterClient.Message, ReturnType<typeof filter>]> = [
        [signed, filter()],
        [{ ...plain, headers: [...plain.headers ?? [], ["Auto-Submitted", "auto-replied"]] }, filter()],
        [{ ...plain, from: "" }, filter()],
        [{ ...plain, from: "a@example.com" }, filter({ disclaimers: only })],
        [mailOf("multipart/mixed", "--s\n\nHello\n--s--\n"), filter()]
      ]
      for (const [mail, given] of left) {
        const outcome = yield* MilterTest.message(given, mail)
        MilterTest.assertAccepted(outcome)
        assert.deepStrictEqual(outcome.modifications, [])
      }
      const beside = bodyOf(yield* MilterTest.message(filter({ besideSigned: true }), signed))
      assert.include(beside, `\r\n\r\n${signed.body!.toString().replaceAll("\n", "\r\n")}\r\n--=_`)
    }))
})
