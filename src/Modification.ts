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
import { InvalidValue } from "./InvalidValue.ts"
import { Action } from "./Negotiation.ts"
import type * as Packet from "./Packet.ts"
import { ByteString } from "./Wire.ts"

/**
 * The value of a field: text, which is encoded as the message needs it, or the bytes of a field that came from this MTA, such
 * as the event of the header hook, which go out as they are.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderInput = string | { readonly raw: ByteString }

/**
 * A modification as an author thinks of it: text, not bytes. {@link toPacket} checks and encodes it.
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
 * The methods of the editor, one for each capability. Each checks its values at once: one that cannot go into a message
 * is a defect `InvalidValue`, answered by the filter's `onDefect`. Nothing is sent before the hook has returned, and only
 * if its verdict lets the message pass.
 *
 * @category models
 * @since 0.1.0
 */
export interface Editor {
  /**
   * Adds a field. Postfix puts it at the end of the header; Sendmail in front of the first field of that name, and 8.18.2
   * merges To, Cc and the like into the existing field. {@link insertHeader} is the same on both.
   */
  readonly addHeader: (name: string, value: HeaderInput) => Effect.Effect<void>
  /**
   * Inserts a field. The index counts all fields of the message as delivered, from 0: 0 is above the MTA's own Received,
   * 1 directly below it, an index beyond the end appends. Other indexes are not dependable on Sendmail.
   */
  readonly insertHeader: (index: number, name: string, value: HeaderInput) => Effect.Effect<void>
  /**
   * Changes the value of the nth field of this name (from 1, the MTA's own Received not counted). Where there is none,
   * the field is added.
   */
  readonly changeHeader: (name: string, occurrence: number, value: HeaderInput) => Effect.Effect<void>
  /**
   * Deletes the nth field of this name (from 1). Delete from the highest down: Postfix counts what is left, Sendmail what
   * was there first. The sender chooses how many there are: decide how many are too many, and refuse the message then. Above
   * the server's `maxModifications` it is refused in any case.
   */
  readonly deleteHeader: (name: string, occurrence: number) => Effect.Effect<void>
  /**
   * Replaces the whole body. Lines end in CR LF. A Stream is run to its end before anything is sent; its errors and needs
   * become the hook's. The last call counts.
   */
  readonly replaceBody: <E = never, R = never>(
    body: Uint8Array | Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<void, E, R>
  /** Adds an envelope recipient; the header is not touched. */
  readonly addRecipient: (address: Envelope.Mailbox | string) => Effect.Effect<void>
  /** Adds an envelope recipient with NOTIFY or ORCPT or both in one string, such as `NOTIFY=NEVER`; MTAs know no others. */
  readonly addRecipientWithParameters: (
    address: Envelope.Mailbox | string,
    parameters: string
  ) => Effect.Effect<void>
  /**
   * Removes an envelope recipient. Give the mailbox that the rcpt hook received: Postfix compares its text, upper and
   * lower case different, with what the client sent.
   */
  readonly deleteRecipient: (address: Envelope.Mailbox | string) => Effect.Effect<void>
  /**
   * Changes the envelope sender; `""` is the null sender. With parameters (one string), Sendmail first forgets those of
   * MAIL.
   */
  readonly changeSender: (address: Envelope.Mailbox | string, parameters?: string) => Effect.Effect<void>
  /** Puts the message on hold (Postfix) or into the quarantine queue (Sendmail). Postfix keeps 100 bytes of the reason. */
  readonly quarantine: (reason: string) => Effect.Effect<void>
}

/**
 * What a filter declares in `modify` and `modifyIfOffered`.
 *
 * @category models
 * @since 0.1.0
 */
export type Capability = keyof Editor

/**
 * The editor of a filter that declared `Required` and, where the MTA offers them, `Optional`.
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
 * How text goes into packets on this connection and for this message: whether the MTA leaves the space after the colon
 * to the filter, and whether the message may carry UTF-8 in headers and addresses.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoding {
  readonly leadingSpace: boolean
  readonly smtpUtf8: boolean
}

/**
 * Checks and encodes a modification. Header text that is not ASCII becomes RFC 2047 encoded words unless the message is
 * SMTPUTF8; what could break out of its place (line breaks, NUL, a colon in a name, a comma in an address) is refused.
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

// Sendmail does not add a recipient with others, and writes a line of its own into the dialogue with its client, which then
// waits for a reply in vain. Postfix ignores others.
const recipientParameters = (text: string): Result.Result<ByteString, InvalidValue> =>
  Result.flatMap(Envelope.checkParameters(text), (checked) => {
    const seen = new Set<string>()
    for (const parameter of checked.split(" ").filter((part) => part !== "")) {
      const { notify, orcpt } = new Envelope.Parameters([ByteString.make(parameter)])
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

// Postfix compares the text with what the client sent: a mailbox that came from the MTA goes back as it came.
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

// The null sender is "" for authors and in Postfix's local submission, and "<>" on the way back: an empty string is ignored.
const sender = (from: Envelope.Mailbox | string, encoding: Encoding): Result.Result<ByteString, InvalidValue> =>
  (typeof from === "string" ? from === "" || from === "<>" : from.isNull)
    ? Result.succeed(ByteString.fromText("<>"))
    : address(from, encoding)

const isIndex = (n: number, least: number): boolean => Number.isInteger(n) && n >= least && n <= 0x7fffffff

const badIndex = (what: string, value: number, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value: String(value), reason }))
