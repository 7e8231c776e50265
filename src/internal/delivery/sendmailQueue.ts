/**
 * What Sendmail makes of modifications. Compared with messages that 8.17 delivered; 8.18.2 differs in one point, it
 * appends an added To, Cc or Bcc to the field that is there.
 */
import { ByteString } from "../../Wire.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type { DeliveryError } from "./deliveryError.ts"
import type { Delivered, HeaderField, Message, Recipient } from "./deliveryTypes.ts"
import * as queueFile from "./queueFile.ts"

/** An entry of Sendmail's list of header fields. */
interface Entry {
  readonly name: ByteString
  /** Undefined for what is deleted and for defaults that were not needed. */
  value: ByteString | undefined
  /** Whether it came with the message or from a filter; others are neither shown nor counted. */
  given: boolean
  /** Received: is never taken for a default that a filter wants to replace. */
  readonly trace: boolean
}

// The H lines of sendmail.cf, which stand at the head of the list, with a value or without.
export const ownFields = [
  "Return-Path",
  "Received",
  "Resent-Date",
  "Date",
  "Resent-From",
  "From",
  "Full-Name",
  "Resent-Message-Id",
  "Message-Id"
].map(ByteString.fromText)

const isTrace = (name: string): boolean => queueFile.sameText(name, "Received")

const rcptParameter = /^(?:NOTIFY=(?:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*)|ORCPT=[^;]+;.+)$/i

/** It adds no recipient with a parameter that it does not know. */
export const understands = (parameters: ByteString): boolean =>
  parameters.split(/[ \t]+/).every((parameter) => parameter === "" || rcptParameter.test(parameter))

class SendmailQueueFile implements queueFile.QueueFile {
  private readonly entries: Array<Entry>
  private readonly draft: queueFile.Draft

  constructor(message: Message) {
    this.entries = [
      ...ownFields.map((name) => ({ name, value: undefined, given: false, trace: isTrace(name) })),
      ...message.headers.map(({ name, value }) => ({ name, value, given: true, trace: isTrace(name) }))
    ]
    const recipients = queueFile.firstOfEach(message.recipients, ({ address }) => address.toLowerCase())
    this.draft = queueFile.draftOf({ ...message, recipients })
  }

  private headers(): ReadonlyArray<HeaderField> {
    return this.entries.flatMap(({ given, name, value }) =>
      given && value !== undefined ? [{ name, value: queueFile.fold(value, " ") }] : []
    )
  }

  shown(): Message {
    const { body, recipients, sender } = this.draft
    // The end that the last line lacks is given by the mailer that delivers it.
    return { sender, recipients, headers: this.headers(), body: queueFile.normalizeLines(body, false) }
  }

  above(): number {
    const own = this.entries.findIndex(({ given, trace }) => trace && !given)
    return this.entries.slice(0, own).filter(({ given, value }) => given && value !== undefined).length
  }

  delivered(): Delivered {
    const { body, quarantined } = this.draft
    return { ...this.shown(), body: queueFile.normalizeLines(body, true), quarantined }
  }

  apply(modifications: ReadonlyArray<ModificationPacket>, leadingSpace: boolean): DeliveryError | undefined {
    // What an earlier filter deleted counts no longer; what this one deletes goes on counting.
    for (const entry of this.entries) {
      if (entry.value === undefined) entry.given = false
    }
    // Other packets may stand between the pieces of the body.
    const body = queueFile.carryOut(modifications, (modification) => this.one(modification, leadingSpace))
    if (body !== undefined) this.draft.body = body
    return undefined
  }

  private one(modification: queueFile.Single, leadingSpace: boolean): void {
    const { draft } = this
    const entry = (name: ByteString, value: ByteString): Entry => ({
      name,
      value: queueFile.spaced(value, leadingSpace),
      given: true,
      trace: isTrace(name)
    })
    switch (modification._tag) {
      case "AddHeader":
        if (modification.name !== "") this.add(entry(modification.name, modification.value))
        break
      case "InsertHeader":
        if (modification.name !== "") this.insert(modification.index, entry(modification.name, modification.value))
        break
      case "ChangeHeader":
        if (modification.name !== "") {
          this.change(modification.index, entry(modification.name, modification.value), modification.value === "")
        }
        break
      case "AddRecipient":
        // All of a list.
        for (const address of queueFile.addressesIn(modification.recipient)) {
          this.addRecipient({ address, parameters: undefined })
        }
        break
      case "AddRecipientWithParameters":
        if (understands(modification.parameters ?? ByteString.fromText(""))) {
          this.addRecipient({
            address: queueFile.bare(modification.recipient),
            parameters: modification.parameters === "" ? undefined : modification.parameters
          })
        }
        break
      case "DeleteRecipient": {
        const gone = queueFile.bare(modification.recipient)
        draft.recipients = draft.recipients.filter(({ address }) => !queueFile.sameText(address, gone))
        break
      }
      case "ChangeSender":
        if (modification.sender !== "") draft.sender = queueFile.bare(modification.sender)
        break
      case "Quarantine":
        draft.quarantined = modification.reason.replace(/\n/g, " ") as ByteString
        break
    }
  }

  /** Takes the place of a default, else stands above the first field of that name, else at the end. */
  private add(entry: Entry): void {
    const { entries } = this
    const replaced = entries.find(({ given, name, trace }) => !given && !trace && queueFile.sameText(name, entry.name))
    if (replaced !== undefined) {
      replaced.value = entry.value
      replaced.given = true
    } else this.addAbove(entry)
  }

  private addAbove(entry: Entry): void {
    const at = this.entries.findIndex(({ name }) => queueFile.sameText(name, entry.name))
    this.entries.splice(at === -1 ? this.entries.length : at, 0, entry)
  }

  /** Behind the entry with that number in a list that holds more than anybody sees; so 0 is above Received, 1 below. */
  private insert(index: number, entry: Entry): void {
    const at = Math.max(index | 0, 0) // the number is signed there
    this.entries.splice(Math.min(at, this.entries.length) + 1, 0, entry)
  }

  private change(index: number, entry: Entry, remove: boolean): void {
    let count = index | 0
    let found: Entry | undefined
    for (const candidate of this.entries) {
      if (!queueFile.sameText(candidate.name, entry.name)) continue
      if (candidate.given && --count <= 0) {
        found = candidate
        break
      }
      if (!candidate.given && !candidate.trace) found = candidate
    }
    if (found === undefined) {
      if (!remove) this.addAbove(entry)
    } else {
      found.value = remove ? undefined : entry.value
      if (!remove) found.given = true
    }
  }

  /** Nobody gets it twice. */
  private addRecipient(recipient: Recipient): void {
    const { draft } = this
    if (recipient.address === "") return
    if (draft.recipients.some(({ address }) => queueFile.sameText(address, recipient.address))) return
    draft.recipients = [...draft.recipients, recipient]
  }
}

export const make = (message: Message): queueFile.QueueFile => new SendmailQueueFile(message)
