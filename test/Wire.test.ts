/** Wire: byte strings, readers, writers and packet definitions. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type * as Frame from "../src/Frame.ts"
import * as latin1 from "../src/internal/bytes/latin1.ts"
import { quote } from "../src/internal/bytes/quote.ts"
import { ByteString, type Field, PacketError, Reader, Writer } from "../src/Wire.ts"
import * as Wire from "../src/Wire.ts"
import { concat } from "./support/wire.ts"

const allBytes = Uint8Array.from({ length: 256 }, (_, index) => index)

const frame = (bytes: Uint8Array, position = 0): Frame.Frame => ({
  code: 0x58,
  bytes,
  offset: 0,
  limit: bytes.length,
  position
})

const readerOf = (bytes: Uint8Array): Reader => {
  const reader = new Reader()
  reader.reset(frame(bytes), "Test")
  return reader
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

/** What a field writes, without the length and the code. */
const written = <S extends Schema.Constraint>(field: Field<S>, value: S["Type"]): Uint8Array => {
  const writer = new Writer()
  const mark = writer.begin(0x58)
  field.write(writer, value)
  writer.end(mark)
  return writer.take().slice(5)
}

describe("ByteString", () => {
  it("has one character for each byte", () => {
    const string = ByteString.fromBytes(allBytes)
    assert.strictEqual(string.length, 256)
    assert.isTrue(Array.from(allBytes).every((byte) => string.charCodeAt(byte) === byte))
    assert.deepStrictEqual(ByteString.toBytes(string), allBytes)
  })

  it.effect.prop(
    "loses no byte",
    { bytes: Schema.Uint8Array },
    ({ bytes }) => Effect.sync(() => assert.deepStrictEqual(ByteString.toBytes(ByteString.fromBytes(bytes)), bytes))
  )

  it.effect.prop("loses no text", { text: Schema.String }, ({ text }) =>
    Effect.sync(() => {
      const string = ByteString.fromText(text)
      // A lone surrogate has no UTF-8.
      assert.strictEqual(ByteString.toText(string), text.replace(/\p{Surrogate}/gu, "\ufffd"))
      assert.isTrue(ByteString.isUtf8(string))
      assert.isTrue(Schema.is(ByteString)(string))
    }))

  it("reads as UTF-8 what is UTF-8", () => {
    assert.strictEqual(ByteString.fromText("<jørn@example.org>"), "<j\u00c3\u00b8rn@example.org>")
    assert.strictEqual(ByteString.toText(ByteString.make("j\u00c3\u00b8rn")), "jørn")
    assert.strictEqual(ByteString.fromText("\ufeffx"), "\u00ef\u00bb\u00bfx")
    assert.strictEqual(ByteString.toText(ByteString.fromText("\ufeffx")), "\ufeffx")
    const latin = ByteString.make("caf\u00e9")
    assert.strictEqual(ByteString.toText(latin), "caf\ufffd")
    assert.isFalse(ByteString.isUtf8(latin))
    assert.isTrue(ByteString.isUtf8(ByteString.make("cafe")))
  })

  it("is refused by its schema with a character that is no byte", () => {
    assert.isTrue(Schema.is(ByteString)("\0\u00ff\n"))
    assert.isFalse(Schema.is(ByteString)("\u0100"))
    assert.isFalse(Schema.is(ByteString)("\ud83d\ude00"))
    assert.isFalse(Schema.is(Wire.text.schema)("a\0b"))
    assert.isFalse(Schema.is(Wire.name.schema)(""))
    assert.isFalse(Schema.is(Wire.character.schema)("ab"))
    assert.isTrue(Schema.is(Wire.character.schema)("\0"))
  })

  it("is a string in JSON, and bytes are base64", () => {
    const codec = Schema.toCodecJson(Schema.Struct({ text: ByteString, bytes: Wire.bytes.schema }))
    const value = { text: ByteString.make("\u0000\u00ff"), bytes: Uint8Array.of(1, 2, 255) }
    const json = JSON.stringify(Schema.encodeSync(codec)(value))
    assert.strictEqual(json, "{\"text\":\"\\u0000\u00ff\",\"bytes\":\"AQL/\"}")
    assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(JSON.parse(json)), value)
  })
})

