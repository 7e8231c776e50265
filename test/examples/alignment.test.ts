/** The example alignment. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as ClientAddress from "effect-milter/ClientAddress"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { authorOf, isAligned } from "../../examples/alignment/author.ts"
import { alignment, type Options } from "../../examples/alignment/filter.ts"

describe("the author", () => {
  const cases: ReadonlyArray<readonly [what: string, fields: ReadonlyArray<string>, author: object]> = [
    ["an address", ["alice@example.org"], { domain: "example.org" }],
    ["with a name", ["Alice <alice@Example.ORG>"], { domain: "example.org" }],
    ["with a name in quotes", ["\"Alice, of \\\"Example\\\"\" <alice@example.org>"], { domain: "example.org" }],
    ["with an address in the quoted name", ["\"bob@example.net\" <alice@example.org>"], { domain: "example.org" }],
    ["with an encoded name", ["=?utf-8?B?YkBleGFtcGxlLm5ldA==?= <alice@example.org>"], { domain: "example.org" }],
    ["with a comment", ["alice@example.org (Alice, or a@b.example, \\) too)"], { domain: "example.org" }],
    ["folded", ["Alice\n <alice@example.org>"], { domain: "example.org" }],
    ["with a quoted local part", ["\"a@b c\"@example.org"], { domain: "example.org" }],
    ["of an international domain", ["Jörg <joerg@bücher.example>"], { domain: "xn--bcher-kva.example" }],
    ["with a final dot", ["alice@example.org."], { domain: "example.org" }],
    ["no field", [], { fault: "missing" }],
    ["two fields", ["alice@example.org", "alice@example.org"], { fault: "several fields" }],
    ["two addresses", ["alice@example.org, bob@example.net"], { fault: "several addresses" }],
    ["two in brackets", ["<alice@example.org> <bob@example.net>"], { fault: "several addresses" }],
    ["an unquoted address as name", ["bob@example.net <alice@example.org>"], { fault: "several addresses" }],
    ["a source route", ["<@relay.example:alice@example.org>"], { fault: "several addresses" }],
    ["an empty field", [""], { fault: "unreadable" }],
    ["no address", ["Alice"], { fault: "unreadable" }],
    ["empty brackets", ["Alice <>"], { fault: "unreadable" }],
    ["no domain", ["alice@"], { fault: "unreadable" }],
    ["a domain of one label", ["alice@localhost"], { fault: "unreadable" }],
    ["an address literal", ["alice@[192.0.2.1]"], { fault: "unreadable" }],
    ["an IP address", ["alice@192.0.2.1"], { fault: "unreadable" }],
    ["an empty group", ["undisclosed-recipients:;"], { fault: "unreadable" }],
    ["a group", ["friends: alice@example.org;"], { fault: "unreadable" }],
    ["an address in an encoded word", ["=?utf-8?Q?Alice_=3Calice=40example=2Eorg=3E?="], { fault: "unreadable" }],
    ["bytes that are not UTF-8", ["Alice <alice@ex\ufffdmple.org>"], { fault: "unreadable" }]
  ]
  for (const [what, fields, author] of cases) {
    it(what, () => {
      assert.deepStrictEqual(authorOf(fields), author)
    })
  }
})

describe("alignment", () => {
  const cases: ReadonlyArray<readonly [author: string, sender: string, relaxed: boolean]> = [
    // The examples of RFC 7489, appendix B.1.
    ["example.com", "example.com", true],
    ["example.com", "child.example.com", true],
    ["example.com", "example.net", false],
    ["news.example.com", "mail.example.com", true],
    ["one.example.co.uk", "example.co.uk", true],
    ["one.co.uk", "two.co.uk", false],
    ["co.uk", "co.uk", true],
    ["one.github.io", "two.github.io", false],
    ["example.com", "", false],
    ["example.com", "notexample.com", false]
  ]
  for (const [author, sender, relaxed] of cases) {
    it(`of ${author} and ${sender || "nothing"}`, () => {
      assert.strictEqual(isAligned(author, sender, "relaxed"), relaxed)
      assert.strictEqual(isAligned(author, sender, "strict"), author === sender)
    })
  }
})

const filter = (options: Partial<Options> = {}) =>
  alignment({ mode: "relaxed", only: "all", networks: Result.getOrThrow(ClientAddress.network([])), ...options })

const mailOf = (from: string, ...authors: ReadonlyArray<string>): MilterClient.Message => ({
  from,
  to: "bob@example.net",
  headers: [["Subject", "hi"], ...authors.map((author) => ["From", author] as const)],
  body: "Hello\n"
})

describe("the filter", () => {
  it.effect("decides each message of a connection for itself, with every MTA", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const [one, two, three, four] = yield* MilterTest.run(
          filter(),
          (mta) =>
            Effect.all([
              mta.sendMessage(mailOf("bounces@mail.example.org", "Alice <alice@example.org>")),
              mta.sendMessage(mailOf("eve@evil.example", "Alice <alice@example.org>")),
              mta.sendMessage(mailOf("eve@evil.example", "eve@evil.example", "alice@example.org")),
              mta.sendMessage(mailOf("alice@example.org", "alice@example.org"))
            ]),
          { as }
        )
        MilterTest.assertAccepted(one)
        MilterTest.assertRejected(two, { reply: /^550[- ]5\.7\.1 .*of example\.org, .* sent by evil\.example/ })
        MilterTest.assertRejected(three, { reply: /^554 5\.6\.0 The message has several From fields/ })
        MilterTest.assertAccepted(four)
      }
    }))

  it.effect("refuses what has no readable author, at the end of the header", () =>
    Effect.gen(function*() {
      const refused = (authors: ReadonlyArray<string>, reply: RegExp) =>
        Effect.map(
          MilterTest.message(filter(), mailOf("alice@example.org", ...authors)),
          (outcome) => MilterTest.assertRejected(outcome, { stage: "endOfHeaders", reply })
        )
      yield* refused([], /^554 5\.6\.0 The message has no From field/)
      yield* refused(["alice@example.org, eve@evil.example"], /^554 5\.6\.0 From has several addresses/)
      yield* refused(["nobody"], /^554 5\.6\.0 The address in From cannot be read/)
      yield* refused(["alice@example.org\u00ad<x"], /^554 5\.6\.0/)
    }))

  it.effect("lets the null sender pass", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(filter(), mailOf("", "MAILER-DAEMON@example.org", "a@b.example"))
      MilterTest.assertAccepted(outcome)
      assert.strictEqual(outcome.stage, "mail")
    }))

  it.effect("refuses a sender without a domain", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(filter(), mailOf("postmaster", "alice@example.org"))
      MilterTest.assertRejected(outcome, { reply: /an address without a domain/ })
    }))

  it.effect("wants the same domain when it is strict", () =>
    Effect.gen(function*() {
      const strict = filter({ mode: "strict" })
      const outcome = yield* MilterTest.message(strict, mailOf("bounces@mail.example.org", "alice@example.org"))
      MilterTest.assertRejected(outcome, { reply: /Both must have the same domain/ })
      MilterTest.assertAccepted(yield* MilterTest.message(strict, mailOf("bob@example.org", "alice@EXAMPLE.org")))
    }))

  it.effect("checks those who have authenticated, and networks", () =>
    Effect.gen(function*() {
      const some = filter({
        only: "authenticated",
        networks: Result.getOrThrow(ClientAddress.network(["198.51.100.0/24", "2001:db8::/32"]))
      })
      const mail = mailOf("eve@evil.example", "alice@example.org")
      const of = (more: Partial<MilterClient.Message>) => MilterTest.message(some, { ...mail, ...more })
      MilterTest.assertAccepted(yield* of({}))
      MilterTest.assertRejected(yield* of({ macros: { mail: { auth_authen: "eve" } } }))
      MilterTest.assertRejected(yield* of({ client: { address: "198.51.100.7" } }))
      MilterTest.assertRejected(yield* of({ client: { address: "2001:db8::7" } }))
      MilterTest.assertAccepted(
        yield* of({ client: { address: "2001:db9::7" }, macros: { mail: { auth_authen: "" } } })
      )
    }))
})
