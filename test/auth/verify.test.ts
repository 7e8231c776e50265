/** Checking mail, with records of the test's own. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import * as Auth from "effect-milter/auth"
import type * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { TestClock } from "effect/testing"
import { input, message, onward, recordsOf, valuesOf } from "./support/mail.ts"

const authservId = "mx.example.net"
const keys = [input("example.org")]
const keyRecords = recordsOf(keys)

const spf = (record: string) => ({ TXT: [`v=spf1 ${record}`] })
const dmarc = (policy: string) => ({ TXT: [`v=DMARC1; ${policy}`] })

const records: Auth.RecordTable = {
  ...keyRecords,
  "example.org": spf("ip4:192.0.2.0/24 -all"),
  "_dmarc.example.org": dmarc("p=reject"),
  "mail.example.org": { ...spf("a -all"), A: ["192.0.2.25"] }
}

const withRecords = (more: Auth.RecordTable = {}) => Effect.provide(Auth.Dns.layerRecords({ ...records, ...more }))

/** What a message gives. */
const check = Effect.fnUntraced(function*(
  message: MilterClient.Message,
  options: Partial<Auth.VerifyOptions> = {},
  testOptions?: MilterTest.Options
) {
  let results: Auth.Results | undefined
  const outcome = yield* MilterTest.message(
    Auth.verify({
      authservId,
      onResult: (found) => {
        results = found
        return Effect.succeed(Verdict.continue)
      },
      ...options
    }),
    message,
    testOptions
  )
  return { outcome, results, written: valuesOf(outcome, "Authentication-Results") }
})

const signed = Effect.map(MilterTest.message(Auth.sign(), message), onward).pipe(Effect.provide(Auth.Keys.layer(keys)))

const outside: MilterClient.Message = { ...message, macros: {}, helo: "mail.example.org" }

