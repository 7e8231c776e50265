/** What memory a connection costs when one of its ends is slower than the other. Figures are in docs/operate/reliability.md. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Path from "node:path"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { directory } from "../support/listeners.ts"
import * as Mta from "../support/rawMta.ts"
import * as Memory from "./support/memory.ts"

/** Megabytes: what the process grows by at most, garbage included, and what of that is in use while a hook holds all up. */
const peak = 48
const inUse = 8

const total = 50_000_000

const bodyOf = (length: number): Uint8Array => Mta.encode({ _tag: "Body", bytes: new Uint8Array(length).fill(120) })

interface Flood {
  readonly what: string
  readonly filter: Memory.Name
  /** Written `times` times. */
  readonly bytes: Uint8Array
  readonly times: number
  /** Events that the hook sees. */
  readonly events: number
}

const floods: ReadonlyArray<Flood> = [
  {
    what: "500,000 header fields, unanswered, for a slow observer",
    filter: "headers",
    bytes: Mta.encode(...Array.from({ length: 100 }, () => Mta.header("X-Flood", " 0123456789"))),
    times: 5000,
    events: 500_000
  },
  {
    what: "a body of 50 MB, unanswered, for a slow observer",
    filter: "body",
    bytes: bodyOf(65_535),
    times: Math.ceil(total / 65_535),
    events: Math.ceil(total / 65_535)
  }
]

const started = Effect.fnUntraced(function*(filter: Memory.Name) {
  const temporary = yield* directory
  const server = yield* Memory.start(filter, temporary)
  const peer = yield* Memory.connect(server.port)
  peer.write(Mta.encode(Mta.negotiate(), Mta.connect(), Mta.mail(), Mta.rcpt()))
  yield* peer.until("the answers to negotiation and MAIL", () => peer.replies === "Oc")
  const before = yield* server.ask("reset")
  return { before, peer, server, temporary }
})

const figures = (what: string, before: Memory.Report, after: Memory.Report): Memory.Memory => {
  const most = Memory.growth(before.now, after.peak)
  const used = Memory.growth(before.now, after.now)
  const describe = ({ external, heap, rss }: Memory.Memory) => `${rss} resident, ${heap} heap, ${external} buffers`
  process.stdout.write(`${what}: MB more at most: ${describe(most)}; now: ${describe(used)}\n`)
  return most
}

