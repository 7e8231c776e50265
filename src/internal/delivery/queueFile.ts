/** A message in an MTA's queue, while filters change it one after the other. */
import { Mailbox } from "../../Envelope.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { bytes, cut, ofParts } from "../bytes/byteString.ts"
import { concat } from "../bytes/concat.ts"
import { LineEnds } from "../bytes/lineEnds.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type { DeliveryError } from "./deliveryError.ts"
import type { Delivered, Message, Recipient } from "./deliveryTypes.ts"

export interface QueueFile {
  /** The message that the next filter is shown. */
  readonly shown: () => Message
  /** The message that leaves the queue. */
  readonly delivered: () => Delivered
  /** The number of shown fields above the MTA's own Received field. */
  readonly above: () => number
  /**
   * Carries out the modifications of one filter in the order in which they came, or none of them. `leadingSpace`: this step
   * was agreed on with the filter, so that header values include the space after the colon.
   */
  readonly apply: (
    modifications: ReadonlyArray<ModificationPacket>,
    leadingSpace: boolean
  ) => DeliveryError | undefined
}

/** A modification that is carried out by itself; pieces of a new body are not. */
export type Single = Exclude<ModificationPacket, { readonly _tag: "ReplaceBody" }>

/** Carries out single modifications in their order, and returns the new body. One empty piece is an empty body. */
export const carryOut = (
  modifications: ReadonlyArray<ModificationPacket>,
  one: (modification: Single) => void
): Uint8Array | undefined => {
  const pieces: Array<Uint8Array> = []
  for (const modification of modifications) {
    if (modification._tag === "ReplaceBody") pieces.push(modification.bytes)
    else one(modification)
  }
  return pieces.length > 0 ? concat(pieces) : undefined
}

export const bare = (address: ByteString): ByteString =>
  address.startsWith("<") && address.endsWith(">") ? cut(address, 1, -1) : address

/** The addresses of a list; one address may hold a comma in quotes. */
export const addressesIn = (addresses: ByteString): ReadonlyArray<ByteString> => {
  const text = bare(addresses)
  if (!text.includes(",") || new Mailbox(text).wellFormed) return [text]
  return addresses.split(",").map((part) => bare(ofParts(part.trim()))).filter((part) => part !== "")
}

/** Both CR LF and LF end a line; a CR alone is a character. `complete`: the last line gets its end. */
export const normalizeLines = (bytes: Uint8Array, complete: boolean): Uint8Array => {
  const lines = new LineEnds()
  const normalized = lines.next(bytes)
  const { end } = lines
  return complete && end.length > 0 ? concat([normalized, end]) : normalized
}

/** Indents the lines after the first that do not begin with white space, so that no line can pose as another field. */
export const fold = (value: ByteString, indent: "\t" | " "): ByteString =>
  ofParts(value.replace(/\n(?![ \t])/g, `\n${indent}`))

/** A value with the space after the colon, which the MTA adds unless the filter has asked for `leadingSpace`. */
export const spaced = (value: ByteString, leadingSpace: boolean): ByteString => leadingSpace ? value : bytes` ${value}`

export const sameText = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

/** The first of those with the same key. */
export const firstOfEach = (
  recipients: ReadonlyArray<Recipient>,
  keyOf: (recipient: Recipient) => string
): ReadonlyArray<Recipient> => {
  const seen = new Set<string>()
  return recipients.filter((recipient) => {
    const key = keyOf(recipient)
    return !seen.has(key) && seen.add(key)
  })
}

/** The sender and body while they are changed. */
export interface MutableMessage {
  sender: ByteString
  body: Uint8Array
  quarantined: ByteString | undefined
}

export const mutableMessageOf = ({ body, sender }: Message): MutableMessage => ({
  sender,
  body,
  quarantined: undefined
})
