/** The floor of the comparison: a bare Node server that cuts frames and writes canned answers. */
import * as Frame from "effect-milter/Frame"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Net from "node:net"

const bytes = ByteString.fromText
const continue_ = Packet.encode({ _tag: "Continue" })
// The same steps as the filter of the benchmark agrees on: leading space and skip.
const negotiated = Packet.encode({ _tag: "Negotiated", version: 6, actions: 1, steps: 0x100400, macros: [] })
const endOfMessage = Buffer.concat([
  Packet.encode({ _tag: "AddHeader", name: bytes("X-Benchmark"), value: bytes(" yes") }),
  continue_
])
const silent = new Set(Array.from("DAQK", (letter) => letter.charCodeAt(0)))

const server = Net.createServer({ noDelay: true }, (socket) => {
  const decoder = Frame.makeDecoder()
  const frames: Array<Frame.Frame> = []
  socket.on("error", () => socket.destroy())
  socket.on("data", (chunk) => {
    decoder.push(chunk, frames)
    for (const { code } of frames) {
      if (silent.has(code)) continue
      socket.write(code === 0x4f ? negotiated : code === 0x45 ? endOfMessage : continue_)
    }
    frames.length = 0
  })
})

// The comparison asks for what is left after a garbage collection.
process.on("message", () => {
  ;(globalThis.gc as () => void)()
  process.send!(process.memoryUsage())
})

// unix:PATH or inet:PORT@HOST
const [, port, host] = /^inet:(\d+)@(.+)$/.exec(process.argv[2]!) ?? []
const place = host === undefined ? { path: process.argv[2]!.slice("unix:".length) } : { port: Number(port), host }
server.listen({ ...place, backlog: 4096 })
