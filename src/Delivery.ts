/**
 * Models of delivery: what an MTA makes of a message and the modifications of a filter, and, the other way round, the
 * modifications that turn one message into another. Pure.
 *
 * The models are those of Postfix 3.7 to 3.11 and of Sendmail 8.17 and 8.18. Tests compare them with messages that these
 * MTAs delivered.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { ofParts } from "./internal/bytes/byteString.ts"
import { ByteString } from "./internal/bytes/byteString.ts"
import { concat } from "./internal/bytes/concat.ts"
import type { DeliveryError } from "./internal/delivery/deliveryError.ts"
import type { Delivered, Difference, DiffOptions, Draft, Message } from "./internal/delivery/deliveryTypes.ts"
import * as internal from "./internal/delivery/diffMessage.ts"
import * as postfixQueue from "./internal/delivery/postfixQueue.ts"
import type { QueueFile } from "./internal/delivery/queueFile.ts"
import * as sendmailQueue from "./internal/delivery/sendmailQueue.ts"
import type { ModificationPacket } from "./internal/wire/filterPackets.ts"

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
 * Carries out modifications, in the order in which they came, as Postfix does. `leadingSpace` says that this step was agreed
 * on, so that header values include the space after the colon.
 *
 * Fails with `DeliveryError` if another modification is between two pieces of a new body: Postfix reports a broken
 * configuration and answers 451.
 *
 * **Gotchas**
 *
 * - The message is the one that filters see: without the MTA's own Received field, which positions of inserted fields count.
 * - The model carries out modifications and nothing else: it does not add missing fields, complete addresses or expand aliases.
 * - `leadingSpace` must be what was agreed on with the filter that made the modifications: otherwise the values have a space
 *   too many or too few.
 *
 * @see {@link sendmail} for the other MTA
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
 * Carries out modifications as Sendmail 8.17 does. The result is never a failure: Sendmail ignores what it does not
 * understand.
 *
 * **Details**
 *
 * The differences from {@link postfix}:
 *
 * - An added field goes above the first field of its name. Date, From, Message-Id and the like go to the place that Sendmail
 *   keeps for its own, at the top.
 * - Positions of inserted fields also count entries of Sendmail's own that no filter sees. Dependable are only 0 (above its
 *   Received field), 1 (below it) and a position beyond the end.
 * - The fields that a filter deletes continue to count for that filter.
 * - Recipients are compared without regard to case, as the local mailer does. A recipient that the message has is not added
 *   again, nor is one with parameters that Sendmail does not know (other than NOTIFY and ORCPT).
 * - A new body may come in several runs.
 * - Header lines are cut at 2,303 bytes when they are delivered.
 *
 * **Gotchas**
 *
 * - The model has the local mailer. The SMTP mailers (flag `u`) distinguish upper and lower case in recipients.
 * - Sendmail rewrites address lists (To, Cc, From and the like) after the filters; the model does not. A signature over such a
 *   field can be valid here and broken in the delivered message.
 *
 * @see {@link sendmail818} for later releases, and {@link postfix} for the other MTA
 *
 * @category models of MTAs
 * @since 0.1.0
 */
export const sendmail = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  options: { readonly leadingSpace: boolean }
): Result.Result<Delivered, DeliveryError> => through(sendmailQueue.make(message), modifications, options.leadingSpace)

/**
 * Carries out modifications as Sendmail 8.18.2 does.
 *
 * **Details**
 *
 * The difference from {@link sendmail}: a To, Cc, Bcc or Apparently-To that a filter adds (`addHeader`, or `changeHeader`
 * beyond the last one) is appended to the first field of that name, after a comma. One without text is ignored.
 *
 * **Gotchas**
 *
 * Fails with `DeliveryError` where Sendmail 8.18.2 crashes: a filter has deleted the first field of such a name and adds
 * another in the same message. The client's connection ends, and so does each further attempt.
 *
 * @category models of MTAs
 * @since 0.1.0
 */
export const sendmail818 = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  options: { readonly leadingSpace: boolean }
): Result.Result<Delivered, DeliveryError> =>
  through(sendmailQueue.make818(message), modifications, options.leadingSpace)

const through = (
  file: QueueFile,
  modifications: ReadonlyArray<ModificationPacket>,
  leadingSpace: boolean
): Result.Result<Delivered, DeliveryError> => {
  const error = file.apply(modifications, leadingSpace)
  return error === undefined ? Result.succeed(file.delivered()) : Result.fail(error)
}

/**
 * Finds the fewest modifications that turn the first message into the second, in the order in which to send them.
 *
 * **Details**
 *
 * - Header fields that stay are not touched. Others are changed and deleted by occurrence from the highest down, which has
 *   the same effect on both MTAs. New fields are inserted directly below the MTA's own Received, beyond the end, or in between.
 * - Recipients are deleted by the bytes of RCPT. A recipient that the message has is not added. Neither their order nor how
 *   often one is named counts. Sendmail takes spellings that differ in upper and lower case for one recipient.
 * - A new sender has no parameters, so that both MTAs keep those of MAIL.
 * - The body comes last and in one run, in pieces of at most 65535 bytes. Its lines end with CR LF, the last line too, since
 *   the MTAs would add it.
 *
 * **Gotchas**
 *
 * Not every message can be reached: `inexact` lists what the MTA will have otherwise. Check it before sending the modifications.
 *
 * @see {@link postfix} and {@link sendmail} for the way back
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
 * Encodes a message as in a file: header, empty line and body, with CR LF.
 *
 * @see `RawMessage.parse` for the way back
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
