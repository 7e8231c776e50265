/**
 * What a filter can do to a message at its end: the closed set of modifications, the capability each needs, and the
 * editor through which a hook makes them.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Stream from "effect/Stream"
import * as Envelope from "./Envelope.ts"
import * as Header from "./Header.ts"
import { ByteString, ofParts } from "./internal/bytes/byteString.ts"
import { InvalidValue } from "./InvalidValue.ts"
import { Action } from "./Negotiation.ts"
import type * as Packet from "./Packet.ts"

/**
 * The value of a header field. A text is encoded as the message requires. The bytes of a field that came from this MTA,
 * such as the event of the header hook, are sent unchanged.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderInput = string | { readonly raw: ByteString }

/**
 * A modification as a filter describes it: text, not bytes. {@link toPacket} checks and encodes it.
 *
 * @category models
 * @since 0.1.0
 */
export type Modification =
  | { readonly _tag: "AddHeader"; readonly name: string; readonly value: HeaderInput }
  | { readonly _tag: "InsertHeader"; readonly index: number; readonly name: string; readonly value: HeaderInput }
  | { readonly _tag: "ChangeHeader"; readonly name: string; readonly occurrence: number; readonly value: HeaderInput }
  | { readonly _tag: "DeleteHeader"; readonly name: string; readonly occurrence: number }
  | { readonly _tag: "AddRecipient"; readonly address: Envelope.Mailbox | string }
  | {
    readonly _tag: "AddRecipientWithParameters"
    readonly address: Envelope.Mailbox | string
    readonly parameters: string
  }
  | { readonly _tag: "DeleteRecipient"; readonly address: Envelope.Mailbox | string }
  | {
    readonly _tag: "ChangeSender"
    readonly address: Envelope.Mailbox | string
    readonly parameters: string | undefined
  }
  | { readonly _tag: "Quarantine"; readonly reason: string }

/**
 * The methods of the editor, one for each capability.
 *
 * **Details**
 *
 * Each method checks its values at once. A value that cannot go into a message is a defect (`InvalidValue`), which the
 * filter's `onDefect` answers. The modifications are sent after the hook has returned.
 *
 * **Gotchas**
 *
 * - Modifications are sent only if the verdict lets the message pass: both MTAs lose those before a reject, a tempFail or a
 *   discard.
 * - The MTAs disagree on places and numbers of header fields. Insert at the top (`insertHeader(1, …)`) or at the end
 *   (`insertHeader(1000, …)`), and change or delete from the highest number down.
 *
 * @see `Message.make` for filters that say what the message is to be, and leave the modifications to the library
 *
 * @category models
 * @since 0.1.0
 */
