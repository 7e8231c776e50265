import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Envelope from "../src/Envelope.ts"
import { type InvalidValue } from "../src/InvalidValue.ts"
import { ByteString } from "../src/Wire.ts"

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
    ["<a@b@c>", "a@b@c", "a@b", "c", true],
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

  it.prop("puts the parts together again", [Schema.String], ([text]) => {
    const { address, domain, localPart } = new Envelope.Mailbox(ByteString.fromText(text))
    if (domain === "") assert.isTrue(address.startsWith(localPart))
    else {
      const host = address.slice(localPart.length + 1).toLowerCase()
      assert.isTrue(address[localPart.length] === "@" && (host === domain || host === `${domain}.`))
    }
  })

  it("is not slow on hostile input", () => {
    const started = performance.now()
    for (const part of ["@a,", "@", "\"", "\\", "[", "@[", "<", ":"]) {
      void mailbox(`<${part.repeat(60_000 / part.length)}>`).domain
    }
    assert.isBelow(performance.now() - started, 1000)
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
    assert.strictEqual(parameters("AUTH=<>").auth, "<>")
    assert.strictEqual(parameters("AUTH=e+3Dmc2@example.com").auth, "e=mc2@example.com")
    assert.strictEqual(parameters("ENVID=QQ+2B314+20159").envid, "QQ+314 159")
    assert.strictEqual(parameters("ENVID=+C3+B8+").envid, "ø+")
    assert.strictEqual(parameters("RET=hdrs").ret, "HDRS")
    assert.isUndefined(parameters("RET=SOME").ret)
    assert.deepStrictEqual(parameters("NOTIFY=SUCCESS,failure,X").notify, ["SUCCESS", "FAILURE"])
    assert.deepStrictEqual(parameters("ORCPT=RFC822;b+2Bx@lab.example").orcpt, {
      type: "rfc822",
      address: "b+x@lab.example"
    })
    assert.deepStrictEqual(parameters("ORCPT=utf-8;j\\x{F8}rn\\x{110000}@x.example").orcpt, {
      type: "utf-8",
      address: "jørn\\x{110000}@x.example"
    })
    assert.isUndefined(parameters("ORCPT=junk").orcpt)
  })

  it("ignores sizes that are no numbers", () => {
    for (const size of ["", "-1", "1e3", "0x10", "1".repeat(21)]) assert.isUndefined(parameters(`SIZE=${size}`).size)
  })

  it.prop("reads back what encodeXtext made", [Schema.String.check(Schema.isPattern(/^\P{Cs}*$/u))], ([text]) => {
    const encoded = Envelope.encodeXtext(text)
    assert.match(encoded, /^[!-~]*$/)
    assert.notInclude(encoded, "=")
    assert.strictEqual(parameters(`ENVID=${encoded}`).envid, text)
  })
})

describe("checkAddress", () => {
  const ascii = { smtpUtf8: false }
  it("puts brackets around", () => {
    assert.strictEqual(success(Envelope.checkAddress("a@b", ascii)), "<a@b>")
    assert.strictEqual(success(Envelope.checkAddress("<a@b>", ascii)), "<a@b>")
    assert.strictEqual(success(Envelope.checkAddress("postmaster", ascii)), "<postmaster>")
    assert.strictEqual(success(Envelope.checkAddress("\"a, b <c> (d)\"@e", ascii)), "<\"a, b <c> (d)\"@e>")
    assert.strictEqual(success(Envelope.checkAddress("a@[IPv6:2001:db8::1]", ascii)), "<a@[IPv6:2001:db8::1]>")
    assert.strictEqual(success(Envelope.checkAddress("a@b@c", ascii)), "<a@b@c>")
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
    "a@[::1",
    "@b",
    "a@",
    "a\tb@c",
    "a\x7f@b",
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
