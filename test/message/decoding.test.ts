/** What a document shows of a header, and that it can be written again. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Schema } from "effect"
import * as Message from "effect-milter/Message"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Header from "../../src/Header.ts"
import { HeaderEditor } from "../../src/internal/message/headerList.ts"
import { ByteString } from "../../src/Wire.ts"
import { assertLinear } from "../support/growth.ts"

/** A header with one field; the value in bytes, one character each. */
const headersOf = (name: string, value: string, smtpUtf8 = false) =>
  new HeaderEditor([new Header.HeaderValue(ByteString.make(name), ByteString.make(` ${value}`), true)], smtpUtf8)

const get = (value: string): string | undefined => headersOf("Subject", value).get("Subject")

describe("encoded words", () => {
  for (
    const [value, text] of [
      ["=?utf-8?q?a=0Ab?=", "a b"],
      ["=?utf-8?q?a=0D=0Ab?=", "a b"],
      ["=?utf-8?q?a=0D=0A=00b?=", "a b"],
      ["=?utf-8?q?a=E2=80=A8b?=", "a b"],
      ["=?utf-8?b?YQpiAGM=?=", "a b c"],
      ["=?utf-16?b?/v8AYQAKAGI=?=", "a b"],
      ["=?utf-16?b?AGEAYg==?=", "ab"],
      ["=?utf-16le?b?YQBiAA==?=", "ab"],
      ["=?iso-8859-1?Q?Fr\xf6sche?=", "Frösche"],
      ["=?utf-8?Q?Fr\xc3\xb6sche?= gr\xc3\xbcn", "Frösche grün"],
      ["=?utf-7?Q?Gr+APw-n +- +2D3eAA?=", "Grün + 😀"],
      ["=?unicode-1-1-utf-7?b?SGkgTW9tIC0rSmpvLS0h?=", "Hi Mom -☺-!"],
      ["=?utf-7?q?+2D0-?=", "\ufffd"],
      ["=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"],
      ["=?utf-8?Q?=C3?= =?UTF-8?B?tg==?=", "ö"],
      ["=?utf-8?Q?a?= =?iso-8859-1?Q?=F6?=\n =?utf-8?q?_c?= d", "aö c d"],
      ["=?utf-8*de?Q?=C3=B6?=", "ö"],
      ["=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"],
      ["=?cp932?B?k/qWew==?=", "日本"],
      ["=?utf-8?Q?a b?=", "a b"],
      ["x=?utf-8?Q?a?=y", "xay"],
      ["=?klingon?Q?a?= =?utf-8?q?b?=", "=?klingon?Q?a?= b"],
      ["=?utf-8?Q?a =?utf-8?Q?b?=", "=?utf-8?Q?a b"],
      ["=?utf-8?Q?a", "=?utf-8?Q?a"],
      ["=?utf-8?X?a?=", "=?utf-8?X?a?="],
      ["=?utf-8?B?YWI?=", "ab"],
      ["=?utf-8?Q?a=4?=", "a=4"],
      ["=?=?=?utf-8?Q?a?=", "=?=?a"],
      ["caf\xe9", "caf\ufffd"],
      ["two\n lines", "two lines"]
    ] as const
  ) {
    it(`reads ${JSON.stringify(value)}`, () => {
      assert.strictEqual(get(value), text)
    })
  }

  const Word = Schema.Literals([
    "=?utf-8?q?",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=0A=3F=3D?=",
    "=?utf-16?b?",
    "=?utf-7?q?",
    "?=",
    "=?",
    "=0A",
    "=0D",
    "=00",
    "=3D",
    "=3F",
    "AAoA",
    "+AAo-",
    "a",
    " ",
    "\n ",
    "\xc3\xb6",
    "\xff",
    "=E2=80=A8",
    "?",
    "=",
    "_",
    "=20",
    "\t"
  ])
  it.effect.prop("are shown on one line that can be written and read again", [Schema.Array(Word), Schema.Boolean], (
    [parts, smtpUtf8]
  ) =>
    Effect.gen(function*() {
      const headers = headersOf("Subject", parts.join(""), smtpUtf8)
      const text = headers.get("Subject")!
      assert.notMatch(text, /[\0\r\n\u2028\u2029]/)
      yield* headers.set("Subject", text)
      assert.strictEqual(headers.get("Subject"), text)
      yield* headers.set("Subject", `[list] ${text} (fwd)`)
      assert.strictEqual(headers.get("Subject"), `[list] ${text} (fwd)`)
    }))

  it.effect.prop(
    "of names are, too",
    [Schema.Array(Word), Schema.Boolean],
    ([parts, smtpUtf8]) =>
      Effect.gen(function*() {
        for (
          const value of [
            `"${parts.join("")}" <a@b.test>`,
            `${parts.join("")} <a@b.test>`,
            `a@b.test (${parts.join("")})`
          ]
        ) {
          const headers = headersOf("From", value, smtpUtf8)
          const list = headers.addresses("From")
          assert.notMatch(JSON.stringify(list), /\\[rn]|\\u0000/)
          if (Message.mailboxes(list).some(({ address }) => /[^\0-\x7f]/.test(address))) continue
          yield* headers.set("From", Message.formatAddresses(list))
          assert.deepStrictEqual(headers.addresses("From"), list)
        }
      })
  )

  it.effect("in the text of another are text when it is written", () =>
    Effect.gen(function*() {
      for (const smtpUtf8 of [false, true]) {
        const subject = headersOf("Subject", "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=", smtpUtf8)
        assert.strictEqual(subject.get("Subject"), "=?utf-8?q?a?=")
        yield* subject.set("Subject", subject.get("Subject")!)
        assert.strictEqual(subject.get("Subject"), "=?utf-8?q?a?=")
        const from = headersOf("From", "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?= <a@b.test>", smtpUtf8)
        const list = from.addresses("From")
        assert.deepStrictEqual(list, [{ name: "=?utf-8?q?a?=", address: "a@b.test" }])
        yield* from.set("From", Message.formatAddresses(list))
        assert.deepStrictEqual(from.addresses("From"), list)
      }
    }))

  it.effect("stay as they are where their bytes are given", () =>
    Effect.gen(function*() {
      const headers = headersOf("Subject", "=?utf-8?q?=C3=B6?=")
      yield* headers.append("X-Copy", headers.field("Subject")!)
      yield* headers.prepend("X-Mine", { raw: ByteString.make(" =?utf-8?q?=C3=A4?=") })
      assert.strictEqual(headers.get("X-Copy"), "ö")
      assert.strictEqual(headers.get("X-Mine"), "ä")
      const exit = yield* Effect.exit(headers.set("Subject", { raw: ByteString.make("a\nb: c") }))
      assert.match(String(Exit.isFailure(exit) ? exit.cause : ""), /header value/)
    }))

  it.effect("in From do not stop the list example, nor does an author outside ASCII", () =>
    Effect.gen(function*() {
      const List = Message.make("list", { modify: ["headers"] }).on({
        document: Effect.fnUntraced(function*({ headers, parameters }) {
          const authors = Message.mailboxes(headers.addresses("From"))
          if (!parameters.smtpUtf8 && authors.some(({ address }) => /[^\0-\x7f]/.test(address))) {
            return Verdict.reject({ code: "550", enhanced: "5.6.7", text: "the address in From needs SMTPUTF8" })
          }
          yield* headers.set("Reply-To", Message.formatAddresses(authors))
          return Verdict.continue
        })
      })
      const sent = (from: string) => ({ from: "a@b.test", to: "c@d.test", headers: [["From", from]] as const })
      const foreign = sent("Anna <anna@b\u00fccher.example>")
      MilterTest.assertRejected(yield* MilterTest.message(List, foreign), {
        reply: "550 5.6.7 the address in From needs SMTPUTF8"
      })
      MilterTest.assertAccepted(yield* MilterTest.message(List, { ...foreign, parameters: ["SMTPUTF8"] }), {
        headers: { "Reply-To": "Anna <anna@b\u00fccher.example>" }
      })
      MilterTest.assertAccepted(yield* MilterTest.message(List, sent("=?utf-8?q?a=0D=0Ab,?= <a@b.test>")), {
        headers: { "Reply-To": "\"a b,\" <a@b.test>" }
      })
    }))

  it.effect("that are hostile do not stop the first example of the page on messages", () =>
    Effect.gen(function*() {
      const External = Message.make("external", { modify: ["headers"], body: false }).on({
        document: Effect.fnUntraced(function*({ headers }) {
          yield* headers.set("Subject", `[extern] ${headers.get("Subject") ?? ""}`)
          return Verdict.continue
        })
      })
      for (
        const subject of ["=?utf-8?q?a=0Ab?=", "=?utf-8?q?a=0D=0ABcc:_x?=", "=?utf-8?q?a=00?=", "=?utf-16?b?AAoACg==?="]
      ) {
        const outcome = yield* MilterTest.message(External, {
          from: "a@b.test",
          to: "c@d.test",
          headers: [["Subject", subject]]
        })
        MilterTest.assertAccepted(outcome)
      }
    }))

  for (
    const text of [
      "=?",
      "?=",
      "=?a?q?",
      "=?utf-8?q?a?= ",
      "=?utf-8?q?a",
      "=?x?q?a?=",
      "=?utf-7?q?+AAAA",
      "(",
      "\\(",
      "()"
    ]
  ) {
    it(`and dates are read in time that doubles with them: ${text}`, () => {
      assertLinear(
        4000,
        (size) => text.repeat(size / text.length),
        (value) => {
          get(value)
          headersOf("Date", value).date()
          headersOf("Date", `${value}?=)`).date()
        }
      )
    })
  }
})

describe("dates", () => {
  for (
    const [text, iso] of [
      // RFC 5322 A.1.1, A.5, A.6.2, A.6.3
      ["Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06.000Z"],
      [
        "Thu,\n      13\n        Feb\n          1969\n      23:32\n               -0330 (Newfoundland Time)",
        "1969-02-14T03:02:00.000Z"
      ],
      ["21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06.000Z"],
      ["Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T15:55:06.000Z"],
      ["Fri (nested (comments (deep)) \\) here), 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06.000Z"],
      ["(first)21 Nov 1997 09:55 +0000(last)", "1997-11-21T09:55:00.000Z"],
      ["21 Nov 1997 09:55:06 +9959", "1997-11-17T05:56:06.000Z"],
      ["21 Nov 1997 09:55:06 -0060", undefined],
      ["21 Nov 1997 09:55:06 +9999", undefined],
      ["21 Nov 1997 09:55:06 (open", undefined],
      ["21 Nov 1997 0 9:55:06 +0000", undefined]
    ] as const
  ) {
    it(`reads ${JSON.stringify(text)}`, () => {
      const date = headersOf("Date", text).date()
      assert.strictEqual(date && DateTime.formatIso(date), iso)
    })
  }
})