describe("latin1", () => {
  it("converts every length, with Buffer's help or without", () => {
    const bytes = concat(Array.from({ length: 40 }, () => allBytes))
    const plain = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")
    const lengths = [...Array.from({ length: 70 }, (_, length) => length), 256, 4096, 4097, bytes.length - 3]
    for (const length of lengths) {
      assert.strictEqual(latin1.slice(bytes, 3, 3 + length), plain.slice(3, 3 + length))
      assert.strictEqual(latin1.sliceLong(bytes, 3, 3 + length), plain.slice(3, 3 + length))
      const target = new Uint8Array(length + 2)
      assert.strictEqual(latin1.write(target, plain.slice(3, 3 + length), 1), length + 1)
      assert.deepStrictEqual(target.subarray(1, length + 1), bytes.subarray(3, 3 + length))
    }
  })
})

describe("Reader", () => {
  it("reads numbers, the higher bytes first", () => {
    const reader = readerOf(Uint8Array.of(0xff, 0x85, 0x4a, 0xff, 0xee, 0xdd, 0xcc))
    assert.strictEqual(reader.u8(), 0xff)
    assert.strictEqual(reader.u16(), 0x854a)
    assert.strictEqual(reader.u32(), 0xffeeddcc)
    assert.strictEqual(reader.offset, reader.limit)
  })

  it("says where in the stream something is missing, and does not read beyond the frame", () => {
    const bytes = ascii("xxxxxab\0yyyyy\0")
    const reader = new Reader()
    const reset = (limit: number) => reader.reset({ code: 0x58, bytes, offset: 5, limit, position: 100 }, "Test")
    const failure = (f: () => unknown): PacketError => {
      try {
        f()
      } catch (error) {
        if (error instanceof PacketError) return error
      }
      return assert.fail("no PacketError")
    }
    reset(7)
    assert.deepStrictEqual(
      failure(() => reader.text()),
      new PacketError({ offset: 105, expected: "a string that ends with NUL", command: "Test" })
    )
    assert.strictEqual(failure(() => reader.u32()).message, "Test: expected four bytes at byte 105")
    reset(6)
    assert.strictEqual(failure(() => reader.u16()).expected, "two bytes")
    assert.strictEqual(reader.u8(), 0x61)
    assert.strictEqual(failure(() => reader.u8()).offset, 106)
    assert.deepStrictEqual(reader.texts(), [])
    reset(13)
    assert.deepStrictEqual(reader.texts(), ["ab"])
    assert.strictEqual(reader.offset, 8)
    reader.warn("odd")
    assert.deepStrictEqual(reader.warnings, [
      { _tag: "PacketWarning", offset: 108, command: "Test", message: "odd" }
    ])
  })

  it("finds the end of long strings", () => {
    for (const length of [63, 64, 65, 1000, 70_000]) {
      const reader = readerOf(ascii(`${"x".repeat(length)}\0y`))
      assert.strictEqual(reader.text().length, length)
      assert.throws(() => reader.text(), PacketError)
    }
    const unterminated = new Uint8Array(200).fill(0x78)
    unterminated[150] = 0
    const reader = new Reader()
    reader.reset({ code: 0x58, bytes: unterminated, offset: 0, limit: 150, position: 0 }, "Test")
    assert.throws(() => reader.text(), PacketError)
  })
})

