/**
 * What is fuzzed. A target takes any bytes and says in a word what came of them; it throws if a promise is broken: errors are
 * typed, the same bytes mean the same however they are cut, every command that expects an answer has one, nothing stays open.
 */
import * as Delivery from "effect-milter/Delivery"
import * as Frame from "effect-milter/Frame"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as Packet from "effect-milter/Packet"
import * as Recording from "effect-milter/Recording"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as assert from "node:assert/strict"
import { edit } from "../message/support/editing.ts"
import * as MimeMessages from "../message/support/mimeMessages.ts"
import type { Random } from "../support/random.ts"
import * as Mta from "../support/rawMta.ts"
import { dial, type Script } from "../support/scriptedFilter.ts"
import { concat, decode, type Decoded, split } from "../support/wire.ts"
import * as Inputs from "./inputs.ts"

export type Name = "frames" | "packets" | "session" | "client" | "recording" | "mime"

export type Run = (input: Uint8Array, random: Random) => Effect.Effect<string, never, Scope.Scope>

export interface Target {
  readonly seeds: () => ReadonlyArray<Uint8Array>
  /** Made anew from time to time, so that what it keeps is released. */
  readonly make: Effect.Effect<Run, never, Scope.Scope>
}

const pure = (run: (input: Uint8Array, random: Random) => string): Effect.Effect<Run> =>
  Effect.succeed((input, random) => Effect.sync(() => run(input, random)))

const cut = (input: Uint8Array, random: Random): ReadonlyArray<Uint8Array> =>
  split(input, [random.pick([1, 3, 50, 1000, Inputs.longest])])

// --- frames

/** Frames one after the other, with a number for each that tells where it ends. */
const flat = ({ frames }: Decoded): Uint8Array =>
  concat(frames.flatMap(({ bytes, code, limit, offset }) => {
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, limit - offset)
    return [length, Uint8Array.of(code), bytes.subarray(offset, limit)]
  }))

const frames = (input: Uint8Array, random: Random): string => {
  const options = { maxLength: random.pick([16, 1000, Frame.defaultMaxLength]) }
  const whole = decode([input], options)
  const pieces = decode(cut(input, random), options)
  assert.equal(pieces.error?.message, whole.error?.message, "the error, however it is cut")
  assert.equal(Buffer.compare(flat(pieces), flat(whole)), 0, "the frames, however it is cut")
  assert.ok(whole.error === undefined || whole.error instanceof Frame.FrameError)
  return `${Math.min(whole.frames.length, 20)} ${whole.error?._tag}`
}

// --- packets

const sameAgain = <P extends Packet.MtaPacket | Packet.FilterPacket>(
  packet: P,
  decodePacket: (frame: Frame.Frame) => Result.Result<P, Packet.PacketError>
): void => {
  const text = Packet.format(packet)
  const [frame] = decode([Packet.encode(packet).slice()], { maxLength: 2 * Frame.defaultMaxLength }).frames
  assert.equal(Packet.format(Result.getOrThrow(decodePacket(frame!))), text, "encoded and decoded again")
}

const packets = (input: Uint8Array): string => {
  const outcomes: Array<string> = []
  const note = <P extends Packet.MtaPacket | Packet.FilterPacket>(
    frame: Frame.Frame,
    decodePacket: (frame: Frame.Frame) => Result.Result<P, Packet.PacketError>
  ) => {
    const decoded = decodePacket(frame)
    if (Result.isSuccess(decoded)) sameAgain(decoded.success, decodePacket)
    else assert.ok(decoded.failure instanceof Packet.PacketError)
    outcomes.push(Result.isSuccess(decoded) ? decoded.success._tag : decoded.failure.message.replace(/\d+/g, "0"))
  }
  // The first byte is the code.
  const [frame] = decode([Frame.encode(input[0] ?? 0, input.subarray(1))]).frames
  note(frame!, Packet.decodeMta)
  note(frame!, Packet.decodeFilter)
  return outcomes.join(" ")
}

/** Code and payload of each frame of the recordings. */
const recordedPackets = (): ReadonlyArray<Uint8Array> => {
  const all = new Map<string, Uint8Array>()
  for (const from of ["mta", "filter"] as const) {
    for (const stream of Inputs.recorded(from)) {
      for (const { bytes, code, limit, offset } of decode([stream]).frames) {
        const input = concat([Uint8Array.of(code), bytes.subarray(offset, Math.min(limit, offset + 4096))])
        all.set(Buffer.from(input.subarray(0, 60)).toString("latin1"), input)
      }
    }
  }
  return [...all.values()]
}

// --- session

const counts = { opened: 0, closed: 0 }

const counted = Effect.acquireRelease(
  Effect.sync(() => void counts.opened++),
  () => Effect.sync(() => void counts.closed++)
)

