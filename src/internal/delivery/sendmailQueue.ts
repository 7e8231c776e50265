/** A model of how Sendmail carries out modifications. Tests compare it with messages that Sendmail 8.17 and 8.18 delivered. */
import { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { DeliveryError } from "./deliveryError.ts"
import type { Delivered, HeaderField, Message, Recipient } from "./deliveryTypes.ts"
import { insertInOrder, itemOf, OrderedList, type Place } from "./orderedList.ts"
import * as queueFile from "./queueFile.ts"

/** An entry of Sendmail's list of header fields. */
interface Entry {
  readonly name: ByteString
  /** Undefined for deleted entries, and for defaults that were not needed. */
  value: ByteString | undefined
  /** Whether the entry came with the message or from a filter; other entries are neither shown nor counted. */
  given: boolean
  /** Received: never treated as a default that an added field replaces. */
  readonly trace: boolean
}

// The H lines of sendmail.cf, which are at the head of the list, with a value or without.
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

/** Sendmail does not add a recipient with a parameter that it does not know. */
export const understands = (parameters: ByteString): boolean =>
  parameters.split(/[ \t]+/).every((parameter) => parameter === "" || rcptParameter.test(parameter))

/**
 * Whether 8.18.2 appends an added field to the first field of its name, after a comma. It does not look whether that one has
 * been deleted: then the process that speaks to the client crashes.
 */
export const isMerged = (name: string): boolean => /^(?:to|b?cc|apparently-to)$/i.test(name)

const crash = new DeliveryError({
  reason: "Sendmail 8.18.2 crashes where a filter has deleted the first field of a list of recipients and adds another",
  reply: ""
})

/** The places of the entries of one name, while the modifications of one filter are carried out. */
interface Named {
  /** The first of all. */
  first: Place<Entry>
  /** The entries that are shown and counted, and those that this filter has deleted. */
  readonly given: OrderedList<Place<Entry>>
  /** The other entries, whose place a new field may take, from `next` on. */
  readonly vacant: Array<Place<Entry>>
  next: number
}

const give = (named: Named, place: Place<Entry>, value: ByteString | undefined): void => {
  place.item.value = value
  place.item.given = true
  insertInOrder(named.given, place)
}

/** A value as Sendmail receives it from the client: NULs are removed. */
const asTakenIn = (value: ByteString): ByteString => ofParts(value.replaceAll("\0", ""))

/** Sendmail writes header lines from a buffer of this size, and names of at most 200 bytes. */
const lineBuffer = 2304

/**
 * A field as Sendmail's mailers write it, line by line from a buffer. The part of the last line that does not fit is lost. The
 * part of another line that does not fit becomes a line of its own, without its first byte.
 */
const asWritten = ({ name, value }: HeaderField): HeaderField => {
  if (name.length + value.length < lineBuffer) return { name, value }
  const lines: Array<string> = []
  let used = name.length + 1
  let at = 0
  let start = ""
  for (let end = value.indexOf("\n"); end !== -1; end = value.indexOf("\n", at)) {
    const length = Math.min(end - at, lineBuffer - 1 - used)
    lines.push(start + value.slice(at, at + length))
    at += length + 1
    start = value[at] === " " || value[at] === "\t" ? "" : " "
    used = start.length
  }
  lines.push(start + value.slice(at, at + lineBuffer - 1 - used))
  return { name, value: ofParts(lines.join("\n")) }
}

class SendmailQueueFile implements queueFile.QueueFile {
  private readonly entries = new OrderedList<Entry>()
  /** The MTA's own Received field. */
  private readonly received: Place<Entry>
  /** Entries by name in lower case. */
  private readonly named = new Map<string, Named>()
  /** Recipients by address in lower case. */
  private readonly recipients: Map<string, Recipient>
  private readonly draft: queueFile.MutableMessage
  /** 8.18.2: see {@link isMerged}. */
  private readonly merges: boolean
  private crashes = false

  constructor(message: Message, merges: boolean) {
    this.merges = merges
    const own = ownFields.map((name) =>
      this.entries.push({ name, value: undefined, given: false, trace: isTrace(name) })
    )
    this.received = own.find(({ item }) => item.trace)!
    for (const { name, value } of message.headers) {
      this.entries.push({ name, value: asTakenIn(value), given: true, trace: isTrace(name) })
    }
    const recipients = queueFile.firstOfEach(message.recipients, ({ address }) => address.toLowerCase())
    this.recipients = new Map(recipients.map((recipient) => [recipient.address.toLowerCase(), recipient]))
    this.draft = queueFile.mutableMessageOf(message)
  }

  private headers(): ReadonlyArray<HeaderField> {
    return Array.from(this.entries, itemOf).flatMap(({ given, name, value }) =>
      given && value !== undefined ? [{ name, value: queueFile.fold(value, " ") }] : []
    )
  }

  shown(): Message {
    const { body, sender } = this.draft
    return {
      sender,
      recipients: Array.from(this.recipients.values()),
      headers: this.headers(),
      // The end that the last line lacks is given by the mailer that delivers it.
      body: queueFile.normalizeLines(body, false)
    }
  }

  above(): number {
    return Array.from(this.entries, itemOf)
      .slice(0, this.received.index)
      .filter(({ given, value }) => given && value !== undefined).length
  }

  delivered(): Delivered {
    const { body, quarantined } = this.draft
    const { headers, recipients, sender } = this.shown()
    return {
      sender,
      recipients,
      headers: headers.map(asWritten),
      body: queueFile.normalizeLines(body, true),
      quarantined
    }
  }

  apply(modifications: ReadonlyArray<ModificationPacket>, leadingSpace: boolean): DeliveryError | undefined {
    // What an earlier filter deleted counts no longer; what this one deletes goes on counting.
    for (const { item } of this.entries) {
      if (item.value === undefined) item.given = false
    }
    this.named.clear()
    for (const place of this.entries) this.index(place)
    // Other packets may stand between the pieces of the body.
    const body = queueFile.carryOut(modifications, (modification) => this.one(modification, leadingSpace))
    if (body !== undefined) this.draft.body = body
    return this.crashes ? crash : undefined
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
        // Sendmail takes all addresses of a list.
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
      case "DeleteRecipient":
        this.recipients.delete(queueFile.bare(modification.recipient).toLowerCase())
        break
      case "ChangeSender":
        if (modification.sender !== "") draft.sender = queueFile.bare(modification.sender)
        break
      case "Quarantine":
        draft.quarantined = ofParts(modification.reason.replace(/\n/g, " "))
        break
    }
  }

  /** Adds an entry: in the place of a default, else above the first field of that name, else at the end. */
  private add(entry: Entry): void {
    const named = this.named.get(entry.name.toLowerCase())
    const replaced = named?.vacant[named.next]
    if (named === undefined || replaced === undefined) return this.addAbove(entry)
    named.next++
    give(named, replaced, entry.value)
  }

  private addAbove(entry: Entry): void {
    const first = this.named.get(entry.name.toLowerCase())?.first
    if (first !== undefined && this.merges && isMerged(entry.name)) this.merge(first.item, entry.value!)
    else this.insertAt(first?.index ?? this.entries.size, entry)
  }

  private merge(first: Entry, value: ByteString): void {
    if (first.value === undefined) this.crashes = true
    else if (/[^ \t\r\n]/.test(value)) first.value = ofParts(`${first.value}, ${value}`)
  }

  /** Inserts after the entry with that number in a list with invisible entries; so 0 is above Received, 1 below. */
  private insert(index: number, entry: Entry): void {
    this.insertAt(Math.max(index | 0, 0) + 1, entry) // the number is signed there
  }

  private change(index: number, entry: Entry, remove: boolean): void {
    const named = this.named.get(entry.name.toLowerCase())
    const counted = named?.given.at(Math.max(index | 0, 1) - 1)
    if (counted !== undefined) counted.item.item.value = remove ? undefined : entry.value
    else if (!remove) {
      // The last default, or the last that an earlier filter deleted.
      const vacant = named !== undefined && named.next < named.vacant.length ? named.vacant.pop() : undefined
      if (named === undefined || vacant === undefined) this.addAbove(entry)
      else give(named, vacant, entry.value)
    }
  }

  private insertAt(index: number, entry: Entry): void {
    const place = this.entries.insert(index, entry)
    const named = this.namedOf(place)
    if (place.index < named.first.index) named.first = place
    insertInOrder(named.given, place)
  }

  /** For all entries, in their order. */
  private index(place: Place<Entry>): void {
    const { given, trace } = place.item
    const named = this.namedOf(place)
    if (given) named.given.push(place)
    else if (!trace) named.vacant.push(place)
  }

  private namedOf(place: Place<Entry>): Named {
    const key = place.item.name.toLowerCase()
    const found = this.named.get(key)
    if (found !== undefined) return found
    const named: Named = { first: place, given: new OrderedList(), vacant: [], next: 0 }
    this.named.set(key, named)
    return named
  }

  /** Adds a recipient unless the message has it. */
  private addRecipient(recipient: Recipient): void {
    const key = recipient.address.toLowerCase()
    if (key !== "" && !this.recipients.has(key)) this.recipients.set(key, recipient)
  }
}

/** Of Sendmail 8.17. */
export const make = (message: Message): queueFile.QueueFile => new SendmailQueueFile(message, false)

/** Of Sendmail 8.18.2. */
export const make818 = (message: Message): queueFile.QueueFile => new SendmailQueueFile(message, true)
