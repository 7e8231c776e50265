/** Plays the MTA's side of a recorded connection to a filter again. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Negotiation from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import type { Connection } from "../../Recording.ts"
import * as Recording from "../../Recording.ts"
import type { Client } from "../mta/client.ts"
import type { ClientError } from "../mta/clientError.ts"
import { stageOf, stageTable } from "../protocol/stageTable.ts"

/** A command of the recording, what the recorded filter answered, and what this filter answers. */
export interface Exchange {
  readonly command: Packet.MtaPacket
  readonly recorded: ReadonlyArray<Packet.FilterPacket>
  readonly replayed: ReadonlyArray<Packet.FilterPacket>
}

interface Turn {
  readonly command: Packet.MtaPacket
  readonly recorded: Array<Packet.FilterPacket>
}

/** Each command with the packets that the filter sent before the next one. */
const turnsOf = (connection: Connection): ReadonlyArray<Turn> => {
  const turns: Array<Turn> = []
  for (const line of connection.lines) {
    if (line._tag !== "Frame") continue
    const decoded = Recording.packet(line)
    // A frame that is invalid cannot be compared.
    if (Result.isFailure(decoded)) continue
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the side that sent a frame says which union its packet is in
    if (line.from === "mta") turns.push({ command: decoded.success as Packet.MtaPacket, recorded: [] })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same
    else turns[turns.length - 1]?.recorded.push(decoded.success as Packet.FilterPacket)
  }
  return turns
}

/**
 * The offer: the steps that the recorded filter agreed to. The recorded MTA behaved accordingly, so another filter may ask
 * for fewer steps but for no others. Actions stay as they were offered.
 */
const offerOf = (turns: ReadonlyArray<Turn>): Negotiation.Offer | undefined => {
  for (const { command, recorded } of turns) {
    if (command._tag !== "Negotiate") continue
    const answer = recorded.find((packet) => packet._tag === "Negotiated")
    return answer === undefined
      ? command
      : {
        version: Math.min(command.version, answer.version),
        actions: command.actions,
        steps: command.steps & answer.steps
      }
  }
  return undefined
}

const isVerdict = (packet: Packet.FilterPacket): boolean => {
  switch (packet._tag) {
    case "Continue":
    case "Accept":
    case "Reject":
    case "TempFail":
    case "Discard":
    case "ReplyCode":
    case "Skip":
      return true
    default:
      return false
  }
}

const patience = 300_000

/** Plays a connection over a fresh client; stops where the recording ends, or where the filter closes. */
export const replay = (
  client: Client,
  connection: Connection,
  milliseconds = patience
): Effect.Effect<ReadonlyArray<Exchange>, ClientError> =>
  Effect.gen(function*() {
    const turns = turnsOf(connection)
    const exchanges: Array<Exchange> = []
    const offer = offerOf(turns)
    let steps = 0
    for (const { command, recorded } of turns) {
      const replayed: Array<Packet.FilterPacket> = []
      const sent = command._tag === "Negotiate" ? { ...command, ...offer } : command
      yield* client.connection.send([sent], Packet.encode(sent), milliseconds)
      if (command._tag === "Negotiate") {
        const packet = yield* client.connection.receive(milliseconds)
        replayed.push(packet)
        if (packet._tag === "Negotiated") steps = packet.steps
      } else {
        const stage = stageOf(command._tag)
        if (stage !== undefined && (steps & stageTable[stage].noReply) === 0) {
          do replayed.push(yield* client.connection.receive(milliseconds))
          while (!replayed.some(isVerdict))
        }
      }
      exchanges.push({ command, recorded, replayed })
      if (command._tag === "Quit") break
    }
    return exchanges
  })
