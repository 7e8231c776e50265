/** Recordings without what nobody else should read. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { plain } from "../../src/cli/terminal/style.ts"
import { packetLine } from "../../src/cli/trace/packetLine.ts"
import * as known from "../../src/internal/testing/redactKnown.ts"
import * as Milter from "../../src/Milter.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import * as Packet from "../../src/Packet.ts"
import * as Recording from "../../src/Recording.ts"
import * as Verdict from "../../src/Verdict.ts"
import { ByteString } from "../../src/Wire.ts"
import { assertLinear } from "../support/growth.ts"
import * as recordings from "../support/recordings.ts"
import { decode } from "../support/wire.ts"

const text = ByteString.fromText

const lineOf = (packet: Packet.MtaPacket | Packet.FilterPacket, from: "mta" | "filter" = "mta"): Recording.Line => {
  const [frame] = decode([Packet.encode(packet)]).frames
  return Recording.frame(from, frame!, { connection: 1, time: 0 })
}

const show = (line: Recording.Line): string =>
  line._tag === "Frame" ?
    Result.match(Recording.packet(line), {
      onSuccess: Packet.format,
      onFailure: () => ByteString.fromBytes(line.bytes)
    }) :
    JSON.stringify(line)

const redacted = (
  packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>,
  redaction?: Recording.Redaction
): ReadonlyArray<string> => Recording.redact(packets.map((packet) => lineOf(packet)), redaction).map(show)

/** How a secret (S) stands in a field. */
const shapes = [
  "S",
  "<S>",
  "<S@S.example>",
  "<bounce+S=S.example@S.example>",
  "<\"S S\"@[S]>",
  "@S,@S:S@S",
  "S [S]",
  "[S] (may be forged)",
  "[IPv6:S]",
  "::S",
  "192.0.2.1 S",
  "ENVID=S",
  "ORCPT=rfc822;S",
  "ORCPT=S;S",
  "AUTH=<S>",
  "S=S",
  "NOTIFY=S",
  "PASS S",
  "AUTH PLAIN S",
  "S S\r\nS",
  "550 5.7.1 S",
  "550-S\r\n550 S",
  "550S",
  "Postfix S",
  "S: S"
] as const

const word = text("x")
const bytes = new TextEncoder().encode("x")

type PacketsOf<P extends { readonly _tag: string }> = { readonly [K in P["_tag"]]: Extract<P, { readonly _tag: K }> }

/** One of each: a packet that is missing does not compile. */
const mtaPackets: PacketsOf<Packet.MtaPacket> = {
  Negotiate: { _tag: "Negotiate", version: 6, actions: 0, steps: 0 },
  Macro: { _tag: "Macro", stage: word, macros: [{ name: word, value: word }] },
  Connect: { _tag: "Connect", hostname: word, address: { _tag: "IPv4", port: 25, address: word } },
  Helo: { _tag: "Helo", name: word },
  Mail: { _tag: "Mail", sender: word, parameters: [word, word] },
  Rcpt: { _tag: "Rcpt", recipient: word, parameters: [word] },
  Data: { _tag: "Data" },
  Header: { _tag: "Header", name: word, value: word },
  EndOfHeaders: { _tag: "EndOfHeaders" },
  Body: { _tag: "Body", bytes },
  EndOfMessage: { _tag: "EndOfMessage", bytes },
  Unknown: { _tag: "Unknown", line: word },
  Abort: { _tag: "Abort" },
  Quit: { _tag: "Quit" },
  QuitNewConnection: { _tag: "QuitNewConnection" }
}
const filterPackets: PacketsOf<Packet.FilterPacket> = {
  Negotiated: { _tag: "Negotiated", version: 6, actions: 0, steps: 0, macros: [{ stage: 1, names: word }] },
  Continue: { _tag: "Continue" },
  Accept: { _tag: "Accept" },
  Reject: { _tag: "Reject" },
  TempFail: { _tag: "TempFail" },
  Discard: { _tag: "Discard" },
  ReplyCode: { _tag: "ReplyCode", text: word },
  Skip: { _tag: "Skip" },
  Progress: { _tag: "Progress" },
  AddHeader: { _tag: "AddHeader", name: word, value: word },
  InsertHeader: { _tag: "InsertHeader", index: 1, name: word, value: word },
  ChangeHeader: { _tag: "ChangeHeader", index: 1, name: word, value: word },
  ReplaceBody: { _tag: "ReplaceBody", bytes },
  AddRecipient: { _tag: "AddRecipient", recipient: word },
  AddRecipientWithParameters: { _tag: "AddRecipientWithParameters", recipient: word, parameters: word },
  DeleteRecipient: { _tag: "DeleteRecipient", recipient: word },
  ChangeSender: { _tag: "ChangeSender", sender: word, parameters: word },
  Quarantine: { _tag: "Quarantine", reason: word },
  ConnectionFail: { _tag: "ConnectionFail" },
  Shutdown: { _tag: "Shutdown" }
}

