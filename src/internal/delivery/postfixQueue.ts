/** What Postfix makes of modifications. Compared with messages that 3.7 delivered. */
import { ByteString } from "../../Wire.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { DeliveryError } from "./deliveryError.ts"
import type { Delivered, HeaderField, Message, Recipient } from "./deliveryTypes.ts"
import * as queueFile from "./queueFile.ts"

const longestReason = 100

const broken = (reason: string): DeliveryError =>
  new DeliveryError({ reason, reply: "451 4.3.5 Server configuration problem - try again later" })

/** What Postfix takes for a broken configuration. */
const check = (modifications: ReadonlyArray<ModificationPacket>): DeliveryError | undefined => {
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

/** Of recipients with the same key one gets the message. */
const duplicateKey = ({ address, parameters }: Recipient): string => `${address.toLowerCase()} ${parameters ?? ""}`

class PostfixQueueFile implements queueFile.QueueFile {
  // Filters do not see the MTA's own Received field, but the positions of inserted fields count it.
  private readonly own: HeaderField = { name: ByteString.fromText("Received"), value: ByteString.fromText("") }
  private readonly headers: Array<HeaderField>
  private readonly draft: queueFile.Draft
  /** Keys of the recipients that filters have added; one that the client named can be added once more. */
  private readonly added = new Set<string>()

  constructor(message: Message) {
    this.headers = [this.own, ...message.headers]
    this.draft = queueFile.draftOf({ ...message, recipients: queueFile.firstOfEach(message.recipients, duplicateKey) })
  }

  shown(): Message {
    return this.delivered()
  }

  above(): number {
    return this.headers.indexOf(this.own)
  }

  delivered(): Delivered {
    const { body, quarantined, recipients, sender } = this.draft
    return {
      sender,
      recipients,
      headers: this.headers.filter((header) => header !== this.own),
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
        this.headers.push(field(modification.name, modification.value))
        break
      case "InsertHeader":
        this.headers.splice(modification.index, 0, field(modification.name, modification.value))
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
      case "DeleteRecipient": {
        const gone = queueFile.bare(modification.recipient)
        for (const recipient of draft.recipients) {
          if (recipient.address === gone) this.added.delete(duplicateKey(recipient))
        }
        draft.recipients = draft.recipients.filter(({ address }) => address !== gone)
        break
      }
      case "ChangeSender":
        // The first of a list, with a warning in its log.
        draft.sender = queueFile.addressesIn(modification.sender)[0] ?? draft.sender
        break
      case "Quarantine":
        draft.quarantined = modification.reason.slice(0, longestReason) as ByteString
        break
    }
  }

  /** Counts what is there now, from 1; the MTA's own Received does not count. */
  private changeHeader(index: number, field: HeaderField, remove: boolean): void {
    const { headers } = this
    let count = Math.max(index, 1)
    const at = headers.findIndex((header) =>
      header !== this.own && queueFile.sameText(header.name, field.name) && --count === 0
    )
    if (at !== -1) headers.splice(at, 1, ...(remove ? [] : [field]))
    else if (!remove) headers.push(field)
  }

  /** The first of a list, too. */
  private addRecipient(recipient: ByteString, parameters: ByteString | undefined): void {
    const address = queueFile.addressesIn(recipient)[0]
    if (address === undefined || address === "") return
    const added = { address, parameters: parameters === "" ? undefined : parameters }
    const key = duplicateKey(added)
    if (this.added.has(key)) return
    this.added.add(key)
    this.draft.recipients = [...this.draft.recipients, added]
  }
}

export const make = (message: Message): queueFile.QueueFile => new PostfixQueueFile(message)
