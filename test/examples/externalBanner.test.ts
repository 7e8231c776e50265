/** The example external_banner. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as ClientAddress from "effect-milter/ClientAddress"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { externalBanner } from "../../examples/external_banner/filter.ts"

const filter = externalBanner({
  text: "CAUTION",
  html: "<p>CAUTION</p>",
  id: "external",
  subject: "[EXTERN]",
  networks: Result.getOrThrow(ClientAddress.network(["10.0.0.0/8"]))
})

const outside = { address: "192.0.2.1" }
const inside = { address: "10.1.2.3" }

const mailOf = (body: string, more: Partial<MilterClient.Message> = {}): MilterClient.Message => ({
  from: "eve@example.com",
  to: "bob@example.net",
  client: outside,
  headers: [["From", "eve@example.com"], ["Subject", "hi"]],
  body,
  ...more
})

const banner = "--- external ---\r\nCAUTION\r\n--- /external ---\r\n"

const delivered = (mail: MilterClient.Message, as = MilterTest.postfix) =>
  Effect.map(MilterTest.message(filter, mail, { as }), (outcome) => {
    MilterTest.assertAccepted(outcome)
    return {
      body: Buffer.from(outcome.delivered?.body ?? []).toString("latin1"),
      fields: outcome.delivered!.headers.map(({ name, value }): string => `${name}:${value}`)
    }
  })

describe("the filter", () => {
  it.effect("marks mail from outside, with every MTA", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas.filter(({ name }) => !name.startsWith("Postfix 2.3"))) {
        const { body, fields } = yield* delivered(mailOf("Hello\n"), as)
        assert.strictEqual(body, `${banner}Hello\r\n`)
        assert.deepStrictEqual(fields, [
          "From: eve@example.com",
          "Subject: [EXTERN] hi",
          "X-Milter-Marked: external",
          "X-External: yes"
        ])
      }
    }))

  it.effect("whatever the sender has put there: fields, marks, halves of marks", () =>
    Effect.gen(function*() {
      const forged = mailOf(`${banner}Hello\r\n`, {
        headers: [["Subject", "[EXTERN] hi"], ["X-External", "no"], ["X-Milter-Marked", "external"]]
      })
      const { body, fields } = yield* delivered(forged)
      assert.strictEqual(body, `${banner}Hello\r\n`)
      assert.deepStrictEqual(fields, ["Subject: [EXTERN] hi", "X-Milter-Marked: external", "X-External: yes"])
      const half = yield* delivered(mailOf("--- external ---\r\nHello\r\n"))
      assert.strictEqual(half.body, `${banner}--- external ---\r\nHello\r\n`)
    }))

  it.effect("takes banners out of replies that leave, from networks and accounts", () =>
    Effect.gen(function*() {
      const reply = `Yes\r\n> ${banner.trimEnd().replaceAll("\r\n", "\r\n> ")}\r\n> Hello\r\n`
      for (const more of [{ client: inside }, { macros: { mail: { auth_authen: "bob" } } }]) {
        const { body, fields } = yield* delivered(mailOf(reply, more))
        assert.strictEqual(body, "Yes\r\n> Hello\r\n")
        assert.deepStrictEqual(fields, ["From: eve@example.com", "Subject: hi"])
      }
    }))

  it.effect("marks signed mail, and what it does not understand, by field and subject", () =>
    Effect.gen(function*() {
      for (const type of ["multipart/signed; boundary=s", "multipart/mixed"]) {
        const body = "--s\r\n\r\nHello\r\n--s\r\nContent-Type: a/b\r\n\r\nx\r\n--s--\r\n"
        const found = yield* delivered(mailOf(body, { headers: [["Subject", "hi"], ["Content-Type", type]] }))
        assert.strictEqual(found.body, body)
        assert.deepStrictEqual(found.fields, ["Subject: [EXTERN] hi", `Content-Type: ${type}`, "X-External: yes"])
      }
    }))
})
