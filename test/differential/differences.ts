/**
 * The deliberate differences that show in sessions of real MTAs. Each rule says exactly what this library answers where
 * libmilter answers `theirs`; what no rule allows is a failure. docs/reference/libmilter-differences.md gives the reasons, scripts.ts
 * has those that take a peer which does odd things.
 */
import * as Frame from "effect-milter/Frame"
import * as Packet from "effect-milter/Packet"
import * as Result from "effect/Result"
import { type Answer, same } from "./peer.ts"

export type Difference =
  | "Macro lists"
  | "Changes before a refusal"
  | "The new body"
  | "DATA again"
  | "An unknown command before the content"
  | "A message without a header"
  | "Out of order"

type Rule = (theirs: Answer | undefined, ours: Answer) => boolean

const swallowed: Rule = (theirs, ours) => theirs === undefined && ours.how === "verdict"

const code = (frame: Uint8Array): string => String.fromCharCode(frame[4]!)

const negotiated = (frame: Uint8Array): Packet.Negotiated | undefined => {
  const frames: Array<Frame.Frame> = []
  Frame.makeDecoder().push(frame, frames)
  const packet = Result.getOrUndefined(Packet.decodeFilter(frames[0]!))
  return packet?._tag === "Negotiated" ? packet : undefined
}

export const differences: { readonly [K in Difference]: Rule } = {
  // The same lists, but ours in the order of the session.
  "Macro lists": (theirs, ours) => {
    const packet = ours.frames.length === 1 ? negotiated(ours.frames[0]!) : undefined
    if (theirs === undefined || packet === undefined) return false
    const macros = packet.macros.toSorted((one, other) => one.stage - other.stage)
    return same(theirs, { ...ours, frames: [Packet.encode({ ...packet, macros }).slice()] })
  },
  "Changes before a refusal": (theirs, ours) => {
    const verdict = theirs?.frames.at(-1)
    return verdict !== undefined && "rtyd".includes(code(verdict)) &&
      same({ frames: [verdict], how: "verdict" }, ours)
  },
  "The new body": (theirs, ours) => {
    if (theirs === undefined) return false
    const changes = theirs.frames.slice(0, -1)
    const isBody = (frame: Uint8Array) => code(frame) === "b"
    const frames = [
      ...changes.filter((frame) => !isBody(frame)),
      ...changes.filter(isBody),
      ...theirs.frames.slice(-1)
    ]
    return same({ ...theirs, frames }, ours)
  },
  "DATA again": swallowed,
  "An unknown command before the content": swallowed,
  "A message without a header": swallowed,
  "Out of order": (theirs, ours) => theirs === undefined && ours.how === "closed" && ours.frames.length === 0
}
