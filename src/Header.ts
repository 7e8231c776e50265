/**
 * Names and values of header fields: checking and encoding what goes into a message, reading what comes out of one.
 *
 * On the wire a value is everything after the colon. Folded lines are joined by a bare LF, and each continuation line begins
 * with white space.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { cut, ofParts } from "./internal/bytes/byteString.ts"
import { ByteString } from "./internal/bytes/byteString.ts"
import * as encodedWord from "./internal/mail/encodedWord.ts"
import { InvalidValue } from "./InvalidValue.ts"

// RFC 5322 2.1.1: most characters in a line, without CR LF.
const longestLine = 998
// The same section's preferred length: where lines are folded once they have to be.
const preferredLine = 78
// Name, value, an index and two NULs stay below the 65535 bytes that Sendmail takes in one packet.
const longestValue = 64000

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

/**
 * Checks a header name: printable ASCII without space and colon, at most 997 characters (a line, with the colon).
 *
 * **Gotchas**
 *
 * Neither MTA checks names: a line break or a colon in a name would write another header field.
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkName = (name: string): Result.Result<ByteString, InvalidValue> =>
  name.length < longestLine && /^[!-9;-~]+$/.test(name)
    ? Result.succeed(ByteString.fromText(name))
    : invalid("header name", name, "expected 1 to 997 printable ASCII characters without space and colon")

/**
 * How a value goes into a message.
 *
 * - `smtpUtf8`: the message may carry UTF-8 in its header (the client said SMTPUTF8)
 * - `leadingSpace`: the MTA leaves the space after the colon to the filter, as negotiated
 * - `name`: the field that the value is for. Lengths of lines include it, and fields that hold addresses (From, To, Cc,
 *   Reply-To ...) are encoded by the rules for addresses
 * - `lookalikes`: what to do with ASCII text that looks like an encoded word (`=?utf-8?q?...?=`). `keep`, the default, is for
 *   values that are encoded already, or unchanged from a message. `encode` is for decoded text, in which such characters mean
 *   themselves. `Message` uses `encode`
 *
 * **Gotchas**
 *
 * With `keep`, text of a stranger that looks like an encoded word is shown decoded by mail programs. Use `encode` for such
 * text.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodeOptions {
  readonly smtpUtf8: boolean
  readonly leadingSpace: boolean
  readonly name?: string | undefined
  readonly lookalikes?: "keep" | "encode" | undefined
}

const addressFields = new Set([
  "from",
  "sender",
  "reply-to",
  "to",
  "cc",
  "bcc",
  "resent-from",
  "resent-sender",
  "resent-reply-to",
  "resent-to",
  "resent-cc",
  "resent-bcc",
  "mail-followup-to",
  "mail-reply-to",
  "disposition-notification-to",
  "return-path",
  "errors-to"
])

// Fields that programs read: encoded words would make them unreadable.
const structuredFields =
  /^(?:received|date|resent-date|(?:resent-)?message-id|in-reply-to|references|mime-version|content-(?!description)[a-z-]+|dkim-signature|arc-[a-z-]+|(?:x-)?authentication-results|received-spf|list-[a-z-]+|auto-submitted|autocrypt)$/i

/**
 * Encodes a value into the bytes for a packet: without the space after the colon, or with it if the MTA leaves it to the
 * filter.
 *
 * **Details**
 *
 * - Line breaks are allowed where a line is folded, that is before a space or a tab; CR LF becomes LF, since both MTAs
 *   would write CR CR LF. A continuation line of nothing but white space is dropped.
 * - Text outside ASCII becomes RFC 2047 encoded words, or UTF-8 if `smtpUtf8`. ASCII is sent unchanged, so values that are
 *   encoded already stay so; see `lookalikes`.
 * - Lines longer than the 998 characters that mail may have are folded at white space. A single word that is longer becomes
 *   encoded words.
 *
 * **Gotchas**
 *
 * - Text from outside can fail with `InvalidValue`: for CR, NUL, or a line break that is not a fold (each would forge lines or
 *   cut the value), and for more than 64000 bytes. Pass it through {@link sanitizeValue} first.
 * - In a message that is not SMTPUTF8 an address outside ASCII fails: addresses cannot be encoded.
 * - A word of more than 998 characters fails in a field that holds addresses or that programs read (Message-ID,
 *   DKIM-Signature, Content-Type ...).
 * - An empty value stays empty, and an empty value in a change-header packet deletes the field.
 *
 * **Example** (A subject in German)
 *
 * ```ts
 * import * as Header from "effect-milter/Header"
 *
 * Header.encodeValue("Grüße aus Köln", { smtpUtf8: false, leadingSpace: false, name: "Subject" })
 * // =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= aus =?UTF-8?Q?K=C3=B6ln?=
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeValue = (value: string, options: EncodeOptions): Result.Result<ByteString, InvalidValue> => {
  if (value.length > longestValue) {
    return invalid("header value", value, `expected at most ${longestValue} bytes`)
  }
  let text = value
  if (/[\r\n\0]/.test(text)) {
    text = text.replace(/\r\n(?=[ \t])/g, "\n")
    const bad = /[\r\0]|\n(?![ \t])/.exec(text)
    if (bad !== null) {
      return invalid(
        "header value",
        value,
        bad[0] === "\0"
          ? "expected no NUL"
          : "expected line breaks only where a line is folded, before a space or a tab"
      )
    }
    text = text.replace(/\n[ \t]+(?=\n|$)/g, "")
  }
  const { leadingSpace, name } = options
  // Without a name: the length of a usual one.
  const column = (name?.length ?? 20) + 2
  const encoded = encodeText(text, column, options)
  if (Result.isFailure(encoded)) return invalid("header value", value, encoded.failure)
  const bytes = foldLong(ByteString.fromText(encoded.success), column)
  if (bytes.length > longestValue) {
    return invalid("header value", value, `expected at most ${longestValue} bytes, found ${bytes.length}`)
  }
  // A space before a byte string makes a byte string.
  return Result.succeed(leadingSpace && bytes !== "" ? ofParts(` ${bytes}`) : bytes)
}

const outsideAscii = /[^\0-\x7f]/

/** Fails with what was expected. */
const encodeText = (
  text: string,
  column: number,
  { lookalikes = "keep", name = "", smtpUtf8 }: EncodeOptions
): Result.Result<string, string> => {
  const isAscii = !outsideAscii.test(text)
  const escapes = lookalikes === "encode" && text.includes("=?")
  // Most values: no field needs anything else for them.
  if (isAscii && !escapes && text.length + column <= longestLine / 3) return Result.succeed(text)
  const isLong = (word: string): boolean => column + ByteString.fromText(word).length > longestLine
  const hasLong = (text: string): boolean =>
    text.length + column > longestLine / 3 && text.split(/[ \t\n]+/).some(isLong)
  if (addressFields.has(name.toLowerCase())) {
    const encoded = (isAscii || smtpUtf8) && !escapes
      ? text
      : encodedWord.encodeAddresses(text, column, { ascii: !smtpUtf8, lookalikes: escapes })
    if (encoded === undefined) return Result.fail("expected ASCII addresses, this message is not SMTPUTF8")
    return hasLong(encoded) ? Result.fail(tooLong) : Result.succeed(encoded)
  }
  const isEncoded = (word: string): boolean =>
    (!smtpUtf8 && outsideAscii.test(word)) || (escapes && word.includes("=?")) || isLong(word)
  if (structuredFields.test(name)) {
    if (hasLong(text)) return Result.fail(tooLong)
  } else if (hasLong(text)) return Result.succeed(encodedWord.encode(text, column, isEncoded))
  return Result.succeed((isAscii || smtpUtf8) && !escapes ? text : encodedWord.encode(text, column, isEncoded))
}

