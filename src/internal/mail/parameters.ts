/** ESMTP parameters: reading and checking them. Re-exported by `Envelope`. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../InvalidValue.ts"
import { ByteString } from "../bytes/byteString.ts"
import { cut, ofParts } from "../bytes/byteString.ts"
import { control } from "./addressScan.ts"
import { Mailbox } from "./mailbox.ts"
import * as xtext from "./xtext.ts"

/**
 * When the sender of a message wants a notice about a recipient (NOTIFY, RFC 3461).
 *
 * @category models
 * @since 0.1.0
 */
export type Notify = "NEVER" | "SUCCESS" | "FAILURE" | "DELAY"

/**
 * A recipient as the sender knew it (ORCPT): the type of the address in lower case, `rfc822` or `utf-8`, and the address,
 * decoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface OriginalRecipient {
  readonly type: string
  readonly address: string
}

/**
 * The ESMTP parameters of MAIL or RCPT. Keywords are matched in any case; of a keyword that comes twice the last
 * counts, as it does for MTAs. {@link Parameters.get} gives any value as the client typed it.
 *
 * The properties decode the parameters that RFCs define.
 *
 * **Gotchas**
 *
 * A property is `undefined` without the parameter, and also if its value is invalid, which MTAs let pass in part: not a number,
 * an unknown word, a broken escape, an escaped control character. `get` still shows the value.
 *
 * **Example** (A declared size)
 *
 * ```ts
 * import { Parameters } from "effect-milter/Envelope"
 * import { ByteString } from "effect-milter/Wire"
 *
 * const parameters = new Parameters([ByteString.fromText("size=1000"), ByteString.fromText("SMTPUTF8")])
 * parameters.size // 1000
 * parameters.has("SMTPUTF8") // true
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class Parameters {
  /** The parameters as they came, each a string such as `SIZE=1000`. */
  readonly raw: ReadonlyArray<ByteString>

  constructor(raw: ReadonlyArray<ByteString>) {
    this.raw = raw
  }

  /** The value, which is everything after the first `=`; `""` if the keyword stands alone, `undefined` without it. */
  get(keyword: string): string | undefined {
    const value = this.find(keyword)
    return value === undefined ? undefined : ByteString.toText(value)
  }

  /** Whether the keyword was given. */
  has(keyword: string): boolean {
    return this.find(keyword) !== undefined
  }

  /** SIZE (RFC 1870): the size in bytes that the client announced for the message; it may be wrong, and huge. */
  get size(): number | undefined {
    const value = this.find("SIZE")
    return value !== undefined && /^\d{1,20}$/.test(value) ? Number(value) : undefined
  }

  /** BODY (RFC 6152, RFC 3030): what bytes the body may have. */
  get body(): "7BIT" | "8BITMIME" | "BINARYMIME" | undefined {
    const value = this.find("BODY")?.toUpperCase()
    return value === "7BIT" || value === "8BITMIME" || value === "BINARYMIME" ? value : undefined
  }

  /** SMTPUTF8 (RFC 6531): addresses and header of this message may be UTF-8. */
  get smtpUtf8(): boolean {
    return this.find("SMTPUTF8") !== undefined
  }

  /**
   * AUTH (RFC 4954): the original submitter of the message, as the client claims; the null mailbox (`isNull`) for `<>`,
   * which is "I do not know" or "I do not tell".
   */
  get auth(): Mailbox | undefined {
    const value = this.xtext("AUTH")
    return value === undefined ? undefined : new Mailbox(value)
  }

  /** RET (RFC 3461): how much of the message a failure notice should return. */
  get ret(): "FULL" | "HDRS" | undefined {
    const value = this.find("RET")?.toUpperCase()
    return value === "FULL" || value === "HDRS" ? value : undefined
  }

  /** ENVID (RFC 3461): the sender's own name for this message, decoded. */
  get envid(): string | undefined {
    const value = this.xtext("ENVID")
    return value === undefined ? undefined : ByteString.toText(value)
  }

  /** NOTIFY (RFC 3461): when the sender wants a notice: `NEVER` alone, or some of the others. */
  get notify(): ReadonlyArray<Notify> | undefined {
    const value = this.find("NOTIFY")
    if (value === undefined) return undefined
    const words = value.toUpperCase().split(",")
    return words.every(isNotify) && (words.length === 1 || !words.includes("NEVER")) ? words : undefined
  }

  /** ORCPT (RFC 3461, RFC 6533): the recipient as the sender knew it. */
  get orcpt(): OriginalRecipient | undefined {
    const value = this.find("ORCPT")
    const match = value === undefined ? null : /^([A-Za-z0-9][A-Za-z0-9-]*);([^]+)$/.exec(value)
    if (match === null) return undefined
    const type = match[1]!.toLowerCase()
    const encoded = ofParts(match[2]!)
    // The two kinds of addresses have escapes of their own.
    const decoded = type === "utf-8" ? decodeEmbedded(ByteString.toText(encoded)) : decodeXtext(encoded)
    return decoded === undefined || control.test(decoded) ? undefined : { type, address: decoded }
  }

  /** {@link raw} as text, separated by spaces. */
  toString(): string {
    return this.raw.map(ByteString.toText).join(" ")
  }

  toJSON(): ReadonlyArray<string> {
    return this.raw.map(ByteString.toText)
  }

  private find(keyword: string): ByteString | undefined {
    for (let index = this.raw.length - 1; index >= 0; index--) {
      const parameter = this.raw[index]!
      const { length } = keyword
      if (parameter.length !== length && parameter[length] !== "=") continue
      // Clients write it in upper case, nearly all of them.
      if (!parameter.startsWith(keyword) && parameter.slice(0, length).toUpperCase() !== keyword.toUpperCase()) continue
      return cut(parameter, length + 1)
    }
    return undefined
  }

  private xtext(keyword: string): ByteString | undefined {
    const value = this.find(keyword)
    const decoded = value === undefined || value === "" ? undefined : xtext.decode(value)
    return decoded === undefined || control.test(ByteString.toText(decoded)) ? undefined : decoded
  }
}

