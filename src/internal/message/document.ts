/** A whole message: collected as it comes, read and edited at its end. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Delivery from "../../Delivery.ts"
import { checkAddress, checkReason, Mailbox, Parameters } from "../../Envelope.ts"
import { HeaderValue } from "../../Header.ts"
import { InvalidValue } from "../../InvalidValue.ts"
import type { Editor } from "../../Modification.ts"
import { Step } from "../../Negotiation.ts"
import type { Envelope, Header, Rcpt, Session } from "../../Stage.ts"
import { ByteString } from "../bytes/byteString.ts"
import { bytes, ofParts } from "../bytes/byteString.ts"
import { contentOf } from "../bytes/lineEnds.ts"
import { Files, Spool } from "../bytes/spool.ts"
import { diffHeaders } from "../delivery/diffHeaders.ts"
import { diffRecipients } from "../delivery/diffMessage.ts"
import { bare } from "../delivery/queueFile.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type * as Message from "./documentTypes.ts"
import { HeaderEditor, HeaderList, nameOf } from "./headerList.ts"
import { type Edited, MimeEditor } from "./mime/mimeEditor.ts"
import type { EditableMime } from "./mime/mimeTypes.ts"
import { Pieces } from "./mime/pieces.ts"

/** Opens a spool for a body; it is closed with the message. */
export const openSpool = (inMemory: number | undefined): Effect.Effect<Spool, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Files, (openFile) => new Spool(openFile, inMemory)),
    (spool) => spool.close
  )

const hasStep = ({ agreed }: Session, step: number): boolean => (agreed.steps & step) !== 0

/** A message that is still arriving. */
export class IncomingMessage {
  /** The state that the filter's author keeps for the message. */
  readonly state: unknown
  readonly spool: Spool | undefined
  readonly headers: Array<HeaderValue> = []
  private readonly maxBytes: number
  private readonly truncates: boolean
  private bytes = 0
  private _isTruncated = false

  constructor(state: unknown, spool: Spool | undefined, maxBytes: number, truncates: boolean) {
    this.state = state
    this.spool = spool
    this.maxBytes = maxBytes
    this.truncates = truncates
  }

  get isTooLarge(): boolean {
    return this.bytes > this.maxBytes
  }

  /** Whether the rest of the body is not kept. */
  get isTruncated(): boolean {
    return this._isTruncated
  }

  header(field: Header, session: Session): void {
    const { name, raw } = field
    // Colon and line end count.
    this.bytes += name.length + raw.length + 3
    if (this.isTooLarge) return
    // Without the step `leadingSpace` the MTA has removed the space after the colon.
    const value = hasStep(session, Step.leadingSpace) ? raw : bytes` ${raw}`
    this.headers.push(new HeaderValue(nameOf(field), value, true))
  }

  body(bytes: Uint8Array): Effect.Effect<void> {
    const kept = this.truncates ? this.cut(bytes) : bytes
    this.bytes += kept.length
    return this.isTooLarge || this.spool === undefined ? Effect.void : this.spool.append(kept)
  }

  private cut(bytes: Uint8Array): Uint8Array {
    const room = Math.max(0, this.maxBytes - this.bytes)
    if (bytes.length <= room) return bytes
    this._isTruncated = true
    return bytes.subarray(0, room)
  }
}

/** What a hook at the end of the header can see. */
export const headOf = ({ headers }: IncomingMessage, { parameters, recipients, sender }: Envelope): Message.Head => ({
  sender,
  parameters,
  recipients,
  headers: new HeaderList(headers)
})

const bodyOf = (pieces: Pieces): Message.Body => {
  const bytes = Effect.suspend(() => pieces.bytes(0, pieces.length))
  return {
    size: pieces.length,
    stream: pieces.stream(),
    bytes,
    text: Effect.map(bytes, (bytes) => new TextDecoder().decode(bytes))
  }
}

const compared = 65536

/** Whether both hold the same bytes; false for a body that was not collected. */
const isSame = (left: Pieces, right: Pieces | undefined): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    if (right === undefined || left.length !== right.length) return false
    for (let start = 0; start < left.length; start += compared) {
      const end = Math.min(start + compared, left.length)
      const [ours, theirs] = [yield* left.bytes(start, end), yield* right.bytes(start, end)]
      if (!ours.every((byte, index) => byte === theirs[index])) return false
    }
    return true
  })

const isSameAddress = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

const textOf = (address: Mailbox | string): string =>
  typeof address === "string" ? bare(ofParts(address)) : address.address

/** A message with all methods; the type of a hook and the filter's capabilities settle which of them it may use. */
export class Document implements Message.Head, Message.Content, Message.Editing {
  readonly parameters: Parameters
  readonly headers: HeaderEditor
  sender: Mailbox
  recipients: ReadonlyArray<Rcpt>
  private readonly incoming: IncomingMessage
  private readonly envelope: Envelope
  private readonly inMemory: number | undefined
  private replaced: Pieces | undefined
  private readonly received: Pieces | undefined
  private editor: MimeEditor | undefined
  private reason: string | undefined

  constructor(incoming: IncomingMessage, envelope: Envelope, inMemory: number | undefined) {
    this.incoming = incoming
    this.envelope = envelope
    this.inMemory = inMemory
    this.parameters = envelope.parameters
    this.sender = envelope.sender
    this.recipients = [...envelope.recipients]
    this.headers = new HeaderEditor(incoming.headers, envelope.parameters.smtpUtf8)
    this.received = incoming.spool === undefined ? undefined : Pieces.of(incoming.spool)
  }

  private get pieces(): Pieces {
    this.editor?.flush()
    return this.current
  }

  private get current(): Pieces {
    // The type of a document has no body unless the body is collected or replaced.
    return this.replaced ?? this.received!
  }

