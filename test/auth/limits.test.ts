/** What a check leaves out because it costs too much, and what is judged from the rest. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { createPublicKey, generateKeyPairSync } from "node:crypto"
import { HeaderBlock } from "../../src/auth/internal/headerBlock.ts"
import { input, message, newKey, onward, recordsOf, valuesOf, verified } from "./support/mail.ts"

const keys = [input("example.org"), input("relay.example")]

const records: Auth.RecordTable = {
  ...recordsOf(keys),
  "example.org": { TXT: ["v=spf1 -all"] },
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
}

const services = Layer.merge(Auth.Dns.layerRecords(records), Auth.Keys.layer(keys))

const check = (message: MilterClient.Message, options: Partial<Auth.VerifyOptions> = {}) =>
  verified(message, options, records)

const signWith = (options: Auth.SignOptions = {}) => (message: MilterClient.Message) =>
  Effect.map(MilterTest.message(Auth.sign({ when: () => true, ...options }), message), onward).pipe(
    Effect.provide(Auth.Keys.layer(keys))
  )

const signed = signWith()(message)

/** With these fields on top. */
const under = (message: MilterClient.Message, ...fields: ReadonlyArray<readonly [string, string]>) => ({
  ...message,
  headers: [...fields, ...message.headers ?? []]
})

const spaces = (count: number) => " ".repeat(count)

describe("a signature over the limits", () => {
  for (
    const [what, value, reason] of [
      ["too long", `v=1; n=${"x".repeat(17_000)}; d=example.org`, "field too large"],
      ["with too much white space in one place", `v=1; n=a${spaces(1100)}b; d=example.org`, "too much white space"],
      [
        "with too much white space in all",
        `v=1; ${`n=a${spaces(700)}b;`.repeat(3)} d=example.org`,
        "too much white space"
      ],
      ["for a domain that is none", `v=1; d=${"a".repeat(300)}.example; h=from`, "value too long"],
      ["that covers very many fields", `v=1; d=example.org; h=from${":x".repeat(1600)}`, "too many fields covered"]
    ] as const
  ) {
    it.effect(`is permerror alone: one ${what}`, () =>
      Effect.gen(function*() {
        const { results, written } = yield* check(under(yield* signed, ["DKIM-Signature", value]))
        assert.deepStrictEqual(results.dkim.map(({ comment, result }) => [result, comment]), [
          ["permerror", reason],
          ["pass", undefined]
        ])
        assert.strictEqual(results.dmarc.result, "pass")
        assert.match(written[0]!, new RegExp(`^mx\\.example\\.net;\\s+dkim=permerror \\(${reason}\\)`))
      }))
  }

  it.effect("is told in its place, without the strict rules, too", () =>
    Effect.gen(function*() {
      const onItsWay = yield* signed
      const { results } = yield* check({
        ...onItsWay,
        headers: [
          ...onItsWay.headers!,
          ["DKIM-Signature", `v=1; n=${spaces(2000)}x`],
          ...onItsWay.headers!.filter(([name]) => name === "DKIM-Signature")
        ]
      }, { strict: false })
      assert.deepStrictEqual(results.dkim.map(({ result }) => result), ["pass", "permerror", "pass"])
    }))

  it.effect("takes nothing from one at the limits", () =>
    Effect.gen(function*() {
      const { results } = yield* check(
        under(yield* signed, ["X-Long", "a ".repeat(30_000)], ["Received", "a ".repeat(20_000)])
      )
      assert.deepStrictEqual(results.dkim.map(({ result }) => result), ["pass"])
    }))
})

