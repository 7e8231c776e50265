/** A filter served for an MTA, with a tap on the wire: what the filter's hooks cannot see, aborts and quits, is seen there. */
import * as Frame from "effect-milter/Frame"
import type * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Packet from "effect-milter/Packet"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Net from "node:net"

/** Serves a filter in the surrounding scope and gives its address, on TCP and a free port unless told otherwise. */
export const serve = Effect.fnUntraced(function*<R>(
  filter: Milter.Filter<never, R>,
  options: NodeMilterServer.Options = { listen: "inet:0" },
  serverOptions: MilterServer.Options = {}
) {
  const context = yield* Layer.build(
    MilterServer.layer(filter, serverOptions).pipe(Layer.provideMerge(NodeMilterServer.layer(options)))
  )
  const { addresses } = yield* Effect.provideContext(MilterServer.Listener, context)
  return addresses[0]!
})

/** `inet:PORT@HOST` or `unix:/path` as Postfix spells it. */
export const forPostfix = (address: string): string => address.replace(/^inet:(\d+)@(.*)$/, "inet:$2:$1")

export interface Tap {
  /** Where the MTA connects to, as the server's own addresses are written. */
  readonly address: string
  /** Of a tap on TCP; otherwise 0. */
  readonly port: number
  /** The letters of the commands since the last call, without macros and negotiation. */
  readonly take: () => string
  /** All that both sides said since the last call, in the order of arrival. */
  readonly takePackets: () => ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>
}

const connectTo = (address: string): Net.Socket => {
  const port = /^inet:(\d+)@/.exec(address)?.[1]
  return port === undefined
    ? Net.connect({ path: address.replace(/^unix:/, "") })
    : Net.connect({ port: Number(port), host: "127.0.0.1" })
}

/** A proxy, on a port of its own or on a UNIX socket with this mode. */
export const tap = Effect.fnUntraced(function*(address: string, path?: string, mode = 0o600) {
  let commands = ""
  let packets: Array<Packet.MtaPacket | Packet.FilterPacket> = []
  const listen = (from: Net.Socket, heard: (frame: Frame.Frame) => void): void => {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    from.on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const frame of frames.splice(0)) heard(frame)
    })
  }
  const server = Net.createServer((client) => {
    const filter = connectTo(address)
    listen(client, (frame) => {
      const letter = String.fromCharCode(frame.code)
      if (letter !== "D" && letter !== "O") commands += letter
      packets.push(Result.getOrThrow(Packet.decodeMta(frame)))
    })
    listen(filter, (frame) => {
      packets.push(Result.getOrThrow(Packet.decodeFilter(frame)))
    })
    client.pipe(filter).pipe(client)
    for (const [one, other] of [[client, filter], [filter, client]] as const) {
      one.on("error", () => other.destroy())
      one.on("close", () => other.destroy())
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      if (path === undefined) server.listen(0, "127.0.0.1", done)
      else {
        server.listen(path, () => {
          Fs.chmodSync(path, mode)
          done()
        })
      }
    }),
    () => Effect.sync(() => server.close())
  )
  const bound = server.address()
  const port = typeof bound === "object" && bound !== null ? bound.port : 0
  const made: Tap = {
    address: path === undefined ? `inet:${port}@127.0.0.1` : `unix:${path}`,
    port,
    take: () => {
      const taken = commands
      commands = ""
      return taken
    },
    takePackets: () => {
      const taken = packets
      packets = []
      return taken
    }
  }
  return made
})
