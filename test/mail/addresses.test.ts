/** The reader of RFC 5322 addresses: the RFC's own examples, tables of cases, and that it is linear. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Header from "../../src/Header.ts"
import * as addresses from "../../src/internal/mail/addresses.ts"
import * as Message from "../../src/Message.ts"
import { ByteString } from "../../src/Wire.ts"
import { assertLinear } from "../support/growth.ts"

const one = (address: string, name = "") => ({ name, address })
const group = (name: string, ...members: ReadonlyArray<Message.Address>) => ({ name, members })

const read = (text: string) => addresses.read(ByteString.fromText(text))

/** What the strict reading finds, or why it does not. */
const parse = (text: string): ReadonlyArray<Message.Address | Message.Group> | string => {
  const plain = ({ address, name }: Message.Address) => ({ name, address })
  const found = addresses.parse(ByteString.fromText(text))
  return Result.isFailure(found)
    ? found.failure
    : found.success.map((entry) =>
      "members" in entry ? { name: entry.name, members: entry.members.map(plain) } : plain(entry)
    )
}

describe("what RFC 5322 allows", () => {
  for (
    const [where, text, expected] of [
      ["A.1.1 From", "John Doe <jdoe@machine.example>", [one("jdoe@machine.example", "John Doe")]],
      ["A.1.1 Sender", "Michael Jones <mjones@machine.example>", [one("mjones@machine.example", "Michael Jones")]],
      ["A.1.1 To", "Mary Smith <mary@example.net>", [one("mary@example.net", "Mary Smith")]],
      [
        "A.1.2 From",
        "\"Joe Q. Public\" <john.q.public@example.com>",
        [one("john.q.public@example.com", "Joe Q. Public")]
      ],
      [
        "A.1.2 To",
        "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
        [one("mary@x.test", "Mary Smith"), one("jdoe@example.org"), one("one@y.test", "Who?")]
      ],
      [
        "A.1.2 Cc",
        "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
        [one("boss@nil.test"), one("sysservices@example.net", "Giant; \"Big\" Box")]
      ],
      ["A.1.3 From", "Pete <pete@silly.example>", [one("pete@silly.example", "Pete")]],
      [
        "A.1.3 To",
        "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
        [group("A Group", one("c@a.test", "Ed Jones"), one("joe@where.test"), one("jdoe@one.test", "John"))]
      ],
      ["A.1.3 Cc", "Undisclosed recipients:;", [group("Undisclosed recipients")]],
      ["A.2 Reply-To", "\"Mary Smith: Personal Account\" <smith@home.example>", [
        one("smith@home.example", "Mary Smith: Personal Account")
      ]],
      [
        "A.5 From",
        "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
        [one("pete@silly.test", "Pete")]
      ],
      [
        "A.5 To",
        "A Group(Some people)\n     :Chris Jones <c@(Chris's host.)public.example>,\n         joe@example.org,\n" +
        "  John <jdoe@one.test> (my dear friend); (the end of the group)",
        [group("A Group", one("c@public.example", "Chris Jones"), one("joe@example.org"), one("jdoe@one.test", "John"))]
      ],
      ["A.5 Cc", "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", [group("Hidden recipients")]],
      [
        "A.6.1 From",
        "Joe Q. Public <john.q.public@example.com>",
        [one("john.q.public@example.com", "Joe Q. Public")]
      ],
      [
        "A.6.1 To",
        "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
        [one("mary@example.net", "Mary Smith"), one("jdoe@test.example")]
      ],
      ["A.6.3 From", "John Doe <jdoe@machine(comment).  example>", [one("jdoe@machine.example", "John Doe")]],
      ["a quoted local part", "\"a,b\"@example.org", [one("\"a,b\"@example.org")]],
      ["words of a local part", "\"a b\" . c@example.org", [one("\"a b\".c@example.org")]],
      ["a literal", "alice@[IPv6:2001:db8::1]", [one("alice@[IPv6:2001:db8::1]")]],
      ["a literal with spaces", "alice@[ 192.0.2.1 ]", [one("alice@[192.0.2.1]")]],
      ["a route of several", "<,@a.test , @[192.0.2.1],,@b.test:x@y.test>", [one("x@y.test")]],
      ["commas of a group", "G:,a@b.test,,c@d.test,;,", [group("G", one("a@b.test"), one("c@d.test"))]],
      ["nothing", "", []],
      ["nothing but a comment", " (a (b) c) ", []],
      ["a name after the address", "dave@example.org (Dave \\(D\\))", [one("dave@example.org", "Dave (D)")]],
      ["two comments after it", "dave@example.org (one) (two)", [one("dave@example.org", "one two")]],
      ["an address in a name", "\"Someone <m@evil.example>\" <a@example.org>", [
        one("a@example.org", "Someone <m@evil.example>")
      ]],
      ["an address as a local part", "<\"Someone <m@evil.example>\"@example.org>", [
        one("\"Someone <m@evil.example>\"@example.org")
      ]],
      ["UTF-8", "Jörg <jörg@exämple.org>", [one("jörg@exämple.org", "Jörg")]],
      ["encoded words", "=?ISO-8859-1?Q?J=F6rg?= =?utf-8?q?_M=C3=BCller?= <j@example.org>", [
        one("j@example.org", "Jörg Müller")
      ]],
      ["encoded words in quotes", "\"=?utf-8?Q?M=C3=BCller, Anna?=\" <a@b.test>", [one("a@b.test", "Müller, Anna")]],
      ["a parenthesis in an encoded word", "=?utf-8?Q?M=C3=BCller?= (=?utf-8?q?=C3=A4?=) <a@b.test>", [
        one("a@b.test", "Müller")
      ]],
      ["a name of several lines", "\"Anna\r\n Maria\" <a@b.test>", [one("a@b.test", "Anna Maria")]],
      // Not in the grammar, but all readers agree.
      ["a final dot", "alice@example.org.", [one("alice@example.org")]]
    ] as const
  ) {
    it(`is read alike by both readings: ${where}`, () => {
      assert.deepStrictEqual(parse(text), expected)
      assert.deepStrictEqual(read(text), expected)
    })
  }
})

