/** The editor for an end-of-message hook: collects checked packets, sends nothing itself. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import {
  actionOf,
  type Capability,
  type Editor,
  type Encoding,
  type Modification,
  toPacket
} from "../../Modification.ts"
import type * as Packet from "../../Packet.ts"
import { contentOf } from "../bytes/lineEnds.ts"
import { type OpenFile, Spool } from "../bytes/spool.ts"
import type { Definition } from "./definition.ts"

export interface Edits {
  readonly openFile: OpenFile | undefined
  /** The most modifications for one message. One more is kept, which shows that there were too many. */
  readonly most: number
  readonly packets: Array<Packet.FilterPacket>
  body: Spool | undefined
}

export const noEdits = (openFile: OpenFile | undefined, most: number): Edits => ({
  openFile,
  most,
  packets: [],
  body: undefined
})

/** Whether there were too many edits. Some are missing then, so the message must not pass with the others. */
export const isTooMany = ({ most, packets }: Edits): boolean => packets.length > most

export const isEmpty = (edits: Edits): boolean => edits.packets.length === 0 && edits.body === undefined

type Method<K extends Capability> = (edits: Edits, encoding: () => Encoding) => Editor[K]

const push = (edits: Edits, encoding: () => Encoding, modification: Modification): Effect.Effect<void> =>
  Effect.sync(() => {
    const packet = Result.getOrThrow(toPacket(modification, encoding()))
    if (!isTooMany(edits)) edits.packets.push(packet)
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
  replaceBody: (edits) => replaceBody(edits)
}

const replaceBody =
  (edits: Edits): Editor["replaceBody"] => <E, R>(body: string | Uint8Array | Stream.Stream<Uint8Array, E, R>) =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the spool lives in the scope of the message, with which every hook runs
    Effect.gen(function*() {
      const spool = yield* Effect.acquireRelease(
        Effect.sync(() => new Spool(edits.openFile)),
        (spool) => spool.close
      )
      if (typeof body === "string" || body instanceof Uint8Array) yield* spool.append(contentOf(body))
      else yield* Stream.runForEach(body, (chunk) => spool.append(chunk))
      edits.body = spool
    }) as Effect.Effect<void, E, R>

/** The property under which an editor has its edits, for filters that make edits of others. */
const editsKey = Symbol("edits")

/** Makes an edit that is a packet already, as another milter has sent it. */
export const pushPacket = (editor: object, packet: Packet.FilterPacket): void => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every editor is made below
  const edits = (editor as { readonly [editsKey]: Edits })[editsKey]
  if (!isTooMany(edits)) edits.packets.push(packet)
}

/** Makes an object with the declared methods only; methods that depend on the MTA's offer are Options. */
export const make = (
  definition: Definition,
  edits: Edits,
  offeredActions: number,
  encoding: () => Encoding
): { readonly [K in Capability]?: unknown } => {
  // A literal with a computed key is made in native code, each time.
  const editor: { [K in Capability]?: unknown } & { [editsKey]?: Edits } = {}
  editor[editsKey] = edits
  for (const capability of definition.modify) editor[capability] = methods[capability](edits, encoding)
  for (const capability of definition.modifyIfOffered) {
    editor[capability] = (offeredActions & actionOf[capability]) === 0
      ? Option.none()
      : Option.some(methods[capability](edits, encoding))
  }
  return editor
}