describe("a field over the limits", () => {
  const large = `a${"\r\n b".repeat(2100)}`

  it.effect("that a signature covers makes that signature permerror", () =>
    Effect.gen(function*() {
      const { results } = yield* check(under(yield* signed, ["Comments", large]))
      assert.strictEqual(results.dkim[0]?.result, "pass")
      const covered = yield* signWith({ fields: ["Subject", "Comments"], oversigned: ["Comments"] })(message)
      const { results: others } = yield* check({ ...covered, headers: [...covered.headers!, ["Comments", large]] })
      assert.deepInclude(others.dkim[0], {
        result: "permerror",
        comment: "covers a field that is too large",
        domain: "example.org",
        selector: "rsa"
      })
      assert.strictEqual(others.dmarc.result, "fail")
    }))

  it.effect("does not pass for absent: a second Subject breaks a signature that promised one", () =>
    Effect.gen(function*() {
      const onItsWay = yield* signed
      const { results } = yield* check({ ...onItsWay, headers: [...onItsWay.headers!, ["Subject", large]] })
      assert.strictEqual(results.dkim[0]?.result, "permerror")
      const { results: small } = yield* check({
        ...onItsWay,
        headers: [...onItsWay.headers!, ["Subject", "free money"]]
      })
      assert.strictEqual(small.dkim[0]?.result, "fail")
    }))

  for (
    const [what, from] of [
      ["white space", `a${spaces(1100)}b <alice@example.org>`],
      ["a domain", `alice@${"a".repeat(2000)}.example.org`],
      ["a comment", `alice@example.org (${"x".repeat(17_000)})`]
    ] as const
  ) {
    it.effect(`leaves no author if it is From: ${what}`, () =>
      Effect.gen(function*() {
        const { results } = yield* check({ ...message, headers: [["From", from], ["Subject", "x"]] }, {
          skip: () => false
        })
        assert.deepInclude(results.dmarc, { result: "permerror", comment: "From too large", domain: undefined })
      }))
  }

  it("belongs to the field above if its name is none: readers may take both for one", () => {
    const block = new HeaderBlock()
    for (
      const line of ["From: a@example.org\r\n", "Sub\xa0ject: b\r\n", "X-Other: c\r\n", "Fr om: d\r\n", "To: e\r\n"]
    ) {
      block.add({ name: line.slice(0, line.indexOf(":")).toLowerCase(), line })
    }
    assert.strictEqual(
      Buffer.from(block.selected.bytes).toString("latin1"),
      "From: a@example.org\r\nSub\xa0ject: b\r\n\r\n"
    )
  })
})

describe("results in our name", () => {
  const forged = (count: number) =>
    Array.from({ length: count }, () => ["Authentication-Results", "mx.example.net; dkim=pass"] as const)

  it.effect("are removed up to a hundred, and a message with more is refused for good", () =>
    Effect.gen(function*() {
      const onItsWay = yield* signed
      const { results, written } = yield* check(under(onItsWay, ...forged(100)))
      assert.deepStrictEqual(written, [results.text])
      const refuse = (options: Partial<Auth.VerifyOptions> = {}) =>
        MilterTest.message(
          Auth.verify({ authservId: "mx.example.net", ...options }),
          under(onItsWay, ...forged(101))
        ).pipe(Effect.provide(services))
      for (const outcome of [yield* refuse(), yield* refuse({ skip: () => true })]) {
        MilterTest.assertRejected(outcome, { reply: "550 5.7.1 too many forged Authentication-Results" })
      }
      const trusted = yield* refuse({ trustedNetworks: ["192.0.2.25"] })
      assert.lengthOf(valuesOf(trusted, "Authentication-Results"), 101)
    }))
})

describe("a record of SPF over the limit", () => {
  const record = (length: number) => `v=spf1${spaces(length - 10)}+all`
  const spfOf = (texts: ReadonlyArray<string>, strict: boolean) =>
    Effect.gen(function*() {
      let results: Auth.Results | undefined
      yield* MilterTest.message(
        Auth.verify({
          authservId: "mx.example.net",
          strict,
          onResult: (found) => {
            results = found
            return Effect.succeed(Verdict.continue)
          }
        }),
        { ...message, client: { hostname: "mail.example.org", address: "192.0.2.1" }, macros: {} }
      ).pipe(
        Effect.provide(Auth.Dns.layerRecords({
          "example.org": { TXT: texts },
          "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
        }))
      )
      return results!
    })

  it.effect("is permerror, and DMARC is judged without it", () =>
    Effect.gen(function*() {
      for (const strict of [true, false]) {
        const { dmarc, spf } = yield* spfOf([record(4097)], strict)
        assert.strictEqual(spf?.result, "permerror")
        assert.strictEqual(dmarc.result, "fail")
        assert.strictEqual((yield* spfOf([` ${record(4097)}`], strict)).spf?.result, "permerror")
      }
    }))

  it.effect("is told from one at the limit, and from other long texts", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* spfOf([record(4096)], true)).spf?.result, "pass")
      assert.strictEqual((yield* spfOf(["x".repeat(5000), "v=spf1 +all"], true)).spf?.result, "pass")
    }))
})

