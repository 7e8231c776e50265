/** Header: checks of names and values, and what MTAs make of them. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Header from "../src/Header.ts"
import type { InvalidValue } from "../src/InvalidValue.ts"
import { ByteString } from "../src/Wire.ts"

const plain = { smtpUtf8: false, leadingSpace: false }
const encode = (value: string, name = "Subject", smtpUtf8 = false): string =>
  Result.getOrThrow(Header.encodeValue(value, { smtpUtf8, leadingSpace: false, name }))
const message = (result: Result.Result<unknown, InvalidValue>): string => {
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure.message : ""
}

/** An RFC 2047 reader, for UTF-8 only: white space between encoded words is not displayed. */
const decode = (value: string): string =>
  Header.unfold(value)
    .replace(/(=\?[^?\s]+\?[BQ]\?[^?\s]*\?=)[ \t]+(?==\?[^?\s]+\?[BQ]\?[^?\s]*\?=)/g, "$1")
    .replace(/=\?UTF-8\?([BQ])\?([^?\s]*)\?=/g, (_, kind: string, text: string) =>
      kind === "B"
        ? Buffer.from(text, "base64").toString("utf8")
        : Buffer.from(
          text.replaceAll("_", " ").replace(
            /=([0-9A-F]{2})/g,
            (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))
          ),
          "latin1"
        ).toString("utf8"))

/** What holds for every value that is sent. */
const assertSafe = (value: string, name = "Subject"): void => {
  assert.notMatch(value, /\r|\0|\n(?![ \t])/)
  assert.notMatch(value, /\n[ \t]*(?:\n|$)/)
  for (const [index, line] of value.split("\n").entries()) {
    if (/=\?UTF-8\?/.test(line)) {
      assert.isAtMost(line.length + (index === 0 ? name.length + 2 : 0), 76, line)
      for (const word of line.match(/=\?UTF-8\?[BQ]\?[^?]*\?=/g) ?? []) {
        assert.isAtMost(word.length, 75)
        // Each encoded word is whole characters.
        assert.notInclude(decode(word), "\ufffd")
      }
    }
  }
}

describe("checkName", () => {
  it("takes printable ASCII without space and colon", () => {
    assert.strictEqual(Result.getOrThrow(Header.checkName("X-Spam_Flag!~")) as string, "X-Spam_Flag!~")
    assert.isTrue(Result.isSuccess(Header.checkName("x".repeat(997))))
    for (const name of ["", "X:", "X Y", "X\n", "X\r\nBcc", "X\0", "Ü", "X\x7f", "X\t", "x".repeat(998)]) {
      assert.match(message(Header.checkName(name)), /^Invalid header name/)
    }
  })
})

