/** `effect-milter decode` of hexadecimal text, `trace --append`, and `replay --outcome`. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import * as Recording from "effect-milter/Recording"
import * as Verdict from "effect-milter/Verdict"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { spawn } from "../../../testbed/childProcess.ts"
import { command, complains, run, runAll, runWith } from "../../support/commandLine.ts"
import * as Listeners from "../../support/listeners.ts"
import picky from "../../support/modules/filter.ts"

/** A filter, served in this process. */
const served = (filter: Milter.Filter<never, never>) =>
  Effect.map(
    Layer.build(
      MilterServer.layer(filter).pipe(
        Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
        Layer.provide(Listeners.quiet)
      )
    ),
    (context) => Context.get(context, MilterServer.Listener).addresses[0]!
  )

const text = "From: a@example.org\nTo: b@example.net, busy@example.net\nSubject: hi\n\nHello\n"

/** Makes a recording of two messages with a filter: one that passes, one that is refused. */
const traced = Effect.fnUntraced(
  function*(upstream: string, directory: string, recording: string, ...flags: ReadonlyArray<string>) {
    const socket = `unix:${directory}/trace.sock`
    const file = Path.join(directory, "m.eml")
    Fs.writeFileSync(file, text)
    return yield* Effect.gen(function*() {
      const trace = yield* spawn(
        process.execPath,
        command(["trace", "--listen", socket, "--upstream", upstream, "--record", recording, ...flags]),
        { env: { NO_COLOR: "1" } }
      )
      yield* trace.shows(/listening on/)
      yield* runAll([["send", file, "--to", socket], ["send", file, "--to", socket, "--from", "mallory@example.com"]])
      yield* trace.shows(/ has closed\n[^]* has closed\n/)
      yield* trace.signal("SIGINT")
      yield* trace.exit
      return trace.output
    }).pipe(Effect.scoped)
  }
)

describe("decode", () => {
  const hexOf = (...sent: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>): string =>
    Buffer.concat(sent.map((packet) => Packet.encode(packet))).toString("hex")

  it.live("shows the packets in hexadecimal text, from whichever side", () =>
    Effect.gen(function*() {
      const hex = hexOf(
        { _tag: "Negotiate", version: 6, actions: 1, steps: 0 },
        { _tag: "Negotiated", version: 6, actions: 1, steps: 0, macros: [] },
        { _tag: "Data" },
        { _tag: "Continue" }
      )
      const ran = yield* runWith({ stdin: hex }, "decode", "-")
      assert.deepStrictEqual([ran.code, ran.stderr], [0, ""])
      assert.strictEqual(
        ran.stdout,
        "  1 MTA    → Negotiate version 6; actions: addHeader; steps: none\n" +
          "  1 filter ← Negotiated version 6; actions: addHeader; steps: none\n" +
          "  1 MTA    → Data\n" +
          "  1 filter ← Continue\n"
      )
      const told = yield* runWith({ stdin: "0000000d4f000000060000000100000000" }, "decode", "-", "--from", "filter")
      assert.match(told.stdout, /^ {2}1 filter ← Negotiated/)
    }))

  it.live("says what is not in order", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const write = (name: string, content: string | Buffer) => {
        Fs.writeFileSync(Path.join(directory, name), content)
        return Path.join(directory, name)
      }
      const [cut, words, nothing, short, none] = yield* runAll([
        ["decode", write("cut", "00000001")],
        ["decode", write("words", "hello\n")],
        ["decode", write("nothing", "")],
        ["decode", write("short.pcap", Buffer.from("d4c3b2a1", "hex"))],
        ["decode", Path.join(directory, "none")]
      ])
      complains(cut!, /the last 4 bytes are not a whole frame/)
      complains(words!, /is no capture, and its line 1 is not hexadecimal/)
      complains(nothing!, /the last 0 bytes are not a whole frame/)
      complains(short!, /the file ends in the middle of a packet/)
      complains(none!, /cannot read .*none: ENOENT/)
    }))
})

