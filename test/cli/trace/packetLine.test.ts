/** Packets in words, as `trace` prints them. */
import { assert, describe, it } from "@effect/vitest"
import { coloured, plain } from "../../../src/cli/terminal/style.ts"
import { describe as describePacket, packetLine } from "../../../src/cli/trace/packetLine.ts"
import type * as Packet from "../../../src/Packet.ts"
import { ByteString } from "../../../src/Wire.ts"

const text = ByteString.fromText
// One character per byte.
const bytes = (text: string) => text as ByteString

const cases: ReadonlyArray<readonly [Packet.MtaPacket | Packet.FilterPacket, string]> = [
  [
    { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff },
    "Negotiate version 6; actions: all; steps: all"
  ],
  [
    {
      _tag: "Negotiated",
      version: 6,
      actions: 0x11,
      steps: 0x80000400 | 0,
      macros: [{ stage: 0, names: text("j {client_addr}") }]
    },
    "Negotiated version 6; actions: addHeader changeHeader; steps: skip 0x80000000; macros: connect(j {client_addr})"
  ],
  [
    { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x301fffff },
    "Negotiate version 6; actions: all; steps: all payload256K payload1M"
  ],
  [
    { _tag: "Negotiated", version: 2, actions: 0, steps: 0x10000000, macros: [] },
    "Negotiated version 2; actions: none; steps: payload256K"
  ],
  [
    { _tag: "Negotiated", version: 2, actions: 0, steps: 0, macros: [] },
    "Negotiated version 2; actions: none; steps: none"
  ],
  [
    { _tag: "Macro", stage: text("M"), macros: [{ name: text("{mail_addr}"), value: text("a@b") }] },
    "Macro for mail: {mail_addr}=a@b"
  ],
  [{ _tag: "Macro", stage: text("L"), macros: [] }, "Macro for header: none"],
  [{ _tag: "Header", name: text("Subject"), value: text(" grüße\n\tda") }, "Header Subject: grüße\\n\\tda"],
  [{ _tag: "AddHeader", name: text("X"), value: bytes("\xff\x1b[2J") }, "AddHeader X:\\xFF\\x1B[2J"],
  [
    { _tag: "Body", bytes: new TextEncoder().encode("Hello\r\nBob\r\n") },
    "Body 12 bytes: Hello\\nBob\\n"
  ],
  [{ _tag: "Body", bytes: new Uint8Array(100).fill(120) }, `Body 100 bytes: ${"x".repeat(60)}…`],
  [{ _tag: "ReplyCode", text: text("550 5.7.1 no") }, "ReplyCode text=\"550 5.7.1 no\""]
]

describe("a packet in words", () => {
  it.each(cases)("%j", (packet, expected) => {
    assert.strictEqual(describePacket(packet), expected)
  })
})

describe("a packet on a line", () => {
  it("has time, side and colour", () => {
    const packet: Packet.FilterPacket = { _tag: "ReplyCode", text: text("450 4.7.1 later") }
    assert.strictEqual(
      packetLine("filter", packet, 1234, plain),
      "   1.234 filter ← ReplyCode text=\"450 4.7.1 later\""
    )
    assert.include(packetLine("filter", packet, 0, coloured), "\u001b[33mReplyCode")
    assert.include(packetLine("filter", { _tag: "Reject" }, 0, coloured), "\u001b[31mReject")
    assert.match(packetLine("mta", { _tag: "Quit" }, 0, plain), /^ {3}0\.000 MTA {4}→ Quit$/)
  })

  it("is cut where it gets too long", () => {
    const line = packetLine("mta", { _tag: "Header", name: text("X"), value: text("x".repeat(5000)) }, 0, plain)
    assert.match(line, /x… \(5009 characters\)$/)
  })
})
