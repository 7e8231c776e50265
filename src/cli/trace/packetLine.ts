/** One packet on one line, decoded, for `trace` and `send --verbose`. Pure. */
import { ofParts } from "../../internal/bytes/byteString.ts"
import { ByteString } from "../../internal/bytes/byteString.ts"
import { payloadSteps } from "../../internal/protocol/negotiationBits.ts"
import * as Macros from "../../Macros.ts"
import { Action, Step } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import { printable, shorten, type Style } from "../terminal/style.ts"

type AnyPacket = Packet.MtaPacket | Packet.FilterPacket

// No MTA offers them unless it was built for it, so an offer of all steps has them or not.
const larger = payloadSteps(Infinity)

const bits = (value: number, names: { readonly [name: string]: number }): string => {
  const known = Object.entries(names)
  const usual = known.reduce((sum, [, bit]) => sum | bit, 0) & ~larger
  const all = (value & usual) === usual
  const found = known.filter(([, bit]) => (value & bit & (all ? larger : ~0)) !== 0)
  const unknown = value & ~usual & ~larger
  const list = [
    ...(all ? ["all"] : []),
    ...found.map(([name]) => name),
    ...(unknown === 0 ? [] : [`0x${(unknown >>> 0).toString(16)}`])
  ]
  return list.length === 0 ? "none" : list.join(" ")
}

const stageNames: { readonly [letter: string]: string } = {
  ...Object.fromEntries(Macros.stages.map((stage) => [Macros.stageLetter[stage], stage])),
  L: "header",
  B: "body",
  U: "unknown"
}

const bodyStart = 60

/** Puts several lines into one: `\n` for line ends, `\t` for tabs. */
const flat = (bytes: ByteString): string =>
  // A byte string without some of its bytes.
  printable(ofParts(bytes.replaceAll("\r\n", "\n"))).replaceAll("\n", "\\n").replaceAll("\t", "\\t")

/** The content of a packet. */
export const describe = (packet: AnyPacket): string => {
  switch (packet._tag) {
    case "Negotiate":
    case "Negotiated": {
      const { actions, steps, version } = packet
      const line = `${packet._tag} version ${version}; actions: ${bits(actions, Action)}; steps: ${bits(steps, Step)}`
      return packet._tag === "Negotiate" || packet.macros.length === 0
        ? line
        : `${line}; macros: ${
          packet.macros.map(({ names, stage }) =>
            `${Macros.stages.find((name) => Macros.stageNumber[name] === stage) ?? stage}(${flat(names)})`
          ).join(" ")
        }`
    }
    case "Macro":
      return `Macro for ${stageNames[packet.stage] ?? flat(packet.stage)}: ${
        packet.macros.length === 0
          ? "none"
          : packet.macros.map(({ name, value }) => `${flat(name)}=${flat(value)}`).join(" ")
      }`
    case "Header":
    case "AddHeader":
      return `${packet._tag} ${flat(packet.name)}:${flat(packet.value)}`
    case "Body":
    case "ReplaceBody": {
      const { bytes } = packet
      const start = flat(ByteString.fromBytes(bytes.subarray(0, bodyStart)))
      return `${packet._tag} ${bytes.length} bytes: ${start}${bytes.length > bodyStart ? "…" : ""}`
    }
    default:
      return Packet.format(packet)
  }
}

/** Verdicts that end something are coloured. */
const colourOf = (packet: AnyPacket, style: Style): (text: string) => string => {
  switch (packet._tag) {
    case "Reject":
    case "Discard":
      return style.red
    case "TempFail":
      return style.yellow
    case "ReplyCode":
      return packet.text.startsWith("4") ? style.yellow : style.red
    case "Macro":
    case "Progress":
      return style.dim
    default:
      return (text) => text
  }
}

const mostCharacters = 400

export const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(3).padStart(8)

/** `MTA    → Helo name="client.example.org"`. */
export const packetText = (from: "mta" | "filter", packet: AnyPacket, style: Style): string =>
  `${from === "mta" ? "MTA    →" : "filter ←"} ${colourOf(packet, style)(shorten(describe(packet), mostCharacters))}`

/** `   0.012 MTA    → Helo name="client.example.org"`; the time is in milliseconds. */
export const packetLine = (
  from: "mta" | "filter",
  packet: AnyPacket,
  time: number,
  style: Style
): string => `${style.dim(seconds(time))} ${packetText(from, packet, style)}`