const tooLong =
  `expected words of at most ${longestLine} characters, with the name of the field, since lines are not longer`

/**
 * Checks the bytes of a value that came from an MTA, folds as LF and white space. Fails with `InvalidValue` for CR, NUL, a
 * line break that is not a fold, and more than 64000 bytes.
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkRaw = (raw: ByteString): Result.Result<ByteString, InvalidValue> =>
  raw.length > longestValue
    ? invalid("header value", raw, `expected at most ${longestValue} bytes`)
    : /[\r\0]|\n(?![ \t])/.test(raw)
    ? invalid("header value", raw, "expected no CR, no NUL and no line break that is not a fold")
    : Result.succeed(raw)

/** Folds those lines that are too long for mail; `column` is where the first one begins. */
const foldLong = (value: ByteString, column: number): ByteString =>
  value.length + column <= longestLine
    ? value
    // Byte strings joined by line feeds are a byte string.
    : ofParts(value.split("\n").map((line, index) => foldLine(line, index === 0 ? column : 0)).join("\n"))

const foldLine = (line: string, start: number): string => {
  if (line.length + start <= longestLine) return line
  let result = ""
  let column = start
  for (const [part, space] of line.matchAll(/([ \t]*)[^ \t]*/g)) {
    const fits = column + part.length <= preferredLine
    // A line of nothing but white space must not arise, neither the first nor the last.
    const fold = !fits && space !== "" && space !== part && result !== ""
    result += fold ? `\n${part}` : part
    column = fold ? part.length : column + part.length
  }
  return result
}

