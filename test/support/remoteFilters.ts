/** Milters in memory that run as filters: a scripted milter, a filter of ours that asks it, and an MTA in front. */
import * as Milter from "effect-milter/Milter"
import type * as MilterServer from "effect-milter/MilterServer"
import * as Negotiation from "effect-milter/Negotiation"
import * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as MilterClient from "../../src/MilterClient.ts"
import * as Mta from "./rawMta.ts"
import * as Scripted from "./scriptedFilter.ts"

/** The address of the scripted milter. */
export const to = "memory:child"

export const { Action, Step } = Negotiation

/** A declaration for the scripted milter. */
export const declare = (options: Partial<Milter.RemoteOptions> = {}) =>
  Milter.remote("child", { to, modify: [], ...options })

/** Answers each failure with the kind of the failure. */
export const explained = <R>(filter: Milter.Filter<Milter.RemoteError, R>): Milter.Made<never, R> =>
  Milter.onFailure(filter, ({ kind }) => Effect.succeed(Verdict.tempFail({ text: kind })))

/** The reply of {@link explained}. */
export const failed = (kind: Milter.RemoteError["kind"]): string => `ReplyCode text="451 4.7.1 ${kind}"`

export interface Served {
  readonly server: Mta.Server
  /** How often the milter was dialled. */
  readonly dials: () => number
  /** What the milter of the latest connection was sent, as packets on one line each. */
  readonly seen: () => ReadonlyArray<string>
  readonly child: () => Scripted.Filter
}

/** Serves a filter that needs the scripted milter. */
export const serve = <R extends MilterClient.Dialer>(
  script: Scripted.Script,
  filter: Milter.Filter<never, R>,
  options?: MilterServer.Options
) =>
  Effect.gen(function*() {
    let dials = 0
    const network = yield* Scripted.network({
      [to]: (packet, child) => {
        if (packet._tag === "Negotiate") dials++
        return script(packet, child)
      }
    })
    const server = yield* Effect.provide(Mta.serve(filter, options), network.dialer as Layer.Layer<R>)
    const child = () => network.filters[to]!
    const served: Served = {
      server,
      child,
      dials: () => dials,
      seen: () => child().packets.map(Packet.format)
    }
    return served
  })

/** Agrees to all of the wanted, and continues. */
export const agreeing = (
  script: Scripted.Script = () => undefined,
  wanted: Partial<Packet.Negotiated> = {}
): Scripted.Script => Scripted.orContinue(script, wanted)

/** Gives these packets in answer to a command, and continues otherwise. */
export const answering = (
  command: Packet.MtaPacket["_tag"],
  replies: ReadonlyArray<Packet.FilterPacket>,
  wanted: Partial<Packet.Negotiated> = {}
): Scripted.Script => agreeing((packet) => packet._tag === command ? replies : undefined, wanted)
