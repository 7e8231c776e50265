/** The edits of another milter: checked against its declaration and the rules of the MTAs, then made as they came. */
import * as Effect from "effect/Effect"
import type { Capability, Editor } from "../../../Modification.ts"
import { ofParts } from "../../bytes/byteString.ts"
import { concat } from "../../bytes/concat.ts"
import * as postfixQueue from "../../delivery/postfixQueue.ts"
import type { ClientErrorReason } from "../../mta/clientError.ts"
import type { ModificationPacket } from "../../wire/filterPackets.ts"
import { pushPacket } from "../editor.ts"

const capabilityOf = (packet: ModificationPacket): Capability => {
  switch (packet._tag) {
    case "AddHeader":
      return "addHeader"
    case "InsertHeader":
      return "insertHeader"
    case "ChangeHeader":
      return packet.value === "" ? "deleteHeader" : "changeHeader"
    case "ReplaceBody":
      return "replaceBody"
    case "AddRecipient":
      return "addRecipient"
    case "AddRecipientWithParameters":
      return "addRecipientWithParameters"
    case "DeleteRecipient":
      return "deleteRecipient"
    case "ChangeSender":
      return "changeSender"
    case "Quarantine":
      return "quarantine"
  }
}

/** Why the edits do not count: one that is not declared, or one for which an MTA would fail the whole connection. */
export const checkEdits = (
  declared: ReadonlyArray<Capability>,
  packets: ReadonlyArray<ModificationPacket>
): ClientErrorReason | undefined => {
  for (const packet of packets) {
    const capability = capabilityOf(packet)
    if (!declared.includes(capability)) return { _tag: "UnrequestedAction", packet, action: capability }
  }
  return postfixQueue.check(packets)
}

/** Makes the edits. `adds`: the MTA counts the space after a colon, and the milter does not. */
export const makeEdits = (
  edit: object,
  packets: ReadonlyArray<ModificationPacket>,
  adds: boolean
): Effect.Effect<void> => {
  const pieces: Array<Uint8Array> = []
  for (const packet of packets) {
    if (packet._tag === "ReplaceBody") pieces.push(packet.bytes)
    else pushPacket(edit, adds ? spaced(packet) : packet)
  }
  if (pieces.length === 0) return Effect.void
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the capability is declared, so the editor has the method
  return (edit as Editor).replaceBody(concat(pieces))
}

/** With the space that the MTA would put in front of the value itself. A change to nothing deletes the field. */
const spaced = (packet: ModificationPacket): ModificationPacket => {
  switch (packet._tag) {
    case "AddHeader":
    case "InsertHeader":
      return { ...packet, value: ofParts(` ${packet.value}`) }
    case "ChangeHeader":
      return packet.value === "" ? packet : { ...packet, value: ofParts(` ${packet.value}`) }
    default:
      return packet
  }
}
