/** Packet: each packet decoded, encoded and printed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import type * as Frame from "../src/Frame.ts"
import { packet } from "../src/internal/wire/packetDefinition.ts"
import * as Packet from "../src/Packet.ts"
import * as Wire from "../src/Wire.ts"
import { ByteString } from "../src/Wire.ts"
import { concat, decode, fromHex, split } from "./support/wire.ts"

const Sizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))

const bytes = (text: string): ByteString => ByteString.fromText(text)

const frameOf = (encoded: Uint8Array): Frame.Frame => {
  const { frames } = decode([encoded])
  assert.strictEqual(frames.length, 1)
  return frames[0]!
}

const frame = (code: string, payload: string, position = 0): Frame.Frame => {
  const encoded = concat([Uint8Array.of(0, 0, 0, 0, code.charCodeAt(0)), ByteString.toBytes(ByteString.make(payload))])
  return { code: encoded[4]!, bytes: encoded, offset: 5, limit: encoded.length, position }
}

const mtaWarnings = (given: Frame.Frame) => {
  const warnings: Array<Packet.PacketWarning> = []
  const packet = Packet.decodeMtaUnsafe(given, (warning) => warnings.push(warning))
  return { packet, warnings }
}

const failure = <A>(result: Result.Result<A, Packet.PacketError>): Packet.PacketError =>
  Result.isFailure(result) ? result.failure : assert.fail("decoded")

/** encode, cut into frames at random places, decode: the same packet, and the same bytes again. */
const roundTrip = <P extends Packet.MtaPacket | Packet.FilterPacket>(
  decodePacket: (frame: Frame.Frame) => Result.Result<P, Packet.PacketError>,
  packet: NoInfer<P>,
  sizes: ReadonlyArray<number>
): void => {
  // A copy, since the next packet may be encoded into the same memory.
  const encoded = Packet.encode(packet).slice()
  const { frames, pending } = decode(split(encoded, sizes))
  assert.strictEqual(frames.length, 1)
  assert.strictEqual(pending, 0)
  const decoded = Result.getOrThrow(decodePacket(frames[0]!))
  assert.deepStrictEqual<unknown>(decoded, packet)
  assert.deepStrictEqual(Packet.encode(decoded).slice(), encoded)
  assert.match(Packet.format(decoded), /^[ -~]+$/)
}

const silently = (frame: Frame.Frame) => Packet.decodeMta(frame, (warning) => assert.fail(warning.message))

describe("every command of an MTA", () => {
  for (const definition of Packet.mtaDefinitions) {
    // The definitions are of one union; each schema is one of its members.
    const schema = definition.schema as Schema.Codec<Packet.MtaPacket, unknown>
    it.effect.prop(
      `${definition.name} round-trips`,
      { packet: schema, sizes: Sizes },
      ({ packet, sizes }) =>
        Effect.sync(() => {
          assert.strictEqual(packet._tag, definition.name)
          roundTrip(silently, packet, sizes)
        })
    )
  }
})

describe("every reply of a filter", () => {
  for (const definition of Packet.filterDefinitions) {
    const schema = definition.schema as Schema.Codec<Packet.FilterPacket, unknown>
    it.effect.prop(
      `${definition.name} round-trips`,
      { packet: schema, sizes: Sizes },
      ({ packet, sizes }) =>
        Effect.sync(() => {
          assert.strictEqual(packet._tag, definition.name)
          roundTrip(Packet.decodeFilter, packet, sizes)
        })
    )
  }
})

