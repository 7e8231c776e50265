/** What a hostile or broken peer can do: nothing to others. Everything random comes from seeds that a failure shows. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Frame from "effect-milter/Frame"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Listeners from "../support/listeners.ts"
import * as random from "../support/random.ts"
import { concat, fromHex, split } from "../support/wire.ts"

const folder = new URL("../fixtures/recordings/", import.meta.url)

/** The bytes that MTAs sent in the recordings, one element a connection. */
const recorded: ReadonlyArray<Uint8Array> = Fs.readdirSync(folder).filter((file) => file.endsWith(".jsonl")).flatMap(
  (file) => {
    const connections = new Map<number, Array<Uint8Array>>()
    for (const line of Fs.readFileSync(new URL(file, folder), "utf8").split("\n")) {
      if (!line.includes("\"dir\": \"M\"")) continue
      const { cmd, conn, hex, sha256 } = JSON.parse(line)
      if (cmd === undefined || sha256 !== undefined) continue // an event, or cut in the recording
      const frames = connections.get(conn) ?? []
      frames.push(Frame.encode(cmd.charCodeAt(0), fromHex(hex)))
      connections.set(conn, frames)
    }
    return Array.from(connections.values(), concat)
  }
)

const mutate = (bytes: Uint8Array, next: () => number): Uint8Array => {
  let result: Uint8Array = bytes.slice(0, next() < 0.2 ? Math.floor(next() * bytes.length) : bytes.length)
  for (let times = Math.floor(next() * 4); times >= 0 && result.length > 0; times--) {
    const at = Math.floor(next() * result.length)
    const what = next()
    if (what < 0.4) result[at] = Math.floor(next() * 256)
    else if (what < 0.6) result = concat([result.subarray(0, at), result.subarray(at + 1 + Math.floor(next() * 8))])
    else if (what < 0.8) {
      result = concat([result.subarray(0, at), Uint8Array.of(Math.floor(next() * 256)), result.subarray(at)])
    } else result = concat([result.subarray(0, at), result.subarray(Math.floor(next() * result.length))])
  }
  return result
}

const noise = (next: () => number): Uint8Array =>
  Uint8Array.from({ length: Math.floor(next() * 200) }, () => Math.floor(next() * 256))

describe("framing and decoders", () => {
  it("answer any bytes with packets or typed errors", () => {
    for (let seed = 0; seed < 3000; seed++) {
      const next = random.make(seed).next
      const bytes = next() < 0.2 ? noise(next) : mutate(recorded[seed % recorded.length]!, next)
      const frames: Array<Frame.Frame> = []
      const decoder = Frame.makeDecoder()
      let error: Frame.FrameError | undefined
      for (const chunk of split(bytes, [1 + Math.floor(next() * 50)])) error = decoder.push(chunk, frames)
      assert.isTrue(error === undefined || error instanceof Frame.FrameError, `seed ${seed}`)
      for (const frame of frames) {
        const both: ReadonlyArray<Result.Result<Packet.MtaPacket | Packet.FilterPacket, Packet.PacketError>> = [
          Packet.decodeMta(frame),
          Packet.decodeFilter(frame)
        ]
        for (const decoded of both) {
          if (Result.isSuccess(decoded)) assert.strictEqual(typeof Packet.format(decoded.success), "string")
          else assert.strictEqual(decoded.failure._tag, "PacketError", `seed ${seed}`)
        }
      }
    }
  })
})

class Counters extends Context.Service<Counters, {
  readonly opened: Ref.Ref<number>
  readonly closed: Ref.Ref<number>
  readonly defects: Ref.Ref<ReadonlyArray<string>>
}>()("test/Counters") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      return {
        opened: yield* Ref.make(0),
        closed: yield* Ref.make(0),
        defects: yield* Ref.make<ReadonlyArray<string>>([])
      }
    })
  )
}

const counted = Effect.gen(function*() {
  const { closed, opened } = yield* Counters
  yield* Effect.acquireRelease(Ref.update(opened, (n) => n + 1), () => Ref.update(closed, (n) => n + 1))
})

const goOn = () => Effect.succeed(Verdict.continue)

