/** The content of a message for filters that see it one after the other, with the edits of the filters before. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { HeaderField } from "../../Delivery.ts"
import { HeaderValue } from "../../Header.ts"
import type * as Packet from "../../Packet.ts"
import { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"
import { LineEnds } from "../bytes/lineEnds.ts"
import { type OpenFile, Spool } from "../bytes/spool.ts"
import { diffHeaders, type HeaderPacket } from "../delivery/diffHeaders.ts"
import * as postfixQueue from "../delivery/postfixQueue.ts"
import { type QueueFile, spaced } from "../delivery/queueFile.ts"
import * as sendmailQueue from "../delivery/sendmailQueue.ts"
import type { Edits } from "../filter/editor.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { maxPayload } from "../wire/maxPayload.ts"
import type { Closing } from "./scopeCloser.ts"

const isHeader = (packet: Packet.FilterPacket): packet is HeaderPacket =>
  packet._tag === "AddHeader" || packet._tag === "InsertHeader" || packet._tag === "ChangeHeader"

const noBytes = ByteString.fromText("")

/** A body in pieces as an MTA sends them, to be read one after the other; one may be empty. */
export interface ContentBody {
  readonly pieces: number
  readonly piece: (index: number) => Effect.Effect<Uint8Array>
}

export class Content {
  private readonly scope = Scope.makeUnsafe()
  private readonly leadingSpace: boolean
  private readonly mtaOf: () => "postfix" | "sendmail"
  private readonly original: Array<HeaderField> = []
  private readonly spool: Spool
  private file: QueueFile | undefined
  private replaced: Spool | undefined

  /** `mtaOf` is a function, since the MTA is known only once its macros have come. */
  constructor(mtaOf: () => "postfix" | "sendmail", leadingSpace: boolean, openFile: OpenFile | undefined) {
    this.mtaOf = mtaOf
    this.leadingSpace = leadingSpace
    this.spool = new Spool(openFile)
    Effect.runSync(Scope.addFinalizer(this.scope, this.spool.close))
  }

  /** The spool, which closes with the message. */
  get closing(): Closing {
    return { scope: this.scope, exit: Exit.void, filter: "the spool" }
  }

  header(name: ByteString, value: ByteString): void {
    this.original.push({ name, value: spaced(value, this.leadingSpace) })
  }

  append(bytes: Uint8Array): Effect.Effect<void> {
    return this.spool.append(bytes)
  }

  /** Applies a filter's edits: the filters after it see what the MTA would make of the message. */
  apply({ body, packets }: Edits): void {
    if (body !== undefined) this.replaced = body
    const headers = packets.filter(isHeader)
    if (headers.length === 0) return
    const { make } = this.mtaOf() === "postfix" ? postfixQueue : sendmailQueue
    this.file ??= make({ sender: noBytes, recipients: [], headers: this.original, body: new Uint8Array(0) })
    this.file.apply(headers, this.leadingSpace)
  }

  private get fields(): ReadonlyArray<HeaderField> {
    return this.file?.shown().headers ?? this.original
  }

  get headers(): ReadonlyArray<HeaderValue> {
    return this.fields.map(({ name, value }) =>
      this.leadingSpace
        ? new HeaderValue(name, value, true)
        : new HeaderValue(name, ofParts(value.replace(/^ /, "")), false)
    )
  }

  get body(): ContentBody {
    const { replaced, spool } = this
    if (replaced === undefined) {
      return {
        pieces: Math.ceil(spool.length / maxPayload),
        piece: (index) => spool.read(index * maxPayload, maxPayload)
      }
    }
    const lines = new LineEnds()
    // Line ends may make a piece twice as long.
    const size = maxPayload >> 1
    const pieces = Math.ceil(replaced.length / size)
    return {
      // Postfix completes the last line.
      pieces: this.mtaOf() === "postfix" ? pieces + 1 : pieces,
      piece: (index) =>
        index === pieces
          ? Effect.sync(() => lines.end)
          : Effect.map(replaced.read(index * size, size), (bytes) => lines.next(bytes))
    }
  }

  /** The edits of all filters, as one list for the message that the MTA holds. */
  combine(all: ReadonlyArray<Edits>): Edits {
    const headers = all.filter(({ packets }) => packets.some(isHeader)).length > 1
      // Occurrences and positions that a later filter names are those of a message that the MTA has not seen.
      ? this.difference()
      : all.flatMap(({ packets }) => packets.filter(isHeader))
    return combined(all, headers)
  }

  private difference(): ReadonlyArray<HeaderPacket> {
    const { fields, file, leadingSpace, original } = this
    // Fields above the MTA's own Received field, which is in no list of fields.
    const above = fields.slice(0, file?.above() ?? 0)
    const { modifications } = diffHeaders(original, fields.slice(above.length), this.mtaOf(), leadingSpace)
    return [
      ...modifications,
      ...above.toReversed().map(({ name, value }): HeaderPacket => ({
        _tag: "InsertHeader",
        index: 0,
        name,
        value: leadingSpace ? value : ofParts(value.replace(/^ /, ""))
      }))
    ]
  }
}

/** Edits of several filters, of which only one has edited the header. */
export const combine = (all: ReadonlyArray<Edits>): Edits =>
  combined(all, all.flatMap(({ packets }) => packets.filter(isHeader)))

const combined = (all: ReadonlyArray<Edits>, headers: ReadonlyArray<ModificationPacket>): Edits => {
  const others = all.flatMap(({ packets }) => packets.filter((packet) => !isHeader(packet)))
  return {
    openFile: undefined,
    most: Math.min(...all.map(({ most }) => most)),
    packets: [...headers, ...withoutOverridden(others)],
    body: all.findLast(({ body }) => body !== undefined)?.body
  }
}

/** Of two senders or reasons the last counts; a recipient that is added twice would get the message twice from Postfix. */
const withoutOverridden = (packets: Edits["packets"]): Edits["packets"] => {
  const later = new Set<string>()
  const counts = (packet: Packet.FilterPacket): boolean => {
    const key = keyOf(packet)
    return key === undefined || (!later.has(key) && later.add(key) !== undefined)
  }
  return packets.toReversed().filter(counts).toReversed()
}

/** What a later packet with the same key overrides. */
const keyOf = (packet: Packet.FilterPacket): string | undefined => {
  switch (packet._tag) {
    case "ChangeSender":
    case "Quarantine":
      return packet._tag
    case "AddRecipient":
    case "AddRecipientWithParameters":
      return `recipient ${packet.recipient}`
    default:
      return undefined
  }
}