describe("Packet", () => {
  it.effect.prop(
    "a stream of packets in one buffer decodes to the same packets",
    { packets: Schema.Array(Packet.MtaPacket), sizes: Sizes },
    ({ packets, sizes }) =>
      Effect.sync(() => {
        const writer = new Wire.Writer()
        for (const packet of packets) Packet.write(writer, packet)
        const { frames } = decode(split(writer.take(), sizes))
        assert.deepStrictEqual<unknown>(frames.map((frame) => Result.getOrThrow(Packet.decodeMta(frame))), packets)
      })
  )

  it.effect.prop("arbitrary bytes decode or are a PacketError, and never anything else", [
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })),
    Schema.Uint8Array
  ], ([code, payload]) =>
    Effect.sync(() => {
      const given: Frame.Frame = { code, bytes: payload, offset: 0, limit: payload.length, position: 0 }
      const tolerant = Packet.decodeMta(given)
      if (Result.isSuccess(tolerant)) Packet.encode(tolerant.success)
      const strict = Packet.decodeFilter(given)
      if (Result.isSuccess(strict)) assert.deepStrictEqual(Packet.encode(strict.success).slice(5), payload)
    }))

  it.effect.prop(
    "a packet survives JSON",
    [Schema.Union([Packet.MtaPacket, Packet.FilterPacket])],
    ([packet]) =>
      Effect.gen(function*() {
        const codec = Schema.toCodecJson(Schema.Union([Packet.MtaPacket, Packet.FilterPacket]))
        const json = JSON.stringify(yield* Schema.encodeEffect(codec)(packet))
        assert.deepStrictEqual<unknown>(yield* Schema.decodeUnknownEffect(codec)(JSON.parse(json)), packet)
      })
  )

  it("has a definition for each code, once", () => {
    assert.strictEqual(Packet.mtaDefinitions.map(({ code }) => String.fromCharCode(code)).join(""), "ODCHMRTLNBEUAQK")
    assert.strictEqual(
      Packet.filterDefinitions.map(({ code }) => String.fromCharCode(code)).join(""),
      "Ocartdysphimb+2-eqf4"
    )
    assert.strictEqual(Packet.mtaByCode(0x4d)?.name, "Mail")
    assert.strictEqual(Packet.filterByCode(0x62)?.name, "ReplaceBody")
    // SETSYMLIST is a constant that is never a packet.
    assert.isUndefined(Packet.filterByCode(0x6c))
    assert.isUndefined(Packet.mtaByCode(0x63))
    assert.isUndefined(Packet.mtaByCode(256))
    assert.strictEqual(Packet.Unknown.since, 3)
    assert.strictEqual(Packet.Data.since, 4)
    assert.deepStrictEqual(
      Packet.mtaDefinitions.filter(({ answered }) => !answered).map(({ name }) => name),
      ["Macro", "Abort", "Quit", "QuitNewConnection"]
    )
  })

  it("is refused by its schema with a value that does not fit the wire", () => {
    assert.isFalse(Schema.is(Packet.Header.schema)({ _tag: "Header", name: "", value: "x" }))
    assert.isFalse(Schema.is(Packet.Helo.schema)({ _tag: "Helo", name: "a\0b" }))
    assert.isFalse(Schema.is(Packet.Negotiate.schema)({ _tag: "Negotiate", version: -1, actions: 0, steps: 0 }))
    assert.isTrue(Schema.is(Packet.MtaPacket)({ _tag: "Helo", name: "\u00ff" }))
  })

  it("has schemas that are made on first use, once", () => {
    let asked = 0
    const field: Wire.Field<typeof Wire.u16.schema> = {
      ...Wire.u16,
      get schema() {
        asked++
        return Wire.u16.schema
      }
    }
    const definition = packet("Lazy", "z", { field }, { documentation: "" })
    const writer = new Wire.Writer()
    definition.write(writer, { _tag: "Lazy", field: 7 })
    assert.deepStrictEqual([...writer.take()], [0, 0, 0, 3, 0x7a, 0, 7])
    assert.strictEqual(asked, 0)
    assert.isFalse(Schema.is(definition.schema)({ _tag: "Lazy", field: 0x10000 }))
    assert.strictEqual(definition.schema, definition.schema)
    assert.strictEqual(asked, 1)
  })

  it("has unions of the same packets as types and as schemas", () => {
    const types: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket> = []
    const schemas: ReadonlyArray<typeof Packet.MtaPacket.Type | typeof Packet.FilterPacket.Type> = types
    const both: typeof types = schemas
    assert.strictEqual(both, types)
  })

  it("needs a layout for each field", () => {
    // @ts-expect-error a schema alone has none
    const bad = () => packet("Bad", "X", { x: Schema.String }, { documentation: "" })
    assert.isFunction(bad)
  })

  it("carries a body of 65535 bytes and a header of 60000", () => {
    roundTrip(silently, { _tag: "Body", bytes: new Uint8Array(65535).fill(0x0a) }, [4096])
    roundTrip(silently, { _tag: "Header", name: bytes("X"), value: bytes("\u00e9".repeat(30_000)) }, [1000])
    const body = Packet.encode({ _tag: "Body", bytes: new Uint8Array(65535) })
    assert.deepStrictEqual(body.slice(0, 5), fromHex("0001000042"))
  })

  it("gives a body as a plain array of which slice is a copy, also from a Buffer", () => {
    const encoded = Buffer.concat([Buffer.from([9, 9]), Packet.encode({ _tag: "Body", bytes: Uint8Array.of(1, 2, 3) })])
    const given: Frame.Frame = { code: 0x42, bytes: encoded, offset: 7, limit: encoded.length, position: 0 }
    const { packet } = mtaWarnings(given)
    const { bytes: view } = packet._tag === "Body" ? packet : assert.fail(packet._tag)
    const copy = view.slice()
    assert.deepStrictEqual(copy, Uint8Array.of(1, 2, 3))
    encoded.fill(0)
    assert.deepStrictEqual(view, new Uint8Array(3))
    assert.deepStrictEqual(copy, Uint8Array.of(1, 2, 3))
  })

  it("carries long lists", () => {
    const value = bytes("x".repeat(50))
    const macros = Array.from({ length: 200 }, (_, index) => ({ name: bytes(`{macro_${index}}`), value }))
    roundTrip(silently, { _tag: "Macro", stage: bytes("C"), macros }, [1000])
    roundTrip(silently, { _tag: "Rcpt", recipient: bytes("<a@b>"), parameters: macros.map(({ name }) => name) }, [])
    const { packet, warnings } = mtaWarnings(frame("D", `C${"\0\0".repeat(3000)}odd\0rest`))
    assert.strictEqual(packet._tag === "Macro" ? packet.macros.length : 0, 3000)
    assert.deepStrictEqual(warnings.map(({ offset }) => offset), [6006, 6010])
  })

  it("tells an absent parameter string from an empty one", () => {
    const absent: Packet.ChangeSender = { _tag: "ChangeSender", sender: bytes("<>") }
    const empty: Packet.ChangeSender = { _tag: "ChangeSender", sender: bytes("<>"), parameters: bytes("") }
    assert.deepStrictEqual(Packet.encode(absent).slice(), fromHex("00000004653c3e00"))
    assert.deepStrictEqual(Packet.encode(empty).slice(), fromHex("00000005653c3e0000"))
    const decoded = Result.getOrThrow(Packet.decodeFilter(frameOf(Packet.encode(absent))))
    assert.isFalse(Object.hasOwn(decoded, "parameters"))
  })
})

