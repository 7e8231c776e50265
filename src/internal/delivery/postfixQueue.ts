/** A model of how Postfix carries out modifications. Tests compare it with messages that Postfix 3.7 delivered. */
import { ByteString } from "../bytes/byteString.ts"
import { cut, ofParts } from "../bytes/byteString.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { DeliveryError } from "./deliveryError.ts"
import type { Delivered, HeaderField, Message, Recipient } from "./deliveryTypes.ts"
import { insertInOrder, itemOf, OrderedList, type Place } from "./orderedList.ts"
import * as queueFile from "./queueFile.ts"

const longestReason = 100

const broken = (reason: string): DeliveryError =>
  new DeliveryError({ reason, reply: "451 4.3.5 Server configuration problem - try again later" })

/** Finds modifications that Postfix reports as a broken configuration. */
export const check = (modifications: ReadonlyArray<ModificationPacket>): DeliveryError | undefined => {
  let hasBody = false
  let previous: ModificationPacket["_tag"] | undefined
  for (const modification of modifications) {
    if (modification._tag === "ReplaceBody") {
      if (hasBody && previous !== "ReplaceBody") return broken(`${previous} between two pieces of the body`)
      hasBody = true
    }
    if (modification._tag === "ChangeHeader" && modification.name === "") return broken("ChangeHeader without a name")
    previous = modification._tag
  }
  return undefined
}

/** Recipients with the same key get one copy of the message. */
const duplicateKey = ({ address, parameters }: Recipient): string => `${address.toLowerCase()} ${parameters ?? ""}`

/** The most bytes of a header field that Postfix keeps with a milter, name and colon included. */
const longestField = 60_000

/**
 * A field as Postfix receives it, for filters and for recipients. Each line ends at a NUL. Of a field that is too long, the
 * lines that fit are kept, or the first bytes of its only line.
 */
const asTakenIn = ({ name, value }: HeaderField): HeaderField => {
  // Parts of a byte string are byte strings.
  const text = ofParts(value.replace(/\0[^\n]*/g, ""))
  const limit = Math.max(0, longestField - name.length - 1)
  if (text.length <= limit) return { name, value: text }
  const lineEnd = text.lastIndexOf("\n", limit)
  return { name, value: cut(text, 0, lineEnd > 0 ? lineEnd : limit) }
}

class PostfixQueueFile implements queueFile.QueueFile {
  // Filters do not see the MTA's own Received field, but the positions of inserted fields count it.
  private readonly own: Place<HeaderField>
  private readonly headers = new OrderedList<HeaderField>()
  /** The places of the fields of a name, by the name in lower case, in the order of the header; without the MTA's own. */
  private readonly named = new Map<string, OrderedList<Place<HeaderField>>>()
  private readonly recipients: Set<Recipient>
  /** The recipients with an address, by its exact spelling. */
  private readonly addressed = new Map<ByteString, Array<Recipient>>()
  private readonly draft: queueFile.MutableMessage
  /** Keys of the recipients that filters have added. A recipient that the client named can be added once more. */
  private readonly added = new Set<string>()

  constructor(message: Message) {
    this.own = this.headers.push({ name: ByteString.fromText("Received"), value: ByteString.fromText("") })
    for (const field of message.headers) this.add(asTakenIn(field))
    this.recipients = new Set(queueFile.firstOfEach(message.recipients, duplicateKey))
    for (const recipient of this.recipients) this.index(recipient)
    this.draft = queueFile.mutableMessageOf(message)
  }

  shown(): Message {
    return this.delivered()
  }

  above(): number {
    return this.own.index
  }

  delivered(): Delivered {
    const { body, quarantined, sender } = this.draft
    return {
      sender,
      recipients: Array.from(this.recipients),
      headers: Array.from(this.headers, itemOf).filter((field) => field !== this.own.item),
      body: queueFile.normalizeLines(body, true),
      quarantined
    }
  }

  apply(modifications: ReadonlyArray<ModificationPacket>, leadingSpace: boolean): DeliveryError | undefined {
    const error = check(modifications)
    if (error !== undefined) return error
    const body = queueFile.carryOut(modifications, (modification) => this.one(modification, leadingSpace))
    if (body !== undefined) this.draft.body = body
    return undefined
  }

  private one(modification: queueFile.Single, leadingSpace: boolean): void {
    const { draft } = this
    const field = (name: ByteString, value: ByteString): HeaderField => ({
      name,
      value: queueFile.fold(queueFile.spaced(value, leadingSpace), "\t")
    })
    switch (modification._tag) {
      case "AddHeader":
        this.add(field(modification.name, modification.value))
        break
      case "InsertHeader":
        this.insert(modification.index, field(modification.name, modification.value))
        break
      case "ChangeHeader":
        this.changeHeader(modification.index, field(modification.name, modification.value), modification.value === "")
        break
      case "AddRecipient":
        this.addRecipient(modification.recipient, undefined)
        break
      case "AddRecipientWithParameters":
        this.addRecipient(modification.recipient, modification.parameters)
        break
      case "DeleteRecipient":
        this.deleteRecipient(queueFile.bare(modification.recipient))
        break
      case "ChangeSender":
        // Postfix takes the first of a list, with a warning in its log.
        draft.sender = queueFile.addressesIn(modification.sender)[0] ?? draft.sender
        break
      case "Quarantine":
        draft.quarantined = cut(modification.reason, 0, longestReason)
        break
    }
  }

  private add(field: HeaderField): void {
    this.fieldsNamed(field.name).push(this.headers.push(field))
  }

  private insert(index: number, field: HeaderField): void {
    insertInOrder(this.fieldsNamed(field.name), this.headers.insert(index, field))
  }

  /** Changes the field with that number among those that are left, from 1. The MTA's own Received does not count. */
  private changeHeader(index: number, field: HeaderField, remove: boolean): void {
    const fields = this.fieldsNamed(field.name)
    const found = fields.at(Math.max(index, 1) - 1)
    if (found === undefined) {
      if (!remove) this.add(field)
    } else if (remove) {
      fields.remove(found)
      this.headers.remove(found.item)
    } else found.item.item = field
  }

  private fieldsNamed(name: ByteString): OrderedList<Place<HeaderField>> {
    const key = name.toLowerCase()
    const found = this.named.get(key)
    if (found !== undefined) return found
    const fields = new OrderedList<Place<HeaderField>>()
    this.named.set(key, fields)
    return fields
  }

  /** Adds a recipient: the first of a list, as for the sender. */
  private addRecipient(recipient: ByteString, parameters: ByteString | undefined): void {
    const address = queueFile.addressesIn(recipient)[0]
    if (address === undefined || address === "") return
    const added = { address, parameters: parameters === "" ? undefined : parameters }
    const key = duplicateKey(added)
    if (this.added.has(key)) return
    this.added.add(key)
    this.recipients.add(added)
    this.index(added)
  }

  private deleteRecipient(address: ByteString): void {
    for (const recipient of this.addressed.get(address) ?? []) {
      this.recipients.delete(recipient)
      this.added.delete(duplicateKey(recipient))
    }
    this.addressed.delete(address)
  }

  private index(recipient: Recipient): void {
    const found = this.addressed.get(recipient.address)
    if (found === undefined) this.addressed.set(recipient.address, [recipient])
    else found.push(recipient)
  }
}

export const make = (message: Message): queueFile.QueueFile => new PostfixQueueFile(message)