export interface Editor {
  /**
   * Adds a field.
   *
   * **Gotchas**
   *
   * The place differs if the message has a field of that name. Postfix adds at the end of the header. Sendmail adds above the
   * first field of that name, and 8.18.2 merges To, Cc and Bcc into the existing field. Sendmail puts Date, From, Message-Id,
   * Received and the like at the top. {@link Editor.insertHeader} does the same on both.
   */
  readonly addHeader: (name: string, value: HeaderInput) => Effect.Effect<void>
  /**
   * Inserts a field. The index counts all fields of the message as delivered, from 0: 0 is above the MTA's own Received,
   * 1 directly below it, an index beyond the end appends.
   *
   * **Gotchas**
   *
   * Do not use other indexes with Sendmail: it also counts entries of its own that no filter sees, so 2 to 8 are still at the
   * top. Of two fields inserted at 1, the later one is nearer to the top.
   */
  readonly insertHeader: (index: number, name: string, value: HeaderInput) => Effect.Effect<void>
  /**
   * Changes the value of the nth field of this name (from 1, the MTA's own Received not counted).
   *
   * **Gotchas**
   *
   * A number beyond the last field adds a field, at different places on the two MTAs: count first. Spell the name as it came:
   * Postfix writes the spelling of the filter, Sendmail keeps the old one.
   */
  readonly changeHeader: (name: string, occurrence: number, value: HeaderInput) => Effect.Effect<void>
  /**
   * Deletes the nth field of this name (from 1). The MTA's own Received is not counted and cannot be deleted.
   *
   * **Gotchas**
   *
   * - Delete from the highest number down: after a deletion Postfix counts the fields that are left, Sendmail those that the
   *   message had.
   * - The sender chooses how many fields there are: decide how many are too many, and refuse the message then. Above the server's
   *   `maxModifications` the message is refused in any case.
   * - Neither MTA adds a deleted Date, From or Message-Id again.
   */
  readonly deleteHeader: (name: string, occurrence: number) => Effect.Effect<void>
  /**
   * Replaces the whole body. Text goes out as UTF-8. Lines end with CR LF or LF; a missing last line end is added. A Stream is run
   * to its end before any of it is sent; its errors and requirements become those of the hook. The last call counts.
   *
   * **Gotchas**
   *
   * The header is not touched: a body of another type or encoding needs `changeHeader` for Content-Type and
   * Content-Transfer-Encoding. A replaced body breaks the DKIM signatures that the message came with.
   */
  readonly replaceBody: <E = never, R = never>(
    body: string | Uint8Array | Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<void, E, R>
  /**
   * Adds an envelope recipient; the header is not touched.
   *
   * **Gotchas**
   *
   * A recipient that the message already has gets it twice with Postfix, once with Sendmail: look at `envelope.recipients`
   * first.
   */
  readonly addRecipient: (address: Envelope.Mailbox | string) => Effect.Effect<void>
  /**
   * Adds an envelope recipient with the parameters NOTIFY, ORCPT or both in one string, such as `NOTIFY=NEVER`.
   *
   * **Gotchas**
   *
   * Other parameters are refused (`InvalidValue`). Postfix would ignore them; Sendmail would not add the recipient, and would
   * disturb its dialogue with the SMTP client, which then sends the message again.
   */
  readonly addRecipientWithParameters: (
    address: Envelope.Mailbox | string,
    parameters: string
  ) => Effect.Effect<void>
  /**
   * Removes an envelope recipient.
   *
   * **Gotchas**
   *
   * Give the mailbox that the rcpt hook received, not a text of your own: Postfix compares the text with what the client
   * sent, and a difference in upper and lower case is enough to delete nobody. A message whose last recipient is deleted is
   * answered with 250 and reaches nobody: return `Verdict.discardMessage` if that is meant.
   */
  readonly deleteRecipient: (address: Envelope.Mailbox | string) => Effect.Effect<void>
  /**
   * Changes the envelope sender; `""` is the null sender.
   *
   * **Gotchas**
   *
   * Leave `parameters` out to keep those of MAIL. If you give them (in one string), give all: Sendmail forgets all others of
   * MAIL, Postfix keeps them.
   */
  readonly changeSender: (address: Envelope.Mailbox | string, parameters?: string) => Effect.Effect<void>
  /**
   * Puts the message on hold (Postfix) or into the quarantine queue (Sendmail). Postfix keeps 100 bytes of the reason.
   *
   * **Gotchas**
   *
   * The client reads that the message was accepted: without somebody who looks at the queue, the mail is lost. Postfix does
   * not store the reason with the message: write it to a log of your own, too.
   */
  readonly quarantine: (reason: string) => Effect.Effect<void>
}

/**
 * The name of a modification, as a filter declares it in `modify` or `modifyIfOffered`.
 *
 * @category models
 * @since 0.1.0
 */
export type Capability = keyof Editor

/**
 * The editor of a filter. It has the methods that the filter declared in `modify`, and as an `Option` each of those in
 * `modifyIfOffered`: `None` if the MTA does not offer it.
 *
 * @category models
 * @since 0.1.0
 */
export type EditorOf<Required extends Capability, Optional extends Capability> =
  & Pick<Editor, Required>
  & { readonly [K in Optional]: Option.Option<Editor[K]> }

/**
 * The action bit that the MTA must offer for each capability.
 *
 * @category constants
 * @since 0.1.0
 */
export const actionOf: { readonly [K in Capability]: number } = {
  addHeader: Action.addHeader,
  insertHeader: Action.addHeader,
  changeHeader: Action.changeHeader,
  deleteHeader: Action.changeHeader,
  replaceBody: Action.replaceBody,
  addRecipient: Action.addRecipient,
  addRecipientWithParameters: Action.addRecipientWithParameters,
  deleteRecipient: Action.deleteRecipient,
  changeSender: Action.changeSender,
  quarantine: Action.quarantine
}

/**
 * How text is encoded on this connection and for this message.
 *
 * - `leadingSpace`: the MTA leaves the space after the colon of a header field to the filter
 * - `smtpUtf8`: the message may have UTF-8 in headers and addresses
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoding {
  readonly leadingSpace: boolean
  readonly smtpUtf8: boolean
}

/**
 * Checks and encodes a modification.
 *
 * **Details**
 *
 * Header text that is not ASCII becomes RFC 2047 encoded words, unless the message is SMTPUTF8. A value that could be read
 * as more than itself is refused with `InvalidValue`: a line break, a NUL, a colon in a name, a comma in an address.
 *
 * **Gotchas**
 *
 * `encoding.leadingSpace` must be what filter and MTA have agreed on: otherwise the message has no space, or two, after the
 * colon. An empty value for `ChangeHeader` is sent as a space, because an empty one would delete the field.
 *
 * **Example** (What a filter sends to add a header)
 *
 * ```ts
 * import * as Modification from "effect-milter/Modification"
 *
 * const packet = Modification.toPacket(
 *   { _tag: "AddHeader", name: "X-Checked", value: "yes" },
 *   { leadingSpace: true, smtpUtf8: false }
 * )
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const toPacket = (
  modification: Modification,
  encoding: Encoding
): Result.Result<Packet.FilterPacket, InvalidValue> => {
  switch (modification._tag) {
    case "AddHeader":
      return Result.map(
        field(modification.name, modification.value, encoding),
        ({ name, value }) => ({ _tag: "AddHeader", name, value })
      )
    case "InsertHeader": {
      const { index } = modification
      if (!isIndex(index, 0)) return badIndex("header index", index, "an integer from 0")
      return Result.map(
        field(modification.name, modification.value, encoding),
        ({ name, value }) => ({ _tag: "InsertHeader", index, name, value })
      )
    }
    case "ChangeHeader": {
      const { occurrence } = modification
      if (!isIndex(occurrence, 1)) return badIndex("header occurrence", occurrence, "an integer from 1")
      return Result.map(
        field(modification.name, modification.value, encoding),
        // An empty value would delete the field.
        ({ name, value }) => ({
          _tag: "ChangeHeader",
          index: occurrence,
          name,
          value: value === "" ? ByteString.fromText(" ") : value
        })
      )
    }
    case "DeleteHeader": {
      const { occurrence } = modification
      if (!isIndex(occurrence, 1)) return badIndex("header occurrence", occurrence, "an integer from 1")
      return Result.map(
        Header.checkName(modification.name),
        (name) => ({ _tag: "ChangeHeader", index: occurrence, name, value: ByteString.fromText("") })
      )
    }
    case "AddRecipient":
      return Result.map(address(modification.address, encoding), (recipient) => ({ _tag: "AddRecipient", recipient }))
    case "AddRecipientWithParameters":
      return Result.flatMap(
        address(modification.address, encoding),
        (recipient) =>
          Result.map(
            recipientParameters(modification.parameters),
            (parameters) => ({ _tag: "AddRecipientWithParameters", recipient, parameters })
          )
      )
    case "DeleteRecipient":
      return Result.map(
        recipientToDelete(modification.address, encoding),
        (recipient) => ({ _tag: "DeleteRecipient", recipient })
      )
    case "ChangeSender":
      return Result.flatMap(sender(modification.address, encoding), (sender) =>
        modification.parameters === undefined
          // Without a second string: even an empty one makes Sendmail forget the parameters of MAIL.
          ? Result.succeed({ _tag: "ChangeSender", sender })
          : Result.map(
            Envelope.checkParameters(modification.parameters),
            (parameters) => ({ _tag: "ChangeSender", sender, parameters })
          ))
    case "Quarantine":
      return Result.map(Envelope.checkReason(modification.reason), (reason) => ({ _tag: "Quarantine", reason }))
  }
}

const field = (name: string, value: HeaderInput, encoding: Encoding) =>
  Result.flatMap(
    Header.checkName(name),
    (name) =>
      Result.map(
        typeof value === "string" ? Header.encodeValue(value, { ...encoding, name }) : Header.checkRaw(value.raw),
        (value) => ({ name, value })
      )
  )

const address = (address: Envelope.Mailbox | string, encoding: Encoding): Result.Result<ByteString, InvalidValue> =>
  Envelope.checkAddress(typeof address === "string" ? address : address.address, encoding)

// With any other parameter Sendmail does not add the recipient, and writes a stray line into its dialogue with the SMTP client,
// which then waits for a reply in vain. Postfix ignores other parameters.
const recipientParameters = (text: string): Result.Result<ByteString, InvalidValue> =>
  Result.flatMap(Envelope.checkParameters(text), (checked) => {
    const seen = new Set<string>()
    for (const parameter of checked.split(" ").filter((part) => part !== "")) {
      const { notify, orcpt } = new Envelope.Parameters([ofParts(parameter)])
      const keyword = notify !== undefined ? "NOTIFY" : orcpt !== undefined ? "ORCPT" : undefined
      if (keyword === undefined || seen.has(keyword)) {
        return Result.fail(
          new InvalidValue({
            what: "ESMTP parameter of a recipient",
            value: parameter,
            reason: "expected NOTIFY and ORCPT, once each and with a value as in RFC 3461"
          })
        )
      }
      seen.add(keyword)
    }
    return Result.succeed(checked)
  })

// Postfix compares the text with what the client sent: a mailbox that came from the MTA must be sent back unchanged.
const recipientToDelete = (
  mailbox: Envelope.Mailbox | string,
  encoding: Encoding
): Result.Result<ByteString, InvalidValue> => {
  if (typeof mailbox === "string") return address(mailbox, encoding)
  const { raw } = mailbox
  return /[\0\r\n]/.test(raw)
    ? Result.fail(new InvalidValue({ what: "address", value: raw, reason: "expected no line break and no NUL" }))
    : Result.succeed(raw)
}

// The null sender is "" for authors and in Postfix's local submission. To the MTA it must be "<>": an empty string is ignored.
const sender = (from: Envelope.Mailbox | string, encoding: Encoding): Result.Result<ByteString, InvalidValue> =>
  (typeof from === "string" ? from === "" || from === "<>" : from.isNull)
    ? Result.succeed(ByteString.fromText("<>"))
    : address(from, encoding)

const isIndex = (n: number, least: number): boolean => Number.isInteger(n) && n >= least && n <= 0x7fffffff

const badIndex = (what: string, value: number, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value: String(value), reason }))
