/**
 * Nanoseconds for decoding and for encoding the packets of one message as Postfix sends them: `npm run bench:packet`.
 *
 * The goal is less than a microsecond for the two together.
 */
import * as Frame from "../src/Frame.ts"
import * as Packet from "../src/Packet.ts"
import { ByteString, Writer } from "../src/Wire.ts"

const text = ByteString.fromText

const macro = (stage: string, macros: Readonly<Record<string, string>>): Packet.Macro => ({
  _tag: "Macro",
  stage: text(stage),
  macros: Object.entries(macros).map(([name, value]) => ({ name: text(name), value: text(value) }))
})

const queueId = { i: "4XyZ1234ab" }

const samples: Readonly<Record<string, Packet.MtaPacket | Packet.FilterPacket>> = {
  "Negotiate": { _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff },
  "Macro, connect (5)": macro("C", {
    "j": "mx.example.org",
    "{daemon_name}": "mx.example.org",
    "{daemon_addr}": "192.0.2.25",
    "v": "Postfix 3.7.11",
    "_": "client.example [192.0.2.1]"
  }),
  "Macro, header (1)": macro("L", queueId),
  "Connect": {
    _tag: "Connect",
    hostname: text("client.example"),
    address: { _tag: "IPv4", port: 34122, address: text("192.0.2.1") }
  },
  "Helo": { _tag: "Helo", name: text("client.example") },
  "Mail": { _tag: "Mail", sender: text("<alice@example.org>"), parameters: [text("SIZE=1000"), text("BODY=8BITMIME")] },
  "Rcpt": { _tag: "Rcpt", recipient: text("<bob@example.com>"), parameters: [] },
  "Data": { _tag: "Data" },
  "Header, short": { _tag: "Header", name: text("Subject"), value: text(" Lunch tomorrow?") },
  "Header, folded": {
    _tag: "Header",
    name: text("Received"),
    value: text(
      " from client.example (client.example [192.0.2.1])\n\tby mx.example.org (Postfix) with ESMTPS id 4XyZ1234ab\n\t" +
        "for <bob@example.com>; Mon, 5 Jan 2026 10:00:00 +0000 (UTC)"
    )
  },
  "EndOfHeaders": { _tag: "EndOfHeaders" },
  "Body, 4 kB": { _tag: "Body", bytes: new Uint8Array(4096).fill(0x78) },
  "Body, 64 kB": { _tag: "Body", bytes: new Uint8Array(65535).fill(0x78) },
  "EndOfMessage": { _tag: "EndOfMessage", bytes: new Uint8Array(0) },
  "Continue": { _tag: "Continue" },
  "AddHeader": { _tag: "AddHeader", name: text("X-Spam-Status"), value: text("No, score=-1.9 required=5.0") }
}

const replies = new Set<string>(Packet.filterDefinitions.map(({ name }) => name))
const writer = new Writer()
let sink: unknown

/** The median over some runs, in nanoseconds for one call. */
const measure = (calls: number, call: (turn: number) => unknown): number => {
  const runs: Array<number> = []
  for (let run = 0; run < 7; run++) {
    const started = performance.now()
    for (let turn = 0; turn < calls; turn++) sink = call(turn)
    runs.push((performance.now() - started) * 1e6 / calls)
  }
  return runs.toSorted((one, two) => one - two)[3]!
}

const line = (name: string, decode: number, encode: number): void =>
  console.log(
    `${name.padEnd(22)} ${decode.toFixed(0).padStart(7)} ${encode.toFixed(0).padStart(7)} ${
      (decode + encode).toFixed(0).padStart(7)
    }`
  )

console.log(`${"ns".padEnd(22)}  decode  encode    both`)

const frames: Array<Frame.Frame> = []
for (const [name, packet] of Object.entries(samples)) {
  const into: Array<Frame.Frame> = []
  Frame.makeDecoder().push(Packet.encode(packet).slice(), into)
  const frame = into[0]!
  const calls = frame.limit > 10_000 ? 5_000 : 100_000
  const decode = replies.has(packet._tag) ? Packet.decodeFilterUnsafe : Packet.decodeMtaUnsafe
  line(
    name,
    measure(calls, () => decode(frame)),
    measure(calls, () => {
      Packet.write(writer, packet)
      return writer.take()
    })
  )
  if (frame.limit <= 10_000 && decode === Packet.decodeMtaUnsafe) frames.push(frame)
}

const packets = frames.map((frame) => Packet.decodeMtaUnsafe(frame))
line(
  "all in turn",
  measure(200_000, (turn) => Packet.decodeMtaUnsafe(frames[turn % frames.length]!)),
  measure(200_000, (turn) => {
    Packet.write(writer, packets[turn % packets.length]!)
    return writer.take()
  })
)

const stream = new Writer()
for (const packet of packets) Packet.write(stream, packet)
const bytes = stream.take()
const framing = measure(20_000, () => {
  const into: Array<Frame.Frame> = []
  Frame.makeDecoder().push(bytes, into)
  return into
})
console.log(`framing: ${(framing / packets.length).toFixed(0)} ns a packet`)
if (sink === undefined) throw new Error("nothing was measured")
