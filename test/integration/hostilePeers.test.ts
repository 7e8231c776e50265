/**
 * What peers can do to a server that takes connections from everybody: each class has its answer, and a bound on what it costs.
 * Small sizes here; `npm run hostile` has the stated ones, whose figures are in docs/operate/reliability.md.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as Packet from "effect-milter/Packet"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Net from "node:net"
import { directory } from "../support/listeners.ts"
import * as Mta from "../support/rawMta.ts"
import * as Memory from "./support/memory.ts"

const isFull = process.env["EFFECT_MILTER_HOSTILE"] === "full"

/** The small size, or the stated one. */
const size = (small: number, full: number): number => isFull ? full : small

const report = (what: string, figures: { readonly [name: string]: number | string }): void => {
  const text = Object.entries(figures).map(([name, figure]) => `${name} ${figure}`).join(", ")
  process.stdout.write(`hostile: ${what}: ${text}\n`)
}

const mb = (before: Memory.Report, after: Memory.Report): { readonly used: number; readonly resident: number } => {
  const { external, heap } = Memory.growth(before.now, after.now)
  return { used: Math.round((heap + external) * 10) / 10, resident: Memory.growth(before.now, after.peak).rss }
}

/** Seconds of the server's processor. */
const cpu = (before: Memory.Report, after: Memory.Report): number => Math.round((after.cpu - before.cpu) / 100) / 10

const startup = Effect.fnUntraced(function*(name: Memory.Name, temporary?: string) {
  const server = yield* Memory.start(name, temporary ?? (yield* directory))
  return { before: yield* server.ask("reset"), server }
})

/** As far as these filters take it: the commands that they leave out are not sent. */
const message = [Mta.mail(), Mta.rcpt(), Mta.header(), Mta.body(), Mta.endOfMessage()]

const greeting = Mta.encode(Mta.negotiate(), Mta.connect(), Mta.helo())

/** An MTA beside the hostile ones gets its answer. */
const isServed = Effect.fnUntraced(function*(server: Memory.Server) {
  const mta = yield* Memory.connect(server.port)
  mta.write(Mta.encode(Mta.negotiate(), Mta.connect(), ...message))
  yield* mta.until("the answers to a message", () => mta.replies === "Occc")
})

/** What the filter answered, letter by letter, without signs of life. */
const session = Effect.fnUntraced(function*(
  server: Memory.Server,
  play: (peer: Memory.Peer) => Effect.Effect<unknown>,
  isOver: (replies: string) => boolean
) {
  const peer = yield* Memory.connect(server.port)
  peer.write(greeting)
  yield* play(peer)
  yield* peer.until("the last answer", () => peer.closed || isOver(peer.replies.replaceAll("p", "")), size(30, 240))
  return peer.replies.replaceAll("p", "")
})

/** Writes the encoded packets of all numbers, a hundred at a time. */
const writeAll = (peer: Memory.Peer, count: number, packet: (number: number) => ReadonlyArray<Packet.MtaPacket>) =>
  Effect.gen(function*() {
    for (let at = 0; at < count; at += 100) {
      const packets = Array.from({ length: Math.min(100, count - at) }, (_, index) => packet(at + index)).flat()
      yield* peer.flood(Mta.encode(...packets), 1)
    }
  })

