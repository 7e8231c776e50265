/** Frame: bytes cut into frames, at any split and with any length field. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Frame from "../src/Frame.ts"
import { assertLinear } from "./support/growth.ts"
import { concat, decode, payload, split, summary } from "./support/wire.ts"

const Frames = Schema.Array(
  Schema.Struct({
    code: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })),
    payload: Schema.Uint8Array
  })
)
const Sizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 })))

describe("Frame", () => {
  it("encodes the length, the code and the payload", () => {
    assert.deepStrictEqual(Frame.encode(0x4e, new Uint8Array(0)), Uint8Array.of(0, 0, 0, 1, 0x4e))
    assert.deepStrictEqual(Frame.encode(0x42, Uint8Array.of(1, 2)), Uint8Array.of(0, 0, 0, 3, 0x42, 1, 2))
    assert.deepStrictEqual(Frame.encode(0x42, new Uint8Array(65535)).subarray(0, 5), Uint8Array.of(0, 1, 0, 0, 0x42))
  })

  it.effect.prop(
    "cuts the same frames out of a stream however it is split",
    { frames: Frames, sizes: Sizes },
    (given) =>
      Effect.sync(() => {
        const bytes = concat(given.frames.map((frame) => Frame.encode(frame.code, frame.payload)))
        const { error, frames, pending } = decode(split(bytes, given.sizes))
        assert.isUndefined(error)
        assert.strictEqual(pending, 0)
        assert.deepStrictEqual(
          frames.map((frame) => ({ code: frame.code, payload: payload(frame).slice() })),
          given.frames.map((frame) => ({ code: frame.code, payload: frame.payload }))
        )
        let position = 0
        for (const frame of frames) {
          assert.strictEqual(frame.position, position)
          position += 5 + frame.limit - frame.offset
        }
      })
  )

  it("cuts at every place", () => {
    const bytes = concat([
      Frame.encode(0x44, Uint8Array.of(0x43)),
      Frame.encode(0x4e, new Uint8Array(0)),
      Frame.encode(0x42, new Uint8Array(200).fill(7))
    ])
    const whole = summary(decode([bytes]).frames)
    assert.strictEqual(whole.length, 3)
    for (let first = 0; first <= bytes.length; first++) {
      const two = decode([bytes.slice(0, first), bytes.slice(first)])
      assert.deepStrictEqual(summary(two.frames), whole)
      assert.strictEqual(two.pending, 0)
    }
    assert.deepStrictEqual(summary(decode(split(bytes, [1])).frames), whole)
  })

  it("holds what is incomplete, and nothing between two frames", () => {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    assert.strictEqual(decoder.pending, 0)
    decoder.push(Uint8Array.of(0, 0), frames)
    assert.strictEqual(decoder.pending, 2)
    decoder.push(new Uint8Array(0), frames)
    assert.strictEqual(decoder.pending, 2)
    decoder.push(Uint8Array.of(0, 2, 0x42), frames)
    assert.strictEqual(decoder.pending, 5)
    assert.strictEqual(frames.length, 0)
    decoder.push(Uint8Array.of(9, 0), frames)
    assert.strictEqual(decoder.pending, 1)
    assert.deepStrictEqual(summary(frames), [{ code: "B", position: 0, payload: "09" }])
  })

  it("gives views into a chunk that holds the whole frame, and owns what it had to put together", () => {
    const bytes = concat([Frame.encode(0x42, Uint8Array.of(1)), Frame.encode(0x42, Uint8Array.of(2))])
    const { frames } = decode([bytes])
    assert.isTrue(frames.every((frame) => frame.bytes === bytes))
    const decoder = Frame.makeDecoder()
    const apart: Array<Frame.Frame> = []
    const chunk = bytes.slice(0, 5)
    decoder.push(chunk, apart)
    chunk.fill(0xff)
    decoder.push(bytes.slice(5), apart)
    assert.deepStrictEqual(summary(apart), summary(frames))
    // The next partial frame does not overwrite the one that was handed out.
    decoder.push(bytes.slice(0, 5), apart)
    assert.deepStrictEqual(summary(apart), summary(frames))
  })

  it("refuses a length of 0, delivers what came before, and stays failed", () => {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    const error = decoder.push(Uint8Array.of(0, 0, 0, 1, 0x4e, 0, 0, 0, 0, 0, 0, 0, 1, 0x4e), frames)
    assert.deepStrictEqual(error, new Frame.FrameError({ offset: 5, rule: "length", length: 0, maxLength: 1_048_576 }))
    assert.strictEqual(error?.message, "Frame at byte 5: a length of 0, where at least the code byte has to be")
    assert.deepStrictEqual(summary(frames), [{ code: "N", position: 0, payload: "" }])
    assert.strictEqual(decoder.push(Frame.encode(0x4e, new Uint8Array(0)), frames), error)
    assert.strictEqual(frames.length, 1)
    assert.strictEqual(decoder.pending, 0)
  })

  it("refuses a length over the cap as soon as the length is known, whole or in pieces", () => {
    for (const sizes of [[], [1], [2], [3]]) {
      const over = decode(split(Uint8Array.of(0, 0x10, 0, 1), sizes))
      assert.deepStrictEqual(
        over.error,
        new Frame.FrameError({ offset: 0, rule: "cap", length: 1_048_577, maxLength: 1_048_576 })
      )
      assert.strictEqual(over.error?.message, "Frame at byte 0: a length of 1048577 is over the cap of 1048576")
    }
    assert.isUndefined(decode([Uint8Array.of(0, 0x10, 0, 0)]).error)
    // Not a negative number, as it is for libmilter.
    assert.strictEqual(decode([Uint8Array.of(0xff, 0xff, 0xff, 0xff)]).error?.length, 0xffffffff)
    assert.strictEqual(decode([Uint8Array.of(0, 1, 0, 1)], { maxLength: 65536 }).error?.rule, "cap")
    assert.isUndefined(decode([Uint8Array.of(0, 1, 0, 0)], { maxLength: 65536 }).error)
  })

  it("allocates nothing because of a length field", () => {
    const before = process.memoryUsage().arrayBuffers
    const decoders = Array.from({ length: 200 }, () => {
      const decoder = Frame.makeDecoder()
      decoder.push(Uint8Array.of(0, 0x10, 0, 0, 0x42, 1, 2, 3), [])
      return decoder
    })
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 1_000_000)
    assert.isTrue(decoders.every((decoder) => decoder.pending === 8))
  })

  const byteByByte = (bytes: Uint8Array, frames: Array<Frame.Frame>): void => {
    const decoder = Frame.makeDecoder()
    for (let at = 0; at < bytes.length; at++) decoder.push(bytes.subarray(at, at + 1), frames)
  }

  it("puts together a frame that comes byte by byte with a few copies", () => {
    // Copying what is held for each byte would be half a terabyte for 1 MiB.
    assertLinear(15_000, (size) => Frame.encode(0x42, new Uint8Array(size)), (bytes) => byteByByte(bytes, []))
  })

  it("puts together a frame of 1 MiB that comes byte by byte", () => {
    const bytes = Frame.encode(0x42, new Uint8Array(1_048_575).fill(0x78))
    const frames: Array<Frame.Frame> = []
    byteByByte(bytes, frames)
    assert.strictEqual(frames.length, 1)
    assert.deepStrictEqual(frames[0]!.bytes.subarray(0, frames[0]!.limit), bytes)
    assert.isAtMost(frames[0]!.bytes.length, 2 * bytes.length)
  })
})
