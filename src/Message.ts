/**
 * Filters that read and edit a message as a whole: envelope, header and body as one document. The library compares the edited
 * message with the one that came, and sends the fewest modifications with the same effect on Postfix and on Sendmail.
 *
 * `document.mime` reads and edits the parts of the body with the packages `@zone-eu/mailsplit`, `parse5-sax-parser` and `iconv-lite`,
 * which have to be installed beside this package.
 *
 * @since 0.1.0
 */
import type * as Scope from "effect/Scope"
import * as addressFields from "./internal/mail/addresses.ts"
import type { Address, Group } from "./internal/mail/addressTypes.ts"
import type { Hooks } from "./internal/message/documentFilter.ts"
import * as documentFilter from "./internal/message/documentFilter.ts"
import type { Making, Options, Part } from "./internal/message/documentTypes.ts"

export type { Address, Group } from "./internal/mail/addressTypes.ts"
export { isAutomatic } from "./internal/message/automatic.ts"
export type {
  At,
  Body,
  Content,
  Document,
  EditableHeaders,
  Editing,
  Head,
  Headers,
  Making,
  Options,
  Part,
  Truncate
} from "./internal/message/documentTypes.ts"
export type {
  Attachment,
  Banner,
  EditableMime,
  EditableMimePart,
  EditedPart,
  LeftPart,
  Mime,
  MimePart,
  MimeResult,
  MimeTree,
  Obstacle,
  Replacement
} from "./internal/message/mime/mimeTypes.ts"
export { NotEditable, Undecodable } from "./internal/message/mime/mimeTypes.ts"

/**
 * Begins a filter that gets the whole message at its end; `.on(hooks)` finishes it. It is a filter as `Milter.make` gives it:
 * its failures are handled with `Milter.onFailure`, and it is served, sequenced and tested like others.
 *
 * The edits count if the hook `document` returns a verdict that lets the message pass.
 *
 * **Example** (Mark a message)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Message from "effect-milter/Message"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const External = Message.make("external", { modify: ["headers"], body: false }).on({
 *   document: Effect.fnUntraced(function*({ headers, sender }) {
 *     yield* headers.remove("X-External")
 *     if (sender.domain !== "example.com") {
 *       yield* headers.prepend("X-External", "yes")
 *       yield* headers.set("Subject", `[extern] ${headers.get("Subject") ?? ""}`)
 *     }
 *     return Verdict.continue
 *   })
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export function make<
  C = void,
  CE = never,
  CR = never,
  M = void,
  ME = never,
  MR = never,
  const A extends Part = never,
  const B extends boolean = true
>(
  name: string,
  options: Options<C, CE, CR, M, ME, MR, A, B>
): Making<C, M, A, B, CE | ME, Exclude<CR | MR, Scope.Scope>>
/** Begins a filter of whole messages without options. `.on(hooks)` finishes it. */
export function make(name: string): Making<void, void, never, true, never, never>
export function make(name: string, options: object = {}): unknown {
  return { on: (hooks: Hooks) => documentFilter.make(name, options, hooks) }
}

/**
 * Returns the addresses of a list, those in groups included.
 *
 * @category addresses
 * @since 0.1.0
 */
export const mailboxes = (addresses: ReadonlyArray<Address | Group>): ReadonlyArray<Address> =>
  addresses.flatMap((one) => "members" in one ? one.members : [one])

/**
 * Formats a list of addresses as the value of a header field: names and local parts are put in quotes where necessary. The value
 * reads back as it was given, and a text that is not an address never becomes two.
 *
 * **Example** (Reply to both)
 *
 * ```ts
 * import * as Message from "effect-milter/Message"
 *
 * Message.formatAddresses([
 *   { name: "Müller, Anna", address: "anna@example.org" },
 *   { name: "", address: "bob@example.org" }
 * ]) // "Müller, Anna" <anna@example.org>, bob@example.org
 * ```
 *
 * @category addresses
 * @since 0.1.0
 */
export const formatAddresses: (addresses: ReadonlyArray<Address | Group>) => string = addressFields.format