const Everything = Milter.make("everything", {
  modify: ["addHeader"],
  rejectedRecipients: true,
  connection: () => counted,
  message: () => counted
}).on({
  connect: goOn,
  helo: ({ name }) => Effect.succeed(name.length > 100 ? Verdict.reject() : Verdict.continue),
  mail: ({ parameters, sender }) =>
    Effect.succeed(sender.domain === "spam.example" || parameters.size === 0 ? Verdict.tempFail() : Verdict.continue),
  rcpt: ({ recipient }) => Effect.yieldNow.pipe(Effect.as(recipient.isNull ? Verdict.reject() : Verdict.continue)),
  data: goOn,
  header: ({ name, value, wellFormed }) =>
    Effect.succeed(wellFormed || name + value !== "" ? Verdict.continue : Verdict.tempFail()),
  endOfHeaders: goOn,
  body: ({ bytes }) => Effect.succeed(bytes.length > 100_000 ? Verdict.skipBody : Verdict.continue),
  endOfMessage: (_, { edit, session }) =>
    Effect.as(edit.addHeader("X-Macros", session.macros.get("i") ?? "none"), Verdict.continue),
  unknown: goOn
}, { rejectedRecipient: ({ text }) => Effect.logDebug(text) })

/** Errors are defects of the library here: this filter has none. */
const errorsKept = Layer.unwrap(Effect.map(Counters, ({ defects }) =>
  Logger.layer([
    Logger.make(({ logLevel, message }) => {
      if (logLevel === "Error" || logLevel === "Fatal") {
        Effect.runSync(Ref.update(defects, (all) => [...all, String(message)]))
      }
    })
  ])))

const listeners = Layer.unwrap(
  Effect.map(
    Listeners.directory,
    (directory) => NodeMilterServer.layer({ listen: ["inet:0", `unix:${Path.join(directory, "filter.sock")}`] })
  )
)

const Server = MilterServer.layer(Everything).pipe(
  Layer.provide(errorsKept),
  Layer.provideMerge(listeners),
  Layer.provideMerge(Counters.layer)
)

const port = Effect.map(MilterServer.Listener, ({ addresses }) => Number(/^inet:(\d+)@/.exec(addresses[0]!)![1]))

/** The kernel takes a fifth of a megabyte for a UNIX socket, and several for TCP: so little fills it. */
const path = Effect.map(MilterServer.Listener, ({ addresses }) => addresses[1]!.slice("unix:".length))

/** Sends these bytes and gives what came back until the server closed, or until `enough` says so. */
const talk = (
  port: number,
  chunks: ReadonlyArray<Uint8Array | string>,
  options: { readonly end: boolean; readonly enough?: (received: Uint8Array) => boolean }
): Effect.Effect<Uint8Array> =>
  Effect.callback((resume) => {
    const received: Array<Uint8Array> = []
    const socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })
    for (const chunk of chunks) socket.write(chunk)
    if (options.end) socket.end()
    socket.on("error", () => undefined)
    socket.on("data", (chunk) => {
      received.push(chunk)
      if (options.enough?.(concat(received)) === true) socket.destroy()
    })
    socket.on("close", () => resume(Effect.succeed(concat(received))))
    return Effect.sync(() => socket.destroy())
  })

const bytes = ByteString.fromText

const session = [
  { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff },
  { _tag: "Macro", stage: bytes("C"), macros: [{ name: bytes("j"), value: bytes("mx") }] },
  {
    _tag: "Connect",
    hostname: bytes("client"),
    address: { _tag: "IPv4", port: 4711, address: bytes("192.0.2.1") }
  },
  { _tag: "Helo", name: bytes("client") },
  { _tag: "Mail", sender: bytes("<a@example.org>"), parameters: [] },
  { _tag: "Rcpt", recipient: bytes("<b@example.org>"), parameters: [] },
  { _tag: "Data" },
  { _tag: "Header", name: bytes("Subject"), value: bytes(" x") },
  { _tag: "EndOfHeaders" },
  { _tag: "Body", bytes: new TextEncoder().encode("body\r\n") },
  { _tag: "EndOfMessage", bytes: new Uint8Array(0) }
] as const satisfies ReadonlyArray<Packet.MtaPacket>

const sessionBytes = concat(session.map(Packet.encode))

const replies = (received: Uint8Array): string => {
  const frames: Array<Frame.Frame> = []
  Frame.makeDecoder().push(received, frames)
  return frames.map(({ code }) => String.fromCharCode(code)).join("")
}

/** An orderly session gets its answers. It hangs up after the last: a quit after a command would mean that nobody waits. */
const served = Effect.fnUntraced(function*(chunks: ReadonlyArray<Uint8Array>) {
  const received = yield* talk(yield* port, chunks, { end: false, enough: (soFar) => replies(soFar).endsWith("hc") })
  assert.strictEqual(replies(received), "O" + "c".repeat(8) + "hc")
})

const wellServed = served([sessionBytes])

