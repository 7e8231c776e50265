/** The header of a message that arrives in pieces. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { concat } from "../../src/internal/bytes/concat.ts"
import { LineEnds } from "../../src/internal/bytes/lineEnds.ts"
import { type Arrived, ArrivingHeader } from "../../src/internal/mail/arrivingHeader.ts"
import * as RawMessage from "../../src/RawMessage.ts"
import { ByteString } from "../../src/Wire.ts"
import { assertLinear } from "../support/growth.ts"

const bytes = (text: string): Uint8Array => ByteString.toBytes(text as ByteString) // one character per byte

/** Hands the message over in pieces of these sizes, again and again. */
const arrived = (message: Uint8Array, sizes: ReadonlyArray<number>): RawMessage.RawMessage => {
  const header = new ArrivingHeader()
  const body: Array<Uint8Array> = []
  let found: Arrived | undefined
  for (let at = 0, turn = 0; at < message.length; turn++) {
    const piece = message.subarray(at, at + sizes[turn % sizes.length]!)
    at += piece.length
    if (found !== undefined) body.push(piece)
    else {
      found = header.push(piece)
      if (found !== undefined) body.push(found.rest)
    }
  }
  if (found === undefined) {
    found = header.end()
    body.push(found.rest)
  }
  const lines = new LineEnds()
  return { headers: found.headers, body: concat([...body.map((piece) => lines.next(piece)), lines.end]) }
}

const lines = ["From ", "From : a", "A: 1", "B :2", "C", ":", " fold", "\t", "", "\r", "\xe9: x", "D:\xff\0", "From a"]

const Message = Schema.Array(Schema.Tuple([Schema.Literals(lines), Schema.Literals(["\n", "\r\n", "\r", ""])]))
const Sizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))).check(Schema.isMinLength(1))

describe("a header that arrives in pieces", () => {
  it.prop("ends where it ends in the whole message", [Message, Sizes], ([message, sizes]) => {
    const whole = bytes(message.flat().join(""))
    assert.deepStrictEqual(arrived(whole, sizes), RawMessage.parse(whole))
  }, { arbitrary: { runs: 2000 } })

  it("is complete with its last byte", () => {
    const header = new ArrivingHeader()
    assert.isUndefined(header.push(bytes("A: 1\r\n b\r\n\r")))
    assert.deepStrictEqual(header.push(bytes("\nbody")), { headers: [["A", "1\n b"]], rest: bytes("body") })
    assert.strictEqual(header.length, 16)
  })

  it("takes a time that grows with its length, however small the pieces", () => {
    assertLinear(1000, (size) => bytes("X-Field: value\r\n".repeat(size / 20)), (message) => {
      const header = new ArrivingHeader()
      for (let at = 0; at < message.length; at += 7) header.push(message.subarray(at, at + 7))
    })
    assertLinear(1000, (size) => bytes("x".repeat(size)), (message) => {
      const header = new ArrivingHeader()
      for (let at = 0; at < message.length; at += 7) header.push(message.subarray(at, at + 7))
    })
  })
})
