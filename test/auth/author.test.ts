/** Who the author of a message is, and what DMARC makes of a From field that readers read differently. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Auth from "effect-milter/auth"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Redacted from "effect/Redacted"
import { dkimSign } from "mailauth"
import { authorDomain, authorOf } from "../../src/auth/internal/author.ts"
import { ByteString } from "../../src/Wire.ts"
import { assertLinear } from "../support/growth.ts"
import { input, message, recordsOf, valuesOf } from "./support/mail.ts"

const spf = { TXT: ["v=spf1 ip4:192.0.2.0/24 -all"] }
const records: Auth.RecordTable = {
  "evil.example": spf,
  "example.org": spf,
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
}

/** A message from outside with these From fields, through a filter that does what DMARC asks for. */
const check = Effect.fnUntraced(function*(
  from: string,
  fields: ReadonlyArray<string>,
  { enforce = Auth.enforceDmarc, more = {}, table = records, ...options }:
    & Partial<Auth.VerifyOptions>
    & {
      readonly enforce?: (results: Auth.Results) => Effect.Effect<Auth.Disposition>
      readonly more?: Partial<MilterClient.Message>
      readonly table?: Auth.RecordTable
    } = {}
) {
  let results: Auth.Results | undefined
  const filter = Auth.verify({
    authservId: "mx.example.net",
    onResult: (found) => {
      results = found
      return enforce(found)
    },
    ...options
  })
  const outcome = yield* MilterTest.message(filter, {
    ...message,
    macros: {},
    helo: "mail.evil.example",
    from,
    headers: [...fields.map((value) => ["From", value] as const), ["Subject", "x"]],
    ...more
  }).pipe(Effect.provide(Auth.Dns.layerRecords(table)))
  return { outcome, results: results! }
})

const refused = (outcome: MilterClient.Outcome) => MilterTest.assertRejected(outcome, { reply: /^550 5\.7\.1 / })

const cannotCheck = (outcome: MilterClient.Outcome) =>
  MilterTest.assertRejected(outcome, { reply: /^550 5\.7\.1 cannot check the author of this message: / })

