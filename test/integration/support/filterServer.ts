/** A filter served for Postfix, with a tap on the wire: what the filter's hooks cannot see, aborts and quits, is seen there. */
import * as Frame from "effect-milter/Frame"
import type * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
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
  readonly port: number
  /** The letters of the commands since the last call, without macros and negotiation. */
  readonly take: () => string
}

/** A proxy on a port of its own. */
export const tap = Effect.fnUntraced(function*(address: string) {
  const to = Number(/^inet:(\d+)@/.exec(address)![1])
  let commands = ""
  const server = Net.createServer((client) => {
    const filter = Net.connect({ port: to, host: "127.0.0.1" })
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    client.on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const { code } of frames.splice(0)) {
        const letter = String.fromCharCode(code)
        if (letter !== "D" && letter !== "O") commands += letter
      }
    })
    client.pipe(filter).pipe(client)
    for (const [one, other] of [[client, filter], [filter, client]] as const) {
      one.on("error", () => other.destroy())
      one.on("close", () => other.destroy())
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  const made: Tap = {
    port: (server.address() as Net.AddressInfo).port,
    take: () => {
      const taken = commands
      commands = ""
      return taken
    }
  }
  return made
})
