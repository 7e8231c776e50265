/** Senders who try to speak in our name, or to be somebody else. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as Auth from "effect-milter/auth"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { message, verified } from "./support/mail.ts"

const outside: MilterClient.Message = { ...message, macros: {}, helo: "mail.example.org" }

const check = (
  message: MilterClient.Message,
  options: Partial<Auth.VerifyOptions> = {},
  records: Auth.RecordTable = {}
) => verified(message, { authservId: "mx.xn--exmple-cua.net", ...options }, records)

/** What a reader finds outside quotes and comments. */
const statements = (field: string): ReadonlyArray<string> =>
  field.replace(/"(?:[^"\\]|\\[^])*"|\((?:[^()\\]|\\[^])*\)/g, "_").split(";").slice(1).map((text) =>
    /^\s*([\w-]+=[\w-]+)/.exec(text)?.[1] ?? text
  )

describe("a name of ours in a field from outside", () => {
  for (
    const value of [
      "mx.exämple.net; dkim=pass",
      "MX.EXÄMPLE.net 1; dkim=pass",
      "\"mx.exämple.net\"; dkim=pass",
      "mx.xn--exmple-cua.net.; dkim=pass",
      "mx.xn--exmple-cua.net/1; dkim=pass",
      "mx.xn--exmple-cua.net=; dkim=pass",
      "mx.xn--exmple-cua.net, x; dkim=pass",
      "=?utf-8?q?mx.xn--exmple-cua.net?=; dkim=pass",
      "=?utf-8?b?bXgueG4tLWV4bXBsZS1jdWEubmV0?=; dkim=pass",
      "\"mx.xn--exmple-cua.net; dkim=pass",
      "(mx.xn--exmple-cua.net; dkim=pass",
      "(x) =mx.xn--exmple-cua.net; dkim=pass"
    ]
  ) {
    it.effect(`goes, as in ${value}`, () =>
      Effect.gen(function*() {
        const { results, written } = yield* check({
          ...outside,
          headers: [...message.headers, ["Authentication-Results", value]],
          body: ""
        })
        assert.deepStrictEqual(written, [results.text])
      }))
  }

  it.effect("goes after a byte that is a space in Latin-1, and no UTF-8", () =>
    Effect.gen(function*() {
      const value = Buffer.from("\xa0mx.xn--exmple-cua.net; dkim=pass", "latin1")
      const { results, written } = yield* check({
        ...outside,
        headers: [...message.headers, ["Authentication-Results", value]],
        body: ""
      })
      assert.deepStrictEqual(written, [results.text])
    }))

  it.effect("goes with a space in front of the colon, and counts", () =>
    Effect.gen(function*() {
      const forged = "mx.xn--exmple-cua.net; dkim=pass"
      const { outcome } = yield* check({
        ...outside,
        headers: [
          ...message.headers,
          ["Authentication-Results", "other.example; none"],
          ["Authentication-Results ", forged],
          ["Authentication-Results", forged]
        ]
      })
      assert.deepStrictEqual(
        outcome.modifications.flatMap((made) => made._tag === "ChangeHeader" ? [made.index] : []),
        [3, 2]
      )
    }))

  it.effect("goes where ours is written in an unusual way", () =>
    Effect.gen(function*() {
      for (const authservId of ["MX.Example.net", "mx.example.net."]) {
        const { results, written } = yield* check({
          ...outside,
          headers: [...message.headers, ["Authentication-Results", "mx.example.NET; dkim=pass"]]
        }, { authservId })
        assert.deepStrictEqual(written, [results.text])
      }
    }))
})

describe("what strangers write ends up in our field", () => {
  const signature = (tags: string) => ["DKIM-Signature", `v=1; a=rsa-sha256; h=from; bh=AAAA; b=BBBB; ${tags}`] as const
  const from = ["From", "alice@bank.example"] as const

  for (
    const [what, more] of [
      ["a quoted string in i", {
        headers: [from, signature("d=bank.example; s=x; i=\"=3Bdmarc=3Dpass\"@bank.example")]
      }],
      ["a quoted string outside ASCII in i", {
        headers: [
          from,
          signature("d=bank.example; s=x; i=ä=20@bank.example"),
          signature("d=bank.example; s=x; i=\"=3B=20dmarc=3Dpass=3B\"@bank.example")
        ]
      }],
      ["bytes that are no text", {
        headers: [from, signature("d=bank.example; s=x; i=\xff=FF=00=20=7F@bank.example")]
      }],
      ["d and s", { headers: [from, signature("d=bank.example) dmarc=pass; s=\"; i=\\\"")] }],
      ["HELO", { from: "", helo: "x) \"; dmarc=pass (", headers: [from] }],
      ["HELO outside ASCII", { from: "", helo: "ä \" x; dmarc=pass", headers: [from, signature("d=ä; s=\"")] }],
      ["MAIL", { from: "\"a) ; dmarc=pass (\"@evil.example", headers: [from] }],
      ["results of ARC", {
        headers: [
          from,
          ["ARC-Seal", "i=1; cv=none; a=rsa-sha256; d=x.example; s=x; b=AA"],
          ["ARC-Message-Signature", "i=1; a=rsa-sha256; d=x.example; s=\"x; h=from; bh=AA; b=AA"],
          ["ARC-Authentication-Results", "i=1; x); dmarc=pass (\"; dmarc=pass"]
        ]
      }]
    ] as const
  ) {
    it.effect(`and says nothing there: ${what}`, () =>
      Effect.gen(function*() {
        for (const smtpUtf8 of [false, true]) {
          const { results, written } = yield* check({
            ...outside,
            ...more,
            ...(smtpUtf8 ? { parameters: ["SMTPUTF8"] } : {})
          })
          assert.deepStrictEqual(written, [results.text])
          const plain = written[0]!.replace(/\\[^]/g, "_")
          assert.strictEqual(plain.split("\"").length % 2, 1, written[0])
          assert.notInclude(statements(plain), "dmarc=pass", written[0])
          assert.strictEqual(results.dmarc.result, "none")
        }
      }))
  }
})

