/** The types of MIME parts as hooks see them. Re-exported by Message. */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/**
 * Why a part, or a whole message, is not edited.
 *
 * - `structure`: the parts could not be understood to the end, or programs differ in how they read them
 * - `signed`, `encrypted`, `pgp`: S/MIME or OpenPGP, `pgp` as a block in the text
 * - `report`, `calendar`, `amp`, `tnef`, `message`: a delivery report, an invitation, AMP, Outlook's winmail.dat, a message in the
 *   message
 * - `charset`, `encoding`: the part cannot be decoded, or not without doubt
 * - `html`: the HTML ends in a comment, a script or the like, or costs too much to read
 * - `boundary`: the text would be taken for the end of the part
 * - `marked`: the banner is there already
 * - `stale`: the body or its Content-* fields were changed by other means after the part was read
 *
 * @category mime
 * @since 0.1.0
 */
export type Obstacle =
  | "structure"
  | "signed"
  | "encrypted"
  | "pgp"
  | "report"
  | "calendar"
  | "amp"
  | "tnef"
  | "message"
  | "charset"
  | "encoding"
  | "html"
  | "boundary"
  | "marked"
  | "stale"

const reasons: { readonly [K in Obstacle]: string } = {
  structure: "its structure is not understood to the end, or is read differently by different programs",
  signed: "it is signed",
  encrypted: "it is encrypted",
  pgp: "it holds an OpenPGP block",
  report: "it is a delivery report",
  calendar: "it is an invitation",
  amp: "it is AMP",
  tnef: "it is Outlook's winmail.dat",
  message: "it is in a message within the message",
  charset: "its charset is not known or does not fit its bytes",
  encoding: "its transfer encoding is not known or is broken",
  html: "its HTML ends in a comment, a script or the like",
  boundary: "the text would be taken for the end of the part",
  marked: "it has the banner already",
  stale: "the body was changed after the part was read: read mime.tree again"
}

/**
 * An edit that cannot be made without changing more than it should. Nothing has been changed. The filter's failure policy decides
 * about the message, see `Milter.onFailure`: with `"pass"` it goes on unchanged.
 *
 * - `why`: the reason
 * - `path`: the part; `""` for the whole message
 *
 * @category errors
 * @since 0.1.0
 */
export class NotEditable extends Data.TaggedError("NotEditable")<{ readonly why: Obstacle; readonly path: string }> {
  override get message(): string {
    const what = this.path === "" ? "The message" : `Part ${this.path}`
    return `${what} cannot be edited: ${reasons[this.why]}`
  }
}

/**
 * A text part whose bytes are not of its charset, or whose charset is unknown. The bytes are in `content`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Undecodable extends Data.TaggedError("Undecodable")<{ readonly path: string; readonly charset: string }> {
  override get message(): string {
    return `Part ${this.path} cannot be decoded: its bytes are not ${this.charset === "" ? "UTF-8" : this.charset}`
  }
}

/**
 * A part of a message that is not made of parts. What is read is the part as it was when `mime.tree` was read.
 *
 * - `path`: as in IMAP, `1.2` is the second part of the first one; parts of a message in part 2 are `2.1` and so on
 * - `type`: in lower case, such as `text/plain`; `disposition`: `attachment`, `inline`, or undefined
 * - `filename`: the name that most mail programs show; `filenames`: all names that one might show, since senders write several
 * - `size`: in bytes, as it travels
 * - `inSigned`: true within a signed part
 * - `inMessage`: the path of the message/rfc822 part that it is in
 * - `content`: the bytes with their transfer encoding undone, as far as that is possible
 * - `text`: the content in its charset; without one, UTF-8
 *
 * @category mime
 * @since 0.1.0
 */
export interface MimePart {
  readonly path: string
  readonly type: string
  readonly charset: string | undefined
  readonly filename: string | undefined
  readonly filenames: ReadonlyArray<string>
  readonly disposition: string | undefined
  readonly size: number
  readonly inSigned: boolean
  readonly inMessage: string | undefined
  readonly content: Stream.Stream<Uint8Array>
  readonly text: Effect.Effect<string, Undecodable>
}

