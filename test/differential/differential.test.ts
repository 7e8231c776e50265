/**
 * The same filter twice, in C on libmilter and with this library, gets the same bytes and has to answer with the same
 * bytes, but for the deliberate differences that docs/reference/libmilter-differences.md explains.
 *
 * EFFECT_MILTER_SEEDS=12345 runs the session with that seed only, EFFECT_MILTER_SEEDS=20000-29999 all of these. A session on
 * which the filters disagree is shown as it was and as short as shrink.ts can make it.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import * as Frame from "effect-milter/Frame"
import * as Packet from "effect-milter/Packet"
import * as Recording from "effect-milter/Recording"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { describeWith } from "../../testbed/prerequisite.ts"
import { forLongTest } from "../../testbed/timeLimits.ts"
import * as Random from "../support/random.ts"
import { differences } from "./differences.ts"
import { type Disagreement, Driver } from "./driver.ts"
import { type VariantName, variants } from "./filter.ts"
import * as Peer from "./peer.ts"
import * as Reference from "./reference.ts"
import { scripts, type Step } from "./scripts.ts"
import { Servers } from "./servers.ts"
import * as Sessions from "./sessions.ts"
import { shrink } from "./shrink.ts"

const names = Object.keys(variants) as ReadonlyArray<VariantName>

const seeds = process.env["EFFECT_MILTER_SEEDS"] ?? (process.env["CI"] === undefined ? "0-999" : "0-9999")

const [firstSeed = 0, lastSeed = firstSeed] = seeds.split("-").map(Number)

/** Sessions at a time: so both servers have others to attend to. */
const concurrency = 8

/** What an answer looks like in scripts. */
const lines = (answer: Peer.Answer): ReadonlyArray<string> =>
  [
    Peer.format({ ...answer, how: "verdict" })
      .replace(/AddHeader name="X-Seen" value="[^"]*", /, "")
      // Our own words name a session.
      .replace(/ReplyCode text="451 4\.3\.0 Temporary failure, [^"]*"/, "TempFail"),
    ...(answer.how === "verdict" ? [] : [answer.how === "closed" ? "closes" : "no answer"])
  ].filter((line) => line !== "")

/** As many answers as are expected; what comes beyond that shows in the next step or at the end. */
const receive = Effect.fnUntraced(function*(peer: Peer.Peer, expected: ReadonlyArray<string>) {
  const received: Array<string> = []
  while (received.length < expected.length) received.push(...lines(yield* peer.answer))
  return received
})

const play = Effect.fnUntraced(
  function*(steps: ReadonlyArray<Step>, peers: { readonly theirs: Peer.Peer; readonly ours: Peer.Peer }) {
    for (const { ours, say, theirs } of steps) {
      const what = say instanceof Uint8Array ? Buffer.from(say).toString("hex") : Packet.format(say)
      const bytes = say instanceof Uint8Array ? say : Packet.encode(say).slice()
      peers.theirs.write(bytes)
      peers.ours.write(bytes)
      assert.deepStrictEqual(yield* receive(peers.theirs, theirs), theirs, `libmilter's answer to ${what}`)
      assert.deepStrictEqual(yield* receive(peers.ours, ours), ours, `our answer to ${what}`)
    }
    peers.theirs.end()
    peers.ours.end()
    assert.deepStrictEqual(lines(yield* peers.theirs.rest), ["closes"], "libmilter, after the last command")
    assert.deepStrictEqual(lines(yield* peers.ours.rest), ["closes"], "ours, after the last command")
  }
)

/** Every verdict of every command, and every change. */
const everything = [
  ..."CH".split("").flatMap((command) => "carty".split("").map((verdict) => command + verdict)),
  ..."MRTLNBE".split("").flatMap((command) => "cartyd".split("").map((verdict) => command + verdict)),
  ..."crty".split("").map((verdict) => `U${verdict}`),
  "Bs",
  ..."himb+2-eq".split("")
]

const page = Fs.readFileSync(new URL("../../docs/reference/libmilter-differences.md", import.meta.url), "utf8")

const folder = new URL("../fixtures/recordings/", import.meta.url)

const recordings = Fs.readdirSync(folder).filter((file) => file.endsWith(".jsonl")).map((file) => ({
  name: file.replace(".jsonl", ""),
  connections: Recording.connections(
    Result.getOrThrow(Recording.parse(Fs.readFileSync(new URL(file, folder), "utf8")))
  )
}))

/** The MTA's side of a recorded connection; its filter was another one, so it may go on where it would not have. */
const replay = Effect.fnUntraced(function*(driver: Driver, lines: Recording.Connection["lines"]) {
  for (const line of lines) {
    if (line._tag !== "Frame" || line.from !== "mta") continue
    const packet = Result.getOrThrow(Recording.packet(line)) as Packet.MtaPacket // of the MTA, so its command
    if (!Packet.mtaByCode(line.code.charCodeAt(0))!.answered) driver.tell(packet)
    else if ((yield* driver.ask(packet, "Macro lists", "DATA again", "Out of order")) === "") break
  }
  yield* driver.end("close")
})

type Open = (typeof Servers)["Service"]["open"]

/** Shown at the end of a run: the conversation made shorter, if it could be, and the conversation as it was. */
class Differs extends Data.TaggedError("Differs")<{
  readonly message: string
  readonly conversations: ReadonlyArray<Disagreement>
}> {}