const macroNames = [...known.macros.keys()].flatMap((name) => [name, `{${name}}`]).concat("S", "{S}", "{x}")

/** The packet with `planted` in each of its texts. */
const plant = (value: unknown, planted: string): unknown =>
  typeof value === "string"
    ? text(planted)
    : value instanceof Uint8Array
    ? new TextEncoder().encode(planted)
    : Array.isArray(value)
    ? value.map((item) => plant(item, planted))
    : typeof value === "object" && value !== null
    ? Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, key === "_tag" ? item : plant(item, planted)])
    )
    : value

const parameters: ReadonlyArray<ByteString> = []

describe("redact", () => {
  it("gives addresses and names substitutes, the same one each time", () => {
    assert.deepStrictEqual(
      redacted([
        {
          _tag: "Connect",
          hostname: text("mail.acme.com"),
          address: { _tag: "IPv4", port: 25, address: text("203.0.113.77") }
        },
        {
          _tag: "Macro",
          stage: text("C"),
          macros: Object.entries({
            j: "mx.acme.com",
            _: "mail.acme.com [203.0.113.77]",
            v: "Postfix 3.7.11",
            "{auth_authen}": "jane",
            "{cert_subject}": "/CN=Jane Doe",
            "{client_addr}": "IPv6:2001:db8:77::1"
          }).map(([name, value]) => ({ name: text(name), value: text(value) }))
        },
        { _tag: "Helo", name: text("laptop") },
        {
          _tag: "Mail",
          sender: text("<Jane.Doe@ACME.com>"),
          parameters: [text("AUTH=jane.doe@acme.com"), text("SIZE=10")]
        },
        { _tag: "Rcpt", recipient: text("<\"odd one\"@acme.com>"), parameters: [text("ORCPT=rfc822;a@b.org")] },
        { _tag: "Rcpt", recipient: text("<postmaster>"), parameters },
        { _tag: "Mail", sender: text("<>"), parameters },
        { _tag: "Mail", sender: text("<jane.doe@acme.com>"), parameters },
        { _tag: "Unknown", line: text("VRFY jane.doe@acme.com") }
      ]),
      [
        `Connect hostname="domain1.example" address=IPv4("192.0.2.1", port 25)`,
        `Macro stage="C" macros=["j"="domain2.example", "_"="domain1.example [192.0.2.1]", "v"="Postfix 3.7.11", ` +
        `"{auth_authen}"="user1", "{cert_subject}"="xxxxxxxx xxx", "{client_addr}"="IPv6:2001:db8::1"]`,
        `Helo name="domain3.example"`,
        `Mail sender="<user2@domain4.example>" parameters=["AUTH=user2@domain4.example", "SIZE=10"]`,
        `Rcpt recipient="<user3@domain4.example>" parameters=["ORCPT=rfc822;user4@domain5.example"]`,
        `Rcpt recipient="<user5>" parameters=[]`,
        `Mail sender="<>" parameters=[]`,
        `Mail sender="<user2@domain4.example>" parameters=[]`,
        `Unknown line="VRFY xxxxxxxxxxxxxxxxx"`
      ]
    )
  })

  it("blanks texts, and keeps their shape", () => {
    const packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket> = [
      { _tag: "Header", name: text("Subject"), value: text("For Jane,\n only") },
      { _tag: "Body", bytes: new TextEncoder().encode("Dear Jane,\r\n\tsecret\r\n") }
    ]
    assert.deepStrictEqual(redacted(packets), [
      `Header name="Subject" value="xxx xxxxx\\n xxxx"`,
      `Body bytes=21:"xxxx xxxxx\\r\\n\\txxxxxx\\r\\n"`
    ])
    const [header, body] = redacted(packets, { headers: false, bodies: false })
    assert.include(header, "For Jane,")
    assert.include(body, "Dear Jane")
  })

  it("leaves only addresses out of headers, if that is wanted", () => {
    const header: Packet.MtaPacket = {
      _tag: "Header",
      name: text("Received"),
      value: text("from mail.acme.com (mail.acme.com [203.0.113.77]) for <jane@acme.com>")
    }
    assert.deepStrictEqual(redacted([header], { headers: false }), [
      `Header name="Received" value="from domain1.example (domain1.example [192.0.2.1]) for <user1@domain2.example>"`
    ])
    assert.include(redacted([header], { headers: false, addresses: false })[0], "jane@acme.com")
  })

  it("leaves times, versions and long nonsense alone", () => {
    const header = (value: string): Packet.MtaPacket => ({ _tag: "Header", name: text("X"), value: text(value) })
    for (
      const value of [
        "Mon, 05 Jan 2026 10:00:00 +0000",
        "Postfix 3.7.11",
        "a-".repeat(20_000),
        "a".repeat(60_000),
        ":".repeat(20_000),
        "\"".repeat(20_000),
        "a.".repeat(20_000)
      ]
    ) {
      assert.strictEqual(redacted([header(value)], { headers: false })[0], Packet.format(header(value)))
    }
    assert.include(redacted([header("from [IPv6:2001:db8:0:0:0:0:0:7]")], { headers: false })[0], "[IPv6:2001:db8::1]")
  })

  it("takes time as the text grows, whatever it is", () => {
    for (const part of ["a-", "a", ":", "\"", "a.", "a@", "@[", "=", "1.", "f:", "\\"]) {
      const redact = Recording.redactor({ headers: false })
      assertLinear(
        1000,
        (size) => lineOf({ _tag: "Header", name: text("X"), value: text(part.repeat(size)) }),
        (line) => void redact(line)
      )
    }
  })

  it("knows what filters say", () => {
    const said: ReadonlyArray<Packet.FilterPacket> = [
      { _tag: "ReplyCode", text: text("550 5.7.1 jane@acme.com is 100%% blocked, see https://acme.com/why") },
      {
        _tag: "AddRecipientWithParameters",
        recipient: text("jane@acme.com"),
        parameters: text("ORCPT=rfc822;jane@acme.com")
      },
      { _tag: "DeleteRecipient", recipient: text("jane@acme.com") },
      { _tag: "ChangeSender", sender: text("<bounce@acme.com>") },
      { _tag: "Quarantine", reason: text("from 203.0.113.77") },
      { _tag: "AddHeader", name: text("X-To"), value: text("jane") },
      { _tag: "ReplaceBody", bytes: new TextEncoder().encode("Dear Jane") }
    ]
    assert.deepStrictEqual(Recording.redact(said.map((packet) => lineOf(packet, "filter"))).map(show), [
      `ReplyCode text="550 5.7.1 xxxxxxxxxxxxx xx xxxxx xxxxxxxx xxx xxxxxxxxxxxxxxxxxxxx"`,
      `AddRecipientWithParameters recipient="user1@domain1.example" parameters="ORCPT=rfc822;user1@domain1.example"`,
      `DeleteRecipient recipient="user1@domain1.example"`,
      `ChangeSender sender="<user2@domain1.example>"`,
      `Quarantine reason="xxxx xxxxxxxxxxxx"`,
      `AddHeader name="X-Field-1" value="xxxx"`,
      `ReplaceBody bytes=9:"xxxx xxxx"`
    ])
  })

  it("blanks what it cannot read, and what was cut", () => {
    const lines = Result.getOrThrow(Recording.parse([
      `{"ev":"trace","desc":"mail of jane@acme.com"}`,
      `{"conn":1,"t":1,"ev":"refused","err":"cannot reach mail.acme.com"}`,
      `{"conn":1,"t":2,"ev":"junk","dir":"F","len":4,"hex":"4a616e65"}`,
      `{"conn":1,"t":3,"dir":"M","cmd":"Z","name":"unknown","len":5,"hex":"4a616e65"}`,
      `{"conn":1,"t":4,"dir":"M","cmd":"L","name":"Header","len":900,"hex":"4a616e65","sha256":"00"}`,
      `{"conn":1,"t":5,"dir":"M","cmd":"B","name":"Body","len":900,"hex":"4a616e65","sha256":"00"}`
    ].join("\n")))
    const hidden = Recording.format(Recording.redact(lines))
    assert.notMatch(hidden, /jane|acme|4a616e65|sha256/i)
    assert.include(hidden, `"len":900,"hex":"78787878"`)
    assert.include(
      Recording.format(Recording.redact(lines, { bodies: false })),
      `"name":"Body","len":900,"hex":"4a616e65"`
    )
  })

  it.effect.prop(
    "shows nothing of a secret in any field of any packet, in a recording or on a screen",
    {
      secret: Schema.Literals(["hunter2-geheim", "Passwort!", "k\u00e4the", "S3cr3t_0", "tok.en.of.jane"]),
      shape: Schema.Literals(shapes)
    },
    ({ secret, shape }) =>
      Effect.sync(() => {
        const planted = shape.replaceAll("S", () => secret)
        const redact = Recording.redactor()
        const lines: Array<Recording.Line> = [
          { _tag: "Description", event: "trace", description: `effect-milter trace of ${planted}` },
          ...(["refused", "junk"] as const).map((event): Recording.Line => ({
            _tag: "Event",
            connection: 1,
            time: 0,
            event,
            error: `connect ECONNREFUSED ${planted}`,
            bytes: new TextEncoder().encode(planted)
          })),
          ...Object.values(mtaPackets).map((packet) => lineOf(plant(packet, planted) as Packet.MtaPacket)),
          ...macroNames.map((name) =>
            lineOf({ _tag: "Macro", stage: text("C"), macros: [{ name: text(name), value: text(planted) }] })
          ),
          ...Object.values(filterPackets).map((packet) =>
            lineOf(plant(packet, planted) as Packet.FilterPacket, "filter")
          )
        ]
        const hidden = ByteString.fromText(secret)
        for (const line of lines) {
          const shown = redact(line)
          const decoded = Recording.formatLine(shown).replace(
            /[0-9a-f]{2}/g,
            (hex) => String.fromCharCode(Number.parseInt(hex, 16))
          )
          const screen = shown._tag === "Frame"
            ? Result.match(Recording.packet(shown), {
              onSuccess: (packet) => packetLine(shown.from, packet, 0, plain),
              onFailure: String
            })
            : ""
          for (const output of [Recording.formatLine(shown), decoded, screen]) {
            for (const word of [secret, hidden, ...secret.split(/[^A-Za-z0-9]+/).filter((part) => part.length > 4)]) {
              assert.notInclude(output.toLowerCase(), word.toLowerCase(), show(line))
            }
          }
        }
      }),
    { arbitrary: { runs: 60 } }
  )

  it("is still a recording, whatever it was", () => {
    for (const name of recordings.names) {
      const lines = Result.getOrThrow(Recording.parse(recordings.text(name)))
      const hidden = Recording.redact(lines)
      assert.deepStrictEqual(Result.getOrThrow(Recording.parse(Recording.format(hidden))), hidden, name)
      const tags = (of: ReadonlyArray<Recording.Line>) =>
        of.flatMap((line) =>
          line._tag === "Frame" ?
            [Result.match(Recording.packet(line), {
              onSuccess: ({ _tag }) => _tag,
              onFailure: () => "broken"
            })] :
            []
        )
      if (!tags(lines).includes("broken")) assert.deepStrictEqual(tags(hidden), tags(lines), name)
      assert.notMatch(Recording.format(hidden), /616c696365406578616d706c65/, name) // alice@example
    }
  })

  it.effect.prop("never fails", { lines: Schema.Array(Recording.Line) }, ({ lines }) =>
    Effect.sync(() => {
      const line = Recording.redactor()
      for (const each of lines) Recording.formatLine(line(each))
    }))

  it.effect("can be replayed", () =>
    Effect.gen(function*() {
      const Tagged = Milter.make("tagged", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tagged", "yes"), Verdict.continue)
      })
      const lines = Recording.redact(Result.getOrThrow(Recording.parse(recordings.text("postfix-mod-addheader"))))
      const exchanges = yield* MilterTest.replay(Tagged, Recording.connections(lines)[0]!)
      assert.include(
        exchanges.flatMap(({ replayed }) => replayed.map(Packet.format)),
        `AddHeader name="X-Tagged" value="yes"`
      )
    }))
})