describe("trace", () => {
  it.live("adds to a recording, with the numbers that follow and the time of the clock", () =>
    Effect.gen(function*() {
      const upstream = yield* served(picky)
      const directory = yield* Listeners.directory
      const recording = Path.join(directory, "session.jsonl")
      const first = yield* traced(upstream, directory, recording, "--append")
      assert.match(first, /^ {2}1 \d\d:\d\d:\d\d\.\d{3} +\d+\.\d{3} MTA {4}→ Negotiate/m)
      assert.strictEqual(Fs.statSync(recording).mode & 0o777, 0o600)
      const second = yield* traced(upstream, directory, recording, "--append")
      assert.match(second, /^ {2}4 .* has closed$/m)
      const lines = Result.getOrThrow(Recording.parse(Fs.readFileSync(recording, "utf8")))
      assert.deepStrictEqual(Recording.connections(lines).map(({ connection }) => connection), [1, 2, 3, 4])
      const started = lines.flatMap((line) => line._tag === "Description" ? [line.started] : [])
      assert.lengthOf(started, 2)
      for (const time of started) assert.match(time!, /^20\d\d-\d\d-\d\dT[\d:]+\.\d{3}Z$/)
      const replayed = yield* run("replay", recording, "--to", upstream)
      assert.strictEqual(replayed.code, 0, replayed.stdout)

      const damaged = Path.join(directory, "damaged")
      Fs.writeFileSync(damaged, "{\"conn\":1")
      const link = Path.join(directory, "link")
      Fs.symlinkSync(recording, link)
      const trace = (...args: ReadonlyArray<string>) => ["trace", "--listen", "inet:0", "--upstream", upstream, ...args]
      const [incomplete, stranger, linked, nowhere] = yield* runAll([
        trace("--record", damaged, "--append"),
        trace("--record", Path.join(directory, "m.eml"), "--append"),
        trace("--record", link, "--append"),
        trace("--append")
      ])
      complains(incomplete!, /the last line of .*damaged is not complete/)
      complains(stranger!, /m\.eml is no recording, or is damaged: line 1/)
      complains(linked!, /link is a link: give --record the file itself/)
      complains(nowhere!, /--append has no recording to add to/)
    }))
})

describe("replay --outcome", () => {
  /** Does to mail what `picky` does, by other means: it refuses later, and asks for less in the negotiation. */
  const likePicky = Milter.make("like-picky", { modify: ["insertHeader"] }).on({
    mail: () => Effect.succeed(Verdict.continue),
    rcpt: ({ recipient }, { envelope }) =>
      Effect.succeed(
        envelope.sender.domain === "example.com"
          ? Verdict.reject({ text: "not you" })
          : recipient.localPart === "busy"
          ? Verdict.tempFail({ enhanced: "4.2.1", text: "on holiday" })
          : Verdict.continue
      ),
    header: () => Effect.succeed(Verdict.continue),
    // After the three fields of the message.
    endOfMessage: (_, { edit }) => Effect.as(edit.insertHeader(5, "X-Picky", "yes"), Verdict.continue)
  })

  it.live("is the same for a filter that does the same to mail in another way", () =>
    Effect.gen(function*() {
      const directory = yield* Listeners.directory
      const recording = Path.join(directory, "session.jsonl")
      yield* traced(yield* served(picky), directory, recording)
      const other = yield* served(likePicky)
      const changing = yield* served(
        Milter.make("changing", { modify: ["addHeader"] }).on({
          endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Picky", "no"), Verdict.continue)
        })
      )
      const [answers, outcomes, changed, ignored] = yield* runAll([
        ["replay", recording, "--to", other],
        ["replay", recording, "--to", other, "--outcome"],
        ["replay", recording, "--to", changing, "--outcome"],
        ["replay", recording, "--to", changing, "--outcome", "--ignore", "x-picky"]
      ])
      assert.strictEqual(answers?.code, 2)
      assert.match(outcomes!.stdout, /^connection 1: 1 message, same outcome$/m)
      assert.strictEqual(changed?.code, 2)
      assert.include(
        changed!.stdout,
        "  @@ message 1, from <a@example.org> @@\n" +
          "  - <busy@example.net> refused for now: 451 4.2.1 on holiday\n"
      )
      assert.match(changed!.stdout, /^ {2}-X-Picky: yes\n {2}\+X-Picky: no$/m)
      assert.match(changed!.stdout, /^ {2}- rejected: 550 5\.7\.1 not you\n {2}\+ given up by the MTA$/m)
      assert.notMatch(ignored!.stdout, /X-Picky: no/)
      assert.match(changed!.stdout, /2 messages: 2 other outcomes; \d negotiations? differ, which does not count\n$/)
    }))
})