describe("hostile peers", () => {
  it.live("idle connections", () =>
    Effect.gen(function*() {
      const count = size(1000, 10_000)
      const { before, server } = yield* startup("open")
      const sockets: Array<Net.Socket> = []
      yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
      const open = Effect.callback<void>((resume) => {
        const socket = Net.connect({ port: server.port, host: "127.0.0.1" })
        sockets.push(socket)
        socket.write(greeting)
        socket.once("data", () => resume(Effect.void))
      })
      yield* Effect.forEach(Array.from({ length: count }), () => open, { concurrency: 100, discard: true })
      const idle = yield* server.ask("settle")
      assert.strictEqual(idle.sessions, count)
      yield* Effect.sleep("2 seconds")
      const later = yield* server.ask("report")
      yield* isServed(server)
      const { used, resident } = mb(before, idle)
      const kilobytes = Math.round(used * 10_240 / count) / 10
      report(`${count} idle connections`, {
        "kB each": kilobytes,
        "MB resident": resident,
        "% of a core": Math.round((later.cpu - idle.cpu) / 20)
      })
      assert.isBelow(kilobytes, 25)
    }))

  it.live("connections that come and go", () =>
    Effect.gen(function*() {
      const count = size(2000, 100_000)
      const { before, server } = yield* startup("open")
      const began = performance.now()
      /** They leave by a quit, by the end of the stream, by a reset, or before they have said anything. */
      const visit = (number: number) =>
        Effect.callback<void>((resume) => {
          const socket = Net.connect({ port: server.port, host: "127.0.0.1" })
          socket.on("error", () => undefined)
          socket.once("close", () => resume(Effect.void))
          socket.once("connect", () => {
            if (number % 4 === 3) socket.resetAndDestroy()
            else socket.write(greeting)
            socket.once("data", () => {
              if (number % 4 === 0) socket.write(Mta.encode(Mta.mail(), Mta.rcpt(), Mta.quit))
              else if (number % 4 === 1) socket.end(Mta.encode(Mta.mail()))
              else socket.resetAndDestroy()
            })
          })
        })
      yield* Effect.forEach(Array.from({ length: count }, (_, index) => index), visit, {
        concurrency: 50,
        discard: true
      })
      const seconds = (performance.now() - began) / 1000
      yield* isServed(server)
      const after = yield* server.ask("settle")
      const { used, resident } = mb(before, after)
      report(`${count} connections that come and go`, {
        "a second": Math.round(count / seconds),
        "MB left": used,
        "MB resident": resident
      })
      assert.isAtMost(after.sessions, 1)
      assert.isAtMost(after.descriptors, before.descriptors + 1)
      assert.isBelow(used, 8)
    }))

  for (
    const [name, replies] of [
      ["open", "Occc"],
      // 552 at end of message, as a reply with text.
      ["limited", "Occy"]
    ] as const
  ) {
    it.live(`header fields without end, ${name}`, () =>
      Effect.gen(function*() {
        const count = size(20_000, 1_000_000)
        const { before, server } = yield* startup(name)
        const bytes = Mta.encode(...Array.from({ length: 1000 }, () => Mta.header("X-Flood", " 0123456789")))
        const found = yield* session(server, (peer) =>
          Effect.gen(function*() {
            peer.write(Mta.encode(Mta.mail(), Mta.rcpt()))
            yield* peer.flood(bytes, count / 1000)
            peer.write(Mta.encode(Mta.body(), Mta.endOfMessage()))
          }), (answers) => answers.length === replies.length)
        const after = yield* server.ask("settle")
        const { used, resident } = mb(before, after)
        report(`${count} header fields, ${name}`, {
          answers: found,
          "s of processor": cpu(before, after),
          "MB left": used,
          "MB resident": resident
        })
        assert.strictEqual(found, replies)
        assert.strictEqual(after.seen, name === "open" ? count + 1 : 1000)
        assert.isBelow(used, 8)
        assert.isBelow(resident, 150)
      }))

    it.live(`recipients without end, ${name}`, () =>
      Effect.gen(function*() {
        const count = size(20_000, 100_000)
        const { before, server } = yield* startup(name)
        const found = yield* session(server, (peer) =>
          Effect.gen(function*() {
            peer.write(Mta.encode(Mta.mail()))
            yield* writeAll(peer, count, (number) => [Mta.rcpt(`<recipient-${number}@example.org>`)])
            peer.write(Mta.encode(Mta.body(), Mta.endOfMessage()))
          }), (answers) => answers.length === count + 3)
        const after = yield* server.ask("settle")
        const { used, resident } = mb(before, after)
        const accepted = name === "open" ? count : 1000
        report(`${count} recipients, ${name}`, {
          "s of processor": cpu(before, after),
          "MB left": used,
          "MB resident": resident
        })
        assert.strictEqual(found, `Oc${"c".repeat(accepted)}${"y".repeat(count - accepted)}c`)
        // The connection is still open, and keeps none of them.
        assert.isBelow(used, 3)
        // All of them are kept while the message lasts: a kilobyte each.
        assert.isBelow(resident, 100 + accepted / 1000)
      }))
  }

  it.live("macros without end", () =>
    Effect.gen(function*() {
      const count = size(20_000, 1_000_000)
      const { before, server } = yield* startup("open")
      const found = yield* session(server, (peer) =>
        Effect.gen(function*() {
          // A thousand to a list; of a stage the last list counts.
          yield* writeAll(peer, count / 1000, (list) => [
            Mta.macros(
              "M",
              Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`{name${list}-${at}}`, `value ${at}`]))
            )
          ])
          peer.write(Mta.encode(...message))
        }), (answers) => answers.length === 4)
      const after = yield* server.ask("settle")
      const { used, resident } = mb(before, after)
      report(`${count} macros`, { "s of processor": cpu(before, after), "MB left": used, "MB resident": resident })
      assert.strictEqual(found, "Occc")
      yield* server.logs(/truncated/)
      assert.isBelow(used, 8)
      assert.isBelow(resident, 150)
    }))

  it.live("pieces of the body as large as an MTA may offer, and larger", () =>
    Effect.gen(function*() {
      const { before, server } = yield* startup("open")
      // SMFIP_MDS_256K and SMFIP_MDS_1M.
      const offer = Mta.encode(Mta.negotiate({ steps: Mta.modern.steps | 0x30000000 }), Mta.connect(), Mta.helo())
      const peer = yield* Memory.connect(server.port)
      peer.write(offer)
      peer.write(Mta.encode(Mta.mail(), Mta.rcpt()))
      const piece = Mta.encode({ _tag: "Body", bytes: new Uint8Array(1_048_575).fill(120) })
      yield* peer.flood(piece, size(20, 1000))
      peer.write(Mta.encode(Mta.endOfMessage()))
      yield* peer.until("the answers", () => peer.replies === "Occc", size(30, 240))
      // A frame that claims 4 GB: nothing is made ready for it.
      const header = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x42)
      const huge = yield* Memory.connect(server.port)
      huge.write(offer)
      huge.write(header)
      yield* huge.until("the end of the connection", () => huge.closed)
      yield* server.logs(/FrameError/)
      const after = yield* server.ask("settle")
      const { used, resident } = mb(before, after)
      report(`${size(20, 1000)} MB in pieces of 1 MB, and a frame that claims 4 GB`, {
        "MB left": used,
        "MB resident": resident
      })
      assert.isBelow(used, 8)
      // Buffers of 1 MB are garbage until V8 collects them, late: from 110 to 210 MB in runs of a gigabyte.
      assert.isBelow(resident, 300)
    }))

  it.live("a large body and a full disk", () =>
    Effect.gen(function*() {
      const temporary = yield* directory
      const room = 8
      const mount = ["-t", "tmpfs", "-o", `size=${room}m`, "tmpfs", temporary]
      const isMounted = yield* Effect.acquireRelease(
        Effect.sync(() => ChildProcess.spawnSync("mount", mount).status === 0),
        (isMounted) => Effect.sync(() => isMounted && ChildProcess.spawnSync("umount", ["-l", temporary]))
      )
      const { before, server } = yield* startup("spooling", temporary)
      // Where nothing may be mounted, no file may be larger.
      if (!isMounted) {
        const limit = ["--pid", String(server.pid), `--fsize=${room * 1_048_576}`]
        assert.strictEqual(ChildProcess.spawnSync("prlimit", limit).status, 0)
      }
      const megabytes = size(40, 1024)
      const piece = Mta.encode({ _tag: "Body", bytes: new Uint8Array(65_535).fill(120) })
      const found = yield* session(server, (peer) =>
        Effect.gen(function*() {
          peer.write(Mta.encode(Mta.mail(), Mta.rcpt()))
          yield* peer.flood(piece, megabytes * 16)
          peer.write(Mta.encode(Mta.endOfMessage()))
        }), (answers) => answers.includes("y"))
      const after = yield* server.ask("settle")
      const { used, resident } = mb(before, after)
      report(`a body of ${megabytes} MB, a disk of ${room} MB`, {
        answers: found,
        "s of processor": cpu(before, after),
        "MB left": used,
        "MB resident": resident
      })
      // 452 4.3.1 for the message.
      assert.match(found, /^Oc+y$/)
      assert.strictEqual(after.openFiles, 0)
      assert.isBelow(used, 8)
      // The next message finds the disk empty again.
      const next = yield* session(
        server,
        (peer) => Effect.sync(() => peer.write(Mta.encode(...message))),
        (answers) => answers.length === 4
      )
      // To the offer, MAIL, RCPT and the end of the message.
      assert.strictEqual(next, "Occc")
    }))
})