describe("what RFC 5322 does not allow", () => {
  for (
    const [text, forgiving] of [
      ["root", [one("root")]],
      ["first.last (Somebody)", [one("first.last", "Somebody")]],
      ["Bob <root>", [one("root", "Bob")]],
      ["=?utf-8?Q?M=C3=BCller, Anna?= <a@b.test>, c@d.test", [one("a@b.test", "Müller, Anna"), one("c@d.test")]],
      ["=?utf-8?Q?x: <m@evil.example>?= <a@b.test>", [one("a@b.test", "x: <m@evil.example>")]],
      ["=?utf-8?Q?a, b@c.test", [one("b@c.test")]],
      ["root, alice@example.org", [one("root"), one("alice@example.org")]],
      ["<legit@victim.example>:<m@evil.example>", [one("legit@victim.example"), one("m@evil.example")]],
      ["m@evil.example alice@example.org", [one("m@evil.example"), one("alice@example.org")]],
      ["Alice alice@example.org", [one("alice@example.org", "Alice")]],
      ["\"Doe <a@example.org>", [one("a@example.org", "Doe")]],
      ["Doe <a@example.org, b@example.org", [one("a@example.org", "Doe"), one("b@example.org")]],
      ["Doe <a@example.org> x", [one("a@example.org", "Doe")]],
      ["a@example.org (open, b@example.org", [one("a@example.org", "open, b@example.org")]],
      ["a@b@c, d@e.test", [one("d@e.test")]],
      ["<a@b@c>", []],
      ["a@.b", []],
      ["a@b..c", []],
      ["a..b@c", []],
      ["a@[1.2.3.4", []],
      ["a\\,b@example.org", []],
      ["x)a@example.org", []],
      ["Joe Doe", []],
      ["<>", []],
      ["Joe <>", []],
      ["\"Joe\"", []],
      ["G: a@b.test", [group("G", one("a@b.test"))]],
      ["G: H: a@b.test;, c@d.test", [group("G", one("a@b.test")), one("c@d.test")]],
      ["a@b.test; c@d.test", [one("a@b.test"), one("c@d.test")]],
      ["G: a@b.test; c@d.test", [group("G", one("a@b.test")), one("c@d.test")]],
      ["<@a.test,x b@c.test>", [one("b@c.test", "x")]],
      ["\0", []],
      [":;", []],
      ["\"", []],
      ["(", []],
      ["[", []],
      ["@", []],
      ["\\", []]
    ] as const
  ) {
    it(`is refused by the strict reading: ${JSON.stringify(text)}`, () => {
      assert.isString(parse(text))
      assert.deepStrictEqual(read(text), forgiving)
    })
  }
})

describe("what stands inside an address", () => {
  for (
    const [text, inside] of [
      ["alice@example.org", "none"],
      ["\"a (b) c\"@example.org", "none"],
      [" alice@example.org (Alice)", "none"],
      ["x < alice@example.org >", "none"],
      ["x\n <alice@example.org>", "none"],
      ["x <alice@example .org>", "space"],
      ["x <alice @example.org>", "space"],
      ["alice@example(m@evil.example).org", "comment"],
      ["x <alice@example.org(m@evil.example)>", "comment"],
      ["x <(m@evil.example)alice@example.org>", "comment"],
      ["x <@relay.example(c):alice@example.org>", "comment"]
    ] as const
  ) {
    it(`is ${inside} in ${JSON.stringify(text)}`, () => {
      const [found] = Result.getOrThrow(addresses.parse(ByteString.fromText(text)))
      assert.strictEqual(found && "inside" in found ? found.inside : undefined, inside)
    })
  }
})