describe("kinds of body hash", () => {
  it.effect("are three at most, of all signatures", () =>
    Effect.gen(function*() {
      const onItsWay = yield* signed
      const more = Array.from({ length: 4 }, (_, length) =>
        [
          "DKIM-Signature",
          `v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=rsa; h=from; l=${length}; bh=AA; b=AA`
        ] as const)
      const { results } = yield* check(under(onItsWay, ...more))
      assert.deepStrictEqual(results.dkim.map(({ comment, result }) => [result, comment]), [
        ["fail", "body hash did not verify"],
        ["fail", "body hash did not verify"],
        ["fail", "body hash did not verify"],
        ["permerror", "too many kinds of body hash"],
        ["permerror", "too many kinds of body hash"]
      ])
      const { results: ofOne } = yield* check({
        ...onItsWay,
        headers: [
          ...onItsWay.headers!,
          ...more.map(([name]) => [name, more[0]![1]] as const)
        ]
      })
      assert.deepStrictEqual(ofOne.dkim.map(({ result }) => result), ["pass", "fail", "fail", "fail", "fail"])
    }))

  it.effect("are as many as canonicalizations, for honest mail", () =>
    Effect.gen(function*() {
      let onItsWay: MilterClient.Message = message
      for (
        const canonicalization of ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"] as const
      ) {
        onItsWay = { ...(yield* signWith({ canonicalization })(onItsWay)), macros: {} }
      }
      const { results } = yield* check(onItsWay)
      assert.deepStrictEqual(results.dkim.map(({ result }) => result), ["pass", "pass", "pass", "pass"])
    }))
})

describe("a chain of seals over the limits", () => {
  const forwarded = Effect.gen(function*() {
    const outcome = yield* MilterTest.message(
      Milter.sequence([
        Auth.verify({ authservId: "relay.example" }),
        Auth.seal({ authservId: "relay.example", domain: "relay.example" })
      ]),
      yield* signed
    ).pipe(Effect.provide(services))
    return onward(outcome)
  })

  it.effect("fails, and the rest is judged", () =>
    Effect.gen(function*() {
      const onItsWay = yield* forwarded
      assert.strictEqual((yield* check(onItsWay)).results.arc.result, "pass")
      for (const strict of [true, false]) {
        const { results, written } = yield* check(
          under(onItsWay, ["ARC-Seal", `i=2; a=rsa-sha256; cv=pass; n=${spaces(2000)}x`]),
          { strict }
        )
        assert.deepStrictEqual(results.arc, { result: "fail", instance: 0, comment: "too much white space" })
        assert.strictEqual(results.dkim[0]?.result, "pass")
        assert.strictEqual(results.dmarc.result, "pass")
        assert.match(written[0]!, /arc=fail \(too much white space\)/)
      }
    }))

  it.effect("is not sealed", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      const outcome = yield* MilterTest.message(
        Milter.sequence([
          Auth.verify({ authservId: "relay.example" }),
          Auth.seal({
            authservId: "relay.example",
            domain: "relay.example",
            onUnsealed: (error) => {
              found.push(error.message)
              return Effect.succeed(Verdict.acceptMessage)
            }
          })
        ]),
        under(yield* signed, ["ARC-Seal", `i=1; n=${spaces(2000)}x`])
      ).pipe(Effect.provide(services))
      assert.deepStrictEqual(found, ["Seal of relay.example: too much white space"])
      assert.lengthOf(valuesOf(outcome, "ARC-Seal"), 1)
    }))
})

describe("a key of a stranger", () => {
  it.effect("that takes too long to check is none", () =>
    Effect.gen(function*() {
      const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 3072 })
      const { n } = publicKey.export({ format: "jwk" })
      const e = Buffer.alloc(383, 0xff).toString("base64url")
      const costly = createPublicKey({ key: { kty: "RSA", n: n!, e }, format: "jwk" })
      const large = createPublicKey(newKey("rsa", 4224))
      const onItsWay = yield* signed
      for (const key of [costly, large]) {
        const p = key.export({ type: "spki", format: "der" }).toString("base64")
        const table = { ...records, "rsa._domainkey.example.org": { TXT: [`v=DKIM1; k=rsa; p=${p}`] } }
        let results: Auth.Results | undefined
        yield* MilterTest.message(
          Auth.verify({
            authservId: "mx.example.net",
            onResult: (found) => {
              results = found
              return Effect.succeed(Verdict.continue)
            }
          }),
          onItsWay
        ).pipe(Effect.provide(Auth.Dns.layerRecords(table)))
        assert.deepInclude(results?.dkim[0], { result: "neutral", comment: "invalid public key" })
      }
    }))
})
