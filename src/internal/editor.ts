/** The editor that an end-of-message hook gets: collects checked packets, sends nothing itself. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { actionOf, type Capability, type Editor, type Encoding, type Modification, toPacket } from "../Modification.ts"
import type * as Packet from "../Packet.ts"
import type { Definition } from "./definition.ts"

/** Most body bytes in one packet; what libmilter and Sendmail take without a special agreement. */
const maxBodyPiece = 65535

export interface Edits {
  readonly packets: Array<Packet.FilterPacket>
  body: ReadonlyArray<Uint8Array> | undefined
}

type Method<K extends Capability> = (edits: Edits, encoding: () => Encoding) => Editor[K]

const push = (edits: Edits, encoding: () => Encoding, modification: Modification): Effect.Effect<void> =>
  Effect.sync(() => {
    edits.packets.push(Result.getOrThrow(toPacket(modification, encoding())))
  })

const methods: { readonly [K in Capability]: Method<K> } = {
  addHeader: (edits, encoding) => (name, value) => push(edits, encoding, { _tag: "AddHeader", name, value }),
  insertHeader: (edits, encoding) => (index, name, value) =>
    push(edits, encoding, { _tag: "InsertHeader", index, name, value }),
  changeHeader: (edits, encoding) => (name, occurrence, value) =>
    push(edits, encoding, { _tag: "ChangeHeader", name, occurrence, value }),
  deleteHeader: (edits, encoding) => (name, occurrence) =>
    push(edits, encoding, { _tag: "DeleteHeader", name, occurrence }),
  addRecipient: (edits, encoding) => (address) => push(edits, encoding, { _tag: "AddRecipient", address }),
  addRecipientWithParameters: (edits, encoding) => (address, parameters) =>
    push(edits, encoding, { _tag: "AddRecipientWithParameters", address, parameters }),
  deleteRecipient: (edits, encoding) => (address) => push(edits, encoding, { _tag: "DeleteRecipient", address }),
  changeSender: (edits, encoding) => (address, parameters) =>
    push(edits, encoding, { _tag: "ChangeSender", address, parameters }),
  quarantine: (edits, encoding) => (reason) => push(edits, encoding, { _tag: "Quarantine", reason }),
  replaceBody: (edits) => (body) =>
    body instanceof Uint8Array
      ? Effect.sync(() => {
        // Copied: its author may reuse the buffer before the answer is written.
        edits.body = [body.slice()]
      })
      : Effect.map(Stream.runCollect(body), (chunks) => {
        edits.body = chunks
      })
}

/** An object with the declared methods only, those that depend on the offer as Option. */
export const make = (
  definition: Definition,
  edits: Edits,
  offeredActions: number,
  encoding: () => Encoding
): { readonly [K in Capability]?: unknown } => {
  const editor: { [K in Capability]?: unknown } = {}
  for (const capability of definition.modify) editor[capability] = methods[capability](edits, encoding)
  for (const capability of definition.modifyIfOffered) {
    editor[capability] = (offeredActions & actionOf[capability]) === 0
      ? Option.none()
      : Option.some(methods[capability](edits, encoding))
  }
  return editor
}

/**
 * What goes out before the verdict: the body last and in one run, since Postfix fails the message when anything comes
 * between two pieces; one empty piece for an empty body.
 */
export const packetsOf = (edits: Edits): ReadonlyArray<Packet.FilterPacket> => {
  if (edits.body === undefined) return edits.packets
  const packets = edits.packets.slice()
  const before = packets.length
  for (const chunk of edits.body) {
    for (let start = 0; start < chunk.length; start += maxBodyPiece) {
      packets.push({ _tag: "ReplaceBody", bytes: chunk.subarray(start, start + maxBodyPiece) })
    }
  }
  if (packets.length === before) packets.push({ _tag: "ReplaceBody", bytes: new Uint8Array(0) })
  return packets
}