describe("name servers of the sender that hang", () => {
  const table = Auth.Dns.layerRecords({
    "bank.example": { TXT: ["v=spf1 -all"] },
    "_dmarc.bank.example": { TXT: ["v=DMARC1; p=reject"] },
    "_dmarc.evil.example": { TXT: ["v=DMARC1; p=none"] }
  })
  /** All names of the sender hang, but for DMARC's. */
  const hanging = Layer.effect(
    Auth.Dns,
    Effect.map(Auth.Dns, ({ resolve }) => ({
      resolve: (name, type) =>
        name.endsWith("evil.example") && !name.startsWith("_dmarc") ? Effect.never : resolve(name, type)
    }))
  ).pipe(Layer.provide(table))
  const signature = (selector: string) =>
    [
      "DKIM-Signature",
      `v=1; a=rsa-sha256; c=relaxed/relaxed; d=evil.example; s=${selector}; h=from; bh=${bodyHash}; b=AAAA`
    ] as const
  const bodyHash = createHash("sha256").update(message.body).digest("base64")

  const forged = (from: string): MilterClient.Message => ({
    ...outside,
    from,
    headers: [...Array.from({ length: 20 }, (_, index) => signature(`s${index}`)), ["From", "ceo@bank.example"]]
  })

  const send = Effect.fnUntraced(function*(message: MilterClient.Message, dns: Layer.Layer<Auth.Dns> = hanging) {
    let results: Auth.Results | undefined
    const fiber = yield* MilterTest.message(
      Auth.verify({
        authservId: "mx.example.net",
        onResult: (found) => {
          results = found
          return Auth.enforceDmarc(found)
        }
      }),
      message
    ).pipe(Effect.provide(dns), Effect.forkChild)
    for (let second = 0; second < 20; second++) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("1 second")
    }
    return { outcome: yield* Fiber.join(fiber), results: results! }
  })

  it.effect("cost nobody else's results, and the policy of the author holds", () =>
    Effect.gen(function*() {
      const { outcome, results } = yield* send(forged("ceo@bank.example"))
      assert.strictEqual(results.dkim[0]?.result, "temperror")
      assert.strictEqual(results.spf?.result, "fail")
      assert.strictEqual(results.dmarc.result, "fail")
      MilterTest.assertRejected(outcome, { reply: "550 5.7.1 refused by the DMARC policy of bank.example" })
    }))

  it.effect("of SPF do not, either", () =>
    Effect.gen(function*() {
      const { outcome, results } = yield* send(forged("mallory@evil.example"))
      assert.strictEqual(results.spf?.result, "temperror")
      MilterTest.assertRejected(outcome, { reply: "550 5.7.1 refused by the DMARC policy of bank.example" })
    }))

  for (const include of ["_dmarc.slow.example", "_dmarc.bank.example.slow.example", "a._domainkey.slow.example"]) {
    it.effect(`have SPF's share alone, whatever SPF asks for: ${include}`, () =>
      Effect.gen(function*() {
        const records = Auth.Dns.layerRecords({
          "mallory.example": { TXT: [`v=spf1 include:${include} -all`] },
          "_dmarc.bank.example": { TXT: ["v=DMARC1; p=reject"] }
        })
        const slow = Layer.effect(
          Auth.Dns,
          Effect.map(Auth.Dns, ({ resolve }) => ({
            resolve: (name, type) => name.endsWith("slow.example") ? Effect.never : resolve(name, type)
          }))
        ).pipe(Layer.provide(records))
        const { outcome, results } = yield* send({
          ...outside,
          from: "x@mallory.example",
          headers: [["From", "ceo@bank.example"]]
        }, slow)
        assert.strictEqual(results.spf?.result, "temperror")
        assert.strictEqual(results.dmarc.result, "fail")
        MilterTest.assertRejected(outcome, { reply: "550 5.7.1 refused by the DMARC policy of bank.example" })
      }))
  }

  it.effect("put mail off where the policy itself is not known", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(
        Auth.verify({ authservId: "mx.example.net", onResult: Auth.enforceDmarc }),
        forged("ceo@bank.example")
      ).pipe(Effect.provide(Auth.Dns.layerRecords({ "_dmarc.bank.example": "Failed" })))
      MilterTest.assertTempFailed(outcome, {
        reply: "451 4.7.5 cannot check the DMARC policy now, please try again later"
      })
    }))
})
