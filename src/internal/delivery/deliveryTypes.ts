/** Messages as an MTA has them, and what differs between two. Re-exported by `Delivery`. */
import type { ByteString } from "../../Wire.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"

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
 * A message to compare. Without `body`, the body is left as it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft extends Omit<Message, "body"> {
  readonly body?: Uint8Array | undefined
}

/**
 * Options of {@link diff}.
 *
 * - `mta`: whose reading of the modifications counts. Left out, only what means the same to both is used
 * - `leadingSpace`: that step was agreed on, so that header values bring their own space
 *
 * @category models
 * @since 0.1.0
 */
export interface DiffOptions {
  readonly mta?: "postfix" | "sendmail" | undefined
  readonly leadingSpace: boolean
}

/**
 * Something that no modification brings about. `index` is the place of the field in the new header.
 *
 * - `Place`: a new field between two that stay may stand elsewhere. Postfix takes an index for it. Sendmail's counts fields of
 *   its configuration that nobody sees, and the one given holds for the usual `sendmail.cf`; dependable there are the top, the
 *   end and the place above the first field of the same name. Where the MTA is not known the field comes to the top or the end,
 *   whichever is nearer
 * - `Name`: Sendmail keeps the old spelling of the name of a changed field
 * - `Space`: without the step `leadingSpace` the MTA puts a space behind the colon
 * - `Recipient`: a recipient that stays keeps its parameters and, with Sendmail, the spelling of its address; Sendmail adds none
 *   with parameters other than NOTIFY and ORCPT, so it is added without
 *
 * @category models
 * @since 0.1.0
 */
export type Inexact =
  | { readonly _tag: "Place"; readonly index: number; readonly field: HeaderField }
  | { readonly _tag: "Name"; readonly index: number; readonly field: HeaderField }
  | { readonly _tag: "Space"; readonly index: number; readonly field: HeaderField }
  | { readonly _tag: "Recipient"; readonly recipient: Recipient }

/**
 * What makes one message of another. `inexact` is empty if the MTA will have exactly the message that was wanted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly modifications: ReadonlyArray<ModificationPacket>
  readonly inexact: ReadonlyArray<Inexact>
}
