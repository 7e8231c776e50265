/** `effect-milter decode`: shows the packets in a capture of a milter's port, or in hexadecimal text. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"
import * as Recording from "../../Recording.ts"
import * as specs from "../flags/specs.ts"
import { type Style, style } from "../terminal/style.ts"
import { PacketLog, sideName } from "../trace/packetLog.ts"
import * as recordingFile from "../trace/recordingFile.ts"
import type { Side } from "../trace/relay.ts"
import * as exit from "../trouble/exit.ts"
import { type CapturedPacket, isCapture, packets } from "./captureFile.ts"
import { Conversations } from "./conversations.ts"
import * as hexText from "./hexText.ts"
import { segmentOf } from "./segment.ts"

const flags = {
  file: specs.pathArgument("FILE").pipe(
    Argument.withDescription("A capture (pcap or pcapng) or bytes in hexadecimal; - reads standard input")
  ),
  port: Flag.Int("port").pipe(
    Flag.filter((port) => port > 0 && port < 65_536, () => "a port"),
    Flag.withMetavar("PORT"),
    Flag.withDescription("The port of the filter; if not given, connections that begin with a negotiation are shown"),
    Flag.optional
  ),
  from: Flag.Literals("from", ["mta", "filter"]).pipe(
    Flag.withDescription("Who sent the bytes in hexadecimal; if not given, the command letter says it"),
    Flag.optional
  ),
  record: specs.pathFlag("record").pipe(
    Flag.withDescription("Writes a recording, for replay and for tests"),
    Flag.optional
  ),
  redact: Flag.Boolean("redact").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Hides addresses, names and texts of mail, on the screen and in the recording")
  )
}

interface Given {
  readonly file: string
  readonly port: Option.Option<number>
  readonly from: Option.Option<Side>
  readonly record: Option.Option<string>
  readonly redact: boolean
}

const chunkSize = 262_144

function* chunksOf(descriptor: number): Generator<Buffer> {
  for (;;) {
    // A new buffer each time: the packets of a capture are views into it.
    const buffer = Buffer.alloc(chunkSize)
    const length = Fs.readSync(descriptor, buffer)
    if (length === 0) return
    yield buffer.subarray(0, length)
  }
}

/** A file, or standard input. */
const opened = (path: string) =>
  path === "-"
    ? Effect.succeed(0)
    : Effect.acquireRelease(
      Effect.try({
        try: () => Fs.openSync(path, "r"),
        catch: (error) => exit.trouble(`cannot read ${path}: ${exit.lineOf(error)}`)
      }),
      (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
    )

// --- captures

type MakeLog = (began: number | undefined) => PacketLog

const decodeCapture = Effect.fnUntraced(function*(
  given: Given,
  first: CapturedPacket | undefined,
  rest: Iterable<Result.Result<CapturedPacket, { readonly reason: string }>>,
  makeLog: MakeLog
) {
  const began = first?.time ?? 0
  const log = makeLog(began)
  log.describe(`effect-milter decode of ${given.file}`)
  let time = 0
  let isCut = false
  const conversations = new Conversations(Option.getOrUndefined(given.port), {
    opened: (connection, mta, filter) => {
      log.event(connection, time, "open")
      log.note(connection, time, log.hides ? "the MTA connects" : `${mta} connects to ${filter}`)
    },
    frame: (connection, from, frame) => log.frame(Recording.frame(from, frame, { connection, time: Math.round(time) })),
    junk: (connection, from, bytes) => log.junk(connection, time, from, bytes, ""),
    closed: (connection, by, isReset) => log.closed(connection, time, by, isReset ? new Error("reset") : undefined),
    gap: (connection, from) =>
      log.note(
        connection,
        time,
        `bytes of ${sideName[from]} are missing in the capture; the rest of them cannot be decoded`
      )
  })
  const take = (packet: CapturedPacket): void => {
    time = Math.max(time, packet.time - began)
    isCut ||= packet.isCut
    const segment = segmentOf(packet)
    if (segment !== undefined) conversations.push(segment)
  }
  if (first !== undefined) take(first)
  let damage: string | undefined
  for (const packet of rest) {
    if (Result.isSuccess(packet)) take(packet.success)
    else damage = packet.failure.reason
  }
  conversations.end()
  if (isCut) process.stderr.write("effect-milter: the capture has packets that are cut: capture with tcpdump -s 0\n")
  if (damage !== undefined) return yield* exit.trouble(`${given.file}: ${damage}`)
  if (conversations.count === 0) {
    return yield* exit.trouble(
      `${given.file} has no conversation with a milter among ${conversations.others} TCP connections: ` +
        "give --port PORT if the capture began in the middle of one, or capture the port of the filter"
    )
  }
})

// --- hexadecimal text

/** Only negotiations have the same letter on both sides; the MTA's comes first. */
const sideOf = (code: number, given: Option.Option<Side>, hasNegotiated: boolean): Side =>
  Option.getOrElse(given, () => {
    const isMta = Packet.mtaByCode(code) !== undefined
    const isFilter = Packet.filterByCode(code) !== undefined
    return isMta && isFilter ? hasNegotiated ? "filter" : "mta" : isFilter ? "filter" : "mta"
  })

const decodeHex = Effect.fnUntraced(function*(given: Given, text: string, makeLog: MakeLog) {
  const bytes = yield* Effect.fromResult(
    Result.mapError(
      hexText.parse(text),
      (line) =>
        exit.trouble(
          `${given.file} is no capture, and its line ${line} is not hexadecimal: give a pcap file or hex digits`
        )
    )
  )
  const log = makeLog(undefined)
  log.describe(`effect-milter decode of ${given.file}`)
  const frames: Array<Frame.Frame> = []
  const error = Frame.makeDecoder().push(bytes, frames)
  let hasNegotiated = false
  let decoded = 0
  for (const frame of frames) {
    const from = sideOf(frame.code, given.from, hasNegotiated)
    hasNegotiated ||= frame.code === negotiation
    log.frame(Recording.frame(from, frame, { connection: 1, time: 0 }))
    decoded = frame.position + 4 + 1 + frame.limit - frame.offset
  }
  if (error !== undefined) return yield* exit.trouble(`${given.file}: ${exit.lineOf(error)}`)
  if (decoded < bytes.length || frames.length === 0) {
    return yield* exit.trouble(
      `${given.file}: the last ${
        bytes.length - decoded
      } bytes are not a whole frame, which begins with its length in four bytes`
    )
  }
})

const negotiation = Packet.Negotiate.code

const run = Effect.fnUntraced(function*(given: Given) {
  const colours: Style = yield* style
  let failure: exit.Trouble | undefined
  const file = Option.isSome(given.record)
    ? yield* recordingFile.open(given.record.value, false, (trouble) => {
      failure = trouble
    })
    : undefined
  const makeLog: MakeLog = (began) => new PacketLog(colours, given.redact, began, file?.write)
  const chunks = chunksOf(yield* opened(given.file))
  const start = chunks.next()
  const first = start.done === true ? Buffer.alloc(0) : start.value
  const all = function*() {
    yield first
    yield* chunks
  }
  yield* Effect.suspend(() => {
    if (!isCapture(first)) return decodeHex(given, Buffer.concat([...all()]).toString("latin1"), makeLog)
    const found = packets(all())
    const packet = found.next()
    if (packet.done === true) return decodeCapture(given, undefined, [], makeLog)
    return Result.isFailure(packet.value)
      ? exit.trouble(`${given.file}: ${packet.value.failure.reason}`)
      : decodeCapture(given, packet.value.success, found, makeLog)
  })
  if (failure !== undefined) return yield* failure
}, Effect.scoped)

export const decode = Command.make("decode", flags, run).pipe(
  Command.withDescription(
    "Shows the packets between an MTA and a filter in a capture of tcpdump or Wireshark (pcap, pcapng), or in hexadecimal " +
      "text from a log or from strace. What trace shows live, decode shows afterwards. Exit code: 0 if all is shown, 1 if not"
  ),
  Command.withShortDescription("Shows the packets in a capture of a milter's port, or in hexadecimal text"),
  Command.withExamples([
    { command: "tcpdump -i lo -s 0 -w milter.pcap port 9000", description: "Capture first" },
    { command: "effect-milter decode milter.pcap --record session.jsonl" },
    { command: "echo 0000000163 | effect-milter decode -" }
  ])
)
