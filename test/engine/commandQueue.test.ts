/** The queue of commands, and when the memory of a frame that came in parts serves the next one. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Frame from "../../src/Frame.ts"
import { CommandQueue } from "../../src/internal/engine/commandQueue.ts"

const body = 0x42

const queueOf = (overwrites = false): CommandQueue =>
  new CommandQueue({ frameLength: 65_536, queuedPackets: 100 }, Effect.runSync(Clock.Clock), overwrites)

const piece = (filler: number, length: number): Uint8Array => Frame.encode(body, new Uint8Array(length).fill(filler))

/** Both parts of a frame, cut before its last bytes: what a read of 64 kB does to a full piece of a body. */
const parts = (frame: Uint8Array): [Uint8Array, Uint8Array] => [frame.slice(0, -4), frame.slice(-4)]

const addAll = (queue: CommandQueue, chunks: ReadonlyArray<Uint8Array>): void => {
  for (const chunk of chunks) queue.addChunk(chunk)
}

const payload = ({ bytes, limit, offset }: Frame.Frame): Uint8Array => bytes.slice(offset, limit)

describe("the memory of a frame that came in parts", () => {
  it("serves the next one, once the command has been handled", () => {
    const queue = queueOf()
    addAll(queue, parts(piece(1, 1000)))
    const { bytes } = queue.removeFirst()!
    assert.isUndefined(queue.removeFirst())
    addAll(queue, parts(piece(2, 1000)))
    const second = queue.removeFirst()!
    assert.strictEqual(second.bytes, bytes)
    assert.deepStrictEqual(payload(second), new Uint8Array(1000).fill(2))
    assert.isUndefined(queue.removeFirst())
    // A shorter one fits, a longer one does not.
    addAll(queue, parts(piece(3, 900)))
    const third = queue.removeFirst()!
    assert.strictEqual(third.bytes, bytes)
    assert.deepStrictEqual(payload(third), new Uint8Array(900).fill(3))
    assert.isUndefined(queue.removeFirst())
    addAll(queue, parts(piece(4, 1100)))
    const fourth = queue.removeFirst()!
    assert.notStrictEqual(fourth.bytes, bytes)
    assert.deepStrictEqual(payload(fourth), new Uint8Array(1100).fill(4))
  })

  it("is not written as long as the command is being handled, whatever arrives", () => {
    const queue = queueOf()
    addAll(queue, parts(piece(1, 1000)))
    const first = { ...queue.removeFirst()! }
    for (const filler of [2, 3, 4]) {
      addAll(queue, parts(piece(filler, 1000)))
      assert.isUndefined(queue.queueRest())
    }
    assert.deepStrictEqual(payload(first), new Uint8Array(1000).fill(1))
    for (const filler of [2, 3, 4]) {
      const next = queue.removeFirst()!
      addAll(queue, parts(piece(9, 1000)))
      assert.deepStrictEqual(payload(next), new Uint8Array(1000).fill(filler))
    }
  })

  it("is let go at the end of the message", () => {
    const queue = queueOf()
    for (const isHandled of [true, false]) {
      addAll(queue, parts(piece(1, 1000)))
      const { bytes } = queue.removeFirst()!
      if (isHandled) queue.removeFirst()
      queue.messageEnds()
      addAll(queue, parts(piece(2, 1000)))
      assert.notStrictEqual(queue.removeFirst()!.bytes, bytes)
    }
  })

  it("is overwritten once the command has been handled where that is asked for, and what the other side has is not", () => {
    const queue = queueOf(true)
    const chunk = Buffer.concat([piece(1, 10), piece(2, 10), piece(3, 10)])
    queue.addChunk(chunk)
    const first = { ...queue.removeFirst()! }
    assert.strictEqual(queue.length, 2)
    const second = { ...queue.removeFirst()! }
    assert.deepStrictEqual(payload(first), new Uint8Array(10))
    assert.deepStrictEqual(payload(second), new Uint8Array(10).fill(2))
    queue.removeFirst()
    assert.deepStrictEqual(payload(second), new Uint8Array(10))
    assert.isUndefined(queue.removeFirst())
    assert.deepStrictEqual(chunk, Buffer.concat([piece(1, 10), piece(2, 10), piece(3, 10)]))
  })

  // Chunks cut anywhere; zeroes take a command in between.
  it.prop(
    "leaves each command as it was sent until the one after it is taken",
    [
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 }))),
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 90 }))),
      Schema.Boolean
    ],
    ([lengths, cuts, overwrites]) => {
      const frames = lengths.map((length, index) => piece(index % 256, length))
      const stream = Buffer.concat(frames)
      const queue = queueOf(overwrites)
      let taken = 0
      const current = (): void => {
        const frame = queue.removeFirst()
        latest = frame && { ...frame }
        if (frame !== undefined) taken++
      }
      let latest: Frame.Frame | undefined
      const check = (): void => {
        if (latest === undefined) return
        assert.deepStrictEqual(payload(latest), new Uint8Array(lengths[taken - 1]!).fill((taken - 1) % 256))
      }
      let at = 0
      for (const cut of cuts) {
        if (cut === 0) current()
        else {
          queue.addChunk(new Uint8Array(stream.subarray(at, at + cut)))
          at += cut
          if (cut % 2 === 0) queue.queueRest()
        }
        check()
      }
      queue.addChunk(new Uint8Array(stream.subarray(at)))
      check()
      while (taken < lengths.length) {
        const before = taken
        current()
        check()
        assert.strictEqual(taken, before + 1)
      }
    }
  )
})
