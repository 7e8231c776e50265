/**
 * What becomes of a message: the modifications of a filter, carried out as an MTA would; and the way back, from two messages
 * to the modifications that make one of the other. Pure.
 *
 * The models are those of Postfix 3.7 and Sendmail 8.17: they were compared with messages that real ones delivered.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { ofParts } from "./internal/bytes/byteString.ts"
import { concat } from "./internal/bytes/concat.ts"
import type { DeliveryError } from "./internal/delivery/deliveryError.ts"
import type { Delivered, Difference, DiffOptions, Draft, Message } from "./internal/delivery/deliveryTypes.ts"
import * as internal from "./internal/delivery/diffMessage.ts"
import * as postfixQueue from "./internal/delivery/postfixQueue.ts"
import type { QueueFile } from "./internal/delivery/queueFile.ts"
import * as sendmailQueue from "./internal/delivery/sendmailQueue.ts"
import type { ModificationPacket } from "./internal/wire/filterPackets.ts"
import { ByteString } from "./Wire.ts"

export { DeliveryError } from "./internal/delivery/deliveryError.ts"
export type {
  Delivered,
  Difference,
  DiffOptions,
  Draft,
  HeaderField,
  Inexact,
  Message,
  Recipient
} from "./internal/delivery/deliveryTypes.ts"

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
): Result.Result<Delivered, DeliveryError> => through(postfixQueue.make(message), modifications, options.leadingSpace)

/**
 * Carries out modifications as Sendmail does. It never fails: Sendmail passes over what it does not understand. What is
 * different from {@link postfix}:
 *
 * - an added field stands above the first of its name; Date, From, Message-Id and their like take the place that Sendmail
 *   keeps for its own, at the top
 * - positions of inserted fields count entries of Sendmail's own that nobody sees: only 0 (above its Received field), 1
 *   (below it) and beyond the end can be relied on
 * - the fields that a filter deletes go on counting for that filter
 * - recipients are compared without regard to case, as for the local mailer; the SMTP mailers (flag `u`) take upper and
 *   lower case apart. Nobody is added who is there, and not with parameters that Sendmail does not know (other than NOTIFY
 *   and ORCPT)
 * - a new body may come in several runs
 * - header lines are cut at 2,303 bytes when they are delivered
 *
 * @category models of MTAs
 * @since 0.1.0
 */
export const sendmail = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  options: { readonly leadingSpace: boolean }
): Result.Result<Delivered, DeliveryError> => through(sendmailQueue.make(message), modifications, options.leadingSpace)

const through = (
  file: QueueFile,
  modifications: ReadonlyArray<ModificationPacket>,
  leadingSpace: boolean
): Result.Result<Delivered, DeliveryError> => {
  const error = file.apply(modifications, leadingSpace)
  return error === undefined ? Result.succeed(file.delivered()) : Result.fail(error)
}

/**
 * The fewest modifications, in the order in which to send them, that make the second message of the first.
 *
 * - Header fields that stay are not touched. Others are changed and deleted by occurrence from the highest down, which is the
 *   same on both MTAs; new ones are inserted directly below the MTA's own Received, beyond the end, or in between
 * - Recipients are deleted by the bytes of RCPT; one that is there is not added. Neither their order nor how often one comes
 *   counts. Sendmail takes spellings that differ in upper and lower case for one recipient
 * - A new sender comes without parameters, so that both MTAs keep those of MAIL
 * - The body comes last and in one run, in pieces of at most 65535 bytes. Its lines end with CR LF, the last one too: MTAs
 *   would add it
 *
 * **Example** (A header less)
 *
 * ```ts
 * import * as Delivery from "effect-milter/Delivery"
 *
 * const withoutFirst = (message: Delivery.Message): Delivery.Difference =>
 *   Delivery.diff(message, { ...message, headers: message.headers.slice(1) }, { mta: "postfix", leadingSpace: true })
 * ```
 *
 * @category comparing
 * @since 0.1.0
 */
export const diff: (before: Draft, after: Draft, options: DiffOptions) => Difference = internal.diff

/**
 * The message as text, as in a file: header, empty line, body, with CR LF.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toBytes = (message: Message): Uint8Array =>
  concat([
    ByteString.toBytes(
      ofParts(
        [...message.headers.map(({ name, value }) => `${name}:${value}`.replace(/\n/g, "\r\n")), ""]
          .map((line) => `${line}\r\n`).join("")
      )
    ),
    message.body
  ])