/**
 * Unfolds a value into one line of text: removes the line breaks and keeps the white space after them.
 *
 * @category decoding
 * @since 0.1.0
 */
export const unfold = (value: string): string => value.replace(/\r?\n(?=[ \t])/g, "")

/**
 * Makes text from outside fit for a header value: runs of control characters and white space become one space, and the
 * text is cut after `maximum` characters (900 by default). {@link encodeValue} accepts the result in every field that does not
 * hold addresses.
 *
 * @see {@link sanitizeDisplayName} for a name in From, To and the like
 *
 * @category encoding
 * @since 0.1.0
 */
export const sanitizeValue = (text: string, maximum = 900): string => {
  const clean = text
    .replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ")
    .replace(/\p{Cs}/gu, "\ufffd")
    .trim()
  const limit = Math.min(maximum, longestValue / 16)
  if (clean.length <= limit) return clean
  const cut = clean.slice(0, limit)
  // Not through the middle of a character.
  return cut.replace(/[\ud800-\udbff]$/, "").trimEnd()
}

/**
 * Makes text from outside fit for the name before an address in From, To and the like: sanitizes it as {@link sanitizeValue}
 * does, to at most `maximum` characters (100 by default), and puts it in quotes. A text in quotes can neither end the name nor
 * add another address. Returns `""` if nothing is left of the text.
 *
 * **Gotchas**
 *
 * No function makes an address fit: a changed address would be another address. Check addresses with
 * `Envelope.checkAddress`.
 *
 * **Example** (A name that nobody has checked)
 *
 * ```ts
 * import * as Header from "effect-milter/Header"
 *
 * const from = (name: string) => `${Header.sanitizeDisplayName(name)} <lists@example.org>`
 *
 * from("Eve\" <eve@example.net>, \"Bob") // "Eve\" <eve@example.net>, \"Bob" <lists@example.org>
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const sanitizeDisplayName = (text: string, maximum = 100): string => {
  const clean = sanitizeValue(text, maximum)
  return clean === "" ? "" : `"${clean.replace(/["\\]/g, "\\$&")}"`
}

/**
 * A header field as received; the event of the header hook. A property is decoded when it is read.
 *
 * **Gotchas**
 *
 * - `raw` begins with the space after the colon on MTAs that keep it. Compare and hash `bytes`, not `raw`.
 * - `value` is not decoded from RFC 2047 encoded words, and it keeps its folds: match on `unfolded`, or use `Message`.
 * - Postfix removes Bcc, Return-Path and Content-Length before the filter, and cuts a field at 60,000 bytes.
 *
 * @category models
 * @since 0.1.0
 */
export class HeaderValue {
  /** The name as in the message, upper and lower case as they are; one character per byte in case it is not ASCII. */
  readonly name: string
  /**
   * The bytes after the colon as the MTA sent them, folds as LF and white space; with the leading space if the MTA kept it.
   */
  readonly raw: ByteString
  private readonly leadingSpace: boolean
  private decoded: string | undefined

  /** `leadingSpace`: MTA and filter have agreed that the space after the colon is a part of the value. */
  constructor(name: ByteString, raw: ByteString, leadingSpace: boolean) {
    this.name = name
    this.raw = raw
    this.leadingSpace = leadingSpace
    this.decoded = undefined
  }

  /** The text without the one leading space; folds as they are, U+FFFD where it is not UTF-8. */
  get value(): string {
    return this.decoded ??= ByteString.toText(this.bytes)
  }

  /** The bytes without the one leading space: the same whether the MTA kept it or not. */
  get bytes(): ByteString {
    return this.leadingSpace && this.raw.charCodeAt(0) === 0x20 ? cut(this.raw, 1) : this.raw
  }

  /** False where `value` had to replace bytes that are not UTF-8. */
  get wellFormed(): boolean {
    return ByteString.isUtf8(this.raw)
  }

  /** {@link value} on one line; see {@link unfold}. */
  get unfolded(): string {
    return unfold(this.value)
  }

  toString(): string {
    return `${this.name}: ${this.value}`
  }
}