/** Answers every stage, with verdicts that depend on what it gets. */
const everything = Milter.make("everything", {
  modifyIfOffered: ["addHeader", "replaceBody"],
  connection: () => counted,
  message: () => counted
}).on({
  connect: () => Effect.succeed(Verdict.continue),
  helo: ({ name }) => Effect.succeed(name.length > 100 ? Verdict.reject() : Verdict.continue),
  mail: ({ parameters }) => Effect.succeed((parameters.size ?? 0) > 1_000_000 ? Verdict.tempFail() : Verdict.continue),
  rcpt: ({ recipient }) => Effect.as(Effect.yieldNow, recipient.isNull ? Verdict.reject() : Verdict.continue),
  data: () => Effect.succeed(Verdict.continue),
  header: ({ name }) => Effect.succeed(name === "X-Refuse" ? Verdict.reject({ text: "no" }) : Verdict.continue),
  endOfHeaders: () => Effect.succeed(Verdict.continue),
  body: ({ bytes }) => Effect.succeed(bytes.length > 50_000 ? Verdict.skipBody : Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, session }) {
    // A peer may send any bytes as its queue id; a value with line breaks is the filter's mistake.
    const queueId = (session.macros.get("i") ?? "none").replace(/[\r\n\0]/g, "?")
    if (edit.addHeader._tag === "Some") yield* edit.addHeader.value("X-Queue", queueId)
    if (edit.replaceBody._tag === "Some") yield* edit.replaceBody.value(new Uint8Array(10))
    return Verdict.continue
  }),
  unknown: () => Effect.succeed(Verdict.reject())
})

const isVerdict = ({ _tag }: Packet.FilterPacket): boolean =>
  _tag !== "AddHeader" && _tag !== "ReplaceBody" && _tag !== "Progress"

/** What the server may say of a peer that breaks the rules. */
const ofPeers = /^Warn (\w+Error|InvalidValue): .*; closing the connection/

const session = Effect.gen(function*() {
  const server = yield* Mta.serve(everything)
  return (input: Uint8Array, random: Random) =>
    Effect.gen(function*() {
      const before = server.logs.length
      const mta = yield* server.dial
      const got: Array<Packet.FilterPacket> = []
      for (const chunk of cut(input, random.chance(0.9) ? { ...random, pick: (all) => all.at(-1)! } : random)) {
        yield* mta.send(chunk)
      }
      // A hook that yields takes a turn, and an input may have many of them.
      for (let some = yield* mta.packets; some.length > 0; some = yield* mta.packets) got.push(...some)
      const closed = yield* mta.closed
      const commands = decode([input]).frames.map(({ code }) => Packet.mtaByCode(code))
      const expected = commands.filter((command) => command?.answered === true).length
      const answers = got.filter(isVerdict).length
      if (closed) assert.ok(answers <= expected, `${answers} answers to ${expected} commands`)
      else assert.equal(answers, expected, "answers of a connection that stays open")
      const lines = server.logs.slice(before).map(({ level, text }) => `${level} ${text}`)
      for (const line of lines) assert.match(line, /^Warn /)
      if (closed && !commands.some((command) => command?.name === "Quit")) {
        assert.ok(lines.some((line) => ofPeers.test(line)), `closed without a reason: ${lines.join()}`)
      }
      yield* mta.end
      assert.ok(yield* mta.closed, "closed after the end")
      assert.equal(counts.closed, counts.opened, "scopes")
      return `${got.map(({ _tag }) => _tag[0]).join("").slice(0, 40)} ${lines.map((line) => line.slice(5, 15)).join()}`
    }).pipe(Effect.orDie)
})

// --- client

/** Frames up to each verdict: what a filter sends for one command. What does not read as frames is one piece. */
const answersIn = (input: Uint8Array): ReadonlyArray<Uint8Array> => {
  const neutral = new Set(Array.from("himb+2-eqp", (code) => code.charCodeAt(0)))
  const answers: Array<Uint8Array> = []
  let from = 0
  let at = 0
  while (at + 5 <= input.length) {
    const length = new DataView(input.buffer, input.byteOffset + at).getUint32(0)
    if (length === 0 || length > input.length - at - 4) break
    const code = input[at + 4]!
    at += 4 + length
    if (neutral.has(code)) continue
    answers.push(input.subarray(from, at))
    from = at
  }
  return from < input.length ? [...answers, input.subarray(from)] : answers
}

const converse = Effect.fnUntraced(function*(client: MilterClient.Client) {
  yield* client.negotiate()
  yield* client.connect({ hostname: "client.example.org", address: "192.0.2.1", port: 4711 })
  yield* client.helo("client.example.org")
  yield* client.mail("<alice@example.org>")
  yield* client.rcpt("<bob@example.net>")
  yield* client.data()
  yield* client.header("Subject", "hello")
  yield* client.endOfHeaders()
  yield* client.body("Hello\r\n")
  const { modifications } = yield* client.endOfMessage()
  yield* client.quit()
  return modifications
})

const message: Delivery.Message = {
  sender: ByteString.fromText("alice@example.org"),
  recipients: [{ address: ByteString.fromText("bob@example.net"), parameters: undefined }],
  headers: [{ name: ByteString.fromText("Subject"), value: ByteString.fromText("hello") }],
  body: new TextEncoder().encode("Hello\r\n")
}

