/** Finds the fewest modifications that turn one message into another. */
import type { ByteString } from "../bytes/byteString.ts"
import { bytes } from "../bytes/byteString.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { maxPayload } from "../wire/maxPayload.ts"
import type { Difference, DiffOptions, Draft, Inexact, Recipient } from "./deliveryTypes.ts"
import { diffHeaders, type Mta } from "./diffHeaders.ts"
import * as sendmailQueue from "./sendmailQueue.ts"

export const diff = (before: Draft, after: Draft, options: DiffOptions): Difference => {
  const mta = options.mta ?? "both"
  const headers = diffHeaders(before.headers, after.headers, mta, options.leadingSpace)
  const recipients = diffRecipients(before.recipients, after.recipients, mta)
  return {
    modifications: [
      // Without a second string: even an empty one makes Sendmail forget the parameters of MAIL.
      ...(after.sender === before.sender ? [] : [{ _tag: "ChangeSender", sender: bracketed(after.sender) } as const]),
      ...recipients.modifications,
      ...headers.modifications,
      // In one run, since Postfix fails the message when anything comes between two pieces.
      ...diffBody(before.body, after.body)
    ],
    inexact: [...recipients.inexact, ...headers.inexact]
  }
}

const bracketed = (address: ByteString): ByteString => bytes`<${address}>`

const diffBody = (before: Uint8Array | undefined, after: Uint8Array | undefined): ReadonlyArray<ModificationPacket> => {
  if (after === undefined || (before !== undefined && isSame(before, after))) return []
  const pieces: Array<ModificationPacket> = []
  let start = 0
  do {
    pieces.push({ _tag: "ReplaceBody", bytes: after.subarray(start, start + maxPayload) })
    start += maxPayload
  } while (start < after.length)
  return pieces
}

const isSame = (left: Uint8Array, right: Uint8Array): boolean => {
  if (left === right) return true
  if (left.length !== right.length) return false
  for (let at = 0; at < left.length; at++) {
    if (left[at] !== right[at]) return false
  }
  return true
}

export const diffRecipients = (
  before: ReadonlyArray<Recipient>,
  after: ReadonlyArray<Recipient>,
  mta: Mta
): Difference => {
  // For Sendmail two spellings are one recipient: it deletes both, and adds neither.
  const keyOf = ({ address }: Recipient): string => mta === "postfix" ? address : address.toLowerCase()
  const index = (recipients: ReadonlyArray<Recipient>): Map<string, Recipient> =>
    // Of several recipients with the same key, the first.
    new Map(recipients.toReversed().map((recipient) => [keyOf(recipient), recipient]))
  const present = index(before)
  const wanted = index(after)
  const modifications: Array<ModificationPacket> = []
  const inexact: Array<Inexact> = []
  for (const address of new Set(before.filter((recipient) => !wanted.has(keyOf(recipient))).map(addressOf))) {
    modifications.push({ _tag: "DeleteRecipient", recipient: bracketed(address) })
  }
  for (const recipient of new Set(after.map((recipient) => wanted.get(keyOf(recipient))!))) {
    const { address, parameters } = recipient
    const there = present.get(keyOf(recipient))
    if (there !== undefined) {
      if (there.address !== address || there.parameters !== parameters) inexact.push({ _tag: "Recipient", recipient })
    } else if (parameters === undefined) {
      modifications.push({ _tag: "AddRecipient", recipient: bracketed(address) })
    } else if (mta !== "postfix" && !sendmailQueue.understands(parameters)) {
      // Better without the parameters than not at all.
      modifications.push({ _tag: "AddRecipient", recipient: bracketed(address) })
      inexact.push({ _tag: "Recipient", recipient })
    } else modifications.push({ _tag: "AddRecipientWithParameters", recipient: bracketed(address), parameters })
  }
  return { modifications, inexact }
}

const addressOf = ({ address }: Recipient): ByteString => address
