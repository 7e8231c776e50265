/**
 * Envelope addresses and ESMTP parameters: reading those of MAIL and RCPT, checking those that a filter sends.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { InvalidValue } from "./InvalidValue.ts"
import { ByteString } from "./Wire.ts"

interface ParsedMailbox {
  readonly address: string
  readonly localPart: string
  readonly domain: string
  readonly wellFormed: boolean
}

/**
 * An envelope address as the SMTP client gave it. MTAs hand on what was typed, with brackets or without, with a source
 * route or without; the properties show the address that is meant, and {@link Mailbox.raw} the bytes. Nothing is parsed
 * before it is asked for.
 *
 * **Example** (What comes out)
 *
 * ```ts
 * import { Mailbox } from "effect-milter/Envelope"
 * import { ByteString } from "effect-milter/Wire"
 *
 * const mailbox = new Mailbox(ByteString.fromText("<@relay.example:Bob@Example.ORG.>"))
 * mailbox.address // Bob@Example.ORG.
 * mailbox.localPart // Bob
 * mailbox.domain // example.org
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class Mailbox {
  /** The bytes as they came. */
  readonly raw: ByteString
  private parsed: ParsedMailbox | undefined

  constructor(raw: ByteString) {
    this.raw = raw
    this.parsed = undefined
  }

  /**
   * The address as written, without brackets and source route; `""` for the null sender. U+FFFD where it is not UTF-8.
   */
  get address(): string {
    return (this.parsed ??= parseMailbox(this.raw)).address
  }

  /**
   * What stands in front of the last `@`, as written: in quotes if it is quoted, upper and lower case as they are. The
   * whole address if there is no `@` (`postmaster`).
   */
  get localPart(): string {
    return (this.parsed ??= parseMailbox(this.raw)).localPart
  }

  /**
   * What stands behind the last `@`, to compare with: in lower case and without a final dot. A name in UTF-8 stays one
   * (no punycode), a literal keeps its brackets. `""` for the null sender and for addresses without `@`.
   */
  get domain(): string {
    return (this.parsed ??= parseMailbox(this.raw)).domain
  }

  /** Whether this is the null sender of a bounce: `<>`, or nothing at all in Postfix's local submission. */
  get isNull(): boolean {
    return this.raw === "<>" || this.raw === ""
  }

  /**
   * False if the bytes are not UTF-8 or make no address: a bracket, quote or part is missing, or a control character,
   * space or bracket stands where none may. MTAs accept some of that, and then the properties are a best guess.
   */
  get wellFormed(): boolean {
    return (this.parsed ??= parseMailbox(this.raw)).wellFormed
  }

  toString(): string {
    return this.address
  }

  toJSON(): string {
    return this.address
  }
}

const nullMailbox: ParsedMailbox = { address: "", localPart: "", domain: "", wellFormed: true }

const parseMailbox = (raw: ByteString): ParsedMailbox => {
  if (raw === "" || raw === "<>") return nullMailbox
  const text = ByteString.toText(raw)
  const bracketed = text.length > 1 && text[0] === "<" && text[text.length - 1] === ">"
  const address = withoutRoute(bracketed ? text.slice(1, -1) : text)
  const scanned = scan(address)
  const localPart = scanned.at === -1 ? address : address.slice(0, scanned.at)
  const host = scanned.at === -1 ? "" : address.slice(scanned.at + 1).toLowerCase()
  return {
    address,
    localPart,
    domain: host.endsWith(".") ? host.slice(0, -1) : host,
    wellFormed: scanned.bad === undefined && localPart !== "" && (scanned.at === -1 || host !== "") &&
      ByteString.isUtf8(raw)
  }
}