describe("memory", () => {
  for (const { bytes, events, filter, times, what } of floods) {
    it.live(what, () =>
      Effect.gen(function*() {
        const { before, peer, server } = yield* started(filter)
        const flooding = yield* Effect.forkChild(peer.flood(bytes, times), { startImmediately: true })
        // The first event holds all up; what the system takes meanwhile is its own affair.
        yield* Effect.sleep("1 second")
        const held = yield* server.ask("settle")
        figures(`${what}, held up`, before, held)
        assert.strictEqual(held.seen, 1)
        const { external, heap, rss } = Memory.growth(before.now, held.now)
        assert.isBelow(heap + external, inUse)
        assert.isBelow(rss, peak)

        yield* server.release
        yield* Fiber.join(flooding)
        peer.write(Mta.encode(Mta.endOfMessage()))
        yield* peer.until("the verdict", () => peer.replies === "Occ")
        const after = yield* server.ask("report")
        assert.strictEqual(after.seen, events)
        assert.isBelow(figures(what, before, after).rss, peak)
      }))
  }

  it.live("frames of the largest size, for an observer that holds them up", () =>
    Effect.gen(function*() {
      const { before, peer, server } = yield* started("body")
      yield* Effect.forkChild(peer.flood(bodyOf(1_000_000), 200), { startImmediately: true })
      yield* Effect.sleep("1 second")
      const held = yield* server.ask("settle")
      figures("200 frames of 1 MB, held up", before, held)
      const { external, heap } = Memory.growth(before.now, held.now)
      assert.isBelow(heap + external, inUse)
    }))

  it.live("answers of 400 MB for an MTA that does not read them", () =>
    Effect.gen(function*() {
      const { before, peer, server } = yield* started("wordy")
      peer.socket.pause()
      const bytes = Mta.encode(...Array.from({ length: 100 }, () => [Mta.mail("<flood>"), Mta.abort]).flat())
      yield* Effect.forkChild(peer.flood(bytes, 5000), { startImmediately: true })
      yield* Effect.sleep("1 second")
      const held = yield* server.ask("settle")
      figures("500,000 answers of 800 bytes, not read", before, held)
      const { external, heap, rss } = Memory.growth(before.now, held.now)
      assert.isBelow(heap + external, inUse)
      assert.isBelow(rss, peak)
      yield* server.logs(/WriteTimeout/)
    }))

  it.live("a replaced body of 50 MB for an MTA that does not read it at once", () =>
    Effect.gen(function*() {
      const { before, peer, server, temporary } = yield* started("replace")
      peer.socket.pause()
      peer.write(Mta.encode(Mta.endOfMessage()))
      yield* Effect.sleep("2 seconds")
      const held = yield* server.ask("settle")
      assert.isBelow(figures("a replaced body of 50 MB, not read", before, held).rss, peak)
      const { external, heap } = Memory.growth(before.now, held.now)
      assert.isBelow(heap + external, inUse)
      // It is in a file that nobody else can see.
      assert.strictEqual(held.openFiles, 1)
      assert.deepStrictEqual(yield* Memory.names(temporary), [])

      peer.socket.resume()
      yield* peer.until("the verdict", () => peer.replies === "Occ")
      assert.strictEqual(peer.body, total)
      const after = yield* server.ask("settle")
      assert.isBelow(figures("a replaced body of 50 MB", before, after).rss, peak)
      assert.strictEqual(after.openFiles, 0)
    }))

  it.live("a text of 50 MB in base64 with text put before and after it", () =>
    Effect.gen(function*() {
      const { before, peer, server, temporary } = yield* started("mime")
      peer.write(Mta.encode(
        Mta.header("Content-Type", " text/plain; charset=utf-8"),
        Mta.header("Content-Transfer-Encoding", " base64")
      ))
      yield* peer.flood(bodyOf(60_000), Math.ceil(total / 60_000))
      peer.write(Mta.encode(Mta.endOfMessage()))
      // Signs of life come in between.
      yield* peer.until("the verdict", () => peer.replies.replaceAll("p", "") === "Occ")
      const after = yield* server.ask("settle")
      const { external, heap } = figures("a text of 50 MB in base64", before, after)
      assert.isBelow(heap + external, 2 * peak)
      const left = Memory.growth(before.now, after.now)
      assert.isBelow(left.heap + left.external, inUse)
      assert.isAbove(peer.body, total)
      assert.strictEqual(after.openFiles, 0)
      assert.deepStrictEqual(yield* Memory.names(temporary), [])
    }))

  it.live("a message of 100 MB through an SMTP server with two filters", () =>
    Effect.gen(function*() {
      const temporary = yield* directory
      const server = yield* Memory.start("smtpServer", temporary)
      const client = yield* SmtpClient.connect(server.port)
      yield* client.command("EHLO there")
      const before = yield* server.ask("reset")
      const header = Buffer.from("Subject: large\r\n\r\n")
      const piece = Buffer.from(`${"x".repeat(998)}\r\n`.repeat(1000))
      yield* client.pipeline(["MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.net>"])
      assert.strictEqual((yield* client.command("DATA")).code, 354)
      yield* client.raw(header)
      for (let count = 0; count < 100; count++) yield* client.raw(piece)
      // What the system has taken from the client still comes in meanwhile.
      yield* server.ask("settle")
      const arrived = yield* server.ask("settle")
      figures("a message of 100 MB that has arrived", before, arrived)
      const { external, heap } = Memory.growth(before.now, arrived.now)
      assert.isBelow(heap + external, inUse)
      assert.strictEqual(arrived.openFiles, 1)
      yield* client.raw(".\r\n")
      assert.strictEqual((yield* client.read).code, 250)
      const after = yield* server.ask("settle")
      const most = figures("a message of 100 MB through an SMTP server", before, after)
      // Most of it is garbage of smtp-server, which copies each piece.
      assert.isBelow(most.rss, 3 * peak)
      const added = "X-Seen: yes\r\n".length
      // Both filters have seen all of it, in pieces, and it was delivered with what they added.
      const pieces = 2 * Math.ceil(100 * piece.length / 65_535)
      assert.strictEqual(after.seen, pieces + header.length + 100 * piece.length + 2 * added)
      assert.strictEqual(after.openFiles, 0)
      assert.deepStrictEqual(yield* Memory.names(temporary), [])
    }))

  it.live("a replaced body that finds no room for its file is put off", () =>
    Effect.gen(function*() {
      const server = yield* Memory.start("replace", Path.join(yield* directory, "missing"))
      const peer = yield* Memory.connect(server.port)
      peer.write(Mta.encode(Mta.negotiate(), Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.endOfMessage()))
      // y is a reply of its own: 451 4.3.0.
      yield* peer.until("the verdict", () => peer.replies === "Ocy")
      yield* server.logs(/replace failed at endOfMessage/)
    }))

  it.live("a replaced body of 50 MB for an MTA that never reads it", () =>
    Effect.gen(function*() {
      const { peer, server, temporary } = yield* started("replace")
      peer.socket.pause()
      peer.write(Mta.encode(Mta.endOfMessage()))
      yield* server.logs(/WriteTimeout/)
      const after = yield* server.ask("settle")
      assert.strictEqual(after.openFiles, 0)
      assert.deepStrictEqual(yield* Memory.names(temporary), [])
    }))
})