describe("encodeValue", () => {
  it("leaves ASCII alone", () => {
    for (const value of ["yes", "", "one\n two\n\tthree", "a  b ", " a", "=?utf-8?q?a?=", "a\x07b", "100%"]) {
      assert.strictEqual(encode(value), value)
    }
  })

  it("supplies the leading space where the MTA leaves it to the filter", () => {
    assert.strictEqual(Result.getOrThrow(Header.encodeValue("yes", { ...plain, leadingSpace: true })) as string, " yes")
    // Empty means deletion in a change-header packet, in both modes.
    assert.strictEqual(Result.getOrThrow(Header.encodeValue("", { ...plain, leadingSpace: true })) as string, "")
  })

  it("turns CR LF folds into LF folds and drops empty continuations", () => {
    assert.strictEqual(encode("first\r\n\tsecond\n third"), "first\n\tsecond\n third")
    assert.strictEqual(encode("a\n \n\t \n b\n  "), "a\n b")
  })

  it("refuses what would forge header lines or cut the value", () => {
    for (
      const value of [
        "first\nX-Evil: second",
        "a\r\nb",
        "a\n",
        "a\r\n",
        "\n",
        "a\rb",
        "a\r b",
        "a\r\r\n b",
        "a\n\n b",
        "a\0b"
      ]
    ) {
      assert.match(message(Header.encodeValue(value, plain)), /^Invalid header value/, JSON.stringify(value))
      assert.match(message(Header.encodeValue(value, { ...plain, smtpUtf8: true })), /^Invalid header value/)
    }
    assert.match(message(Header.encodeValue("x ".repeat(32_001), plain)), /64000 bytes/)
    assert.match(message(Header.encodeValue("ö ".repeat(20_000), plain)), /64000 bytes/)
  })

  it("encodes what is not ASCII, and only that", () => {
    assert.strictEqual(encode("Grüße aus Köln"), "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?= aus =?UTF-8?Q?K=C3=B6ln?=")
    assert.strictEqual(encode("größer Wörter"), "=?UTF-8?Q?gr=C3=B6=C3=9Fer_W=C3=B6rter?=")
    assert.strictEqual(encode("日本語"), "=?UTF-8?B?5pel5pys6Kqe?=")
    assert.strictEqual(encode("grün", "Subject", true), "gr\xc3\xbcn")
    assert.strictEqual(encode("\ud800"), "=?UTF-8?B?77+9?=")
  })

  it("splits long text at characters, on lines of at most 76", () => {
    for (
      const text of ["ö".repeat(300), "日本語".repeat(100), "😀".repeat(100), "ö a ".repeat(200), "aö".repeat(200)]
    ) {
      const value = encode(text)
      assertSafe(value)
      assert.strictEqual(decode(value), text)
    }
  })

  it("encodes the display names of addresses, not the addresses", () => {
    const addresses = (value: string) => encode(value, "From")
    assert.strictEqual(
      addresses("Jörg Müller <joerg@example.org>"),
      "=?UTF-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg@example.org>"
    )
    assert.strictEqual(
      addresses("\"Müller, \\\"J\\\"\" <j@example.org>"),
      "=?UTF-8?Q?M=C3=BCller=2C_=22J=22?= <j@example.org>"
    )
    assert.strictEqual(addresses("Jörg<j@example.org>"), "=?UTF-8?Q?J=C3=B6rg?= <j@example.org>")
    assert.strictEqual(addresses("\"J.\n Ö\"ä <a@b>"), "=?UTF-8?Q?J=2E_=C3=96=C3=A4?= <a@b>")
    assert.strictEqual(addresses("a@b (Jörg M)"), "a@b (=?UTF-8?Q?J=C3=B6rg?= M)")
    assert.strictEqual(
      addresses("\"A. B.\" Ö <a@b>, Ä: c@d;"),
      "\"A. B.\" =?UTF-8?Q?=C3=96?= <a@b>, =?UTF-8?Q?=C3=84?= : c@d;"
    )
    assert.strictEqual(addresses("\"Smith, John\" <a@b>"), "\"Smith, John\" <a@b>")
    assert.match(message(Header.encodeValue("<jörg@example.org>", { ...plain, name: "To" })), /SMTPUTF8/)
    assert.match(message(Header.encodeValue("A <a@exämple.org>", { ...plain, name: "cc" })), /SMTPUTF8/)
    assert.match(message(Header.encodeValue("jörg@example.org", { ...plain, name: "Reply-To" })), /SMTPUTF8/)
    assert.match(message(Header.encodeValue("\"jörg m\"@example.org", { ...plain, name: "From" })), /SMTPUTF8/)
    assert.match(message(Header.encodeValue("\"jörg@home\"@example.org", { ...plain, name: "From" })), /SMTPUTF8/)
    assert.strictEqual(encode("\"jörg@home\" <a@example.org>", "From"), "=?UTF-8?Q?j=C3=B6rg=40home?= <a@example.org>")
    assert.strictEqual(encode("<jörg@example.org>", "To", true), "<j\xc3\xb6rg@example.org>")
    // In text it is text.
    assert.strictEqual(encode("<jörg@example.org>"), "=?UTF-8?Q?=3Cj=C3=B6rg=40example=2Eorg=3E?=")
  })

  it("folds lines that are too long for mail at white space, and no others", () => {
    const value = encode(Array.from({ length: 300 }, (_, index) => `word${index}`).join(" "))
    const lines = value.split("\n")
    assert.isAbove(lines.length, 10)
    for (const [index, line] of lines.entries()) assert.isAtMost(line.length + (index === 0 ? 9 : 0), 78)
    assert.strictEqual(Header.unfold(value).split(" ").length, 300)
    const short = `${"a ".repeat(490)}b`
    assert.strictEqual(encode(short), short)
    assert.include(encode(short, "X-A-Longer-Name2"), "\n")
    // One long line does not touch the others.
    assert.isTrue(
      encode(`${"a".repeat(500)} ${"b".repeat(400)}\n ${"c ".repeat(600)}`).startsWith(`${"a".repeat(500)} b`)
    )
    // White space alone stays, and makes no empty line.
    assert.strictEqual(encode(`a${" ".repeat(2000)}`), `a${" ".repeat(2000)}`)
  })

  it("sends no line of more than 998 characters", () => {
    const long = "x".repeat(2000)
    for (
      const [value, smtpUtf8] of [[long, false], [long, true], [`${long} y`, false], ["ö".repeat(600), true]] as const
    ) {
      const sent = encode(value, "Subject", smtpUtf8)
      assertSafe(sent)
      assert.strictEqual(decode(sent), value)
    }
    // With the name and the colon it is a line of 998.
    assert.strictEqual(encode("x".repeat(989)), "x".repeat(989))
    assert.match(encode("x".repeat(990)), /^=\?UTF-8\?Q\?x/)
    for (const name of ["From", "To", "Message-ID", "References", "DKIM-Signature", "Content-Type", "List-Id"]) {
      for (const smtpUtf8 of [false, true]) {
        const refused = Header.encodeValue(`a ${long}`, { smtpUtf8, leadingSpace: false, name })
        assert.match(message(refused), /words of at most 998 characters/, name)
      }
    }
    assert.include(encode("<a@example.org> ".repeat(100), "References"), "\n")
  })

  it("encodes what looks like an encoded word, where it is text", () => {
    const text = (value: string, name = "Subject", smtpUtf8 = false) =>
      Result.getOrThrow(
        Header.encodeValue(value, { smtpUtf8, leadingSpace: false, name, lookalikes: "encode" })
      ) as string
    for (const smtpUtf8 of [false, true]) {
      assert.strictEqual(text("a =?utf-8?q?b?= c", "Subject", smtpUtf8), "a =?UTF-8?Q?=3D=3Futf-8=3Fq=3Fb=3F=3D?= c")
      assert.strictEqual(
        text("\"=?utf-8?q?b?=\" <a@b>, =?UTF-8?Q?c?= <c@d>", "From", smtpUtf8),
        "=?UTF-8?Q?=3D=3Futf-8=3Fq=3Fb=3F=3D?= <a@b>, =?UTF-8?Q?c?= <c@d>"
      )
    }
    // Not next to one of the author's, without the space between them.
    assert.strictEqual(encode("=?UTF-8?Q?a?= ö =?UTF-8?Q?b?="), "=?UTF-8?Q?a?= =?UTF-8?Q?_=C3=B6_?= =?UTF-8?Q?b?=")
  })

  const Text = Schema.Array(
    Schema.Literals([
      "a",
      "bc",
      " ",
      "  ",
      "\t",
      "\n ",
      "\r\n\t",
      "ö",
      "日本",
      "😀",
      "(",
      ")",
      "\"",
      "<",
      ">",
      "@",
      ",",
      ";",
      "\\",
      "="
    ])
  )
  const fields = Schema.Literals(["Subject", "From", "X-Long-Header-Name-For-Its-Own-Sake-And-Then-Some"])
  it.prop("gives safe values that display the same text", [Text, Schema.Int], ([parts, repeat]) => {
    const text = parts.join("").repeat(1 + (Math.abs(repeat) % 7))
    const value = encode(text)
    assertSafe(value)
    assert.notMatch(value, /[^\0-\x7f]/)
    const normal = text.replace(/\r\n/g, "\n").replace(/\n[ \t]+(?=\n|$)/g, "")
    assert.strictEqual(decode(value), Header.unfold(normal))
    assert.strictEqual(encode(value), value)
  })

  it.prop("is safe in every field and mode", [Text, fields, Schema.Boolean, Schema.Boolean], (
    [parts, name, smtpUtf8, leadingSpace]
  ) => {
    const result = Header.encodeValue(parts.join(""), { name, smtpUtf8, leadingSpace })
    if (Result.isFailure(result)) return assert.strictEqual(name, "From")
    assert.notMatch(result.success, /\r|\0|\n(?![ \t])/)
    assert.notMatch(result.success, /[^\0-\xff]/)
    if (!smtpUtf8) {
      assert.notMatch(result.success, /[^\0-\x7f]/)
      for (const word of result.success.match(/=\?UTF-8\?[BQ]\?[^?]*\?=/g) ?? []) {
        assert.notMatch(decode(word), /[\r\n\0]/)
      }
    }
  })

  it.prop("never throws and never lets a line break through", [Schema.String], ([text]) => {
    const result = Header.encodeValue(text, plain)
    if (Result.isSuccess(result)) assert.notMatch(result.success, /\r|\0|\n(?![ \t])/)
  })
})

