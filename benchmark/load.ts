/** The load of the session benchmark: what Postfix sends for a message with eight headers and a body of 4 kB. */
import * as Frame from "effect-milter/Frame"
import * as Macros from "effect-milter/Macros"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Net from "node:net"

const bytes = ByteString.fromText
const join = (...packets: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(packets)
const noBytes = new Uint8Array(0)

const macro = (stage: string, macros: { readonly [name: string]: string }): Uint8Array =>
  Packet.encode({
    _tag: "Macro",
    stage: bytes(stage),
    macros: Object.entries(macros).map(([name, value]) => ({ name: bytes(Macros.render(name)), value: bytes(value) }))
  })

const header = (name: string, value: string): Uint8Array =>
  join(macro("L", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "Header", name: bytes(name), value: bytes(value) }))

/** Each element is written at once and answered with one verdict. */
const opening: ReadonlyArray<Uint8Array> = [
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

const message: ReadonlyArray<Uint8Array> = [
  join(
    macro("M", { mail_addr: "alice@example.net", mail_host: "mx.example.org", mail_mailer: "local" }),
    Packet.encode({ _tag: "Mail", sender: bytes("<alice@example.net>"), parameters: [bytes("SIZE=4711")] })
  ),
  join(
    macro("R", { rcpt_addr: "bob@example.org", rcpt_host: "mx.example.org", rcpt_mailer: "local" }),
    Packet.encode({ _tag: "Rcpt", recipient: bytes("<bob@example.org>"), parameters: [] })
  ),
  join(macro("T", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "Data" })),
  header("Received", " from client.example.net (client.example.net [198.51.100.7])\n\tby mail.example.net"),
  header("Date", " Sun, 22 Nov 2026 11:17:00 +0000"),
  header("From", " Alice <alice@example.net>"),
  header("To", " Bob <bob@example.org>"),
  header("Subject", " Minutes of the meeting"),
  header("Message-Id", " <20261122111700.4711@example.net>"),
  header("MIME-Version", " 1.0"),
  header("Content-Type", " text/plain; charset=utf-8"),
  join(macro("N", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "EndOfHeaders" })),
  join(
    macro("B", { i: "4YqTzX0Jk1z9rZ" }),
    Packet.encode({ _tag: "Body", bytes: Buffer.from("All work and no play makes Jack a dull boy.\r\n".repeat(91)) })
  ),
  join(macro("E", { i: "4YqTzX0Jk1z9rZ" }), Packet.encode({ _tag: "EndOfMessage", bytes: noBytes }))
]

const abort = Packet.encode({ _tag: "Abort" })
const quit = Packet.encode({ _tag: "Quit" })

const modifications = new Set(Array.from("himb+2-eqp", (letter) => letter.charCodeAt(0)))

/** One connection with this many messages; resolves when the server has closed it. */
const connection = (path: string, messages: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const steps = [...opening]
    for (let index = 0; index < messages; index++) {
      steps.push(index === 0 ? message[0]! : join(abort, message[0]!), ...message.slice(1))
    }
    const socket = Net.connect({ path, noDelay: true })
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    let step = 0
    socket.on("connect", () => socket.write(steps[step++]!))
    socket.on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const frame of frames.splice(0)) {
        if (modifications.has(frame.code)) continue
        if (step < steps.length) socket.write(steps[step++]!)
        else if (step++ === steps.length) socket.end(join(abort, abort, quit))
      }
    })
    socket.on("error", reject)
    socket.on("close", () => step > steps.length ? resolve() : reject(new Error(`closed at step ${step}`)))
  })

/** Messages per second over `connections` at a time. */
export const run = async (
  path: string,
  options: { readonly messages: number; readonly perConnection: number; readonly connections: number }
): Promise<number> => {
  let left = options.messages
  const started = performance.now()
  await Promise.all(Array.from({ length: options.connections }, async () => {
    while (left > 0) {
      left -= options.perConnection
      await connection(path, options.perConnection)
    }
  }))
  return options.messages / ((performance.now() - started) / 1000)
}
