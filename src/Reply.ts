/**
 * SMTP replies that a filter words itself: plain text in, the exact bytes of a reply-code packet out, and back.
 *
 * The two MTAs hand the text to the SMTP client almost as it comes and punish mistakes differently (Sendmail turns a
 * malformed 4xx into a permanent refusal, Postfix drops the filter's connection), so what is rendered here follows
 * every rule that either of them checks.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import { ofParts } from "./internal/bytes/byteString.ts"
import { ByteString } from "./internal/bytes/byteString.ts"
import { keysOf, unknownKey } from "./internal/bytes/knownKeys.ts"
import { InvalidValue } from "./InvalidValue.ts"

type CodeOf<Class extends "4" | "5"> = `${Class}${0 | 1 | 2 | 3 | 4 | 5}${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9}`

// Unions under these names, so that the compiler's messages show the name in place of sixty codes.

/**
 * The reply codes of temporary failures. RFC 5321 ends the second digit at 5.
 *
 * @category models
 * @since 0.1.0
 */
export type From400To459 = "451" | CodeOf<"4">

/**
 * The reply codes of refusals. RFC 5321 ends the second digit at 5.
 *
 * @category models
 * @since 0.1.0
 */
export type From500To559 = "550" | CodeOf<"5">

/**
 * A reply code of one class: `"5"` for refusals, `"4"` for temporary failures.
 *
 * @category models
 * @since 0.1.0
 */
export type Code<Class extends "4" | "5"> = Class extends "4" ? From400To459 : From500To559

/**
 * An enhanced status code (RFC 3463) of one class, such as `5.7.1`: class, subject and detail, whole numbers without
 * leading zeros.
 *
 * @category models
 * @since 0.1.0
 */
export type EnhancedCode<Class extends "4" | "5"> = `${Class}.${bigint}.${bigint}`

