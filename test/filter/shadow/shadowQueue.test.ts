/** What may wait for the hooks of a filter in the shadow, whatever clients do meanwhile. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { concat } from "../../../src/internal/bytes/concat.ts"
import type { OpenFile } from "../../../src/internal/bytes/spool.ts"
import * as Mta from "../../support/rawMta.ts"

const stuck = Milter.shadow(Milter.make("test").on({ connect: () => Effect.never, body: () => Effect.never }))

describe("while a hook hangs", () => {
  it.effect("messages that are given up do not pile up", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(stuck)
      const mta = yield* server.open()
      yield* mta.write(Mta.connect())
      for (let count = 0; count < 50; count++) {
        yield* mta.write(...Array.from({ length: 100 }, () => [Mta.mail(), Mta.abort]).flat())
        yield* mta.replies
      }
      const texts = server.logs.map(({ text }) => text).filter((text) => text.includes("keep up"))
      assert.deepStrictEqual(texts, [
        "the shadow of test cannot keep up and gives up on this session"
      ])
      assert.strictEqual((yield* mta.each(...Mta.message)).at(-1), "Continue")
    }))

  it.effect("messages of many sessions do not, either", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(stuck)
      const piece = Mta.body("x".repeat(65_000))
      for (let count = 0; count < 72; count++) {
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        for (let sent = 0; sent < 15; sent++) yield* mta.write(piece)
        yield* mta.replies
      }
      yield* TestClock.adjust("4 minutes")
      yield* Mta.settle
      const behind = server.logs.filter(({ text }) => text === "the shadow of test cannot keep up and gives up")
      // 64 MiB for all of them.
      assert.isAbove(behind.length, 2)
      assert.isBelow(behind.length, 8)
    }))
})

/** Files in memory: what they hold, and how many are open. */
const files = () => {
  let open = 0
  let written = 0
  const openFile: OpenFile = Effect.sync(() => {
    let content: Uint8Array = new Uint8Array(0)
    open++
    return {
      append: (bytes) =>
        // The disk takes its time.
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => {
            written += bytes.length
            content = concat([content, bytes])
          })
        ),
      read: (position, length) => Effect.sync(() => content.slice(position, position + length)),
      close: Effect.sync(() => {
        open--
      })
    }
  })
  return { openFile, open: () => open, written: () => written }
}

describe("a body that has no room in memory", () => {
  /** A filter that reads nothing before it is told to. */
  const reading = (maxSpoolBytes?: number) => {
    const seen: Array<string> = []
    let go: () => void = () => undefined
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    const filter = Milter.make("test").on({
      endOfMessage: () => Effect.sync(() => void seen.push("end")).pipe(Effect.as(Verdict.reject()))
    }, {
      mail: () => Effect.promise(() => gate),
      body: ({ bytes }) => Effect.sync(() => void seen.push(`${bytes[0]} ${bytes.length}`))
    })
    return { filter: Milter.shadow(filter, maxSpoolBytes === undefined ? {} : { maxSpoolBytes }), go: () => go(), seen }
  }

  const piece = (n: number): Packet.Body => ({ _tag: "Body", bytes: new Uint8Array(65_000).fill(n) })
  const pieces = Array.from({ length: 80 }, (_, n) => piece(n))

  it.effect("waits in a file, and comes whole and in order", () =>
    Effect.gen(function*() {
      const { filter, go, seen } = reading()
      const disk = files()
      const server = yield* Mta.serve(filter, {}, disk.openFile)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      for (const packet of pieces) yield* mta.say(packet)
      assert.deepStrictEqual((yield* mta.each(Mta.endOfMessage())).at(-1), "Continue")
      // Three quarters of 1 MiB stay in memory.
      assert.strictEqual(disk.written(), (80 - 12) * 65_000)
      assert.strictEqual(disk.open(), 1)
      go()
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      for (let turn = 0; turn < 40 && seen.at(-1) !== "end"; turn++) yield* Mta.settle
      assert.deepStrictEqual(seen, [...pieces.map((_, n) => `${n} 65000`), "end"])
      yield* Mta.settle
      assert.strictEqual(disk.open(), 0)
      assert.deepStrictEqual(server.logs, [])
      assert.deepStrictEqual(server.infos.flatMap(({ text }) => text.startsWith("shadow") ? [text] : []), [
        "shadow rejected"
      ])
    }))

  it.effect("is given up above the option, and its file is closed", () =>
    Effect.gen(function*() {
      const disk = files()
      const server = yield* Mta.serve(reading(20 * 65_000).filter, {}, disk.openFile)
      const send = Effect.gen(function*() {
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        for (const packet of pieces) yield* mta.say(packet)
        return (yield* mta.each(Mta.endOfMessage())).at(-1)
      })
      assert.strictEqual(yield* send, "Continue")
      assert.strictEqual(disk.written(), 20 * 65_000)
      assert.strictEqual(disk.open(), 0)
      // What was given up takes no room any more.
      assert.strictEqual(yield* send, "Continue")
      assert.strictEqual(disk.written(), 40 * 65_000)
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "the shadow of test cannot keep up and gives up",
        "the shadow of test cannot keep up and gives up"
      ])
    }))

  it.effect("is given up without a file, or with a disk that is full, and the message passes", () =>
    Effect.gen(function*() {
      const full: OpenFile = Effect.die("no space left on device")
      for (const [openFile, option] of [[undefined, undefined], [files().openFile, 0], [full, undefined]] as const) {
        const server = yield* Mta.serve(reading(option).filter, {}, openFile)
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        for (const packet of pieces) yield* mta.say(packet)
        assert.strictEqual((yield* mta.each(Mta.endOfMessage())).at(-1), "Continue")
        assert.include(server.logs.map(({ text }) => text), "the shadow of test cannot keep up and gives up")
      }
    }))

  it.effect("leaves no file when the message is given up, or the server stops", () =>
    Effect.gen(function*() {
      const disk = files()
      const server = yield* Mta.serve(reading().filter, {}, disk.openFile)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      for (const packet of pieces) yield* mta.say(packet)
      yield* mta.each(Mta.abort)
      assert.strictEqual(disk.open(), 0)
      yield* mta.each(Mta.mail(), Mta.rcpt())
      for (const packet of pieces) yield* mta.say(packet)
      yield* Mta.settle
      assert.strictEqual(disk.open(), 1)
      yield* server.stop
      assert.strictEqual(disk.open(), 0)
    }))
})