const client = Effect.succeed((input: Uint8Array) =>
  Effect.gen(function*() {
    const answers = [...answersIn(input)]
    const script: Script = (packet, filter) => {
      const command = Packet.mtaDefinitions.find(({ name }) => name === packet._tag)
      if (command?.answered !== true) return undefined
      const answer = answers.shift()
      if (answer === undefined) filter.close()
      return answer
    }
    const fiber = yield* Effect.forkChild(
      Effect.exit(Effect.flatMap(dial(script), ([client, filter]) =>
        Effect.ensuring(
          converse(client),
          Effect.sync(() => filter.close())
        ))),
      { startImmediately: true }
    )
    for (let turn = 0; turn < 2000 && fiber.pollUnsafe() === undefined; turn++) {
      yield* Effect.yieldNow
      // Half an answer, after which nothing comes: the filter goes.
      if (turn === 1000) return yield* Effect.as(Fiber.interrupt(fiber), "waits")
    }
    const exit = yield* Fiber.join(fiber)
    if (Exit.isSuccess(exit)) {
      for (const deliver of [Delivery.postfix, Delivery.sendmail]) {
        const delivered = deliver(message, exit.value, { leadingSpace: false })
        assert.ok(Result.isSuccess(delivered) || delivered.failure._tag === "DeliveryError")
      }
      return exit.value.map(({ _tag }) => _tag[0]).join("")
    }
    const error = Cause.squash(exit.cause)
    assert.ok(error instanceof MilterClient.ClientError && !Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
    return `${error.command} ${error.reason._tag}`
  })
)

// --- recording

const recording = (input: Uint8Array): string => {
  const parsed = Recording.parse(Buffer.from(input).toString("utf8"))
  if (Result.isFailure(parsed)) {
    assert.ok(parsed.failure instanceof Recording.RecordingError)
    return parsed.failure.message.replace(/\d+/g, "0").slice(0, 40)
  }
  const lines = parsed.success
  const written = Recording.format(lines)
  assert.equal(Recording.format(Result.getOrThrow(Recording.parse(written))), written, "written and parsed again")
  const redacted = Recording.redact(lines)
  assert.equal(redacted.length, lines.length)
  Result.getOrThrow(Recording.parse(Recording.format(redacted)))
  for (const line of lines) {
    if (line._tag !== "Frame") continue
    const packet = Recording.packet(line)
    assert.ok(Result.isSuccess(packet) || packet.failure instanceof Packet.PacketError)
  }
  return `${Recording.connections(lines).length} ${Math.min(lines.length, 40)}`
}

// --- mime

const mailOf = (input: Uint8Array): MimeMessages.Mail => {
  const text = Buffer.from(input).toString("latin1")
  const end = text.indexOf("\r\n\r\n")
  const head = end === -1 ? "" : text.slice(0, end)
  return {
    fields: head.split(/\r\n(?![ \t])/).flatMap((line) => {
      const colon = line.indexOf(":")
      return colon < 1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const]
    }),
    body: end === -1 ? text : text.slice(end + 4)
  }
}

const mime: Effect.Effect<Run> = Effect.succeed((input) => {
  const mail = mailOf(input)
  return Effect.map(
    edit(mail, (mime) =>
      Effect.gen(function*() {
        const { leaves } = yield* mime.tree
        for (const { filenames } of leaves) assert.ok(filenames.length >= 0)
        yield* mime.prepend({ text: "CAUTION", html: "<p>CAUTION</p>" })
        yield* mime.append({ text: "Grüße", html: "<p>Grüße</p>" })
        return leaves.length
      })),
    ({ result, undone }) => {
      assert.equal(undone, mail.body, "what was replaced, put back")
      if (Result.isSuccess(result)) return `${Math.min(result.success, 20)}`
      assert.equal(result.failure._tag, "NotEditable")
      return result.failure.message.slice(0, 30)
    }
  )
})

const messages = (): ReadonlyArray<Uint8Array> =>
  Array.from({ length: 200 }, (_, seed) => {
    const mail = MimeMessages.mailOf(seed)
    return Buffer.from(MimeMessages.sourceOf(seed % 2 === 0 ? mail : MimeMessages.mangled(mail, seed)), "latin1")
      .subarray(
        0,
        Inputs.longest
      )
  })

export const targets: { readonly [K in Name]: Target } = {
  frames: {
    seeds: () => [...Inputs.recorded("mta"), ...Inputs.recorded("filter")].map((bytes) => bytes.subarray(0, 1000)),
    make: pure(frames)
  },
  packets: { seeds: recordedPackets, make: pure(packets) },
  session: { seeds: () => Inputs.recorded("mta"), make: session },
  client: { seeds: () => Inputs.recorded("filter"), make: client },
  recording: { seeds: Inputs.recordedTexts, make: pure(recording) },
  mime: { seeds: messages, make: mime }
}