describe("what an MTA gets away with", () => {
  const tolerated: ReadonlyArray<readonly [string, Frame.Frame, Packet.MtaPacket, string]> = [
    [
      "extra payload of a negotiation",
      frame("O", "\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xffxyz"),
      { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff },
      "3 bytes after the last field ignored"
    ],
    ["payload of A", frame("A", "x"), { _tag: "Abort" }, "1 byte after the last field ignored"],
    ["payload of N", frame("N", "xy"), { _tag: "EndOfHeaders" }, "2 bytes after the last field ignored"],
    ["payload of T", frame("T", "x"), { _tag: "Data" }, "1 byte after the last field ignored"],
    ["payload of Q", frame("Q", "x"), { _tag: "Quit" }, "1 byte after the last field ignored"],
    ["payload of K", frame("K", "x"), { _tag: "QuitNewConnection" }, "1 byte after the last field ignored"],
    [
      "an address for an unknown family",
      frame("C", "h\0U\0\x19h\0"),
      { _tag: "Connect", hostname: bytes("h"), address: { _tag: "Unknown" } },
      "4 bytes after the last field ignored"
    ],
    [
      "bytes behind the last NUL of MAIL",
      frame("M", "<a@b>\0SIZE=1\0X=1"),
      { _tag: "Mail", sender: bytes("<a@b>"), parameters: [bytes("SIZE=1")] },
      "3 bytes after the last field ignored"
    ],
    [
      "bytes behind the last NUL of RCPT",
      frame("R", "<a@b>\0X=1"),
      { _tag: "Rcpt", recipient: bytes("<a@b>"), parameters: [] },
      "3 bytes after the last field ignored"
    ],
    [
      "a third string of a header field",
      frame("L", "A\0b\0c\0"),
      { _tag: "Header", name: bytes("A"), value: bytes("b") },
      "2 bytes after the last field ignored"
    ],
    [
      "a macro without a value",
      frame("D", "Mi\0Q1\0j\0"),
      { _tag: "Macro", stage: bytes("M"), macros: [{ name: bytes("i"), value: bytes("Q1") }] },
      "macro \"j\" without a value ignored"
    ]
  ]
  for (const [what, given, packet, message] of tolerated) {
    it(`${what} is ignored, with a warning`, () => {
      const { packet: decoded, warnings } = mtaWarnings(given)
      assert.deepStrictEqual<unknown>(decoded, packet)
      assert.deepStrictEqual(warnings.map((warning) => warning.message), [message])
      assert.strictEqual(warnings[0]!.command, packet._tag)
      assert.deepStrictEqual<unknown>(Result.getOrThrow(Packet.decodeMta(given)), packet)
    })
  }

  it("a warning says where in the stream", () => {
    const { warnings } = mtaWarnings(frame("D", "Mi\0Q1\0j\0x", 1000))
    assert.deepStrictEqual(warnings, [
      {
        _tag: "PacketWarning",
        offset: 1011,
        command: "Macro",
        message: "macro \"j\" without a value ignored"
      },
      { _tag: "PacketWarning", offset: 1013, command: "Macro", message: "1 byte after the last field ignored" }
    ])
  })

  it("the callback may decode another packet", () => {
    const inner: Array<Packet.MtaPacket> = []
    const outer = Packet.decodeMtaUnsafe(frame("M", "a\0x"), () => {
      inner.push(Packet.decodeMtaUnsafe(frame("H", "h\0")))
    })
    assert.deepStrictEqual<unknown>(outer, { _tag: "Mail", sender: "a", parameters: [] })
    assert.deepStrictEqual<unknown>(inner, [{ _tag: "Helo", name: "h" }])
  })

  it("what the callback throws is thrown, and not taken for a fault of the packet", () => {
    const thrown = Result.getOrThrow(Result.flip(Packet.decodeMta(frame("H", "no NUL"))))
    const decode = () =>
      Packet.decodeMta(frame("M", "a\0x"), () => {
        throw thrown
      })
    assert.throws(decode, thrown.message)
  })

  it("any stage byte of macros is taken, and an empty list", () => {
    assert.deepStrictEqual<unknown>(mtaWarnings(frame("D", "\xff")), {
      packet: { _tag: "Macro", stage: "\xff", macros: [] },
      warnings: []
    })
  })
})