/**
 * The parts of a message. `complete` is false if not all was understood: a broken boundary, more than 1000 parts, messages nested
 * more than 20 deep. What is known is there all the same, and nothing can be edited.
 *
 * @category mime
 * @since 0.1.0
 */
export interface MimeTree<P extends MimePart = MimePart> {
  readonly complete: boolean
  readonly leaves: ReadonlyArray<P>
}

/**
 * The parts of a message, to be read.
 *
 * @category mime
 * @since 0.1.0
 */
export interface Mime {
  /** The parts in their order. A message/rfc822 part stands before those of its message. Never fails. */
  readonly tree: Effect.Effect<MimeTree>
}

/**
 * What takes the place of a part: a text, or a file with its type and name.
 *
 * @category mime
 * @since 0.1.0
 */
export type Replacement =
  | { readonly text: string }
  | { readonly html: string }
  | { readonly content: Uint8Array; readonly type: string; readonly filename?: string }

/**
 * A part that can be replaced.
 *
 * @category mime
 * @since 0.1.0
 */
export interface EditableMimePart extends MimePart {
  /** Replaces the part, with its header. */
  replace(replacement: Replacement): Effect.Effect<void, NotEditable>
}

/**
 * Text that goes into a message.
 *
 * - `text`: for text/plain; lines end with LF or CR LF
 * - `html`: for text/html, put in as it is; without it, `text` as a paragraph
 * - `once`: an identifier. The text is marked with it, and a message or a quoted text that has the mark is left alone
 * - `mark`: an identifier. The text is marked with it, whatever the message has: for mail from outside, where anybody can forge a
 *   mark
 * - `beside`: true puts the text in a part of its own beside signed or encrypted content, in a multipart/mixed. The signature still
 *   holds, but many mail programs then show it with a part only
 *
 * @category mime
 * @since 0.1.0
 */
export interface Banner {
  readonly text: string
  readonly html?: string
  readonly once?: string
  readonly mark?: string
  readonly beside?: boolean
}

/**
 * A file for a message. `type` is its media type, such as `application/pdf`; text goes out as UTF-8.
 *
 * @category mime
 * @since 0.1.0
 */
export interface Attachment<E = never, R = never> {
  readonly filename: string
  readonly type: string
  readonly content: string | Uint8Array | Stream.Stream<Uint8Array, E, R>
}

/**
 * A part that was edited: `inside` if text went into it, `beside` if a part was added, `removed` if marked text was taken out. The
 * path of an added part is `""`.
 *
 * @category mime
 * @since 0.1.0
 */
export interface EditedPart {
  readonly path: string
  readonly type: string
  readonly how: "inside" | "beside" | "removed"
}

/**
 * A part that was left as it is; `path` is `""` for the whole message.
 *
 * @category mime
 * @since 0.1.0
 */
export interface LeftPart {
  readonly path: string
  readonly type: string
  readonly why: Obstacle
}

/**
 * What an edit has done.
 *
 * @category mime
 * @since 0.1.0
 */
export interface MimeResult {
  readonly edited: ReadonlyArray<EditedPart>
  readonly left: ReadonlyArray<LeftPart>
}

/**
 * The parts of a message, to be read and edited. All bytes outside an edit stay as they are.
 *
 * @category mime
 * @since 0.1.0
 */
export interface EditableMime {
  /** The parts in their order. A message/rfc822 part stands before those of its message. Never fails. */
  readonly tree: Effect.Effect<MimeTree<EditableMimePart>>
  /** Puts text at the end of the last displayed text, in each of its alternatives. */
  readonly append: (banner: Banner) => Effect.Effect<MimeResult, NotEditable>
  /** Puts text at the beginning of the first displayed text, in each of its alternatives. */
  readonly prepend: (banner: Banner) => Effect.Effect<MimeResult, NotEditable>
  /** Adds a file at the end. The message becomes a multipart/mixed if it is something else. */
  readonly attach: <E = never, R = never>(attachment: Attachment<E, R>) => Effect.Effect<void, E | NotEditable, R>
  /** Takes out all texts marked with this identifier, quoted ones too, and the field that says so. */
  readonly removeMarked: (id: string) => Effect.Effect<MimeResult, NotEditable>
}
