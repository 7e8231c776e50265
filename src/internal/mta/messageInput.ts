/** Turns messages as callers give them into messages as an MTA has them. */
import type * as Delivery from "../../Delivery.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { joined, ofParts } from "../bytes/byteString.ts"
import { byteStringOf } from "../bytes/concat.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import { contentOf } from "../bytes/lineEnds.ts"
import { answeredStages } from "../protocol/stageTable.ts"
import type { Message, Recipient } from "./clientTypes.ts"
import type { Text } from "./clientValues.ts"

const messageNames = keysOf<Message>({
  from: true,
  to: true,
  headers: true,
  body: true,
  parameters: true,
  client: true,
  helo: true,
  macros: true
})

const recipientNames = keysOf<Recipient>({ address: true, parameters: true, refused: true })

/** Throws an `InvalidValue` for a key that would be ignored: a message without its header may well pass. */
export const checkMessage = (message: Message): void => {
  checkKeys("key of a message", message, messageNames)
  checkKeys("stage in macros of a message", message.macros ?? {}, answeredStages)
  for (const recipient of recipientsOf(message.to)) checkKeys("key of a recipient", recipient, recipientNames)
}

export const bracketed = (address: Text): Text =>
  typeof address === "string" && !address.startsWith("<") ? `<${address}>` : address

const unbracketed = (address: Text): ByteString => ofParts(byteStringOf(address).replace(/^<(.*)>$/s, "$1"))

export const recipientsOf = (to: Message["to"]): ReadonlyArray<Recipient> =>
  (typeof to === "string" || to instanceof Uint8Array || !Array.isArray(to) ? [to] : to).map((recipient) =>
    typeof recipient === "string" || recipient instanceof Uint8Array ? { address: recipient } : recipient
  )

/** The message as the MTA has it, with these recipients. */
export const asReceived = (
  from: Text,
  recipients: ReadonlyArray<Recipient>,
  { body, headers }: Pick<Message, "headers" | "body">
): Delivery.Message => ({
  sender: unbracketed(from),
  recipients: recipients.map(({ address, parameters }) => ({
    address: unbracketed(address),
    parameters: parameters && joined(parameters.map(byteStringOf), " ")
  })),
  headers: (headers ?? []).map(([name, value, space = " "]) => ({
    name: byteStringOf(name),
    value: ofParts(`${space}${byteStringOf(value).replace(/\r\n/g, "\n")}`)
  })),
  body: contentOf(body ?? "")
})
