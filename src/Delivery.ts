/**
 * What becomes of a message: the modifications of a filter, carried out as an MTA would. Pure.
 *
 * The model of Postfix is that of 3.7: it was compared with messages that a real one delivered.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import { Mailbox } from "./Envelope.ts"
import type { ModificationPacket } from "./internal/answer.ts"
import { concat } from "./internal/payload.ts"
import { ByteString } from "./Wire.ts"

/**
 * A header field. `value` is everything behind the colon, the space included; folds are LF and white space.
 *
 * @category models
 * @since 0.1.0
 */
export interface HeaderField {
  readonly name: ByteString
  readonly value: ByteString
}

/**
 * A recipient in the envelope. Addresses stand without angle brackets; `parameters` are ESMTP parameters in one string.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recipient {
  readonly address: ByteString
  readonly parameters: ByteString | undefined
}

/**
 * A message and its envelope, as the MTA has it before and after a filter. The MTA's own Received field is not part of it,
 * though it is there: positions of inserted fields count it.
 *
 * - `sender`: without angle brackets, `""` for the null sender
 * - `body`: with CR LF
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly sender: ByteString
  readonly recipients: ReadonlyArray<Recipient>
  readonly headers: ReadonlyArray<HeaderField>
  readonly body: Uint8Array
}

/**
 * A message after a filter. `quarantined`: the reason for which the MTA holds it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivered extends Message {
  readonly quarantined: ByteString | undefined
}

/**
 * The MTA does not carry out these modifications; it answers the client with `reply` instead.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeliveryError extends Data.TaggedError("DeliveryError")<{
  readonly reason: string
  readonly reply: string
}> {
  override get message(): string {
    return `${this.reason}; the MTA answers ${this.reply}`
  }
}

const bare = (address: ByteString): ByteString =>
  // Cut off a byte string, a byte string remains.
  (address.startsWith("<") && address.endsWith(">") ? address.slice(1, -1) : address) as ByteString

// Postfix adds the first address of a list, and warns.
const firstOf = (address: ByteString): ByteString => {
  const text = bare(address)
  const mailbox = new Mailbox(text)
  return mailbox.wellFormed || !text.includes(",") ? text : bare(text.split(",", 1)[0]!.trim() as ByteString)
}

const cr = 13
const lf = 10

/** Both CR LF and LF end a line, and the last line gets its end; a CR alone is a character. */
const normalizeLines = (bytes: Uint8Array): Uint8Array => {
  const lines: Array<Uint8Array> = []
  const lineEnd = Uint8Array.of(cr, lf)
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(lf, start)
    const end = found === -1 ? bytes.length : found
    lines.push(bytes.subarray(start, end > start && found !== -1 && bytes[end - 1] === cr ? end - 1 : end), lineEnd)
    start = end + 1
  }
  return concat(lines)
}

/** Lines behind the first that do not begin with white space get a tab, so that none can pose as another field. */
const folded = (value: ByteString): ByteString => value.replace(/\n(?![ \t])/g, "\n\t") as ByteString

const sameName = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

// Stands for the MTA's own Received field.
const own: HeaderField = { name: ByteString.fromText("Received"), value: ByteString.fromText("") }

const longestReason = 100

/**
 * Carries out modifications, in the order in which they came, as Postfix does. `leadingSpace`: that step was agreed on, so
 * that header values bring their own space.
 *
 * `DeliveryError` where something stands between two pieces of a new body, which Postfix takes for a broken configuration.
 *
 * **Example** (A header more)
 *
 * ```ts
 * import * as Delivery from "effect-milter/Delivery"
 * import { ByteString } from "effect-milter/Wire"
 *
 * const before: Delivery.Message = {
 *   sender: ByteString.fromText("alice@example.org"),
 *   recipients: [{ address: ByteString.fromText("bob@example.net"), parameters: undefined }],
 *   headers: [{ name: ByteString.fromText("Subject"), value: ByteString.fromText(" hello") }],
 *   body: new TextEncoder().encode("Hello Bob\r\n")
 * }
 * const after = Delivery.postfix(
 *   before,
 *   [{ _tag: "AddHeader", name: ByteString.fromText("X-Checked"), value: ByteString.fromText(" yes") }],
 *   { leadingSpace: true }
 * )
 * ```
 *
 * @category models of MTAs
 * @since 0.1.0
 */
export const postfix = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  options: { readonly leadingSpace: boolean }
): Result.Result<Delivered, DeliveryError> => {
  const headers: Array<HeaderField> = [own, ...message.headers]
  let { recipients, sender } = message
  let quarantined: ByteString | undefined
  let pieces: Array<Uint8Array> | undefined
  let previous: ModificationPacket["_tag"] | undefined
  const field = (name: ByteString, value: ByteString): HeaderField => ({
    name,
    value: folded(options.leadingSpace ? value : ` ${value}` as ByteString)
  })
  for (const modification of modifications) {
    switch (modification._tag) {
      case "AddHeader":
        headers.push(field(modification.name, modification.value))
        break
      case "InsertHeader":
        headers.splice(modification.index, 0, field(modification.name, modification.value))
        break
      case "ChangeHeader":
        changeHeader(
          headers,
          modification.index,
          field(modification.name, modification.value),
          modification.value === ""
        )
        break
      case "ReplaceBody":
        if (pieces !== undefined && previous !== "ReplaceBody") {
          return Result.fail(
            new DeliveryError({
              reason: `${previous} between two pieces of the body`,
              reply: "451 4.3.5 Server configuration problem - try again later"
            })
          )
        }
        pieces ??= []
        pieces.push(modification.bytes)
        break
      case "AddRecipient":
        recipients = addRecipient(recipients, modification.recipient, undefined)
        break
      case "AddRecipientWithParameters":
        recipients = addRecipient(recipients, modification.recipient, modification.parameters)
        break
      case "DeleteRecipient": {
        const gone = bare(modification.recipient)
        recipients = recipients.filter(({ address }) => address !== gone)
        break
      }
      case "ChangeSender":
        sender = firstOf(modification.sender)
        break
      case "Quarantine":
        quarantined = modification.reason.slice(0, longestReason) as ByteString
        break
    }
    previous = modification._tag
  }
  return Result.succeed({
    sender,
    recipients,
    headers: headers.filter((header) => header !== own),
    body: normalizeLines(pieces === undefined ? message.body : concat(pieces)),
    quarantined
  })
}

/** Counts what is there now, from 1; the MTA's own Received does not count. */
const changeHeader = (headers: Array<HeaderField>, index: number, field: HeaderField, remove: boolean): void => {
  let count = Math.max(index, 1)
  const at = headers.findIndex((header) => header !== own && sameName(header.name, field.name) && --count === 0)
  if (at !== -1) headers.splice(at, 1, ...(remove ? [] : [field]))
  else if (!remove) headers.push(field)
}

const addRecipient = (
  recipients: ReadonlyArray<Recipient>,
  recipient: ByteString,
  parameters: ByteString | undefined
): ReadonlyArray<Recipient> => {
  const address = firstOf(recipient)
  return address === ""
    ? recipients
    : [...recipients, { address, parameters: parameters === "" ? undefined : parameters }]
}

/**
 * The message as text, as in a file: header, empty line, body, with CR LF.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toBytes = (message: Message): Uint8Array =>
  concat([
    ByteString.toBytes(
      // Bytes and line ends are bytes.
      [...message.headers.map(({ name, value }) => `${name}:${value}`.replace(/\n/g, "\r\n")), ""]
        .map((line) => `${line}\r\n`).join("") as ByteString
    ),
    message.body
  ])