/**
 * A reply as an author writes it. `Class` is `"5"` for refusals and `"4"` for temporary failures.
 *
 * - `code`: three digits. Without it 550 or 451.
 * - `enhanced`: RFC 3463 status. Without it `5.7.1` or `4.7.1` ("refused by policy") if the code is also left out or is
 *   the default one; with any other code `5.0.0` or `4.0.0` ("no further detail"), since 7.1 beside, say, 552 would
 *   claim a reason that the author never gave. One is always sent: MTAs announce ENHANCEDSTATUSCODES, and then each
 *   reply needs it.
 * - `text`: ASCII; an array for several lines. No markup: `%` is an ordinary character here.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplyInput<Class extends "4" | "5"> {
  readonly code?: Code<Class>
  readonly enhanced?: EnhancedCode<Class>
  readonly text: string | ReadonlyArray<string>
}

/**
 * A reply as an MTA reads it from the packet.
 *
 * - `code`: three digits, the first 4 or 5
 * - `enhanced`: the status after the code, if there is one
 * - `lines`: the texts without codes and with `%%` undone; at least one. Filters of others send any bytes here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reply {
  readonly code: string
  readonly enhanced: string | undefined
  readonly lines: ReadonlyArray<ByteString>
}

/**
 * The text of a reply-code packet is not an SMTP reply. An MTA treats that as a failure of the filter, not as a
 * refusal.
 *
 * - `wire`: the text as received
 * - `offset`: where it went wrong, in bytes from the start of the text
 * - `expected`: what should have been there
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplyError extends Data.TaggedError("ReplyError")<{
  readonly wire: ByteString
  readonly offset: number
  readonly expected: string
}> {
  override get message(): string {
    return `not an SMTP reply: expected ${this.expected} at byte ${this.offset}`
  }
}

const inputNames = keysOf<ReplyInput<"5">>({ code: true, enhanced: true, text: true })

const defaults = {
  "4": { code: "451", enhanced: "4.7.1", other: "4.0.0" },
  "5": { code: "550", enhanced: "5.7.1", other: "5.0.0" }
} as const

// RFC 5321 4.5.3.1.5: 512 bytes with CR LF. Counted as the SMTP client sees the line, before `%` is doubled.
const lineLength = 510

// libmilter's limits: bytes of text in a line, and lines of a reply.
const textLength = 980
const lineCount = 32

/**
 * Encodes a reply as the text of a reply-code packet, without the final NUL.
 *
 * **Details**
 *
 * Each line has the code, `-` (a space on the last line), the enhanced status and its text. Lines are joined by CR LF, and each
 * `%` is doubled. Lines longer than SMTP allows (512 bytes) are broken at spaces.
 *
 * Fails with `InvalidValue` for a code or status of the wrong form or class, a character that is neither printable ASCII nor a
 * tab, a word that does not fit into a line (980 bytes), and more than 32 lines.
 *
 * **Gotchas**
 *
 * Text from outside can fail. Pass it through {@link sanitize} first.
 *
 * @see {@link parse} for the way back
 *
 * **Example** (Two lines)
 *
 * ```ts
 * import * as Reply from "effect-milter/Reply"
 *
 * Reply.render({ enhanced: "5.7.1", text: ["Not today.", "See https://example.org/policy"] }, "5")
 * // 550-5.7.1 Not today.
 * // 550 5.7.1 See https://example.org/policy
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const render = <Class extends "4" | "5">(
  input: ReplyInput<Class>,
  replyClass: Class
): Result.Result<ByteString, InvalidValue> => {
  const unknown = unknownKey("part of a reply", input, inputNames)
  if (unknown !== undefined) return Result.fail(unknown)
  const standard = defaults[replyClass]
  const code: string = input.code ?? standard.code
  if (!/^[45][0-5][0-9]$/.test(code) || code[0] !== replyClass) {
    return invalid("reply code", code, `expected three digits from ${replyClass}00 to ${replyClass}59`)
  }
  const enhanced: string = input.enhanced ?? (code === standard.code ? standard.enhanced : standard.other)
  if (!/^[45](?:\.(?:0|[1-9][0-9]{0,2})){2}$/.test(enhanced) || enhanced[0] !== replyClass) {
    return invalid("enhanced status code", enhanced, `expected ${replyClass}.x.x, each x from 0 to 999`)
  }
  const room = lineLength - code.length - enhanced.length - 2
  const lines: Array<string> = []
  for (const text of typeof input.text === "string" ? [input.text] : input.text) {
    const bad = /[^\t\x20-\x7e]/.exec(text)
    if (bad !== null) {
      return invalid(
        "reply text",
        text,
        `expected printable ASCII, found ${described(bad[0])} at ${bad.index}` +
          (bad[0] === "\n" || bad[0] === "\r" ? "; give several lines as an array" : "")
      )
    }
    if (fits(text, room)) lines.push(text)
    else if (!wrap(text, room, lines)) {
      return invalid("reply text", text, `expected words of at most ${textLength} bytes, each % counting two`)
    }
  }
  if (lines.length === 0) return invalid("reply text", "", "expected at least one line")
  if (lines.length > lineCount) {
    return invalid("reply text", lines.join("\n"), `expected at most ${lineCount} lines, found ${lines.length}`)
  }
  const last = lines.length - 1
  return Result.succeed(ByteString.fromText(
    lines.map((line, index) => `${code}${index < last ? "-" : " "}${enhanced} ${line.replaceAll("%", "%%")}`).join(
      "\r\n"
    )
  ))
}

/**
 * Reads the text of a reply-code packet as a careful MTA does. Each line needs the same code, with `-` after it on all
 * but the last, and CR LF between lines; a digit right after the code must be its class (what Postfix takes for an
 * enhanced status); a single `%` is an error, since one MTA drops it and the other drops the whole text.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (wire: ByteString): Result.Result<Reply, ReplyError> => {
  const expected = (offset: number, expected: string): Result.Result<never, ReplyError> =>
    Result.fail(new ReplyError({ wire, offset, expected }))
  const code = wire.slice(0, 3)
  if (!/^[45][0-9][0-9]$/.test(code)) return expected(0, "a code of three digits, the first 4 or 5")
  const enhanced = /^([45](?:\.[0-9]{1,3}){2})(?=[ \r]|$)/.exec(wire.slice(4, 14))?.[1]
  const lines: Array<ByteString> = []
  for (let start = 0;;) {
    const found = wire.indexOf("\r\n", start)
    const end = found === -1 ? wire.length : found
    const last = found === -1
    if (wire.slice(start, start + 3) !== code) return expected(start, `the code ${code}`)
    if (wire[start + 3] !== (last ? " " : "-")) {
      return expected(start + 3, last ? "a space, this being the last line" : "a hyphen, this not being the last line")
    }
    let from = start + 4
    if (start === 0 && /[0-9]/.test(wire[from] ?? "") && wire[from] !== code[0]) {
      return expected(from, `a status of class ${code[0]}, or text that does not begin with a digit`)
    }
    if (enhanced !== undefined && wire.startsWith(enhanced, from)) {
      const after = from + enhanced.length
      if (after === end) from = after
      else if (wire[after] === " ") from = after + 1
    }
    const text = wire.slice(from, end)
    const bad = /[\r\n\0%]/.exec(text.replaceAll("%%", "--"))
    if (bad !== null) return expected(from + bad.index, bad[0] === "%" ? "two percent signs" : "no CR, LF or NUL")
    lines.push(ofParts(text.replaceAll("%%", "%")))
    if (last) return Result.succeed({ code, enhanced, lines })
    start = found + 2
  }
}

const sanitizedLength = 400

/**
 * Makes text from outside (a header, an answer of another program) fit for a line of a reply: runs of control
 * characters and white space become one space, what is not ASCII becomes `?`, and the end is cut off after `maximum`
 * characters (400, which is also the most). {@link render} accepts the result.
 *
 * @category encoding
 * @since 0.1.0
 */
export const sanitize = (text: string, maximum: number = sanitizedLength): string => {
  const length = Math.min(Math.max(Math.trunc(maximum), 0), sanitizedLength)
  return text
    // Nothing beyond this can reach the result, however much white space collapses in front of it.
    .slice(0, 64 * sanitizedLength)
    .replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ")
    .replace(/[^\x20-\x7e]/gu, "?")
    .trim()
    .slice(0, length)
    .trimEnd()
}

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

const described = (character: string): string => {
  const code = character.charCodeAt(0)
  return code < 0x80 ? `control character 0x${code.toString(16).padStart(2, "0")}` : "a character that is not ASCII"
}

const onWire = (text: string): number => text.length + (text.split("%").length - 1)

const fits = (line: string, room: number): boolean => line.length <= room && onWire(line) <= textLength

/** Breaks a long line at spaces and tabs into `lines`; false if a word is too long. */
const wrap = (text: string, room: number, lines: Array<string>): boolean => {
  let line: string | undefined
  for (const word of text.split(/[\t ]+/)) {
    if (word === "") continue
    if (onWire(word) > textLength) return false
    const longer: string = line === undefined ? word : `${line} ${word}`
    if (line !== undefined && !fits(longer, room)) {
      lines.push(line)
      line = word
    } else line = longer
  }
  lines.push(line ?? "")
  return true
}
