/** Messages as an MTA has them, and differences of two messages. Re-exported by `Delivery`. */
import type { ByteString } from "../bytes/byteString.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"

/**
 * A header field. `value` is everything after the colon, the space included; folds are LF and white space.
 *
 * @category models
 * @since 0.1.0
 */
export interface HeaderField {
  readonly name: ByteString
  readonly value: ByteString
}

/**
 * A recipient in the envelope. Addresses have no angle brackets; `parameters` are ESMTP parameters in one string.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recipient {
  readonly address: ByteString
  readonly parameters: ByteString | undefined
}

/**
 * A message and its envelope, as the MTA has it before and after a filter.
 *
 * - `sender`: without angle brackets, `""` for the null sender
 * - `body`: with CR LF
 *
 * **Gotchas**
 *
 * `headers` does not include the MTA's own Received field, but positions of inserted fields count it.
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
 * - `mta`: the MTA that will carry out the modifications. Without it only modifications with the same effect on both are used
 * - `leadingSpace`: this step was agreed on, so that header values include the space after the colon
 *
 * @category models
 * @since 0.1.0
 */
export interface DiffOptions {
  readonly mta?: "postfix" | "sendmail" | undefined
  readonly leadingSpace: boolean
}

/**
 * A difference that no modification can make. `index` is the place of the field in the new header.
 *
 * - `Place`: a new field between two that stay may get another place. Postfix takes an index for it. The index of Sendmail also
 *   counts fields of its configuration, which no filter sees; the index used is right for the usual `sendmail.cf`. Dependable
 *   with Sendmail are the top, the end, and the place above the first field of the same name. If the MTA is not known, the field
 *   goes to the top or the end, whichever is nearer
 * - `Name`: Sendmail keeps the old spelling of the name of a changed field
 * - `Space`: without the step `leadingSpace` the MTA puts a space after the colon
 * - `Recipient`: a recipient that stays keeps its parameters and, with Sendmail, the spelling of its address; Sendmail does
 *   not add a recipient with parameters other than NOTIFY and ORCPT, so the recipient is added without parameters
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
 * The modifications that turn one message into another. `inexact` is empty if the MTA will have exactly the new message.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly modifications: ReadonlyArray<ModificationPacket>
  readonly inexact: ReadonlyArray<Inexact>
}
