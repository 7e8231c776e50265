/** Compares two filters' answers to the same commands. Pure. */
import type { Exchange } from "../../MilterTest.ts"
import * as Packet from "../../Packet.ts"
import type * as Recording from "../../Recording.ts"
import { shorten, type Style } from "../terminal/style.ts"
import { describe } from "../trace/packetLine.ts"

/** Whether the MTA sent anything on the connection. */
export const hasCommands = ({ lines }: Recording.Connection): boolean =>
  lines.some((line) => line._tag === "Frame" && line.from === "mta")

/** A command and the packets in which the answers to it differ. */
export interface Difference {
  readonly command: Packet.MtaPacket
  readonly recorded: ReadonlyArray<Packet.FilterPacket>
  readonly replayed: ReadonlyArray<Packet.FilterPacket>
}

const isHeader = (packet: Packet.FilterPacket) =>
  packet._tag === "AddHeader" || packet._tag === "InsertHeader" || packet._tag === "ChangeHeader"

/** The part of a packet that is compared; undefined for a mere sign of life. */
const keyOf = (packet: Packet.FilterPacket, ignored: ReadonlySet<string>): string | undefined => {
  if (packet._tag === "Progress") return undefined
  if (isHeader(packet) && ignored.has(packet.name.toLowerCase())) return `${packet._tag} ${packet.name}`
  return Packet.encode(packet).join()
}

/** At end of message, accept means the same as continue. */
const meant = ({ command, ...answers }: Exchange, which: "recorded" | "replayed") =>
  command._tag !== "EndOfMessage"
    ? answers[which]
    : answers[which].map((packet) => packet._tag === "Accept" ? goesOn : packet)

const goesOn: Packet.FilterPacket = { _tag: "Continue" }

const keysOf = (packets: ReadonlyArray<Packet.FilterPacket>, ignored: ReadonlySet<string>): string =>
  packets.flatMap((packet) => keyOf(packet, ignored) ?? []).join("\n")

const isSilent = (packets: ReadonlyArray<Packet.FilterPacket>): boolean =>
  packets.length === 0 || (packets.length === 1 && packets[0]!._tag === "Continue")

/**
 * Finds the exchanges whose answers differ. Progress does not count, nor do the values of ignored header fields. A missing
 * answer means the same as continue if the filter has agreed not to answer.
 */
export const differences = (
  exchanges: ReadonlyArray<Exchange>,
  ignored: ReadonlySet<string>
): ReadonlyArray<Difference> =>
  exchanges.filter((exchange) => {
    const recorded = meant(exchange, "recorded")
    const replayed = meant(exchange, "replayed")
    return !(isSilent(recorded) && isSilent(replayed)) && keysOf(recorded, ignored) !== keysOf(replayed, ignored)
  })

const longest = 400

const lines = (mark: string, packets: ReadonlyArray<Packet.FilterPacket>): ReadonlyArray<string> =>
  packets.length === 0
    ? [`  ${mark} (no answer)`]
    : packets.map((packet) => `  ${mark} ${shorten(describe(packet), longest)}`)

const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`

export const show = (
  connection: number,
  commands: number,
  differences: ReadonlyArray<Difference>,
  style: Style
): string =>
  [
    `connection ${connection}: ${counted(commands, "command")}, ${
      differences.length === 0 ? style.green("same answers") : style.red(counted(differences.length, "other answer"))
    }`,
    ...differences.flatMap(({ command, recorded, replayed }) => [
      `  ${style.cyan(`@@ ${shorten(describe(command), longest)} @@`)}`,
      ...lines("-", recorded).map(style.red),
      ...lines("+", replayed).map(style.green)
    ])
  ].map((line) => `${line}\n`).join("")

export const summary = (connections: number, commands: number, differences: number, style: Style): string =>
  connections === 1
    ? ""
    : `${counted(connections, "connection")}, ${counted(commands, "command")}: ${
      differences === 0 ? style.green("same answers") : style.red(counted(differences, "other answer"))
    }\n`