describe("a message of m@evil.example, which has SPF, against p=reject of example.org", () => {
  for (
    const [from, result, domain] of [
      ["<\"Someone <m@evil.example>\"@example.org>", "fail", "example.org"],
      ["x <alice@example .org>", "fail", "example.org"],
      ["alice@example(m@evil.example).org", "fail", "example.org"],
      ["x <alice@example.org(m@evil.example)>", "fail", "example.org"],
      ["<@evil.example:alice@example.org>", "fail", "example.org"],
      ["Group: alice@example.org;", "fail", "example.org"],
      ["alice@example.org.", "fail", "example.org"],
      ["alice@example.org (m@evil.example)", "fail", "example.org"],
      ["alice@exam\u200bple.org", "fail", "example.org"],
      ["alice@\uff45xample.org", "fail", "example.org"],
      ["alice@example\u3002org", "fail", "example.org"],
      ["alice@example.org, bob@EXAMPLE.org", "fail", "example.org"],
      ["ceo@ example.org", "fail", "example.org"],
      ["<legit@example.org>:<m@evil.example>", "permerror", undefined],
      ["m@evil.example alice@example.org", "permerror", undefined],
      ["\"Doe <alice@example.org>", "permerror", undefined],
      ["alice@example.org@evil.example", "permerror", undefined],
      ["alice@example.org, m@evil.example", "permerror", undefined],
      ["alice@=?utf-8?q?example.org?=", "permerror", undefined],
      ["=?utf-8?q?alice=40example.org?=", "permerror", undefined],
      ["<=?utf-8?q?alice=40example.org?=@evil.example>", "permerror", "evil.example"],
      ["alice\uff20example.org@evil.example", "permerror", "evil.example"],
      ["m@(alice@example.org)evil.example", "permerror", "evil.example"],
      ["Nobody:;", "permerror", undefined],
      ["", "permerror", undefined]
    ] as const
  ) {
    it.effect(`is refused: ${JSON.stringify(from)}`, () =>
      Effect.gen(function*() {
        const { outcome, results } = yield* check("m@evil.example", [from])
        assert.strictEqual(results.spf?.result, "pass")
        assert.deepInclude(results.dmarc, { result, domain })
        if (result === "fail") {
          assert.deepInclude(results.dmarc, { policy: "reject", policyDomain: "example.org" })
          MilterTest.assertRejected(outcome, { reply: "550 5.7.1 refused by the DMARC policy of example.org" })
        } else cannotCheck(outcome)
        const told = yield* check("m@evil.example", [from], { enforce: Auth.enforceDmarc({ permerror: "pass" }) })
        if (result === "fail") refused(told.outcome)
        else {
          MilterTest.assertAccepted(told.outcome)
          const [written] = valuesOf(told.outcome, "Authentication-Results")
          assert.match(written!, /dmarc=permerror \(/)
        }
      }))
  }

  it.effect("passes where it names its author", () =>
    Effect.gen(function*() {
      for (const from of ["m@evil.example", "\"alice@example.org\" <m@evil.example>", "alice <m@evil.example>"]) {
        const { outcome, results } = yield* check("m@evil.example", [from])
        assert.deepInclude(results.dmarc, { result: "none", domain: "evil.example" })
        MilterTest.assertAccepted(outcome)
      }
    }))

  it.effect("is refused with several From fields or none", () =>
    Effect.gen(function*() {
      for (const fields of [[], ["m@evil.example", "alice@example.org"], ["m@evil.example", "m@evil.example"]]) {
        const { outcome, results } = yield* check("m@evil.example", fields)
        assert.deepInclude(results.dmarc, { result: "permerror", domain: undefined })
        cannotCheck(outcome)
      }
      const spaced = yield* check("m@evil.example", ["m@evil.example"], {
        more: { headers: [["From ", "alice@example.org"], ["From", "m@evil.example"]] }
      })
      cannotCheck(spaced.outcome)
    }))
})

describe("a message of alice@example.org, which has SPF", () => {
  for (
    const [from, result] of [
      ["alice@example.org", "pass"],
      ["Alice\n <alice@example.org>", "pass"],
      ["< alice@example.org >", "pass"],
      ["alice@example.org.", "pass"],
      ["alice@example.org (Alice)", "pass"],
      ["\"alice, m@evil.example\" <alice@example.org>", "pass"],
      ["=?utf-8?q?m=40evil.example?= <alice@example.org>", "pass"],
      ["alice@example.org, bob@example.org", "pass"],
      ["Team: alice@example.org, bob@example.org;", "pass"],
      ["\"al ice\"@example.org", "pass"],
      ["alice@example .org", "permerror"],
      ["alice@example.org, bob@(c)example.org", "permerror"],
      ["<alice@example.org(c)>", "permerror"],
      ["=?utf-8?q?a?=@example.org", "permerror"],
      ["alice@\uff45xample.org", "permerror"],
      ["alice@example\u3002org", "permerror"],
      ["alice\u200b@example.org", "permerror"]
    ] as const
  ) {
    it.effect(`has ${result}: ${JSON.stringify(from)}`, () =>
      Effect.gen(function*() {
        const { outcome, results } = yield* check("alice@example.org", [from])
        assert.deepInclude(results.dmarc, { result, domain: "example.org", policy: "reject" })
        if (result === "pass") MilterTest.assertAccepted(outcome)
        else cannotCheck(outcome)
      }))
  }

  it.effect("has none or permerror without a policy, by the same rule", () =>
    Effect.gen(function*() {
      const table = { "example.org": spf }
      for (const [from, result] of [["alice@example.org", "none"], ["alice@example .org", "permerror"]] as const) {
        const { results } = yield* check("alice@example.org", [from], { table })
        assert.deepInclude(results.dmarc, { result, domain: "example.org" })
      }
      const literal = yield* check("alice@example.org", ["alice@[192.0.2.25]"], { table })
      assert.deepInclude(literal.results.dmarc, { result: "none", domain: "[192.0.2.25]" })
    }))

  it.effect("has temperror where the policy is not known, whatever From looks like", () =>
    Effect.gen(function*() {
      const table = { ...records, "_dmarc.example.org": "Timeout" } as const
      const { outcome, results } = yield* check("alice@example.org", ["alice@example .org"], { table })
      assert.strictEqual(results.dmarc.result, "temperror")
      MilterTest.assertTempFailed(outcome, { reply: /^451 4\.7\.5 / })
    }))
})

describe("a DMARC record", () => {
  for (
    const [record, result, policy] of [
      ["v=DMARC1; p=reject; adkim", "fail", "reject"],
      ["v=DMARC1; p=reject; p=none", "fail", "reject"],
      ["v=DMARC1; p=reject; sp=none; sp=none", "fail", "reject"],
      ["v=DMARC1; p=quarantine; rua=mailto:a@b.test; =x; p=none", "fail", "quarantine"],
      ["v=DMARC1; p=reject; ru\u00e4=x; p=none", "fail", "reject"],
      ["v=DMARC1; p=reject;; pct=100;", "fail", "reject"],
      ["v=DMARC1; rua=mailto:a@b.test; rua=mailto:c@d.test; p=reject", "none", undefined]
    ] as const
  ) {
    it.effect(`${JSON.stringify(record)} gives ${result} ${policy}`, () =>
      Effect.gen(function*() {
        const table = { "_dmarc.example.org": { TXT: [record] } }
        const { results } = yield* check("m@evil.example", ["alice@example.org"], { table })
        assert.deepInclude(results.dmarc, { result, policy })
      }))
  }

  it.effect("loses what stands after the fault: alignment is relaxed again", () =>
    Effect.gen(function*() {
      for (const [rest, result] of [["aspf=s", "fail"], ["oops; aspf=s", "pass"]] as const) {
        const table = { "mail.example.org": spf, "_dmarc.example.org": { TXT: [`v=DMARC1; p=reject; ${rest}`] } }
        const { results } = yield* check("x@mail.example.org", ["alice@example.org"], { table })
        assert.strictEqual(results.dmarc.result, result, rest)
      }
    }))
})

describe("a signature for an identity outside its domain", () => {
  const sign = Effect.fnUntraced(function*(identity: string) {
    const privateKey = Redacted.value(input("example.org").privateKey)
    const signing = { signingDomain: "example.org", selector: "rsa", privateKey, identity }
    const headers = [["From", "alice@example.org"], ["Subject", "x"]] as const
    const text = `${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\nhello\r\n`
    const { signatures } = yield* Effect.promise(() => dkimSign(text, { ...signing, signatureData: [signing] }))
    const line = signatures.replace(/\r\n/g, "\n").trimEnd()
    return {
      headers: [["DKIM-Signature", line.slice(line.indexOf(":") + 2)] as const, ...headers],
      body: "hello\r\n"
    }
  })
  const [[keyName, { TXT: [key] }]] = Object.entries(recordsOf([input("example.org")])) as unknown as [
    [string, { TXT: [string] }]
  ]

  for (
    const [identity, flags, result] of [
      ["@example.org", "", "pass"],
      ["alice@sub.example.org", "", "pass"],
      ["@example.org", "; t=s", "pass"],
      ["@sub.example.org", "; t=s", "neutral"],
      ["@evil.example", "", "neutral"]
    ] as const
  ) {
    it.effect(`is ${result}, strict or not: i=${identity}${flags}`, () =>
      Effect.gen(function*() {
        const more = yield* sign(identity)
        const table = { "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }, [keyName]: { TXT: [`${key}${flags}`] } }
        for (const strict of [true, false]) {
          const { outcome, results } = yield* check("m@evil.example", [], { more, table, strict })
          assert.deepInclude(results.dkim[0], { result, aligned: result === "pass" }, String(strict))
          assert.strictEqual(results.dmarc.result, result === "pass" ? "pass" : "fail")
          if (result === "pass") MilterTest.assertAccepted(outcome)
          else refused(outcome)
          assert.match(results.text, new RegExp(`dkim=${result}`))
        }
      }))
  }
})

describe("a sender without a domain", () => {
  it.effect("is not one for SPF", () =>
    Effect.gen(function*() {
      for (const from of ["example.org", "\"example.org\""]) {
        const { outcome, results } = yield* check(from, ["alice@example.org"], {
          enforce: Auth.enforceDmarc({ permerror: "pass" })
        })
        assert.deepInclude(results.spf, { result: "none", domain: "", identity: "mailfrom" })
        assert.strictEqual(results.dmarc.result, "fail")
        refused(outcome)
      }
      const dotted = yield* check("alice@Example.ORG.", ["alice@example.org"])
      assert.deepInclude(dotted.results.spf, { result: "pass", domain: "example.org" })
    }))
})

describe("the signer", () => {
  it.effect("does not sign where nobody can tell the author", () =>
    Effect.gen(function*() {
      for (
        const [from, domain] of [
          ["\"Doe <a@example.org>", undefined],
          ["<a@example.org>:<m@evil.example>", undefined],
          ["a@example.org, b@example.net", undefined],
          ["a@[192.0.2.1]", undefined],
          ["", undefined],
          ["alice@example.org.", "example.org"],
          ["<\"Someone <m@evil.example>\"@Example.org>", "example.org"],
          ["\"a,b\"@example.org", "example.org"],
          ["Team: a@example.org, b@example.org;", "example.org"],
          ["J\u00f6rg <joerg@b\u00fccher.example>", "xn--bcher-kva.example"]
        ] as const
      ) {
        assert.strictEqual(authorDomain(from), domain, from)
        const outcome = yield* MilterTest.message(Auth.sign(), { ...message, headers: [["From", from]] }).pipe(
          Effect.provide(Auth.Keys.layer([input("example.org"), input("xn--bcher-kva.example")]))
        )
        assert.lengthOf(valuesOf(outcome, "DKIM-Signature"), domain === undefined ? 0 : 1, from)
      }
    }))
})

describe("the author", () => {
  for (const text of ["\"", "(", "a@b ", "a@b,", "<", "<a@", "a@b (", "\u200b", "\uff20a", "=?", "a."]) {
    it(`is found in time that doubles with the field: ${JSON.stringify(text)}`, () => {
      assertLinear(
        4000,
        (size) => {
          const many = text.repeat(size / text.length)
          return [ByteString.fromText(many), ByteString.fromText(`${many} <a@example.org>`)]
        },
        (values) => values.forEach((value) => authorOf([value]))
      )
    })
  }

  it("is told with what makes readers disagree", () => {
    const doubtOf = (text: string) => {
      const author = authorOf([ByteString.fromText(text)])
      return Result.isSuccess(author) ? author.success.doubt : author.failure
    }
    assert.isUndefined(doubtOf("a@example.org"))
    assert.isUndefined(doubtOf("ö@exämple.org"))
    assert.strictEqual(doubtOf("a@example .org"), "white space inside the address")
    assert.strictEqual(doubtOf("a@example(x).org"), "a comment inside the address")
    assert.strictEqual(doubtOf("=?a?q?b?=@example.org"), "an encoded word inside the address")
    assert.strictEqual(doubtOf("a\u200d@example.org"), "characters that look like others inside the address")
    assert.strictEqual(doubtOf("a@b@c"), "a From field that cannot be read")
  })
})