/** Takes off the source route of RFC 5321 appendix C, `@one,@two:`. */
const withoutRoute = (address: string): string => {
  if (address[0] !== "@") return address
  // The colons of an address literal are not the end of the route.
  const route = /^(?:(?:@(?:\[[^\]]*\]|[^[\]:,@"]*),?)+:)+/.exec(address)
  return route === null ? address : address.slice(route[0].length)
}

/** What no address has outside quotes: MTAs read it as the end of one, as a comment, a group or another recipient. */
const structural = /[\0- \x7f"(),;<>\\]/

const control = /[\0-\x1f\x7f]/

/**
 * Finds the `@` that ends the local part, which is the last one outside quotes, and what is wrong with the address, if
 * anything is.
 */
const scan = (address: string): { readonly at: number; readonly bad: string | undefined } => {
  if (!structural.test(address) && !address.includes(":")) return { at: address.lastIndexOf("@"), bad: undefined }
  let at = -1
  let bad = control.test(address) ? "a control character" : undefined
  let within: "text" | "quotes" | "literal" = "text"
  for (let index = 0; index < address.length; index++) {
    const character = address[index]!
    if (within === "quotes") {
      if (character === "\\") index++
      else if (character === "\"") within = "text"
    } else if (within === "literal") {
      if (character === "]") within = "text"
      else if (structural.test(character)) bad ??= `"${character}" in an address literal`
    } else if (character === "\"") within = "quotes"
    else if (character === "[" && at === index - 1 && index > 0) within = "literal"
    else if (character === "@") at = index
    else if (character === ":" || structural.test(character)) bad ??= `"${character}" outside quotes`
  }
  return within === "text"
    ? { at, bad }
    // Without its other end the quote is no quote.
    : { at: address.lastIndexOf("@"), bad: bad ?? `a ${within === "quotes" ? "quote" : "literal"} without its end` }
}

/**
 * The ESMTP parameters of MAIL or RCPT. Keywords are matched in any case; of a keyword that comes twice the last
 * counts, as it does for MTAs. Values are text as the client typed it; the properties named after parameters decode
 * them.
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

  /** The value, which is everything behind the first `=`; `""` if the keyword stands alone, `undefined` without it. */
  get(keyword: string): string | undefined {
    const value = this.find(keyword)
    return value === undefined ? undefined : ByteString.toText(value)
  }

  /** Whether the keyword was given. */
  has(keyword: string): boolean {
    return this.find(keyword) !== undefined
  }

  /** SIZE (RFC 1870): the size in bytes that the client announced for the message. */
  get size(): number | undefined {
    const value = this.find("SIZE")
    return value !== undefined && /^\d{1,20}$/.test(value) ? Number(value) : undefined
  }

  /** BODY (RFC 6152, RFC 3030). `undefined` without it and for other values. */
  get body(): "7BIT" | "8BITMIME" | "BINARYMIME" | undefined {
    const value = this.find("BODY")?.toUpperCase()
    return value === "7BIT" || value === "8BITMIME" || value === "BINARYMIME" ? value : undefined
  }

  /** SMTPUTF8 (RFC 6531): addresses and header of this message may be UTF-8. */
  get smtpUtf8(): boolean {
    return this.find("SMTPUTF8") !== undefined
  }

  /** AUTH (RFC 4954): who submitted the message, says the client; `<>` if it does not tell. xtext is decoded. */
  get auth(): string | undefined {
    return this.xtext("AUTH")
  }

  /** RET (RFC 3461): how much of the message a failure notice shall return. */
  get ret(): "FULL" | "HDRS" | undefined {
    const value = this.find("RET")?.toUpperCase()
    return value === "FULL" || value === "HDRS" ? value : undefined
  }

  /** ENVID (RFC 3461): the sender's own name for this message. xtext is decoded. */
  get envid(): string | undefined {
    return this.xtext("ENVID")
  }

  /** NOTIFY (RFC 3461): when the sender wants a notice; values that are none of these are left out. */
  get notify(): ReadonlyArray<"NEVER" | "SUCCESS" | "FAILURE" | "DELAY"> | undefined {
    return this.find("NOTIFY")?.toUpperCase().split(",").filter(isNotify)
  }

  /**
   * ORCPT (RFC 3461, RFC 6533): the recipient as the sender knew it. The type is in lower case (`rfc822`, `utf-8`), the
   * address decoded.
   */
  get orcpt(): { readonly type: string; readonly address: string } | undefined {
    const value = this.find("ORCPT")
    if (value === undefined) return undefined
    const end = value.indexOf(";")
    if (end === -1) return undefined
    const type = value.slice(0, end).toLowerCase()
    const address = decodeXtext(value.slice(end + 1) as ByteString)
    return { type, address: type === "utf-8" ? decodeEmbedded(address) : address }
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
      if (parameter.slice(0, length).toUpperCase() !== keyword.toUpperCase()) continue
      return parameter.slice(length + 1) as ByteString
    }
    return undefined
  }

  private xtext(keyword: string): string | undefined {
    const value = this.find(keyword)
    return value === undefined ? undefined : decodeXtext(value)
  }
}

const isNotify = (value: string): value is "NEVER" | "SUCCESS" | "FAILURE" | "DELAY" =>
  value === "NEVER" || value === "SUCCESS" || value === "FAILURE" || value === "DELAY"

/** `+2B` for bytes that may not stand for themselves. What is malformed stays as it is. */
const decodeXtext = (value: ByteString): string =>
  ByteString.toText(
    // One byte in place of three.
    value.replace(/\+([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))) as ByteString
  )

/** `\x{40}` for characters, in addresses of the type utf-8. */
const decodeEmbedded = (address: string): string =>
  address.replace(/\\x\{([0-9A-Fa-f]{2,6})\}/g, (whole, hex) => {
    const code = Number.parseInt(hex, 16)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })

/**
 * Encodes a text as xtext (RFC 3461), the form that the parameters ENVID, ORCPT (behind the type) and AUTH want.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeXtext = (text: string): string =>
  ByteString.fromText(text).replace(
    /[^!-*,-<>-~]/g,
    (byte) => `+${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
  )

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

const longestAddress = 1000

/**
 * An address that a filter adds, deletes or makes the sender: the bytes for the packet, in angle brackets. The brackets
 * may be given or left out.
 *
 * `InvalidValue` for what an MTA would read as something else than one address: control characters; outside quotes also
 * space, comma (Sendmail adds both), semicolon, colon, parentheses, backslash, angle brackets; a quote without its end;
 * no local part, or an `@` with nothing behind. Also for more than 1000 bytes, and for text outside ASCII unless the
 * message is `smtpUtf8`. The null sender, `""` or `<>`, is refused unless `allowNull`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkAddress = (
  address: string,
  options: { readonly smtpUtf8: boolean; readonly allowNull?: boolean | undefined }
): Result.Result<ByteString, InvalidValue> => {
  const bare = /^<[^]*>$/.test(address) ? address.slice(1, -1) : address
  if (bare === "") {
    return options.allowNull === true
      ? Result.succeed(ByteString.fromText("<>"))
      : invalid("address", address, "expected an address, not the null sender")
  }
  const { at, bad } = scan(bare)
  if (bad !== undefined) return invalid("address", address, `expected one address, found ${bad}`)
  if (at === 0) return invalid("address", address, "expected a local part in front of @")
  if (at === bare.length - 1) return invalid("address", address, "expected a domain behind @")
  const bytes = ByteString.fromText(`<${bare}>`)
  if (bytes.length > longestAddress) return invalid("address", address, `expected at most ${longestAddress} bytes`)
  return bytes.length === bare.length + 2 || options.smtpUtf8
    ? Result.succeed(bytes)
    : invalid("address", address, "expected ASCII, this message is not SMTPUTF8")
}

const keyword = /^[A-Za-z0-9][A-Za-z0-9-]*$/

/**
 * ESMTP parameters for a recipient or sender that a filter sends: one string, such as `NOTIFY=NEVER RET=HDRS`, or a
 * record from keywords to values, `true` for a keyword without one. Values that have to be xtext are the caller's to
 * encode ({@link encodeXtext}).
 *
 * `InvalidValue` for a keyword that is none and for a value that is empty or holds anything but printable ASCII without
 * space: it would be read as another parameter. No parameters give an empty string.
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

// What Postfix keeps of a reason.
const longestReason = 100

/**
 * The reason for a quarantine, as bytes. `InvalidValue` if it is empty (Sendmail would not quarantine), has a control
 * character (it ends up in queue and log files) or more than 1000 bytes. Postfix keeps the first 100 bytes.
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkReason = (reason: string): Result.Result<ByteString, InvalidValue> => {
  if (reason === "" || control.test(reason)) {
    return invalid("quarantine reason", reason, "expected text without control characters")
  }
  const bytes = ByteString.fromText(reason)
  return bytes.length <= 1000
    ? Result.succeed(bytes)
    : invalid("quarantine reason", reason, "expected at most 1000 bytes")
}

/**
 * Makes text from outside fit for a quarantine reason: control characters and runs of white space become one space, the
 * end is cut off after 100 bytes of UTF-8, and an empty text becomes `quarantined`. {@link checkReason} accepts the
 * result.
 *
 * @category encoding
 * @since 0.1.0
 */
export const sanitizeReason = (text: string): string => {
  const clean = text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").replace(/\p{Cs}/gu, "\ufffd").trim()
  let result = ""
  let length = 0
  for (const character of clean) {
    length += ByteString.fromText(character).length
    if (length > longestReason) break
    result += character
  }
  return result.trimEnd() || "quarantined"
}
