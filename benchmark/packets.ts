/** What Postfix sends for a message, by default one with eight headers and a body of 4 kB: the load of the benchmarks. */
import * as Macros from "effect-milter/Macros"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"

const bytes = ByteString.fromText
/** Puts packets together into one write. */
export const join = (...packets: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(packets)
const noBytes = new Uint8Array(0)

const macro = (stage: string, macros: { readonly [name: string]: string }): Uint8Array =>
  Packet.encode({
    _tag: "Macro",
    stage: bytes(stage),
    macros: Object.entries(macros).map(([name, value]) => ({ name: bytes(Macros.render(name)), value: bytes(value) }))
  })

const header = (name: string, value: string): Uint8Array =>
  join(macro("L", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "Header", name: bytes(name), value: bytes(value) }))

/** How a connection begins: each element is written at once and answered once. */
export const opening: ReadonlyArray<Uint8Array> = [
  Packet.encode({ _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff }),
  join(
    macro("C", {
      j: "mx.example.org",
      daemon_name: "mx.example.org",
      daemon_addr: "192.0.2.25",
      v: "Postfix 3.7.11",
      _: "client.example.net [198.51.100.7]"
    }),
    Packet.encode({
      _tag: "Connect",
      hostname: bytes("client.example.net"),
      address: { _tag: "IPv4", port: 40112, address: bytes("198.51.100.7") }
    })
  ),
  join(macro("H", {}), Packet.encode({ _tag: "Helo", name: bytes("client.example.net") }))
]

/** How large a message is. */
export interface Size {
  readonly headers: number
  /** Bytes of the body. */
  readonly body: number
}

const headers: ReadonlyArray<readonly [name: string, value: string]> = [
  ["Received", " from client.example.net (client.example.net [198.51.100.7])\n\tby mail.example.net"],
  ["Date", " Sun, 22 Nov 2026 11:17:00 +0000"],
  ["From", " Alice <alice@example.net>"],
  ["To", " Bob <bob@example.org>"],
  ["Subject", " Minutes of the meeting"],
  ["Message-Id", " <20261122111700.4711@example.net>"],
  ["MIME-Version", " 1.0"],
  ["Content-Type", " text/plain; charset=utf-8"]
]

/** What Postfix puts into a packet at most. */
const maxChunk = 65_535
const line = "All work and no play makes Jack a dull boy.\r\n"

/** The body in packets; those of a full chunk are the same object. */
const bodyPackets = (length: number): ReadonlyArray<Uint8Array> => {
  const text = Buffer.from(line.repeat(Math.ceil(Math.min(length, maxChunk) / line.length)))
  const packet = (size: number): Uint8Array =>
    join(macro("B", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "Body", bytes: text.subarray(0, size) }))
  const rest = length % maxChunk
  const whole = length < maxChunk
    ? []
    : Array.from<Uint8Array>({ length: Math.floor(length / maxChunk) }).fill(packet(maxChunk))
  return rest === 0 ? whole : [...whole, packet(rest)]
}

/** The same for a message on a connection that is open; an abort comes before every message but the first. */
export const makeMessage = (size: Size): ReadonlyArray<Uint8Array> => [
  join(
    macro("M", { mail_addr: "alice@example.net", mail_host: "mx.example.org", mail_mailer: "local" }),
    Packet.encode({ _tag: "Mail", sender: bytes("<alice@example.net>"), parameters: [bytes("SIZE=4711")] })
  ),
  join(
    macro("R", { rcpt_addr: "bob@example.org", rcpt_host: "mx.example.org", rcpt_mailer: "local" }),
    Packet.encode({ _tag: "Rcpt", recipient: bytes("<bob@example.org>"), parameters: [] })
  ),
  join(macro("T", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "Data" })),
  ...Array.from({ length: size.headers }, (_, index) => header(...headers[index % headers.length]!)),
  join(macro("N", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "EndOfHeaders" })),
  ...bodyPackets(size.body),
  join(macro("E", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "EndOfMessage", bytes: noBytes }))
]

/** Eight headers and 4 kB. */
export const message = makeMessage({ headers: 8, body: 91 * line.length })

export const abort = Packet.encode({ _tag: "Abort" })
export const quit = Packet.encode({ _tag: "Quit" })
