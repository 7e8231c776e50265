/** A filter that is a function from commands to bytes, in memory: for what no filter of ours would say. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Frame from "../../src/Frame.ts"
import { dialerOf, type Dialing } from "../../src/internal/net/dialer.ts"
import * as memoryNetwork from "../../src/internal/net/memoryNetwork.ts"
import type { Transport } from "../../src/internal/net/transport.ts"
import { InvalidValue } from "../../src/InvalidValue.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as Packet from "../../src/Packet.ts"
import { concat } from "./wire.ts"

type Reply = Packet.FilterPacket | Uint8Array

export interface Filter {
  /** What came in one read, as packets on one line each. */
  readonly reads: Array<ReadonlyArray<string>>
  /** All packets so far. */
  readonly packets: Array<Packet.MtaPacket>
  readonly send: (...replies: ReadonlyArray<Reply>) => void
  readonly close: () => void
  closed: boolean
}

/** What it says to a command; nothing for undefined. */
export type Script = (packet: Packet.MtaPacket, filter: Filter) => ReadonlyArray<Reply> | Reply | undefined | void

const bytesOf = (reply: Reply): Uint8Array => reply instanceof Uint8Array ? reply : Packet.encode(reply)

const isList = (replies: ReadonlyArray<Reply> | Reply): replies is ReadonlyArray<Reply> => Array.isArray(replies)

const serve = (transport: Transport, script: Script): Filter => {
  const decoder = Frame.makeDecoder()
  const filter: Filter = {
    reads: [],
    packets: [],
    send: (...replies) => void transport.write(concat(replies.map(bytesOf))),
    close: () => transport.close(),
    closed: false
  }
  transport.open({
    data: (chunk) => {
      const frames: Array<Frame.Frame> = []
      decoder.push(chunk, frames)
      const packets = frames.map((frame) => Packet.decodeMtaUnsafe(frame))
      filter.reads.push(packets.map(Packet.format))
      for (const packet of packets) {
        filter.packets.push(packet)
        const replies = script(packet, filter)
        if (replies === undefined) continue
        transport.write(concat((isList(replies) ? replies : [replies]).map(bytesOf)))
      }
    },
    end: () => transport.close(),
    drain: () => undefined,
    closed: () => {
      filter.closed = true
    }
  })
  return filter
}

export const agreeTo = (wanted: Partial<Packet.Negotiated> = {}): Packet.Negotiated => ({
  _tag: "Negotiated",
  version: 6,
  actions: 0,
  steps: 0,
  macros: [],
  ...wanted
})

const answered = new Set(Packet.mtaDefinitions.filter(({ answered }) => answered).map(({ name }) => name))

/** Says continue to everything that this script does not answer. */
export const orContinue = (script: Script, wanted?: Partial<Packet.Negotiated>): Script => (packet, filter) => {
  const replies = script(packet, filter)
  if (replies !== undefined) return replies
  if (packet._tag === "Negotiate") return agreeTo({ version: Math.min(packet.version, 6), ...wanted })
  return answered.has(packet._tag) ? { _tag: "Continue" } : undefined
}

/** Serves the script and connects to it. */
export const dial = (
  script: Script,
  options?: MilterClient.Options
): Effect.Effect<readonly [MilterClient.Client, Filter], MilterClient.ClientError, Scope.Scope> =>
  Effect.gen(function*() {
    const { dialer, listener } = memoryNetwork.make("memory:script")
    let filter: Filter | undefined
    yield* listener.accept((transport) => {
      filter = serve(transport, script)
    })
    const client = yield* MilterClient.dial("memory:script", options).pipe(
      Effect.provide(Layer.succeedContext(Context.make(MilterClient.Dialer, dialerOf(dialer))))
    )
    return [client, filter!] as const // accepting is what dialing did
  })

/** Serves several of them, each at its address; at others nobody listens. */
export const network = (scripts: {
  readonly [address: string]: Script
}): Effect.Effect<
  { readonly dialer: Layer.Layer<MilterClient.Dialer>; readonly filters: { readonly [address: string]: Filter } },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const filters: { [address: string]: Filter } = {}
    const dialers = new Map<string, Dialing>()
    for (const [address, script] of Object.entries(scripts)) {
      const { dialer, listener } = memoryNetwork.make(address)
      yield* listener.accept((transport) => {
        filters[address] = serve(transport, script)
      })
      dialers.set(address, dialer)
    }
    const dialer: Dialing = {
      reaches: [...dialers.keys()].join(", "),
      dial: (address) =>
        dialers.get(address)?.dial(address) ??
          Effect.fail(new InvalidValue({ what: "address", value: address, reason: "nobody listens there" }))
    }
    return { dialer: Layer.succeedContext(Context.make(MilterClient.Dialer, dialerOf(dialer))), filters }
  })
