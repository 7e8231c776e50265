/** Sealing, judged by mailauth as a reader would use it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { chain, verdicts } from "./support/independent.ts"
import { input, message, onward, recordsOf, valuesOf } from "./support/mail.ts"

const keys = [
  input("example.org"),
  input("list.example", "ed25519"),
  input("list.example"),
  input("relay.example", "ed25519")
]
const records: Auth.RecordTable = {
  ...recordsOf(keys),
  "example.org": { TXT: ["v=spf1 ip4:192.0.2.0/24 -all"] },
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
}
const services = Effect.provide(Layer.merge(Auth.Keys.layer(keys), Auth.Dns.layerRecords(records)))

const signed = Effect.map(MilterTest.message(Auth.sign(), message), onward)

/** A host that forwards, with its own domain. */
const forwarder = (domain: string) =>
  Milter.sequence([
    Auth.verify({ authservId: `mx.${domain}` }),
    Auth.seal({ authservId: `mx.${domain}`, domain })
  ])

/** A mailing list: it changes mail so that the author's signature does not hold any more. */
const list = Milter.make("list", { modify: ["changeHeader"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.changeHeader("Subject", 1, "[list] lunch"), Verdict.continue)
})

const fields = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]

const withoutFields = (outcome: MilterClient.Outcome) =>
  MilterTest.assertAccepted(outcome, {
    headers: Object.fromEntries(fields.map((name) => [name, undefined]))
  })