describe("what is no packet", () => {
  const cases: ReadonlyArray<readonly [string, Frame.Frame, string]> = [
    ["a short negotiation", frame("O", "\0\0\0\x06\0"), "Negotiate: expected four bytes at byte 9"],
    ["macros without a stage", frame("D", ""), "Macro: expected a byte at byte 5"],
    ["a connect without a hostname", frame("C", "abc"), "Connect: expected a string that ends with NUL at byte 5"],
    ["a connect without a family", frame("C", "abc\0"), "Connect: expected a byte at byte 9"],
    [
      "a connect with a family of its own",
      frame("C", "h\0X\0\0a\0"),
      "Connect: expected the address family U, L, 4 or 6 at byte 7"
    ],
    ["a connect without a port", frame("C", "h\x004\0"), "Connect: expected two bytes at byte 8"],
    [
      "a connect without the end of its address",
      frame("C", "h\x004\0\x191.1.1.1"),
      "Connect: expected a string that ends with NUL at byte 10"
    ],
    ["a helo without a NUL", frame("H", "xyz"), "Helo: expected a string that ends with NUL at byte 5"],
    ["an unknown command without a NUL", frame("U", "FOO"), "Unknown: expected a string that ends with NUL at byte 5"],
    ["a mail without a NUL", frame("M", "<a@b>"), "Mail: expected a string that ends with NUL at byte 5"],
    ["a rcpt without a NUL", frame("R", "<a@b>"), "Rcpt: expected a string that ends with NUL at byte 5"],
    ["a header without a value", frame("L", "A\0"), "Header: expected a string that ends with NUL at byte 7"],
    ["a header without a name", frame("L", "\0v\0"), "Header: expected a name of at least one byte at byte 5"],
    ["an unknown code", frame("z", ""), "Packet: expected a command of an MTA, not the code 0x7a at byte 4"],
    ["a reply", frame("c", ""), "Packet: expected a command of an MTA, not the code 0x63 at byte 4"]
  ]
  for (const [what, given, message] of cases) {
    it(`${what} is a PacketError`, () => {
      const error = failure(Packet.decodeMta(given))
      assert.strictEqual(error.message, message)
      assert.strictEqual(error._tag, "PacketError")
      assert.throws(() => Packet.decodeMtaUnsafe(given), Packet.PacketError)
    })
  }

  it("a reply with a payload it should not have is a PacketError", () => {
    for (const code of "cartdspf4") {
      const error = failure(Packet.decodeFilter(frame(code, "x", 100)))
      assert.strictEqual(error.expected, "the end of the packet")
      assert.strictEqual(error.offset, 105)
    }
  })

  const replies: ReadonlyArray<readonly [string, Frame.Frame, string]> = [
    ["a reply code without its NUL", frame("y", "550 no"), "ReplyCode: expected a string that ends with NUL at byte 5"],
    [
      "a reply code with a second NUL",
      frame("y", "550 no\0\0"),
      "ReplyCode: expected the end of the packet at byte 12"
    ],
    ["a third string of e", frame("e", "a\0b\0c\0"), "ChangeSender: expected the end of the packet at byte 9"],
    [
      "a third string of 2",
      frame("2", "a\0b\0c\0"),
      "AddRecipientWithParameters: expected the end of the packet at byte 9"
    ],
    ["bytes behind the value of h", frame("h", "A\0b\0c"), "AddHeader: expected the end of the packet at byte 9"],
    [
      "a macro list without its NUL",
      frame("O", `${"\0".repeat(12)}\0\0\0\0j`),
      "Negotiated: expected a string that ends with NUL at byte 21"
    ],
    ["SETSYMLIST", frame("l", "\0\0\0\0j\0"), "Packet: expected a reply of a filter, not the code 0x6c at byte 4"],
    ["a command", frame("M", "a\0"), "Packet: expected a reply of a filter, not the code 0x4d at byte 4"]
  ]
  for (const [what, given, message] of replies) {
    it(`${what} is a PacketError`, () => {
      assert.strictEqual(failure(Packet.decodeFilter(given)).message, message)
      assert.throws(() => Packet.decodeFilterUnsafe(given), Packet.PacketError)
    })
  }
})