describe("writing", () => {
  const Word = Schema.Array(
    Schema.Literals([
      "a",
      "Bob",
      "ö",
      "日本",
      " ",
      "  ",
      "\t",
      "\"",
      "\\",
      ",",
      ";",
      ":",
      "<",
      ">",
      "@",
      "(",
      ")",
      ".",
      "=?",
      "?=",
      "=?utf-8?q?a?=",
      "[",
      "]",
      "'",
      "😀"
    ])
  )
  const Local = Schema.Literals(["a", "first.last", "\"a,b\"", "\"a b\\\" <x@y>\"", "\"\"", "ö", "root+tag", "\"a\".b"])
  const Domain = Schema.Literals(["example.org", "b", "[192.0.2.1]", "[IPv6:2001:db8::1]", "exämple.org"])
  const Mailbox = Schema.Tuple([Word, Local, Domain])
  const Entries = Schema.Array(Schema.Struct({ group: Schema.Boolean, name: Word, members: Schema.Array(Mailbox) }))
  const listOf = (entries: typeof Entries.Type): ReadonlyArray<Message.Address | Message.Group> =>
    entries.flatMap(({ group: isGroup, members, name }): ReadonlyArray<Message.Address | Message.Group> => {
      const boxes = members.map(([name, local, domain]) => one(`${local}@${domain}`, name.join("")))
      return isGroup ? [group(name.join(""), ...boxes)] : boxes
    })

  it.prop("reads back as it was given, in both readings", [Entries], ([entries]) => {
    const list = listOf(entries)
    const text = Message.formatAddresses(list)
    assert.deepStrictEqual(parse(text), list)
    assert.deepStrictEqual(read(text), list)
  })

  it.prop("reads back from a message", [Entries, Schema.Boolean], ([entries, smtpUtf8]) => {
    const list = listOf(entries)
    const options = { name: "To", smtpUtf8, leadingSpace: false, lookalikes: "encode" } as const
    const value = Header.encodeValue(Message.formatAddresses(list), options)
    if (Result.isSuccess(value)) assert.deepStrictEqual(addresses.read(value.success), list)
    else {
      assert.isFalse(smtpUtf8)
      assert.match(Message.mailboxes(list).map(({ address }) => address).join(), /[^\0-\x7f]/)
    }
  })

  it("makes one address of whatever is given as one", () => {
    for (
      const [address, text] of [
        ["a,b@example.org", "\"a,b\"@example.org"],
        ["x@y>, <z@w.test", "\"x@y>, <z\"@w.test"],
        ["x@y> , foo", "\"x@y> , foo\""],
        ["root", "root"],
        ["a b", "\"a b\""],
        ["a@b@c", "\"a@b\"@c"]
      ] as const
    ) {
      assert.strictEqual(Message.formatAddresses([one(address)]), text)
      assert.isAtMost(read(text).length, 1)
    }
  })

  it("writes a name that looks like an encoded word as one", () => {
    const list = [one("a@b.test", "=?utf-8?q?x?=")]
    assert.strictEqual(Message.formatAddresses(list), "=?UTF-8?Q?=3D=3Futf-8=3Fq=3Fx=3F=3D?= <a@b.test>")
    assert.deepStrictEqual(read(Message.formatAddresses(list)), list)
  })
})

describe("what strangers write", () => {
  it.prop("never throws", [Schema.String], ([text]) => {
    parse(text)
    read(text)
  })

  for (
    const [what, text] of [
      ["spaces", " "],
      ["open quotes", "\""],
      ["escaped quotes", "\"\\"],
      ["closed quotes", "\"\" "],
      ["open comments", "("],
      ["nested comments", "(("],
      ["comments", "()"],
      ["open brackets", "["],
      ["angle brackets", "<"],
      ["angle brackets with words", "<a."],
      ["routes", "<@a,"],
      ["route ends", "@a,"],
      ["commas", ","],
      ["colons", "a:"],
      ["semicolons", ";"],
      ["addresses", "a@b "],
      ["local parts", "a."],
      ["at signs", "@"],
      ["words", "a "],
      ["encoded words", "=?a?q?"],
      ["encoded words with an end", "=?utf-8?q?a?= "],
      ["starts of encoded words", "=?"],
      ["backslashes", "\\"],
      ["letters outside ASCII", "ö "]
    ] as const
  ) {
    it(`is read and written in time that doubles with it: ${what}`, () => {
      assertLinear(
        4000,
        (size) => {
          const many = text.repeat(size / text.length)
          return { value: ByteString.fromText(many), closing: ByteString.fromText(`${many}>)"?= <a@b>`) }
        },
        ({ closing, value }) => {
          addresses.read(value)
          addresses.parse(value)
          const list = addresses.read(closing)
          Message.formatAddresses(list)
          for (const name of ["From", "Subject"]) {
            Header.encodeValue(ByteString.toText(value), { name, smtpUtf8: false, leadingSpace: false })
            Header.encodeValue(`ö ${ByteString.toText(value)}`, { name, smtpUtf8: false, leadingSpace: false })
          }
        }
      )
    })
  }
})