describe("seal", () => {
  for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
    for (const domain of ["list.example", "relay.example"]) {
      it.effect(`seals what was found, for ${domain} with ${as.name}`, () =>
        Effect.gen(function*() {
          const sealed = yield* MilterTest.message(forwarder(domain), yield* signed, { as })
          assert.deepStrictEqual(yield* chain(sealed, records), { result: "pass", i: 1 })
          assert.deepStrictEqual(sealed.delivered!.headers.slice(0, 3).map(({ name }) => String(name)), fields)
          assert.match(
            valuesOf(sealed, "ARC-Authentication-Results")[0]!,
            /^i=1; mx\.\w+\.example;\s+dkim=pass .*dmarc=pass/s
          )
          // An RSA key where there is one.
          assert.match(
            valuesOf(sealed, "ARC-Seal")[0]!,
            domain === "list.example" ? /a=rsa-sha256; .*cv=none/ : /a=ed25519-sha256; .*cv=none/
          )
          assert.deepStrictEqual(yield* verdicts(sealed, records), ["pass"])
        }).pipe(services))
    }
  }

  it.effect("lets a reader know what a list has broken", () =>
    Effect.gen(function*() {
      const authservId = "mx.list.example"
      const throughList = Milter.sequence([
        Auth.verify({ authservId }),
        list,
        Auth.sign({ when: () => true, domain: () => "list.example" }),
        Auth.seal({ authservId, domain: "list.example" })
      ])
      const sent = yield* MilterTest.message(throughList, yield* signed)
      assert.deepStrictEqual(yield* verdicts(sent, records), ["pass", "pass", "fail"])
      assert.deepStrictEqual(yield* chain(sent, records), { result: "pass", i: 1 })

      const relayed = yield* MilterTest.message(forwarder("relay.example"), onward(sent))
      assert.deepStrictEqual(yield* chain(relayed, records), { result: "pass", i: 2 })
      const [results] = valuesOf(relayed, "Authentication-Results")
      assert.match(results!, /arc=pass \(i=1 .*dmarc=pass/s)
      assert.match(valuesOf(relayed, "ARC-Seal")[0]!, /i=2; .*cv=pass/)
    }).pipe(services))

  it.effect("says that the chain is broken, once", () =>
    Effect.gen(function*() {
      const sent = onward(yield* MilterTest.message(forwarder("list.example"), yield* signed))
      const changed = { ...sent, body: "Shall we meet at one?\r\n" }
      const relayed = yield* MilterTest.message(forwarder("relay.example"), changed)
      assert.match(valuesOf(relayed, "Authentication-Results")[0]!, /arc=fail/)
      assert.match(valuesOf(relayed, "ARC-Seal")[0]!, /i=2; .*cv=fail/)
      const again = yield* MilterTest.message(forwarder("list.example"), onward(relayed))
      assert.lengthOf(valuesOf(again, "ARC-Seal"), 2)
    }).pipe(services))

  it.effect("leaves mail alone that has not been checked, or is not selected", () =>
    Effect.gen(function*() {
      const options = { authservId: "mx.list.example", domain: "list.example" }
      withoutFields(yield* MilterTest.message(Auth.seal(options), yield* signed))
      // That of our own users is not checked.
      withoutFields(yield* MilterTest.message(forwarder("list.example"), message))
      withoutFields(
        yield* MilterTest.message(
          Milter.sequence([
            Auth.verify({ authservId: options.authservId }),
            Auth.seal({ ...options, when: () => Effect.succeed(false) })
          ]),
          yield* signed
        )
      )
    }).pipe(services))

  it.effect("lets mail pass without a seal where there is no key, unless told otherwise", () =>
    Effect.gen(function*() {
      const authservId = "mx.example.net"
      withoutFields(yield* MilterTest.message(forwarder("example.net"), yield* signed))
      const strict = Milter.sequence([
        Auth.verify({ authservId }),
        Auth.seal({
          authservId,
          domain: "example.net",
          onUnsealed: (error) => Effect.succeed(Verdict.tempFail({ enhanced: "4.3.5", text: error.reason }))
        })
      ])
      MilterTest.assertTempFailed(yield* MilterTest.message(strict, yield* signed), {
        reply: "451 4.3.5 there is none"
      })
    }).pipe(services))

  /** Another program of ours that writes results under our name. */
  const writes = (...values: ReadonlyArray<string>) =>
    Milter.make("writes", { modify: ["insertHeader"] }).on({
      endOfMessage: (_, { edit }) =>
        Effect.as(
          Effect.forEach(values, (value) => edit.insertHeader(1, "Authentication-Results", value)),
          Verdict.continue
        )
    })

  for (
    const [what, fields, expected] of [
      [
        "one without arc= above",
        ["mx.list.example; spf=pass smtp.mailfrom=a@b.test"],
        /^i=\d; mx\.list\.example;\s+spf=pass smtp\.mailfrom=a@b\.test;\s+dkim=pass.*spf=pass.*dmarc=pass/s
      ],
      [
        "one with semicolons that are text, and one that says none",
        [
          "MX.list.example 1 (a; arc=fail); none (; arc=fail)",
          "mx.list.example; x=pass (; arc=fail) x.y=\"; arc=fail\""
        ],
        /^i=\d; mx\.list\.example;\s+x=pass \(; arc=fail\) x\.y="; arc=fail";\s+dkim=pass.*dmarc=pass/s
      ],
      ["one of another host", ["mx.other.example; spf=fail"], /^i=\d; mx\.list\.example;\s+dkim=pass(?!.*spf=fail)/s]
    ] as const
  ) {
    it.effect(`seals all results of its own together: ${what}`, () =>
      Effect.gen(function*() {
        const options = { authservId: "mx.list.example", domain: "list.example" }
        const filter = Milter.sequence([
          Auth.verify({ authservId: options.authservId }),
          writes(...fields),
          Auth.seal(options)
        ])
        const first = yield* MilterTest.message(filter, yield* signed)
        assert.deepStrictEqual(yield* chain(first, records), { result: "pass", i: 1 })
        assert.match(valuesOf(first, "ARC-Authentication-Results")[0]!, expected)
        // The chain's result is found below the field that does not have it.
        const second = yield* MilterTest.message(filter, onward(first))
        assert.deepStrictEqual(yield* chain(second, records), { result: "pass", i: 2 })
        assert.match(valuesOf(second, "ARC-Seal")[0]!, /i=2; .*cv=pass/)
        assert.match(valuesOf(second, "ARC-Authentication-Results")[0]!, expected)
      }).pipe(services))
  }

  it.effect("does not seal or sign with names that nobody could verify", () =>
    Effect.gen(function*() {
      const key = Result.getOrThrow(Auth.makeKey(input("list.example")))
      for (const names of [{ selector: "a_b" }, { domain: "a_b.example" }, { selector: "" }, { domain: "example" }]) {
        const keys = Layer.succeed(Auth.Keys, { find: () => Effect.succeed([{ ...key, ...names }]) })
        const sealed = MilterTest.message(
          Milter.sequence([
            Auth.verify({ authservId: "mx.list.example" }),
            Auth.seal({
              authservId: "mx.list.example",
              domain: "list.example",
              onUnsealed: ({ message: text }) =>
                Effect.succeed(Verdict.reject({ code: "550", enhanced: "5.7.1", text }))
            })
          ]),
          yield* signed
        )
        MilterTest.assertRejected(yield* Effect.provide(sealed, keys), {
          reply: /expected a (?:domain|selector of letters, digits and hyphens)/
        })
        const unsigned = yield* Effect.provide(MilterTest.message(Auth.sign(), message), keys)
        MilterTest.assertTempFailed(unsigned)
      }
    }).pipe(services))

  it.effect("takes bodies of several packets", () =>
    Effect.gen(function*() {
      const large = { ...yield* signed, body: `${"0123456789 ".repeat(7)}\r\n`.repeat(5000) }
      const sealed = yield* MilterTest.message(forwarder("list.example"), large)
      assert.deepStrictEqual(yield* chain(sealed, records), { result: "pass", i: 1 })
    }).pipe(services))
})