describe("Packet.format", () => {
  const lines: ReadonlyArray<readonly [Packet.MtaPacket | Packet.FilterPacket, string]> = [
    [{ _tag: "Continue" }, "Continue"],
    [
      { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff },
      "Negotiate version=6 actions=0x1ff steps=0x1fffff"
    ],
    [
      { _tag: "Negotiated", version: 6, actions: 0, steps: 0, macros: [{ stage: 5, names: bytes("i {x}") }] },
      "Negotiated version=6 actions=0x0 steps=0x0 macros=[5:\"i {x}\"]"
    ],
    [
      { _tag: "Macro", stage: bytes("C"), macros: [{ name: bytes("j"), value: bytes("mx") }] },
      "Macro stage=\"C\" macros=[\"j\"=\"mx\"]"
    ],
    [
      { _tag: "Connect", hostname: bytes("h"), address: { _tag: "IPv6", port: 25, address: bytes("::1") } },
      "Connect hostname=\"h\" address=IPv6(\"::1\", port 25)"
    ],
    [
      { _tag: "Connect", hostname: bytes("h"), address: { _tag: "Unix", port: 0, path: bytes("/run/x") } },
      "Connect hostname=\"h\" address=Unix(\"/run/x\", port 0)"
    ],
    [{ _tag: "Connect", hostname: bytes("h"), address: { _tag: "Unknown" } }, "Connect hostname=\"h\" address=Unknown"],
    [
      { _tag: "Mail", sender: bytes("<jørn@b>"), parameters: [bytes("SIZE=1"), bytes("SMTPUTF8")] },
      "Mail sender=\"<j\\xC3\\xB8rn@b>\" parameters=[\"SIZE=1\", \"SMTPUTF8\"]"
    ],
    [{ _tag: "ChangeSender", sender: bytes("<>") }, "ChangeSender sender=\"<>\""],
    [{ _tag: "ReplaceBody", bytes: ByteString.toBytes(bytes("a\r\n")) }, "ReplaceBody bytes=3:\"a\\r\\n\""]
  ]
  for (const [packet, line] of lines) it(line, () => assert.strictEqual(Packet.format(packet), line))
})

describe("Packet.table", () => {
  it("has a row for each packet", () => {
    const rows = Packet.table().split("\n")
    assert.strictEqual(rows.length, 2 + Packet.mtaDefinitions.length + Packet.filterDefinitions.length)
    assert.include(
      rows,
      "| `M` | Mail | MTA | 1 | yes | sender: string; parameters: strings | MAIL FROM: a message begins. |"
    )
    for (const row of rows) assert.strictEqual(row.split(" | ").length, 7)
  })
})
