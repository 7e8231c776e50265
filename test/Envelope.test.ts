/** Envelope: mailboxes, domain names and parameters of MAIL and RCPT. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { domainToASCII, domainToUnicode } from "node:url"
import * as Envelope from "../src/Envelope.ts"
import { type InvalidValue } from "../src/InvalidValue.ts"
import { ByteString } from "../src/Wire.ts"
import { assertLinear } from "./support/growth.ts"

const mailbox = (raw: string) => new Envelope.Mailbox(raw as ByteString)
const parameters = (...raw: ReadonlyArray<string>) => new Envelope.Parameters(raw as ReadonlyArray<ByteString>)
const success = (result: Result.Result<ByteString, InvalidValue>): string => Result.getOrThrow(result)
const message = (result: Result.Result<unknown, InvalidValue>): string => {
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure.message : ""
}

describe("Mailbox", () => {
  it.each([
    // What real MTAs have sent.
    ["<alice@example.org>", "alice@example.org", "alice", "example.org", true],
    ["bob@test.example", "bob@test.example", "bob", "test.example", true],
    ["\"bob smith\"@test.example", "\"bob smith\"@test.example", "\"bob smith\"", "test.example", true],
    ["<@a.example,@b.example:bob@test.example>", "bob@test.example", "bob", "test.example", true],
    ["<\"bob, smith\"@Test.EXAMPLE>", "\"bob, smith\"@Test.EXAMPLE", "\"bob, smith\"", "test.example", true],
    ["<Bob@test.example.>", "Bob@test.example.", "Bob", "test.example", true],
    ["<postmaster>", "postmaster", "postmaster", "", true],
    ["<a@b@c>", "a@b@c", "a@b", "c", false],
    ["<\"a\"@b@c>", "\"a\"@b@c", "\"a\"@b", "c", false],
    ["<a@.b>", "a@.b", "a", ".b", false],
    ["<a@b.c..>", "a@b.c..", "a", "b.c.", false],
    ["<a@b..c>", "a@b..c", "a", "b..c", false],
    ["<a@.>", "a@.", "a", "", false],
    ["<a@b[c>", "a@b[c", "a", "b[c", false],
    ["<a[b@c>", "a[b@c", "a[b", "c", false],
    ["<a@b!c>", "a@b!c", "a", "b!c", false],
    ["<a@[192.0.2.1]x>", "a@[192.0.2.1]x", "a", "[192.0.2.1]x", false],
    ["<a..b.@my_host.example>", "a..b.@my_host.example", "a..b.", "my_host.example", true],
    ["<j\xc3\xb6rg@ex\xc3\xa4mple.org>", "jörg@exämple.org", "jörg", "exämple.org", true],
    ["<j\xf6rg@example.org>", "j\ufffdrg@example.org", "j\ufffdrg", "example.org", false],
    // Corners.
    ["<\"a@b\"@c>", "\"a@b\"@c", "\"a@b\"", "c", true],
    ["<\"a@b\">", "\"a@b\"", "\"a@b\"", "", true],
    ["<\"a\\\"@b\"@c>", "\"a\\\"@b\"@c", "\"a\\\"@b\"", "c", true],
    ["<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "a", "[ipv6:2001:db8::1]", true],
    ["<a@[192.0.2.1]>", "a@[192.0.2.1]", "a", "[192.0.2.1]", true],
    ["<@[IPv6:::1]:a@b>", "a@b", "a", "b", true],
    ["<@a:@b:c@d>", "c@d", "c", "d", true],
    ["<A@XN--EXMPLE-CUA.ORG>", "A@XN--EXMPLE-CUA.ORG", "A", "xn--exmple-cua.org", true],
    ["<a@\xc3\x84.example>", "a@Ä.example", "a", "ä.example", true],
    // Not addresses.
    ["<a@b", "<a@b", "<a", "b", false],
    ["a@b>", "a@b>", "a", "b>", false],
    ["<<a@b>>", "<a@b>", "<a", "b>", false],
    ["<a b@c>", "a b@c", "a b", "c", false],
    ["<@c>", "@c", "", "c", false],
    ["<a@>", "a@", "a", "", false],
    ["<\"a@b>", "\"a@b", "\"a", "b", false],
    ["<a\nb@c>", "a\nb@c", "a\nb", "c", false],
    ["<@a:>", "", "", "", false],
    ["<", "<", "<", "", false]
  ])("reads %j", (raw, address, localPart, domain, wellFormed) => {
    const read = mailbox(raw)
    assert.deepStrictEqual(
      [read.address, read.localPart, read.domain, read.wellFormed, read.isNull, read.raw as string],
      [address, localPart, domain, wellFormed, false, raw]
    )
    assert.strictEqual(String(read), address)
  })

  it("knows both spellings of the null sender", () => {
    for (const raw of ["<>", ""]) {
      const read = mailbox(raw)
      assert.isTrue(read.isNull)
      assert.isTrue(read.wellFormed)
      assert.deepStrictEqual([read.address, read.localPart, read.domain], ["", "", ""])
    }
    assert.strictEqual(JSON.stringify({ sender: mailbox("<a@b>") }), "{\"sender\":\"a@b\"}")
  })

  it.each([
    ["alice@example.org", "alice"],
    ["\"alice\"@example.org", "alice"],
    ["\"bob smith\"@example.org", "bob smith"],
    ["\"a\\\"b\\\\c@d\"@example.org", "a\"b\\c@d"],
    ["\"@example.org", "\""],
    ["\"\"@example.org", ""],
    ["<>", ""]
  ])("takes the quotes from %j", (address, unquoted) => {
    assert.strictEqual(Envelope.Mailbox.fromText(address).unquotedLocalPart, unquoted)
  })

  it.each([
    ["a@Example.ORG", "example.org", "example.org"],
    ["a@EXÄMPLE.org.", "xn--exmple-cua.org", "exämple.org"],
    ["a@XN--EXMPLE-CUA.org", "xn--exmple-cua.org", "exämple.org"],
    ["a@faß.de", "xn--fa-hia.de", "faß.de"],
    ["a@例え.テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"],
    ["a@Bücher.例え.example", "xn--bcher-kva.xn--r8jz45g.example", "bücher.例え.example"],
    ["a@مثال.إختبار", "xn--mgbh0fb.xn--kgbechtv", "مثال.إختبار"],
    ["a@💩.la", "xn--ls8h.la", "💩.la"],
    // A full stop outside ASCII.
    ["a@example\u3002org", "example.org", "example.org"],
    ["a@e\u0308xample.org", "xn--xample-ova.org", "ëxample.org"],
    // What is left alone.
    ["a@under_score.example", "under_score.example", "under_score.example"],
    ["a@xn--a.example", "xn--a.example", "xn--a.example"],
    // Says in punycode what no IDNA encoder says: "A", and "example".
    ["a@xn--A-.example", "xn--a-.example", "xn--a-.example"],
    ["a@xn--example-.org", "xn--example-.org", "xn--example-.org"],
    ["a@xn--.example", "xn--.example", "xn--.example"],
    ["a@xn---.example", "xn---.example", "xn---.example"],
    ["a@[192.0.2.1]", "[192.0.2.1]", "[192.0.2.1]"],
    ["a@[IPv6:::1]", "[ipv6:::1]", "[ipv6:::1]"],
    ["a@１.2.3", "１.2.3", "１.2.3"],
    ["a@ä%41", "ä%41", "ä%41"],
    ["a@ä:80", "ä:80", "ä:80"],
    ["a@ä/x", "ä/x", "ä/x"],
    ["a@ä@b", "b", "b"],
    ["a@ä\\b", "ä\\b", "ä\\b"],
    ["a@ä b", "ä b", "ä b"],
    ["a@ä\ufffd", "ä\ufffd", "ä\ufffd"],
    ["a@１２７.1", "１２７.1", "１２７.1"],
    ["postmaster", "", ""],
    ["<>", "", ""]
  ])("has the domain of %j in both forms", (address, ascii, unicode) => {
    const { domainAscii, domainUnicode } = Envelope.Mailbox.fromText(address)
    assert.deepStrictEqual([domainAscii, domainUnicode], [ascii, unicode])
  })

  it.prop("agrees with Node about IDNA", [Schema.Array(Schema.Literals([
    "a",
    "b",
    "-",
    ".",
    "ä",
    "ß",
    "ё",
    "例",
    "é",
    "e\u0301",
    "م",
    "𝒳",
    "1",
    "xn--",
    "\u200d",
    "\u3002",
    "İ"
  ]))], ([parts]) => {
    const { domain, domainAscii, domainUnicode } = Envelope.Mailbox.fromText(`x@${parts.join("")}`)
    const theirs = domainToASCII(domain)
    // Where they do not take it, or take it for an address, or all is ASCII, it stays as it is.
    if (theirs === "" || /^[\0-\x7f]*$/.test(domain) || /(?:^|\.)\d+\.?$/.test(theirs)) {
      assert.strictEqual(domainAscii, domain)
    } else {
      const ascii = theirs.replace(/\.$/, "")
      assert.strictEqual(domainAscii, ascii)
      // "1.." is a domain for Node, and its "1." an address.
      if (!/(?:^|\.)\d+\.$/.test(ascii)) assert.strictEqual(domainUnicode, domainToUnicode(ascii))
    }
  })

  it("reads address literals", () => {
    const literal = (address: string) => Envelope.Mailbox.fromText(address).literal
    assert.isTrue(literal("a@[192.0.2.1]")?.isWithin("192.0.2.0/24"))
    assert.strictEqual(String(literal("a@[IPv6:2001:DB8:0::1]")), "2001:db8::1")
    for (const none of ["a@192.0.2.1", "a@[example.org]", "a@[]", "a", "<>"]) assert.isUndefined(literal(none), none)
  })

  it.prop("puts the parts together again", [Schema.String], ([text]) => {
    const { address, domain, localPart } = new Envelope.Mailbox(ByteString.fromText(text))
    if (domain === "") assert.isTrue(address.startsWith(localPart))
    else {
      const host = address.slice(localPart.length + 1).toLowerCase()
      assert.isTrue(address[localPart.length] === "@" && (host === domain || host === `${domain}.`))
    }
  })

  it("is not slow on hostile input", () => {
    for (const part of ["@a,", "@", "\"", "\\", "[", "@[", "<", ":"]) {
      assertLinear(2000, (size) => `<${part.repeat(size)}>`, (address) => void mailbox(address).domain)
    }
  })
})

describe("sameAddress", () => {
  const { sameAddress } = Envelope

  it("looks through brackets, routes, quotes, case and encoding of the domain", () => {
    for (
      const [one, other] of [
        ["bob@example.org", "<bob@Example.ORG.>"],
        ["bob@example.org", "<@relay.example:bob@example.org>"],
        ["bob@example.org", "\"bob\"@example.org"],
        ["\"b ob\"@example.org", "\"b\\ ob\"@example.org"],
        ["jörg@exämple.org", "jörg@xn--exmple-cua.org"],
        ["jörg@exämple.org", "jörg@EXÄMPLE.org"],
        ["", "<>"]
      ] as const
    ) {
      assert.isTrue(sameAddress(one, other), `${one} ${other}`)
      assert.isTrue(sameAddress(Envelope.Mailbox.fromText(other), one), `${other} ${one}`)
    }
  })

  it("takes the local part exactly", () => {
    for (
      const [one, other] of [
        ["bob@example.org", "Bob@example.org"],
        ["bob@example.org", "bob+x@example.org"],
        ["bob@example.org", "bob@example.com"],
        ["bob", "bob@example.org"],
        ["<>", "postmaster"]
      ] as const
    ) assert.isFalse(sameAddress(one, other), `${one} ${other}`)
  })
})

describe("Parameters", () => {
  it("finds values by keyword", () => {
    const read = parameters("SIZE=1000", "body=8bitmime", "SMTPUTF8", "AUTH=a=b", "X=")
    assert.strictEqual(read.get("SIZE"), "1000")
    assert.strictEqual(read.get("size"), "1000")
    assert.strictEqual(read.get("Body"), "8bitmime")
    assert.strictEqual(read.get("SMTPUTF8"), "")
    assert.strictEqual(read.get("AUTH"), "a=b")
    assert.strictEqual(read.get("X"), "")
    assert.isUndefined(read.get("SIZ"))
    assert.isUndefined(read.get("SIZE="))
    assert.isTrue(read.has("smtputf8"))
    assert.isFalse(read.has("RET"))
    assert.strictEqual(read.size, 1000)
    assert.strictEqual(read.body, "8BITMIME")
    assert.isTrue(read.smtpUtf8)
    assert.strictEqual(String(read), "SIZE=1000 body=8bitmime SMTPUTF8 AUTH=a=b X=")
    assert.strictEqual(JSON.stringify(parameters("A", "B=1")), "[\"A\",\"B=1\"]")
  })

  it("takes the last of two", () => {
    assert.strictEqual(parameters("SIZE=1", "SIZE=2").size, 2)
  })

  it("has nothing to tell without parameters", () => {
    const read = parameters()
    assert.deepStrictEqual(
      [read.size, read.body, read.smtpUtf8, read.auth, read.ret, read.envid, read.notify, read.orcpt],
      [undefined, undefined, false, undefined, undefined, undefined, undefined, undefined]
    )
  })

  it("decodes what the RFCs encode", () => {
    assert.isTrue(parameters("AUTH=<>").auth?.isNull)
    assert.strictEqual(parameters("AUTH=e+3Dmc2@example.com").auth?.address, "e=mc2@example.com")
    assert.strictEqual(parameters("AUTH=+22a+20b+22@example.com").auth?.unquotedLocalPart, "a b")
    assert.strictEqual(parameters("ENVID=QQ+2B314+20159").envid, "QQ+314 159")
    assert.strictEqual(parameters("ENVID=+C3+B8+2b").envid, "ø+")
    assert.strictEqual(parameters("RET=hdrs").ret, "HDRS")
    assert.isUndefined(parameters("RET=SOME").ret)
    assert.deepStrictEqual(parameters("NOTIFY=SUCCESS,failure").notify, ["SUCCESS", "FAILURE"])
    assert.deepStrictEqual(parameters("NOTIFY=never").notify, ["NEVER"])
    assert.deepStrictEqual(parameters("ORCPT=RFC822;b+2Bx@lab.example").orcpt, {
      type: "rfc822",
      address: "b+x@lab.example"
    })
    assert.deepStrictEqual(parameters("ORCPT=UTF-8;j\\x{F8}rn+2Bx@x.example").orcpt, {
      type: "utf-8",
      address: "jørn+2Bx@x.example"
    })
    assert.deepStrictEqual(parameters("ORCPT=utf-8;j\xc3\xb8rn\\x{1F4E7}@x.example").orcpt?.address, "jørn📧@x.example")
  })

  it.each(
    [
      ["AUTH=", "auth"],
      ["AUTH=a+3@b", "auth"],
      ["AUTH=a+0Ab@c", "auth"],
      ["AUTH=+C2+85@c", "auth"],
      ["ENVID=", "envid"],
      ["ENVID=+", "envid"],
      ["ENVID=a+G0", "envid"],
      ["ENVID=a+00b", "envid"],
      ["ENVID=a+0D+0Ab", "envid"],
      ["BODY=9BIT", "body"],
      ["BODY", "body"],
      ["RET=", "ret"],
      ["NOTIFY=", "notify"],
      ["NOTIFY=SUCCESS,", "notify"],
      ["NOTIFY=SOON", "notify"],
      ["NOTIFY=NEVER,SUCCESS", "notify"],
      ["ORCPT=", "orcpt"],
      ["ORCPT=junk", "orcpt"],
      ["ORCPT=;a@b", "orcpt"],
      ["ORCPT=rfc822;", "orcpt"],
      ["ORCPT=rfc 822;a@b", "orcpt"],
      ["ORCPT=rfc822;a+@b", "orcpt"],
      ["ORCPT=rfc822;a+0Db", "orcpt"],
      ["ORCPT=utf-8;a\\x{110000}", "orcpt"],
      ["ORCPT=utf-8;a\\x{D800}", "orcpt"],
      ["ORCPT=utf-8;a\\y", "orcpt"],
      ["ORCPT=utf-8;a\\x{0A}", "orcpt"]
    ] as const
  )("shows %j only as it came", (parameter, property) => {
    const read = parameters(parameter)
    assert.isUndefined(read[property])
    assert.strictEqual(read.get(property), parameter.slice(property.length + 1))
  })

  it("reads what it has no property for", () => {
    assert.strictEqual(parameters("MT-PRIORITY=3").get("mt-priority"), "3")
    assert.isTrue(parameters("REQUIRETLS").has("REQUIRETLS"))
  })

  it("ignores sizes that are no numbers", () => {
    for (const size of ["", "-1", "1e3", "0x10", "1".repeat(21)]) assert.isUndefined(parameters(`SIZE=${size}`).size)
  })

  it.prop("reads back what encodeXtext made", [Schema.String.check(Schema.isPattern(/^\P{Cs}*$/u))], ([text]) => {
    const encoded = Envelope.encodeXtext(text)
    assert.match(encoded, /^[!-~]*$/)
    assert.notInclude(encoded, "=")
    const readable = text !== "" && !/[\0-\x1f\x7f-\x9f]/.test(text)
    assert.strictEqual(parameters(`ENVID=${encoded}`).envid, readable ? text : undefined)
  })

  it.prop(
    "never throws",
    [Schema.Array(
      Schema.Literals(["+", "2B", "\\x{", "F8", "}", ";", "utf-8", ",", "NEVER", "\0", "\xff", "=", "<>"])
    )],
    ([parts]) => {
      for (const name of ["SIZE", "BODY", "AUTH", "RET", "ENVID", "NOTIFY", "ORCPT"]) {
        const value = parts.join("")
        const { auth, body, envid, notify, orcpt, ret, size } = parameters(`${name}=${value}`)
        void [auth?.domainAscii, body, envid, notify, orcpt, ret, size]
        assert.strictEqual(parameters(`${name}=${value}`).get(name), ByteString.toText(value as ByteString))
      }
    }
  )
})

describe("checkAddress", () => {
  const ascii = { smtpUtf8: false }
  it("puts brackets around", () => {
    assert.strictEqual(success(Envelope.checkAddress("a@b", ascii)), "<a@b>")
    assert.strictEqual(success(Envelope.checkAddress("<a@b>", ascii)), "<a@b>")
    assert.strictEqual(success(Envelope.checkAddress("postmaster", ascii)), "<postmaster>")
    assert.strictEqual(success(Envelope.checkAddress("\"a, b <c> (d)\"@e", ascii)), "<\"a, b <c> (d)\"@e>")
    assert.strictEqual(success(Envelope.checkAddress("a@[IPv6:2001:db8::1]", ascii)), "<a@[IPv6:2001:db8::1]>")
  })

  it.each([
    "a@b\r\nRCPT TO:<c@d>",
    "a@b\0",
    "a@b, c@d",
    "a@b,c@d",
    "a@b c@d",
    "<a@b>,<c@d>",
    "<a@b> <c@d>",
    "a<b>@c",
    "a@b;",
    "list:a@b;",
    "@a:b@c",
    "a@b (comment)",
    "a\\,b@c",
    "a\\\"b,c\"@d",
    "\"a",
    "\"a\\\r\"@b",
    "a@[b,c]",
    "a@b@c",
    "\"a\"@b@c",
    "a@.b",
    "a@b..c",
    "a@b.c..",
    "a@[::1",
    "@b",
    "a@",
    "a\tb@c",
    "a\x7f@b",
    "a\x85b@c",
    `${"a".repeat(1000)}@b`
  ])("refuses %j", (address) => {
    assert.match(message(Envelope.checkAddress(address, ascii)), /^Invalid address /)
  })

  it("takes text outside ASCII in SMTPUTF8 messages only", () => {
    assert.match(message(Envelope.checkAddress("jörg@example.org", ascii)), /SMTPUTF8/)
    assert.strictEqual(
      success(Envelope.checkAddress("jörg@example.org", { smtpUtf8: true })),
      "<j\xc3\xb6rg@example.org>"
    )
    assert.match(message(Envelope.checkAddress("ö,ä@example.org", { smtpUtf8: true })), /"," outside quotes/)
  })

  it("takes the null sender only where it may stand", () => {
    for (const address of ["", "<>"]) {
      assert.match(message(Envelope.checkAddress(address, ascii)), /null sender/)
      assert.strictEqual(success(Envelope.checkAddress(address, { smtpUtf8: false, allowNull: true })), "<>")
    }
  })

  const Parts = Schema.Array(
    Schema.Literals([
      "a",
      "@",
      "b.example",
      "\"",
      "\\",
      ",",
      " ",
      "<",
      ">",
      "\r",
      "\n",
      "\0",
      ":",
      ";",
      "(",
      "[",
      "]",
      "ö"
    ])
  )
  it.prop("gives one address that reads back the same", [Parts, Schema.Boolean], ([parts, smtpUtf8]) => {
    const address = parts.join("")
    const result = Envelope.checkAddress(address, { smtpUtf8 })
    if (Result.isFailure(result)) return
    const read = new Envelope.Mailbox(result.success)
    assert.isTrue(read.wellFormed)
    assert.isFalse(read.isNull)
    assert.strictEqual(`<${read.address}>`, ByteString.toText(result.success))
    // No line break anywhere, no comma outside quotes and brackets.
    assert.notMatch(result.success, /[\0-\x1f]/)
    assert.notMatch(result.success.replace(/"(?:[^"\\]|\\.)*"/g, ""), /[, ]|.<|>./)
  })
})

describe("checkParameters", () => {
  it("takes a string or a record", () => {
    assert.strictEqual(success(Envelope.checkParameters("NOTIFY=NEVER  RET=HDRS ")), "NOTIFY=NEVER RET=HDRS")
    assert.strictEqual(
      success(Envelope.checkParameters({ NOTIFY: "SUCCESS,DELAY", SMTPUTF8: true })),
      "NOTIFY=SUCCESS,DELAY SMTPUTF8"
    )
    assert.strictEqual(success(Envelope.checkParameters("AUTH=a=b")), "AUTH=a=b")
    assert.strictEqual(success(Envelope.checkParameters("")), "")
    assert.strictEqual(success(Envelope.checkParameters({})), "")
  })

  it.each(["=x", "A=", "A=\r\nB", "A=1\tB=2", "A B=ü", "-A=1", "A_B=1", "A\0=1"])("refuses %j", (text) => {
    assert.match(message(Envelope.checkParameters(text)), /^Invalid ESMTP parameter /)
  })

  it("lets no value of a record become a second parameter", () => {
    assert.match(message(Envelope.checkParameters({ ENVID: "a RET=FULL" })), /without space/)
    assert.match(message(Envelope.checkParameters({ "A B": "x" })), /keyword/)
    assert.match(message(Envelope.checkParameters({ "A=B": "x y" })), /without space/)
  })
})

describe("reasons", () => {
  it("are text without control characters", () => {
    assert.strictEqual(success(Envelope.checkReason("virus: größe")), "virus: gr\xc3\xb6\xc3\x9fe")
    for (const reason of ["", "a\nb", "a\0", "x".repeat(1001)]) {
      assert.match(message(Envelope.checkReason(reason)), /^Invalid quarantine reason/)
    }
  })

  it("are made from any text", () => {
    assert.strictEqual(Envelope.sanitizeReason(" a\r\n b\0c "), "a b c")
    assert.strictEqual(Envelope.sanitizeReason("\r\n"), "quarantined")
    assert.strictEqual(Envelope.sanitizeReason("ö".repeat(60)), "ö".repeat(50))
  })

  it.prop("fit into 100 bytes then", [Schema.String], ([text]) => {
    const reason = Envelope.sanitizeReason(text)
    assert.isAtMost(success(Envelope.checkReason(reason)).length, 100)
  })
})