describe("Writer", () => {
  it("gives all since the last take, once", () => {
    const writer = new Writer()
    assert.deepStrictEqual(writer.take(), new Uint8Array(0))
    writer.u8(1)
    writer.u16(0x0203)
    writer.u32(0xf4f5f6f7)
    writer.text(ByteString.make("a\u00e9"))
    writer.raw(Uint8Array.of(9, 8))
    assert.strictEqual(writer.pending, 12)
    assert.deepStrictEqual(writer.take(), Uint8Array.of(1, 2, 3, 0xf4, 0xf5, 0xf6, 0xf7, 0x61, 0xe9, 0, 9, 8))
    assert.strictEqual(writer.pending, 0)
    assert.deepStrictEqual(writer.take(), new Uint8Array(0))
  })

  it("never writes again what has been taken, also with several writers at once", () => {
    const writers = [new Writer(), new Writer(), new Writer()]
    const taken: Array<{ readonly bytes: Uint8Array; readonly expected: Uint8Array }> = []
    const pending = writers.map(() => new Array<Uint8Array>())
    for (let turn = 0; turn < 3000; turn++) {
      const which = (turn * 7) % 3
      const chunk = new Uint8Array((turn * 37) % 211).fill(turn % 256)
      writers[which]!.raw(chunk)
      pending[which]!.push(chunk)
      if (turn % 5 === 0) {
        taken.push({ bytes: writers[which]!.take(), expected: concat(pending[which]!) })
        pending[which] = []
      }
    }
    for (const { bytes, expected } of taken) assert.deepStrictEqual(bytes, expected)
  })

  it("takes packets bigger than its memory, and their lengths are right", () => {
    const writer = new Writer()
    const sizes = [0, 10, 16_000, 300, 65535, 65535, 1, 200_000]
    for (const size of sizes) {
      const mark = writer.begin(0x62)
      writer.raw(new Uint8Array(size).fill(1))
      writer.end(mark)
    }
    const bytes = writer.take()
    let at = 0
    for (const size of sizes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at)
      assert.strictEqual(view.getUint32(0), size + 1)
      assert.strictEqual(view.getUint8(4), 0x62)
      at += size + 5
    }
    assert.strictEqual(at, bytes.length)
  })
})

describe("fields", () => {
  it("write what they read", () => {
    const string = ByteString.make("a\u00ff")
    assert.deepStrictEqual(written(Wire.u16, 258), Uint8Array.of(1, 2))
    assert.deepStrictEqual(written(Wire.u32, 0xff000001), Uint8Array.of(255, 0, 0, 1))
    assert.deepStrictEqual(written(Wire.character, ByteString.make("M")), Uint8Array.of(0x4d))
    assert.deepStrictEqual(written(Wire.text, string), Uint8Array.of(0x61, 0xff, 0))
    assert.deepStrictEqual(written(Wire.texts, [string, ByteString.make("")]), Uint8Array.of(0x61, 0xff, 0, 0))
    assert.deepStrictEqual(written(Wire.optionalText, string), Uint8Array.of(0x61, 0xff, 0))
    assert.deepStrictEqual(written(Wire.bytes, Uint8Array.of(0, 1)), Uint8Array.of(0, 1))
    assert.strictEqual(Wire.u16.read(readerOf(Uint8Array.of(1, 2))), 258)
    assert.strictEqual(Wire.character.read(readerOf(Uint8Array.of(0))), "\0")
    assert.deepStrictEqual<unknown>(Wire.texts.read(readerOf(Uint8Array.of(0x61, 0, 0, 0x62))), ["a", ""])
    assert.isUndefined(Wire.optionalText.read(readerOf(new Uint8Array(0))))
    assert.strictEqual(Wire.optionalText.read(readerOf(Uint8Array.of(0))), "")
    assert.throws(
      () => Wire.name.read(readerOf(Uint8Array.of(0))),
      "Test: expected a name of at least one byte at byte 5"
    )
    assert.deepStrictEqual(Wire.bytes.read(readerOf(allBytes)), allBytes)
  })

  it("print on one line of ASCII", () => {
    assert.strictEqual(Wire.flags.format(0x1ff), "0x1ff")
    assert.strictEqual(Wire.text.format(ByteString.make("a\"\\\r\n\t\0\u00e9")), "\"a\\\"\\\\\\r\\n\\t\\x00\\xE9\"")
    assert.strictEqual(Wire.texts.format([ByteString.make("a"), ByteString.make("")]), "[\"a\", \"\"]")
    assert.strictEqual(Wire.bytes.format(ascii("hello\r\n")), "7:\"hello\\r\\n\"")
    assert.strictEqual(Wire.bytes.format(new Uint8Array(65535).fill(0x78)), `65535:"${"x".repeat(32)}"...`)
  })

  it.effect.prop(
    "quoted strings are printable and tell all strings apart",
    [ByteString, ByteString],
    ([one, two]) =>
      Effect.sync(() => {
        assert.match(quote(one), /^"[ -~]*"$/)
        assert.strictEqual(quote(one) === quote(two), one === two)
      })
  )
})