describe("verify", () => {
  for (const as of MilterTest.mtas) {
    it.effect(`writes what it found below the MTA's Received, with ${as.name}`, () =>
      Effect.gen(function*() {
        const { outcome, results, written } = yield* check(yield* signed, {}, { as })
        assert.deepStrictEqual(results?.spf, {
          result: "pass",
          domain: "example.org",
          identity: "mailfrom",
          explanation: undefined
        })
        assert.deepStrictEqual(results?.dkim.map(({ aligned, domain, result }) => ({ aligned, domain, result })), [
          { aligned: true, domain: "example.org", result: "pass" }
        ])
        assert.deepStrictEqual(results?.dmarc, {
          result: "pass",
          domain: "example.org",
          policy: "reject",
          policyDomain: "example.org",
          comment: undefined
        })
        assert.deepStrictEqual(results?.arc, { result: "none", instance: 0, comment: undefined })
        assert.deepStrictEqual(written, [results!.text])
        assert.deepStrictEqual(
          written[0]?.replace(/header\.b=\S+?;/, "header.b=...;"),
          `mx.example.net;
 dkim=pass header.d=example.org header.i=@example.org header.s=rsa
  header.a=rsa-sha256 header.b=...;
 spf=pass (mx.example.net: domain of alice@example.org designates 192.0.2.25
  as permitted sender) smtp.mailfrom=example.org;
 arc=none smtp.remote-ip=192.0.2.25;
 dmarc=pass (p=REJECT arc=none) policy.dmarc=reject header.from=example.org`
        )
        assert.isTrue(outcome.delivered?.headers[0]?.name === "Authentication-Results")
        assert.deepStrictEqual(outcome.modifications.map(({ _tag }) => _tag), ["InsertHeader"])
      }).pipe(withRecords()))
  }

  it.effect("sees every byte, whatever the pieces of the body", () =>
    Effect.gen(function*() {
      const large = { ...message, body: `${"0123456789 ".repeat(7)}\r\n`.repeat(5000) }
      const onItsWay = yield* Effect.map(MilterTest.message(Auth.sign(), large), onward)
      assert.strictEqual((yield* check(onItsWay)).results?.dkim[0]?.result, "pass")
      const changed = { ...onItsWay, body: large.body.replace(/7(?=[^7]*$)/, "8") }
      const { results } = yield* check(changed)
      assert.deepStrictEqual(results?.dkim[0]?.result, "fail")
      assert.deepStrictEqual(results?.dkim[0]?.comment, "body hash did not verify")
    }).pipe(withRecords(), Effect.provide(Auth.Keys.layer(keys))))

  describe("SPF", () => {
    it.effect("asks for the name of HELO where the sender is null", () =>
      Effect.gen(function*() {
        const { results, written } = yield* check({ ...outside, from: "" })
        assert.deepInclude(results?.spf, { result: "pass", domain: "mail.example.org", identity: "helo" })
        assert.match(written[0]!, /smtp\.helo=mail\.example\.org/)
        // The name of HELO is aligned with the author's domain.
        assert.strictEqual(results?.dmarc.result, "pass")
      }).pipe(withRecords()))

    it.effect("is left out where the client has no address", () =>
      Effect.gen(function*() {
        const { results, written } = yield* check({ ...outside, client: { hostname: "unknown", address: "/run/x" } })
        assert.strictEqual(results?.spf, undefined)
        assert.notMatch(written[0]!, /spf=/)
        assert.strictEqual(results?.dmarc.result, "fail")
      }).pipe(withRecords()))

    it.effect("asks for names as macros make them, and takes IPv6", () =>
      Effect.gen(function*() {
        const { results } = yield* check({
          ...outside,
          from: "user+tag@macro.example",
          client: { hostname: "unknown", address: "2001:db8::1" }
        })
        assert.strictEqual(results?.spf?.result, "pass")
      }).pipe(withRecords({
        "macro.example": spf("exists:%{l}._spf.%{d} -all"),
        "user+tag._spf.macro.example": { A: ["127.0.0.2"] }
      })))
  })

  describe("DMARC", () => {
    const author = (domain: string, from = "alice@example.org") =>
      ({ ...outside, from, headers: [["From", `Alice <alice@${domain}>`]] }) as const
    const resultOf = (message: MilterClient.Message, more: Auth.RecordTable = {}) =>
      Effect.map(check(message), ({ results }) => results?.dmarc.result).pipe(withRecords(more))

    it.effect("aligns domains of one organization, unless told to be strict", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* resultOf(author("sub.example.org")), "pass")
        assert.strictEqual(
          yield* resultOf(author("sub.example.org"), { "_dmarc.example.org": dmarc("p=reject; aspf=s") }),
          "fail"
        )
        assert.strictEqual(yield* resultOf(author("example.com")), "none")
        assert.strictEqual(yield* resultOf(author("example.com"), { "_dmarc.example.com": dmarc("p=none") }), "fail")
      }))

    it.effect("is an error where it is not clear who the author is", () =>
      Effect.gen(function*() {
        for (
          const headers of [
            [["From", "alice@example.org"], ["From", "mallory@example.org"]],
            [["From", "alice@example.org, mallory@example.net"]],
            [["Subject", "from nobody"]]
          ] as const
        ) {
          const { results, written } = yield* check({ ...outside, headers })
          assert.deepInclude(results?.dmarc, { result: "permerror", domain: undefined })
          assert.match(written[0]!, /dmarc=permerror \(/)
        }
      }).pipe(withRecords()))

    for (
      const [policy, expected] of [["reject", "Rejected"], ["quarantine", "Accepted"], ["none", "Accepted"]] as const
    ) {
      it.effect(`can be enforced: ${policy}`, () =>
        Effect.gen(function*() {
          const outcome = yield* MilterTest.message(
            Auth.verify({ authservId, onResult: Auth.enforceDmarc }),
            author("example.com")
          )
          assert.strictEqual(outcome._tag, expected)
          if (policy === "reject") {
            MilterTest.assertRejected(outcome, { reply: "550 5.7.1 refused by the DMARC policy of example.com" })
          } else {
            MilterTest.assertAccepted(outcome, {
              quarantined: policy === "quarantine" ? "DMARC policy of example.com" : undefined
            })
          }
        }).pipe(withRecords({ "_dmarc.example.com": dmarc(`p=${policy}`) })))
    }
  })

  describe("fields of others that claim to be ours", () => {
    const ours = [
      "mx.example.net; dkim=pass header.d=example.com",
      "MX.Example.NET 1; spf=pass",
      " mx.example.net; none",
      "(a (nested \\) comment)) mx.example.net (and more) 1 ; dkim=pass",
      "\"mx.example.net\"; dkim=pass",
      "\"mx.\\example.net\"; dkim=pass",
      "\r\n\tmx.example.net;\r\n dkim=pass",
      "mx.example.net",
      "mx2.example.net; spf=pass"
    ]
    const theirs = [
      "mx.example.net.example.com; dkim=pass",
      "other.example.com; dkim=pass (mx.example.net)",
      "(mx.example.net) other.example.com; dkim=pass",
      ""
    ]
    const forged: MilterClient.Message = {
      ...outside,
      headers: [
        ...message.headers,
        ...ours.flatMap((value, index) =>
          [["AUTHENTICATION-results", value], [
            "Authentication-Results",
            theirs[index] ?? `${index}.example.com; none`
          ]] as const
        ),
        ["ARC-Authentication-Results", "i=1; mx.example.net; spf=pass"],
        ["X-Authentication-Results", "mx.example.net; spf=pass"]
      ]
    }
    const options = { otherIds: ["mx2.example.net"] }
    const left = [...theirs, ...ours.map((_, index) => `${index}.example.com; none`).slice(theirs.length)]

    for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
      it.effect(`are removed from the last one up, with ${as.name}`, () =>
        Effect.gen(function*() {
          const { outcome, results, written } = yield* check(forged, options, { as })
          assert.deepStrictEqual(written, [results!.text, ...left])
          assert.lengthOf(valuesOf(outcome, "ARC-Authentication-Results"), 1)
          assert.lengthOf(valuesOf(outcome, "X-Authentication-Results"), 1)
        }).pipe(withRecords()))
    }

    it.effect("are removed from mail of our users, too, which is not checked", () =>
      Effect.gen(function*() {
        const { results, written } = yield* check({ ...forged, macros: message.macros }, options)
        assert.strictEqual(results, undefined)
        assert.deepStrictEqual(written, left)
      }).pipe(withRecords()))

    it.effect("stay where they come from hosts that are trusted", () =>
      Effect.gen(function*() {
        const { outcome, results, written } = yield* check(forged, { ...options, trustedNetworks: ["192.0.2.25"] })
        assert.strictEqual(outcome.stage, "mail")
        assert.strictEqual(results, undefined)
        assert.lengthOf(written, 18)
      }).pipe(withRecords()))
  })

  it.effect("checks whom it is told to", () =>
    Effect.gen(function*() {
      assert.isDefined((yield* check(message, { skip: () => false })).results)
      assert.isUndefined((yield* check(outside, { skip: () => Effect.succeed(true) })).results)
    }).pipe(withRecords()))

  describe("DNS that fails", () => {
    it.effect("is a temporary error of each check that needs it", () =>
      Effect.gen(function*() {
        const { results, written } = yield* check(yield* signed)
        assert.strictEqual(results?.spf?.result, "temperror")
        assert.strictEqual(results?.dkim[0]?.result, "temperror")
        assert.strictEqual(results?.dmarc.result, "temperror")
        assert.match(written[0]!, /dkim=temperror .*spf=temperror .*dmarc=temperror/s)
      }).pipe(withRecords({
        "example.org": "Timeout",
        "rsa._domainkey.example.org": { TXT: "Failed" },
        "_dmarc.example.org": "Failed"
      })))

    it.effect("is one though it should die", () =>
      Effect.gen(function*() {
        const { results } = yield* check(yield* signed)
        assert.strictEqual(results?.dkim[0]?.result, "temperror")
      }).pipe(Effect.provide(Layer.succeed(Auth.Dns, { resolve: () => Effect.die("broken") }))))

    it.effect("takes no longer than it may, in all", () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const never = Layer.succeed(Auth.Dns, {
          resolve: () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)
        })
        const fiber = yield* check(yield* signed, { timeout: "7 seconds" }).pipe(
          Effect.provide(never),
          Effect.forkChild
        )
        yield* Deferred.await(asked)
        yield* TestClock.adjust("7 seconds")
        const { results } = yield* Fiber.join(fiber)
        assert.deepStrictEqual([results?.spf?.result, results?.dkim[0]?.result, results?.dmarc.result], [
          "temperror",
          "temperror",
          "temperror"
        ])
      }))

    it.effect("is not waited for when the message is given up", () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const never = Layer.succeed(Auth.Dns, {
          resolve: () =>
            Deferred.succeed(asked, undefined).pipe(
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
            )
        })
        const filter: Milter.Filter<never, Auth.Dns> = Auth.verify({ authservId })
        const onItsWay = yield* signed
        yield* MilterTest.run(filter, (mta) => Effect.raceFirst(mta.sendMessage(onItsWay), Deferred.await(asked))).pipe(
          Effect.provide(never)
        )
        yield* Deferred.await(interrupted)
      }))
  })

  describe("what is too much to read", () => {
    const limited = (name: string, message: MilterClient.Message) =>
      it.effect(name, () =>
        Effect.gen(function*() {
          const onItsWay = yield* signed
          const { results, written } = yield* check({
            ...onItsWay,
            headers: [...onItsWay.headers!, ...message.headers ?? []],
            ...(message.body === undefined ? {} : { body: message.body })
          })
          assert.strictEqual(results?.dkim[0]?.result, "permerror")
          assert.strictEqual(results?.dmarc.result, "permerror")
          assert.strictEqual(results?.spf?.result, "pass")
          assert.match(written[0]!, /dkim=permerror \(header too large\)/)
        }).pipe(withRecords()))
    limited("a field of very many lines", { ...message, headers: [["X-Fold", "\r\n a".repeat(10_000)]] })
    limited("a very large header", {
      ...message,
      headers: Array.from({ length: 30 }, () => ["X-Large", "a ".repeat(20_000)] as const)
    })

    it.effect("a very long line: DMARC is judged by SPF", () =>
      Effect.gen(function*() {
        const onItsWay = yield* signed
        for (const body of ["a".repeat(1_200_000), `${message.body}${"a".repeat(1_200_000)}\r\n`]) {
          const { results, written } = yield* check({ ...onItsWay, body })
          assert.deepInclude(results?.dkim[0], {
            result: "permerror",
            comment: "line too long",
            domain: "example.org",
            aligned: false
          })
          assert.strictEqual(results?.dmarc.result, "pass")
          assert.match(written[0]!, /dkim=permerror \(line too long\) header\.d=example\.org;/)
        }
      }).pipe(withRecords()))

    it.effect("does not count signatures without end", () =>
      Effect.gen(function*() {
        const onItsWay = yield* signed
        const [signature] = onItsWay.headers!.filter(([name]) => name === "DKIM-Signature")
        const { results } = yield* check({
          ...onItsWay,
          headers: [...Array.from({ length: 100 }, () => signature!), ...onItsWay.headers!]
        })
        assert.lengthOf(results!.dkim, 20)
        assert.isTrue(results!.dkim.every(({ result }) => result === "pass"))
      }).pipe(withRecords()))
  })

  it.effect("takes several messages in a session", () =>
    Effect.gen(function*() {
      const onItsWay = yield* signed
      const outcomes = yield* MilterTest.run(Auth.verify({ authservId }), (mta) =>
        Effect.all([mta.sendMessage(onItsWay), mta.sendMessage({ ...outside, body: "" }), mta.sendMessage(onItsWay)]))
      assert.deepStrictEqual(
        outcomes.map((outcome) =>
          /dkim=(\w+)/.exec(valuesOf(outcome, "Authentication-Results")[0]!)?.[1]
        ),
        ["pass", "none", "pass"]
      )
    }).pipe(withRecords()))

  it("refuses names that are none", () => {
    for (const authservId of ["", "mx.example.net; dkim=pass", "mx example", "mx(1)"]) {
      assert.throws(() => Auth.verify({ authservId }), /authserv-id/)
    }
    assert.throws(() => Auth.verify({ authservId, trustedNetworks: ["192.0.2.1/24"] }), /network/)
  })
})