/** Every scope that was opened is closed once the connections are gone. */
const nothingLeft = Effect.gen(function*() {
  const { closed, defects, opened } = yield* Counters
  for (let turn = 0; turn < 500 && (yield* Ref.get(closed)) < (yield* Ref.get(opened)); turn++) yield* Effect.sleep(10)
  assert.strictEqual(yield* Ref.get(closed), yield* Ref.get(opened))
  assert.deepStrictEqual(yield* Ref.get(defects), [])
})

layer(Server, { excludeTestServices: true })("a server on a real socket", (it) => {
  it.effect("serves a session that comes one byte at a time", () => served(split(sessionBytes, [1])))

  it.effect("closes on those who speak something else", () =>
    Effect.gen(function*() {
      const tls = fromHex("16030100a5010000a10303") // the start of a ClientHello
      for (const opening of ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "EHLO client\r\n", tls, "\0\0\0\0", "\r\n"]) {
        const received = yield* talk(yield* port, [opening, new Uint8Array(64)], { end: false })
        assert.strictEqual(received.length, 0)
      }
      yield* wellServed
    }))

  it.effect("survives mutated sessions and noise", () =>
    Effect.gen(function*() {
      const to = yield* port
      yield* Effect.forEach(Array.from({ length: 1500 }, (_, seed) => seed), (seed) =>
        Effect.gen(function*() {
          const next = random.make(seed).next
          const sent = next() < 0.1 ? noise(next) : mutate(recorded[seed % recorded.length]!, next)
          const received = yield* talk(to, split(sent, [1 + Math.floor(next() * 300)]), { end: true })
          const frames: Array<Frame.Frame> = []
          assert.isUndefined(Frame.makeDecoder().push(received, frames), `seed ${seed}`)
          for (const frame of frames) assert.isTrue(Result.isSuccess(Packet.decodeFilter(frame)), `seed ${seed}`)
        }), { concurrency: 20, discard: true })
      yield* wellServed
      yield* nothingLeft
    }))

  it.effect("is not filled by a peer that never reads", () =>
    Effect.gen(function*() {
      const helo = Packet.encode(session[3])
      const flood = concat(Array.from({ length: 5000 }, () => helo))
      const stalled = Net.connect({ path: yield* path })
      stalled.pause()
      stalled.on("error", () => undefined)
      stalled.write(concat(session.slice(0, 3).map(Packet.encode)))
      // The kernel's buffers fill first; the server must stop reading when its answers go nowhere.
      for (let before = -1, now = 0; now !== before;) {
        before = now
        for (let turn = 0; turn < 30; turn++) {
          // A write counts when all of it has been taken, so there is one at a time.
          if (stalled.writableLength === 0) stalled.write(flood)
          yield* Effect.sleep(10)
        }
        now = stalled.bytesWritten - stalled.writableLength
      }
      const taken = stalled.bytesWritten - stalled.writableLength
      // The kernel's buffers on both sides and 64 KiB in Node; an answer is a fifth of a command.
      assert.isAbove(taken, 100_000)
      assert.isBelow(taken, 10_000_000)
      yield* wellServed
      stalled.destroy()
      yield* nothingLeft
    }))
})

const Impatient = MilterServer.layer(Everything, { writeTimeout: "1 second" }).pipe(
  Layer.provide(Logger.layer([])),
  Layer.provideMerge(listeners),
  Layer.provideMerge(Counters.layer)
)

layer(Impatient, { excludeTestServices: true })("a server that closes", (it) => {
  it.effect("does not keep the sockets of peers that do not read", () =>
    Effect.gen(function*() {
      const to = yield* path
      const sessions = Effect.map(MilterServer.status, (all) => all.reduce((sum, { sessions }) => sum + sessions, 0))
      const helo = concat(Array.from({ length: 5000 }, () => Packet.encode(session[3])))
      const sockets = Array.from({ length: 5 }, () => {
        const socket = Net.connect({ path: to })
        socket.pause()
        socket.on("error", () => undefined)
        socket.write(concat(session.slice(0, 3).map(Packet.encode)))
        for (let turn = 0; turn < 100; turn++) socket.write(helo)
        // Then nonsense, upon which the server closes; its answers are not taken.
        socket.write(new Uint8Array(8))
        return socket
      })
      yield* Effect.sleep(300)
      assert.isAbove(yield* sessions, 0)
      for (let turn = 0; turn < 100 && (yield* sessions) > 0; turn++) yield* Effect.sleep(100)
      assert.strictEqual(yield* sessions, 0)
      for (const socket of sockets) socket.destroy()
      yield* nothingLeft
    }))
})
