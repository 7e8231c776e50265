/** Signing, judged by mailauth, which has no part in it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as Auth from "effect-milter/auth"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { TestClock } from "effect/testing"
import { verdicts } from "./support/independent.ts"
import { input, message, recordsOf, valuesOf } from "./support/mail.ts"

const keys = [input("example.org"), input("example.org", "ed25519")]
const withKeys = Effect.provide(Auth.Keys.layer(keys))
const records = recordsOf(keys)

const messages: { readonly [name: string]: MilterClient.Message } = {
  "a small one": message,
  "no body": { ...message, body: "" },
  "empty lines only": { ...message, body: "\r\n\r\n\r\n" },
  "white space": { ...message, body: " \t one  two\t \r\n\t\r\n \r\nthree \r\n\r\n \r\n" },
  "no last line end": { ...message, body: "one\r\n\r\ntwo" },
  "folds, tabs and UTF-8": {
    ...message,
    headers: [["From", "\tAlice\r\n\t<alice@example.org> "], ["SUBJECT", " a  subject\r\n that goes\r\n\ton, grüße"]]
  },
  "bytes that are no text": {
    ...message,
    headers: [["From", "alice@example.org"], ["Subject", Uint8Array.of(0x62, 0xe9, 0xff)]],
    body: Uint8Array.from({ length: 3000 }, (_, index) => index % 70 === 68 ? 13 : index % 70 === 69 ? 10 : index % 256)
  },
  "fields more than once": {
    ...message,
    headers: [...message.headers, ["List-Id", "<one>"], ["List-Id", "<two>"], ["Subject", "another"]]
  },
  "four packets of body": { ...message, body: `${"0123456789 ".repeat(7)}\r\n`.repeat(2600) }
}

describe("sign", () => {
  for (const canonicalization of ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] as const) {
    for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
      it.effect(`makes ${canonicalization} signatures that hold, with ${as.name}`, () =>
        Effect.gen(function*() {
          for (const [name, message] of Object.entries(messages)) {
            const signed = yield* MilterTest.message(Auth.sign({ canonicalization }), message, { as })
            assert.deepStrictEqual(yield* verdicts(signed, records), ["pass", "pass"], name)
          }
        }).pipe(withKeys))
    }
  }

  it.effect("makes them where the MTA does not tell of the space behind the colon", () =>
    Effect.gen(function*() {
      const signed = yield* MilterTest.message(Auth.sign({ canonicalization: "simple/simple" }), message, {
        as: MilterTest.postfix23
      })
      assert.deepStrictEqual(yield* verdicts(signed, records), ["pass", "pass"])
    }).pipe(withKeys))

  it.effect.prop(
    "holds for any body",
    {
      body: Schema.String.check(Schema.isMaxLength(200)),
      parts: Schema.Array(Schema.Literals([" ", "\t", "\r\n", "\r", "a"]))
    },
    ({ body, parts }) =>
      Effect.gen(function*() {
        for (const canonicalization of ["relaxed/relaxed", "simple/simple"] as const) {
          const signed = yield* MilterTest.message(
            Auth.sign({ canonicalization }),
            { ...message, body: `${parts.join("")}${body}` }
          )
          assert.deepStrictEqual(yield* verdicts(signed, records), ["pass", "pass"])
        }
      }).pipe(withKeys),
    { arbitrary: { runs: 50 } }
  )

  it.effect("puts one signature a key on top, in the order of the keys", () =>
    Effect.gen(function*() {
      const signed = yield* MilterTest.message(Auth.sign(), message)
      assert.deepStrictEqual(
        signed.modifications.map((modification) => modification._tag === "InsertHeader" && modification.index),
        [1, 1]
      )
      const [first, second] = valuesOf(signed, "DKIM-Signature")
      assert.match(first!, /a=rsa-sha256; c=relaxed\/relaxed; d=example\.org; s=rsa;/)
      assert.match(second!, /a=ed25519-sha256;/)
      assert.isTrue(signed.delivered!.headers[1]!.name === "DKIM-Signature")
      for (const line of `DKIM-Signature: ${first}`.split("\n")) assert.isAtMost(line.length, 78)
    }).pipe(withKeys))

  it.effect("covers what is not there, but not what an MTA may add", () =>
    Effect.gen(function*() {
      const bare: MilterClient.Message = { ...message, headers: [["From", "alice@example.org"]] }
      const signed = yield* MilterTest.message(Auth.sign(), bare)
      const more = (name: string, value: string) =>
        verdicts({
          ...signed,
          delivered: {
            ...signed.delivered!,
            headers: [
              { name: name as MilterField["name"], value: ` ${value}` as MilterField["value"] },
              ...signed.delivered!.headers
            ]
          }
        }, records)
      for (const name of ["From", "Subject", "Reply-To", "Cc"]) {
        assert.deepStrictEqual(yield* more(name, "mallory@example.org"), ["fail", "fail"], name)
      }
      for (const name of ["Date", "Message-ID", "To", "MIME-Version", "Received", "Return-Path", "X-Spam"]) {
        assert.deepStrictEqual(yield* more(name, "something"), ["pass", "pass"], name)
      }
    }).pipe(withKeys))

  it.effect("covers a second Date where there is one", () =>
    Effect.gen(function*() {
      const signed = yield* MilterTest.message(Auth.sign(), message)
      const { delivered } = signed
      const date = delivered!.headers.find(({ name }) => name === "Date")!
      assert.deepStrictEqual(
        yield* verdicts({ ...signed, delivered: { ...delivered!, headers: [date, ...delivered!.headers] } }, records),
        ["fail", "fail"]
      )
    }).pipe(withKeys))

  it.effect("covers the fields that it is told to", () =>
    Effect.gen(function*() {
      const sign = Auth.sign({ fields: ["subject", "X-Note"], oversigned: [] })
      const [signature] = valuesOf(yield* MilterTest.message(sign, message), "DKIM-Signature")
      assert.match(signature!, /h=from:subject;/)
    }).pipe(withKeys))

  it.effect("says when it was made, and how long it holds", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_800_000_000_999)
      const signed = yield* MilterTest.message(Auth.sign({ expires: "7 days" }), message)
      assert.match(valuesOf(signed, "DKIM-Signature")[0]!, /t=1800000000; x=1800604800;/)
    }).pipe(withKeys))

  describe("leaves alone", () => {
    const outside: MilterClient.Message = { ...message, macros: {} }
    const unsigned = (sign: Milter.Filter<never, Auth.Keys>, message: MilterClient.Message) =>
      Effect.map(MilterTest.message(sign, message), (outcome) => {
        MilterTest.assertAccepted(outcome, { headers: { "DKIM-Signature": undefined } })
        return outcome
      })
    const signed = (sign: Milter.Filter<never, Auth.Keys>, message: MilterClient.Message) =>
      Effect.map(
        MilterTest.message(sign, message),
        (outcome) => assert.lengthOf(valuesOf(outcome, "DKIM-Signature"), 2)
      )

    it.effect("mail from outside, of which it sees nothing", () =>
      Effect.map(unsigned(Auth.sign(), outside), ({ stage }) => assert.strictEqual(stage, "mail")).pipe(withKeys))

    it.effect("what is not selected", () =>
      Effect.all([
        unsigned(Auth.sign({ when: () => false }), message),
        unsigned(Auth.sign({ when: () => Effect.succeed(false) }), message),
        signed(
          Auth.sign({ when: ({ envelope }) => Effect.succeed(envelope.sender.domain === "example.org") }),
          outside
        ),
        signed(Auth.sign({ when: Auth.submitted(["192.0.2.0/24"]) }), outside),
        unsigned(Auth.sign({ when: Auth.submitted(["192.0.2.128/25"]) }), outside),
        signed(Auth.sign(), { ...outside, client: { hostname: "localhost", address: "127.0.0.1", port: 0 } })
      ]).pipe(withKeys))

    it.effect("authors who are not ours, several, or nobody", () =>
      Effect.gen(function*() {
        const authors = [
          "alice@example.net",
          "alice@sub.example.org",
          "alice@example.org, bob@example.net",
          "alice",
          "undisclosed:;",
          "\"alice@example.org\" <bob@example.net>",
          "alice@example.net (alice@example.org)",
          "alice@example.org@example.net",
          "<alice@example.org> bob@example.net"
        ]
        for (const author of authors) yield* unsigned(Auth.sign(), { ...message, headers: [["From", author]] })
        yield* unsigned(Auth.sign(), { ...message, headers: [["Subject", "none"]] })
        yield* unsigned(Auth.sign(), { ...message, headers: [...message.headers, ["from", "alice@example.org"]] })
      }).pipe(withKeys))

    it.effect("nothing of these", () =>
      Effect.gen(function*() {
        const authors = [
          "ALICE@EXAMPLE.ORG",
          "alice@example.org (bob@example.net)",
          "\"bob@example.net, <Bob>\"\r\n <alice@example.org>",
          "Us: Alice <alice@example.org>, bob@example.org;",
          "=?utf-8?q?bob=40example.net?= <alice@example.org>"
        ]
        for (const author of authors) yield* signed(Auth.sign(), { ...message, headers: [["From", author]] })
      }).pipe(withKeys))
  })

  it.effect("signs for subdomains if a key says so, and for another domain if told to", () =>
    Effect.gen(function*() {
      const below = { ...message, headers: [["From", "alice@a.b.example.org"]] as const }
      const domainOf = (outcome: MilterClient.Outcome) => /d=([^;]*)/.exec(valuesOf(outcome, "DKIM-Signature")[0]!)?.[1]
      assert.strictEqual(domainOf(yield* MilterTest.message(Auth.sign(), below)), "example.org")
      const elsewhere = Auth.sign({ domain: (author) => author === "example.net" ? "EXAMPLE.org" : undefined })
      const fromElsewhere = { ...message, headers: [["From", "alice@example.net"]] as const }
      assert.strictEqual(domainOf(yield* MilterTest.message(elsewhere, fromElsewhere)), "example.org")
      MilterTest.assertAccepted(yield* MilterTest.message(elsewhere, message), {
        headers: { "DKIM-Signature": undefined }
      })
    }).pipe(Effect.provide(Auth.Keys.layer([{ ...input("example.org"), subdomains: true }]))))

  it.effect("takes internationalized domains", () =>
    Effect.gen(function*() {
      const idn = { ...message, headers: [["From", "alice@BÜCHER.example"]] as const }
      const signed = yield* MilterTest.message(Auth.sign(), idn)
      assert.match(valuesOf(signed, "DKIM-Signature")[0]!, /d=xn--bcher-kva\.example;/)
    }).pipe(Effect.provide(Auth.Keys.layer([input("bücher.example")]))))

  describe("without keys", () => {
    const failing = Layer.succeed(Auth.Keys, {
      find: (domain) => new Auth.KeyError({ domain, selector: undefined, reason: "the database is away" })
    })

    it.effect("puts mail off", () =>
      Effect.map(MilterTest.message(Auth.sign(), message), (outcome) =>
        MilterTest.assertTempFailed(outcome, {
          reply: "451 4.3.5 cannot sign this message now, please try again later"
        })).pipe(Effect.provide(failing)))

    it.effect("does what it is told", () =>
      Effect.gen(function*() {
        const reasons: Array<string> = []
        const sign = Auth.sign({
          onUnsigned: (reason) =>
            Effect.sync(() => {
              reasons.push(reason._tag)
              return Verdict.reject({ code: "550", enhanced: "5.7.1", text: "unsigned" })
            })
        })
        for (const headers of [message.headers, []]) {
          MilterTest.assertRejected(yield* MilterTest.message(sign, { ...message, headers }), {
            reply: "550 5.7.1 unsigned"
          })
        }
        assert.deepStrictEqual(reasons, ["KeyError", "NoAuthor"])
      }).pipe(Effect.provide(failing)))
  })

  it("refuses names that are none", () => {
    assert.throws(() => Auth.sign({ fields: ["Sub ject"] }), /header name/)
    assert.throws(() => Auth.submitted(["192.0.2.1/8"]), /network/)
  })
})

type MilterField = NonNullable<MilterClient.Outcome["delivered"]>["headers"][number]

describe("order", () => {
  const edit = Milter.make("edit", { modify: ["changeHeader", "replaceBody"] }).on({
    endOfMessage: (_, { edit }) =>
      edit.changeHeader("Subject", 1, "dinner").pipe(
        Effect.andThen(edit.replaceBody(new TextEncoder().encode("At eight.\r\n"))),
        Effect.as(Verdict.continue)
      )
  })
  const seal = Auth.seal({ authservId: "mx.example.org", domain: "example.org" })

  it.effect("is checked when a server starts", () =>
    Effect.gen(function*() {
      const refused = <R>(filter: Milter.Filter<never, R>, reason: RegExp) =>
        Effect.map(Effect.exit(MilterTest.message(filter, message)), (exit) => assert.match(String(exit), reason))
      yield* refused(Milter.sequence([Auth.sign(), edit]), /expected edit in front of auth-sign/)
      yield* refused(Milter.sequence([seal, Auth.sign()]), /expected auth-sign in front of auth-seal/)
      const wrapped = Auth.sign().pipe(
        Milter.when({ connect: () => true }),
        Milter.circuitBreaker({ failures: 3, openFor: "1 minute", whileOpen: "pass" }),
        Milter.delayReject({ at: "rcpt" })
      )
      yield* refused(Milter.sequence([Milter.sequence([wrapped]), edit]), /expected edit in front of auth-sign/)
      class Signer extends Milter.Service<Signer>()("test/Signer") {}
      yield* refused(
        Milter.sequence([Signer, edit]),
        /expected edit in front of auth-sign/
      ).pipe(Effect.provide(Milter.layer(Signer, Auth.sign())))
      MilterTest.assertAccepted(yield* MilterTest.message(Milter.sequence([edit, Auth.sign(), seal]), message))
      const verify = Auth.verify({ authservId: "mx.example.org" })
      const banner = Message.make("banner", { modify: ["mime"] }).on({
        document: ({ mime }) => Effect.as(Effect.orDie(mime.append({ text: "Hello" })), Verdict.continue)
      })
      const late = /expected auth-verify in front of (?:edit|banner), which may edit the body/
      const dns = Auth.Dns.layerRecords({})
      for (const editor of [edit, banner, Milter.when(banner, { connect: () => true })]) {
        yield* refused(Milter.sequence([editor, verify]), late).pipe(Effect.provide(dns))
        yield* refused(Milter.sequence([editor, Milter.when(verify, { connect: () => true })]), late).pipe(
          Effect.provide(dns)
        )
        MilterTest.assertAccepted(
          yield* MilterTest.message(Milter.sequence([verify, editor, Auth.sign(), seal]), message).pipe(
            Effect.provide(dns)
          )
        )
      }
      // What has no say about the body may come first.
      const header = Message.make("header", { modify: ["headers"] }).on({
        document: () => Effect.succeed(Verdict.continue)
      })
      MilterTest.assertAccepted(
        yield* MilterTest.message(Milter.sequence([header, verify]), message).pipe(Effect.provide(dns))
      )
    }).pipe(withKeys))

  it.effect("signs what a filter in front has made of the message", () =>
    Effect.gen(function*() {
      const signed = yield* MilterTest.message(Milter.sequence([edit, Auth.sign()]), message)
      assert.deepStrictEqual(valuesOf(signed, "Subject"), ["dinner"])
      assert.deepStrictEqual(yield* verdicts(signed, records), ["pass", "pass"])
    }).pipe(withKeys))
})
