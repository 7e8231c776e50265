/** Recording: sessions read, written, redacted and replayed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import type * as Frame from "../src/Frame.ts"
import * as Packet from "../src/Packet.ts"
import * as Recording from "../src/Recording.ts"
import { ByteString } from "../src/Wire.ts"
import * as recordings from "./support/recordings.ts"
import { decode } from "./support/wire.ts"

const frameOf = (packet: Packet.MtaPacket | Packet.FilterPacket): Frame.Frame =>
  decode([Packet.encode(packet)]).frames[0]!

describe("Recording", () => {
  it("reads lines", () => {
    const lines = Result.getOrThrow(Recording.parse(
      [
        `{"ev": "trace", "desc": "two"}`,
        `{"conn": 1, "t": 13, "ev": "open"}`,
        ``,
        `{"conn": 1, "t": 14, "dir": "M", "cmd": "H", "name": "HELO", "len": 4, "hex": "612e00"}`,
        `{"conn": 1, "t": 15, "ev": "junk", "dir": "F", "len": 2, "hex": "0001"}`,
        `{"conn": 1, "t": 16, "ev": "reset", "dir": "M", "err": "gone"}`,
        ``
      ].join("\n")
    ))
    assert.deepStrictEqual(lines, [
      { _tag: "Description", event: "trace", description: "two" },
      { _tag: "Event", connection: 1, time: 13, event: "open" },
      {
        _tag: "Frame",
        connection: 1,
        time: 14,
        from: "mta",
        code: "H",
        name: "HELO",
        length: 4,
        bytes: Uint8Array.of(0x61, 0x2e, 0)
      },
      { _tag: "Event", connection: 1, time: 15, event: "junk", from: "filter", length: 2, bytes: Uint8Array.of(0, 1) },
      { _tag: "Event", connection: 1, time: 16, event: "reset", from: "mta", error: "gone" }
    ])
  })

  it("says which line is none", () => {
    for (
      const bad of ["{", "[]", `{"conn":1}`, `{"conn":1,"t":1,"ev":"lunch"}`, `{"conn":1,"t":1,"dir":"X","cmd":"c"}`]
    ) {
      const result = Recording.parse(`{"conn":1,"t":13,"ev":"open"}\n${bad}\n`)
      assert.isTrue(Result.isFailure(result), bad)
      if (Result.isFailure(result)) assert.match(result.failure.message, /^line 2 of the recording: /)
    }
  })

  it.effect.prop("writes what it reads", { lines: Schema.Array(Recording.Line) }, ({ lines }) =>
    Effect.sync(() => {
      assert.deepStrictEqual(Recording.parse(Recording.format(lines)), Result.succeed(lines))
    }))

  it("reads and writes every recording here without loss", () => {
    for (const name of recordings.names) {
      const lines = Result.getOrThrow(Recording.parse(recordings.text(name)))
      const json = (text: string) => text.trim().split("\n").map((line): unknown => JSON.parse(line))
      assert.deepStrictEqual(json(Recording.format(lines)), json(recordings.text(name)), name)
    }
  })

  it("takes connections apart and packets out", () => {
    const [first] = recordings.connections("postfix-all-steps")
    const commands = first!.lines.flatMap((line) =>
      line._tag === "Frame" && line.from === "mta" ? [Result.getOrThrow(Recording.packet(line))._tag] : []
    )
    assert.deepStrictEqual(commands.slice(0, 5), ["Negotiate", "Macro", "Connect", "Macro", "Helo"])
    const last = first!.lines[first!.lines.length - 1]
    assert.deepInclude(last, { _tag: "Event", event: "eof" })
  })

  it("makes a line of a frame", () => {
    const packet: Packet.MtaPacket = { _tag: "Helo", name: ByteString.fromText("client.example.org") }
    const line = Recording.frame("mta", frameOf(packet), { connection: 3, time: 7 })
    assert.strictEqual(line.name, "Helo")
    assert.isTrue(Recording.isComplete(line))
    assert.deepStrictEqual(Recording.packet(line), Result.succeed(packet))
    assert.deepStrictEqual(Recording.toBytes(line), Packet.encode(packet).slice())
    assert.strictEqual(
      Recording.formatLine(line),
      `{"conn":3,"t":7,"dir":"M","cmd":"H","name":"Helo","len":20,"hex":"636c69656e742e6578616d706c652e6f726700"}`
    )
    assert.isFalse(Recording.isComplete({ ...line, bytes: line.bytes.subarray(0, 2) }))
  })
})
