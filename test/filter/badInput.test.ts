/**
 * Values that would break out of their place are refused where an author writes them, by an error that shows them; the
 * table of docs/filters/values.md.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ClientAddress from "effect-milter/ClientAddress"
import * as Envelope from "effect-milter/Envelope"
import * as Header from "effect-milter/Header"
import { InvalidValue, show } from "effect-milter/InvalidValue"
import * as Milter from "effect-milter/Milter"
import * as Modification from "effect-milter/Modification"
import * as Reply from "effect-milter/Reply"
import * as Verdict from "effect-milter/Verdict"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const encoding = { leadingSpace: false, smtpUtf8: false }
const edit = (modification: Modification.Modification) =>
  Result.getOrThrow(Modification.toPacket(modification, encoding))

const places: { readonly [place: string]: (value: string) => unknown } = {
  "header name": (name) => edit({ _tag: "AddHeader", name, value: "x" }),
  "name of a header to change": (name) => edit({ _tag: "ChangeHeader", name, occurrence: 1, value: "x" }),
  "name of a header to delete": (name) => edit({ _tag: "DeleteHeader", name, occurrence: 1 }),
  "header value": (value) => edit({ _tag: "AddHeader", name: "X", value }),
  "value of a header to insert": (value) => edit({ _tag: "InsertHeader", index: 1, name: "X", value }),
  "value of a header of addresses": (value) => edit({ _tag: "ChangeHeader", name: "To", occurrence: 1, value }),
  "recipient": (address) => edit({ _tag: "AddRecipient", address }),
  "recipient to delete": (address) => edit({ _tag: "DeleteRecipient", address }),
  "sender": (address) => edit({ _tag: "ChangeSender", address, parameters: undefined }),
  "ESMTP parameters": (parameters) =>
    edit({ _tag: "AddRecipientWithParameters", address: "a@example.org", parameters }),
  "ESMTP parameters of the sender": (parameters) => edit({ _tag: "ChangeSender", address: "", parameters }),
  "quarantine reason": (reason) => edit({ _tag: "Quarantine", reason }),
  "reply text": (text) => Verdict.reject({ text }),
  "reply text for now": (text) => Verdict.tempFail({ text: ["fine", text] }),
  // The types refuse most of these; JavaScript and casts do not.
  "reply code": (code) => Verdict.reject({ code: code as "550", text: "x" }),
  "enhanced status code": (enhanced) => Verdict.tempFail({ enhanced: enhanced as "4.7.1", text: "x" }),
  "macro name": (name) => Milter.make("x", { macros: { mail: ["i", name] } }).on({}),
  "network": (cidr) => ClientAddress.unknown.isWithin(cidr)
}

const injection = "yes\r\nBcc: <everybody@example.org>"

const bad: { readonly [place: string]: ReadonlyArray<string> } = {
  "header name": ["", "X-A:", "X A", "X\r\nBcc", "X\0", "X\n", "Größe", "x".repeat(998)],
  "name of a header to change": ["", injection],
  "name of a header to delete": ["", injection],
  "header value": [injection, "a\nb", "a\rb", "a\0b", "a\r", "a\n", "x".repeat(64_001)],
  "value of a header to insert": [injection, "a\0b"],
  "value of a header of addresses": [injection, "a\0b", "jörg@example.org"],
  "recipient": [
    "",
    "<>",
    "a@b\r\nRCPT TO:<c@d>",
    "a\0@b",
    "a\x1b[2J@b",
    "a\x85@b",
    "a@b, c@d",
    "a@b c@d",
    "\"a@b",
    "@b",
    "a@",
    "jörg@b",
    `${"a".repeat(1000)}@b`
  ],
  "recipient to delete": ["a\r\n@b", "a\0@b", "a@b,c@d"],
  "sender": ["a\r\n@b", "a\0@b", "a@b,c@d", "jörg@b"],
  "ESMTP parameters": ["NOTIFY=", "=x", "NOTIFY=NEVER\r\nDATA", "NOTIFY=\0", "ORCPT=rfc822;jörg", "A_B=x"],
  "ESMTP parameters of the sender": ["RET=\r\n", "x\0"],
  "quarantine reason": ["", "a\r\nb", "a\0b", "\x1b[2J", "x".repeat(1001)],
  "reply text": [
    "a\r\n250 fine",
    "a\nb",
    "a\0b",
    "größe",
    "x".repeat(981),
    `${"x".repeat(400)} `.repeat(33)
  ],
  "reply text for now": ["a\r\n250 fine", "a\0b"],
  "reply code": ["450", "250", "55", "5500", "560", "5.5", "5x0", "550\r\n"],
  "enhanced status code": ["5.7.1", "2.0.0", "4.7", "4.7.1.1", "4.07.1", "4.7.1000", "4.7.1 x\r\n"],
  "macro name": ["", "a b", "a,b", "a\0", "a\r\nb", "{a", "größe"],
  "network": ["", "10.0.0.0/33", "10.1.2.3/8", "::1/129", "example.org/8", "10.0.0.0/8\0"]
}

describe("a bad value", () => {
  for (const [place, values] of Object.entries(bad)) {
    it.each(values.map((value) => [show(value.slice(0, 60)), value] as const))(`as ${place}: %s`, (_, value) => {
      let thrown: unknown
      try {
        places[place]!(value)
      } catch (error) {
        thrown = error
      }
      assert.instanceOf(thrown, InvalidValue)
      if (!(thrown instanceof InvalidValue)) return
      assert.notMatch(thrown.message, /[\0-\x1f\x7f-\x9f]/)
      assert.include(thrown.message, show(thrown.value))
      // The value itself; of several parameters the bad one; of a text that is too long the lines it makes.
      assert.include(value, thrown.value.replaceAll("\n", value.includes("\n") ? "\n" : " "))
    })
  }

  it("has a place in the table for each of them", () => {
    assert.deepStrictEqual(Object.keys(bad), Object.keys(places))
  })
})

describe("text from outside", () => {
  const options = { smtpUtf8: false, leadingSpace: false, name: "From" }
  const accepts = (result: Result.Result<unknown, InvalidValue>) => assert.isTrue(Result.isSuccess(result))

  it.prop("fits once it is sanitized", [Schema.String, Schema.Int], ([text, maximum]) => {
    accepts(Header.encodeValue(Header.sanitizeValue(text, maximum), { ...options, name: "X" }))
    accepts(Header.encodeValue(`${Header.sanitizeDisplayName(text, maximum)} <a@example.org>`, options))
    accepts(Envelope.checkReason(Envelope.sanitizeReason(text)))
    accepts(Reply.render({ text: Reply.sanitize(text, maximum) }, "5"))
  })

  it("cannot get out of the name of an address", () => {
    const from = (name: string) => `${Header.sanitizeDisplayName(name)} <lists@example.org>`
    assert.strictEqual(from("Bob Smith"), "\"Bob Smith\" <lists@example.org>")
    assert.strictEqual(from("Eve\" <eve@x>, \"Bob"), "\"Eve\\\" <eve@x>, \\\"Bob\" <lists@example.org>")
    assert.strictEqual(from("Eve\\"), "\"Eve\\\\\" <lists@example.org>")
    assert.strictEqual(from("Eve\r\nBcc: all"), "\"Eve Bcc: all\" <lists@example.org>")
    assert.strictEqual(from(" \0 "), " <lists@example.org>")
    assert.strictEqual(
      Result.getOrThrow(Header.encodeValue(from("Jörg, <x@y>"), options)),
      "=?UTF-8?Q?J=C3=B6rg=2C_=3Cx=40y=3E?= <lists@example.org>"
    )
    assert.strictEqual(Header.sanitizeDisplayName("x".repeat(500)).length, 102)
  })
})