describe("checkRaw", () => {
  it("lets the bytes of a received field through as they are", () => {
    for (const raw of ["", " caf\u00e9", "tight", " one\n two\n\tthree"]) {
      assert.deepStrictEqual(Header.checkRaw(ByteString.make(raw)), Result.succeed(ByteString.make(raw)))
    }
  })

  it("refuses what would forge lines, cut the value or not fit", () => {
    for (const raw of ["a\rb", "a\r\n b", "a\nb", "a\n", "a\0b", "a".repeat(64_001)]) {
      assert.isTrue(Result.isFailure(Header.checkRaw(ByteString.make(raw))), raw.slice(0, 20))
    }
  })
})

describe("text from outside", () => {
  it("becomes one line", () => {
    assert.strictEqual(Header.sanitizeValue(" a\r\nBcc: b\0\t c "), "a Bcc: b c")
    assert.strictEqual(Header.sanitizeValue("ö".repeat(10), 3), "ööö")
    assert.strictEqual(Header.sanitizeValue("a😀", 2), "a")
    assert.strictEqual(Header.sanitizeValue("x".repeat(5000)).length, 900)
  })

  it.prop("is accepted then", [Schema.String, Schema.Int], ([text, maximum]) => {
    const clean = Header.sanitizeValue(text, maximum)
    assert.strictEqual(decode(encode(clean)).replace(/=\?.*\?=/g, ""), clean.replace(/=\?.*\?=/g, ""))
  })

  it("is unfolded", () => {
    assert.strictEqual(Header.unfold("one\n two\r\n\tthree\nfour"), "one two\tthree\nfour")
  })
})