/** The session with this seed, as the driver has seen it. */
const session = Effect.fnUntraced(function*(seed: number, open: Open) {
  const random = Random.make(seed)
  const name = random.pick(names)
  const variant = variants[name]
  const title = `seed ${seed}, variant ${name}`
  const driver = new Driver({ ...yield* open(name), title, random, steps: variant.steps })
  yield* Effect.catchTag(
    Sessions.run(driver, random, variant, random.pick(Sessions.mtas)),
    "Disagreement",
    Effect.fnUntraced(function*(first) {
      const shorter = yield* shrink({ title, variant, first, open: open(name, 2000) })
      const conversations = shorter === undefined ? [first] : [shorter, first]
      return yield* new Differs({ conversations, message: conversations.map(({ message }) => message).join("\n\n") })
    })
  )
  return driver
}, Effect.scoped)

/** A peer that is told another verdict than its filter's on the recipients of its second message, after an unknown command. */
const planted = (peer: Peer.Peer): Peer.Peer => {
  let messages = 0
  let unknown = false
  let latest = ""
  const decoder = Frame.makeDecoder()
  const write = peer.write.bind(peer)
  peer.write = (bytes) => {
    const frames: Array<Frame.Frame> = []
    decoder.push(bytes, frames)
    for (const { code } of frames) {
      latest = String.fromCharCode(code)
      if (latest === "M") messages++
      if (latest === "U") unknown = true
    }
    write(bytes)
  }
  const tempFail = Packet.encode({ _tag: "TempFail" }).slice()
  const answer = Effect.map(
    peer.answer,
    (answer): Peer.Answer =>
      latest === "R" && messages === 2 && unknown ? { frames: [tempFail], how: "verdict" } : answer
  )
  return Object.defineProperty(peer, "answer", { value: answer })
}

describe("docs/reference/libmilter-differences.md", () => {
  it("has a paragraph for each difference that the tests know, and for no other", () => {
    const explained = Array.from(page.matchAll(/^### (.*)$/gm), ([, heading]) => heading!)
    const known = [...Object.keys(differences), ...scripts.map(({ name }) => name)]
    assert.deepStrictEqual(explained.toSorted(), Array.from(new Set(known)).toSorted())
  })
})

describeWith(Reference.missingPrerequisite(), "beside libmilter", () => {
  layer(Servers.layer, { excludeTestServices: true })((it) => {
    it.effect(`sessions ${firstSeed} to ${lastSeed} are answered with the same bytes`, () =>
      Effect.gen(function*() {
        const { open, takeErrors } = yield* Servers
        const shown = new Set<string>()
        const agreed = new Set<string>()
        const seeds = Array.from({ length: lastSeed - firstSeed + 1 }, (_, index) => firstSeed + index)
        yield* Effect.forEach(seeds, (seed) =>
          Effect.gen(function*() {
            const driver = yield* session(seed, open)
            driver.shown.forEach((name) => shown.add(name))
            driver.agreed.forEach((letters) => agreed.add(letters))
          }), { concurrency, discard: true })
        assert.deepStrictEqual(takeErrors(), [])
        if (process.env["EFFECT_MILTER_SEEDS"] !== undefined) return
        // These seeds lead everywhere.
        assert.deepStrictEqual(everything.filter((letters) => !agreed.has(letters)), [])
        assert.deepStrictEqual(Object.keys(differences).filter((name) => !shown.has(name)), ["Out of order"])
      }), Math.max(forLongTest, 500 * (lastSeed - firstSeed)))

    it.effect("a planted fault is found, and shown with few commands", () =>
      Effect.gen(function*() {
        const { open, takeErrors } = yield* Servers
        // Told the wrong verdict: the recipients of the second message, if an unknown command came before.
        const faulty = (...[variant, patience]: Parameters<typeof open>) =>
          Effect.map(open(variant, patience), ({ ours, theirs }) => ({ ours: planted(ours), theirs }))
        const found = yield* Effect.flip(
          Effect.forEach(Array.from({ length: 1000 }, (_, seed) => seed), (seed) => session(seed, faulty), {
            discard: true
          })
        )
        takeErrors()
        const [shrunk, original] = found.conversations
        assert.match(shrunk!.message, /effect-milter TempFail$/)
        assert.isBelow(shrunk!.said.length, 8, shrunk!.message)
        assert.isAbove(original!.said.length, 2 * shrunk!.said.length, original!.message)
      }))

    for (const { connections, name } of recordings) {
      it.effect(`the recording ${name} is answered with the same bytes, by every variant`, () =>
        Effect.gen(function*() {
          const { open, takeErrors } = yield* Servers
          for (const { connection, lines } of connections) {
            for (const variant of names) {
              yield* Effect.scoped(Effect.gen(function*() {
                const title = `connection ${connection}, variant ${variant}`
                const random = Random.make(connection)
                const driver = new Driver({ ...yield* open(variant), title, random, steps: variants[variant].steps })
                yield* replay(driver, lines)
              }))
            }
          }
          assert.deepStrictEqual(takeErrors(), [])
        }))
    }

    it.effect.each(scripts.map((script, index) => ({ ...script, index })))(
      "$name ($index)",
      ({ steps, variant }) =>
        Effect.gen(function*() {
          const { open, takeErrors } = yield* Servers
          yield* play(steps, yield* open(variant))
          takeErrors()
        })
    )
  })
})