  /** Made on first use: most filters never use it. */
  get mime(): EditableMime {
    return this.editor ??= new MimeEditor(this.edited)
  }

  private get edited(): Edited {
    const current = (): Pieces => this.current
    return {
      headers: this.headers,
      get body() {
        return current()
      },
      setBody: (body) => {
        this.replaced = body
      },
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the spool lives in the scope of the message, with which every hook runs
      makeSpool: openSpool(this.inMemory) as Effect.Effect<Spool>
    }
  }

  get body(): Message.Body {
    return bodyOf(this.pieces)
  }

  get isTruncated(): boolean {
    return this.incoming.isTruncated
  }

  get source(): Stream.Stream<Uint8Array> {
    return Stream.concat(Stream.sync(() => this.headerBytes), Stream.suspend(() => this.body.stream))
  }

  private get headerBytes(): Uint8Array {
    const headers = fieldsOf(this.headers.fields)
    return Delivery.toBytes({ sender: noBytes, recipients: [], headers, body: new Uint8Array(0) })
  }

  readonly replaceBody = <E, R>(
    body: string | Uint8Array | Stream.Stream<Uint8Array, E, R>
  ): Effect.Effect<void, E, R> => {
    const filled = Effect.gen({ self: this }, function*() {
      const spool = yield* openSpool(this.inMemory)
      if (typeof body === "string" || body instanceof Uint8Array) yield* spool.append(contentOf(body))
      else yield* Stream.runForEach(body, (chunk) => spool.append(chunk))
      this.replaced = Pieces.of(spool)
    })
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the spool lives in the scope of the message, with which every hook runs
    return filled as Effect.Effect<void, E, R>
  }

  readonly addRecipient = (address: Mailbox | string): Effect.Effect<void> =>
    Effect.sync(() => {
      const recipient = this.checked(address, false)
      if (this.find(recipient.address).length > 0) return
      this.recipients = [...this.recipients, { recipient, parameters: new Parameters([]) }]
    })

  readonly removeRecipient = (address: Mailbox | string): Effect.Effect<void> =>
    Effect.sync(() => {
      const gone = this.find(textOf(address))
      if (gone.length === 0) return
      if (gone.length === this.recipients.length) {
        throw new InvalidValue({
          what: "recipient to remove",
          value: textOf(address),
          reason: "expected that others stay; add those first, or discard the message (Verdict.discardMessage)"
        })
      }
      this.recipients = this.recipients.filter((recipient) => !gone.includes(recipient))
    })

  /** Local parts are compared like domains: spellings that differ in upper and lower case are one recipient to Sendmail. */
  private find(address: string): ReadonlyArray<Rcpt> {
    return this.recipients.filter(({ recipient }) => isSameAddress(recipient.address, address))
  }

  readonly setSender = (address: Mailbox | string): Effect.Effect<void> =>
    Effect.sync(() => {
      this.sender = this.checked(address, true)
    })

  readonly quarantine = (reason: string): Effect.Effect<void> =>
    Effect.sync(() => {
      Result.getOrThrow(checkReason(reason))
      this.reason = reason
    })

  private checked(address: Mailbox | string, allowNull: boolean): Mailbox {
    const { smtpUtf8 } = this.parameters
    return new Mailbox(Result.getOrThrow(checkAddress(textOf(address), { smtpUtf8, allowNull })))
  }

  /** Hands what has changed to the editor of the filter. */
  commit(edit: Editor, session: Session): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const { mta: known } = session.macros
      const mta = known === "unknown" ? "both" : known
      const headers = diffHeaders(
        fieldsOf(this.incoming.headers),
        fieldsOf(this.headers.fields),
        mta,
        hasStep(session, Step.leadingSpace)
      )
      const recipients = diffRecipients(recipientsOf(this.envelope.recipients), recipientsOf(this.recipients), mta)
      if (this.sender.address !== this.envelope.sender.address) yield* edit.changeSender(this.sender)
      yield* Effect.forEach(
        [...recipients.modifications, ...headers.modifications],
        (packet) => send(edit, packet),
        { discard: true }
      )
      if (this.reason !== undefined) yield* edit.quarantine(this.reason)
      this.editor?.flush()
      const { replaced } = this
      if (replaced !== undefined && !(yield* isSame(replaced, this.received))) {
        yield* edit.replaceBody(replaced.stream())
      }
    })
  }
}

const noBytes = ByteString.fromText("")

const fieldsOf = (fields: ReadonlyArray<HeaderValue>): ReadonlyArray<Delivery.HeaderField> =>
  fields.map((field) => ({ name: nameOf(field), value: field.raw }))

const recipientsOf = (recipients: ReadonlyArray<Rcpt>): ReadonlyArray<Delivery.Recipient> =>
  recipients.map(({ recipient }) => ({ address: bare(recipient.raw), parameters: undefined }))

/** Hands a modification of {@link diffHeaders} or {@link diffRecipients} to the editor. */
const send = (edit: Editor, packet: ModificationPacket): Effect.Effect<void> => {
  switch (packet._tag) {
    case "AddHeader":
      return edit.addHeader(packet.name, { raw: packet.value })
    case "InsertHeader":
      return edit.insertHeader(packet.index, packet.name, { raw: packet.value })
    case "ChangeHeader":
      return packet.value === ""
        ? edit.deleteHeader(packet.name, packet.index)
        : edit.changeHeader(packet.name, packet.index, { raw: packet.value })
    case "AddRecipient":
      return edit.addRecipient(new Mailbox(packet.recipient))
    case "DeleteRecipient":
      return edit.deleteRecipient(new Mailbox(packet.recipient))
    default:
      return Effect.void
  }
}