const isNotify = (value: string): value is Notify =>
  value === "NEVER" || value === "SUCCESS" || value === "FAILURE" || value === "DELAY"

const decodeXtext = (value: ByteString): string | undefined => {
  const decoded = xtext.decode(value)
  return decoded === undefined ? undefined : ByteString.toText(decoded)
}

/** `\x{F8}` stands for a character in addresses of the type utf-8; a backslash stands for nothing else. */
const decodeEmbedded = (address: string): string | undefined => {
  let wellFormed = true
  const decoded = address.replace(/\\(?:x\{([0-9A-Fa-f]{2,6})\})?/g, (_, hex: string | undefined) => {
    const code = hex === undefined ? -1 : Number.parseInt(hex, 16)
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      wellFormed = false
      return ""
    }
    return String.fromCodePoint(code)
  })
  return wellFormed ? decoded : undefined
}

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

const keyword = /^[A-Za-z0-9][A-Za-z0-9-]*$/

/**
 * Checks the ESMTP parameters of a recipient or sender that a filter sends: one string, such as `NOTIFY=NEVER RET=HDRS`, or a
 * record from keywords to values, `true` for a keyword without a value. No parameters give an empty string.
 *
 * **Details**
 *
 * Fails with `InvalidValue` for an invalid keyword, and for a value that is empty or has characters other than printable ASCII
 * without space: an MTA would read the rest as another parameter.
 *
 * **Gotchas**
 *
 * The caller encodes the values that must be xtext, with {@link encodeXtext}.
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkParameters = (
  parameters: string | { readonly [keyword: string]: string | true }
): Result.Result<ByteString, InvalidValue> => {
  const found = typeof parameters === "string"
    ? parameters.split(" ").filter((part) => part !== "")
    : Object.entries(parameters).map(([keyword, value]) => value === true ? keyword : `${keyword}=${value}`)
  for (const parameter of found) {
    const end = parameter.indexOf("=")
    if (!keyword.test(end === -1 ? parameter : parameter.slice(0, end))) {
      return invalid("ESMTP parameter", parameter, "expected a keyword of letters, digits and hyphens")
    }
    if (end !== -1 && !/^[!-~]+$/.test(parameter.slice(end + 1))) {
      return invalid("ESMTP parameter", parameter, "expected a value of printable ASCII without space behind =")
    }
  }
  return Result.succeed(ByteString.fromText(found.join(" ")))
}
