/**
 * A message as SMTP servers and files have it, header and body in one piece, parsed for `MilterClient`. `Delivery.toBytes`
 * is the way back. Pure.
 *
 * @since 0.1.0
 */
import { ofParts } from "./internal/bytes/byteString.ts"
import { ByteString } from "./internal/bytes/byteString.ts"

/**
 * A parsed message, in the form of `MilterClient.Message` and `Chain.message`.
 *
 * - `headers`: names, and values without the colon and the one space after it; folds are LF and white space. A value is
 *   text, or bytes if they are not UTF-8. A third member, `""`, marks a field without a space after its colon: the characters
 *   after the colon (none, a tab, a fold) are part of the value
 * - `body`: with CR LF, the last line too
 *
 * @category models
 * @since 0.1.0
 */
export interface RawMessage {
  readonly headers: ReadonlyArray<readonly [name: string, value: string | Uint8Array, space?: ""]>
  readonly body: Uint8Array
}

const field = /^([!-9;-~]+)[ \t]*:([^]*)$/

/**
 * Parses a message as MTAs do. Lines may end with LF or CR LF. The header ends at an empty line, or at the first line that
 * cannot be part of it. The `From ` line of a mailbox file is skipped.
 *
 * **Example** (The names of its header fields)
 *
 * ```ts
 * import * as RawMessage from "effect-milter/RawMessage"
 *
 * const { headers } = RawMessage.parse(new TextEncoder().encode("From: alice@example.org\nSubject: hello\n\nHello Bob\n"))
 * console.log(headers.map(([name]) => name)) // [ 'From', 'Subject' ]
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (message: Uint8Array): RawMessage => {
  // A field may have white space before its colon: `From : a@b` does not begin a mailbox file.
  const text = ByteString.fromBytes(message).replace(/\r\n/g, "\n").replace(/^From (?![ \t]*:)[^\n]*\n/, "")
  const headers: Array<RawMessage["headers"][number]> = []
  let at = 0
  while (at < text.length) {
    let end = lineEnd(text, at)
    while (isFold(text[end + 1])) end = lineEnd(text, end + 1)
    const [, name, value] = field.exec(text.slice(at, end)) ?? []
    if (name === undefined || value === undefined) break
    headers.push(value.startsWith(" ") ? [name, textOf(ofParts(value.slice(1)))] : [name, textOf(ofParts(value)), ""])
    at = end + 1
  }
  const rest = text.slice(text[at] === "\n" ? at + 1 : at)
  const lines = rest.replace(/\n/g, "\r\n")
  return { headers, body: ByteString.toBytes(ofParts(lines === "" || rest.endsWith("\n") ? lines : `${lines}\r\n`)) }
}

/** Text where that makes the same bytes again. */
const textOf = (value: ByteString): string | Uint8Array =>
  ByteString.isUtf8(value) ? ByteString.toText(value) : ByteString.toBytes(value)

const lineEnd = (text: string, from: number): number => {
  const at = text.indexOf("\n", from)
  return at === -1 ? text.length : at
}

const isFold = (character: string | undefined): boolean => character === " " || character === "\t"