describe("HeaderValue", () => {
  const read = (raw: string, leadingSpace: boolean) =>
    new Header.HeaderValue(ByteString.fromText("Subject"), raw as ByteString, leadingSpace)

  it("shows the same value whether the MTA kept the space or not", () => {
    for (
      const [without, withSpace, value] of [
        ["a", " a", "a"],
        [" b", "  b", " b"],
        ["\ttab", "\ttab", "\ttab"],
        ["", "", ""],
        ["no", "no", "no"]
      ] as const
    ) {
      assert.strictEqual(read(without, false).value, value)
      assert.strictEqual(read(withSpace, true).value, value)
      assert.strictEqual<string>(read(withSpace, true).bytes, value)
      assert.strictEqual<string>(read(withSpace, true).raw, withSpace)
    }
  })

  it("decodes UTF-8 and says where there is none", () => {
    const good = read(" gr\xc3\xbcn\n und blau", true)
    assert.strictEqual(good.name, "Subject")
    assert.strictEqual(good.value, "grün\n und blau")
    assert.strictEqual(good.unfolded, "grün und blau")
    assert.isTrue(good.wellFormed)
    assert.strictEqual(String(good), "Subject: grün\n und blau")
    const bad = read("caf\xe9 \xff", false)
    assert.strictEqual(bad.value, "caf\ufffd \ufffd")
    assert.isFalse(bad.wellFormed)
  })

  it.prop("goes back as it came", [Schema.String.check(Schema.isPattern(/^[!-~]?[ -~]*$/)), Schema.Boolean], (
    [text, leadingSpace]
  ) => {
    const wire = Result.getOrThrow(Header.encodeValue(text, { smtpUtf8: false, leadingSpace }))
    assert.strictEqual(read(wire, leadingSpace).value, text)
  })
})
