/** Recordings without what nobody else should read. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as Milter from "../../src/Milter.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import * as Packet from "../../src/Packet.ts"
import * as Recording from "../../src/Recording.ts"
import * as Verdict from "../../src/Verdict.ts"
import { ByteString } from "../../src/Wire.ts"
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
        `Unknown line="VRFY user2@domain4.example"`
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
      const before = performance.now()
      assert.strictEqual(redacted([header(value)], { headers: false })[0], Packet.format(header(value)))
      assert.isBelow(performance.now() - before, 1000)
    }
    assert.include(redacted([header("from [IPv6:2001:db8:0:0:0:0:0:7]")], { headers: false })[0], "[IPv6:2001:db8::1]")
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
      `ReplyCode text="550 5.7.1 user1@domain1.example is 100%% blocked, see https://domain1.example/why"`,
      `AddRecipientWithParameters recipient="user1@domain1.example" parameters="ORCPT=rfc822;user1@domain1.example"`,
      `DeleteRecipient recipient="user1@domain1.example"`,
      `ChangeSender sender="<user2@domain1.example>"`,
      `Quarantine reason="from 192.0.2.1"`,
      `AddHeader name="X-To" value="xxxx"`,
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
  }, 60_000)

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
