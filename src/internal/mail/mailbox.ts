/** Addresses of the envelope: reading and comparing them. Re-exported by `Envelope`. */
import * as Result from "effect/Result"
import * as ClientAddress from "../../ClientAddress.ts"
import { ByteString } from "../bytes/byteString.ts"
import { findAt, scan } from "./addressScan.ts"
import * as domainName from "./domainName.ts"

interface ParsedMailbox {
  readonly address: string
  readonly localPart: string
  readonly domain: string
  /** Where the local part ends; -1 without `@`. */
  readonly at: number
}

/**
 * An envelope address as the SMTP client gave it. The properties show the address that is meant, and {@link Mailbox.raw} the
 * bytes. A property is parsed when it is read.
 *
 * **Gotchas**
 *
 * - MTAs pass on what was typed, with brackets or without, with a source route or without: compare mailboxes with
 *   {@link sameAddress}, not their `raw` bytes.
 * - MTAs accept some invalid addresses. The properties are then a best guess, and `wellFormed` is false.
 * - Give a Mailbox of the rcpt event, not its text, to `deleteRecipient`.
 *
 * **Example** (What comes out)
 *
 * ```ts
 * import { Mailbox } from "effect-milter/Envelope"
 *
 * const mailbox = Mailbox.fromText("<@relay.example:Bob@Example.ORG.>")
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

  /** A mailbox from text, with or without brackets. Anything is taken; see {@link wellFormed}. */
  static fromText(text: string): Mailbox {
    return new Mailbox(ByteString.fromText(text))
  }

  /**
   * The address as written, without brackets and source route; `""` for the null sender. U+FFFD where it is not UTF-8.
   */
  get address(): string {
    return (this.parsed ??= parseMailbox(this.raw)).address
  }

  /**
   * The part before the last `@`, as written: in quotes if it is quoted, in upper and lower case as it came. The whole address
   * if there is no `@` (`postmaster`).
   */
  get localPart(): string {
    return (this.parsed ??= parseMailbox(this.raw)).localPart
  }

  /**
   * {@link localPart} as it is meant: `"bob smith"` without its quotes and backslashes. RFC 5321 makes `"bob"` and `bob`
   * the same mailbox, and upper and lower case different ones.
   */
  get unquotedLocalPart(): string {
    const { localPart } = this
    return localPart.length > 1 && localPart[0] === "\"" && localPart[localPart.length - 1] === "\""
      ? localPart.slice(1, -1).replace(/\\([^])/gu, "$1")
      : localPart
  }

  /**
   * The part after the last `@`, in lower case and without a final dot. A name in UTF-8 stays UTF-8, and a literal keeps its
   * brackets. `""` for the null sender and for addresses without `@`. Use {@link domainAscii} to compare it with names in UTF-8,
   * or to look it up.
   */
  get domain(): string {
    return (this.parsed ??= parseMailbox(this.raw)).domain
  }

  /**
   * {@link domain} in the form of DNS and of lists of domains: a name in UTF-8 becomes ASCII (`xn--...`, by IDNA as in browsers).
   * A name that IDNA does not allow is unchanged.
   */
  get domainAscii(): string {
    const { domain } = this
    return domainName.toAscii(domain) ?? domain
  }

  /** {@link domain} as people write it, `xn--` labels decoded. For display: different names can look the same. */
  get domainUnicode(): string {
    return domainName.toUnicode(this.domain)
  }

  /**
   * The address in an address literal, `bob@[192.0.2.1]` or `bob@[IPv6:2001:db8::1]`; `undefined` if the domain is a name
   * or an invalid literal.
   */
  get literal(): ClientAddress.ClientAddress | undefined {
    const { domain } = this
    if (domain[0] !== "[") return undefined
    const address = ClientAddress.fromText(domain)
    return Result.isSuccess(address) ? address.success : undefined
  }

  /** Whether this is the null sender of a bounce: `<>`, or nothing at all in Postfix's local submission. */
  get isNull(): boolean {
    return this.raw === "<>" || this.raw === ""
  }

  /**
   * False if the bytes are not UTF-8 or not an address: a bracket, quote or part is missing, or a control character, space or
   * bracket is at a place that does not allow it. MTAs accept some of these, and then the properties are a best guess.
   */
  get wellFormed(): boolean {
    if (this.isNull) return true
    const { address, at, localPart } = this.parsed ??= parseMailbox(this.raw)
    const hasParts = localPart !== "" && (at === -1 || at < address.length - 1)
    return hasParts && scan(address).bad === undefined && ByteString.isUtf8(this.raw)
  }

  toString(): string {
    return this.address
  }

  toJSON(): string {
    return this.address
  }
}

const mailboxOf = (address: Mailbox | string): Mailbox =>
  typeof address === "string" ? Mailbox.fromText(address) : address

/**
 * Returns whether two addresses are the same mailbox. An `Equivalence` of mailboxes.
 *
 * **Details**
 *
 * Domains are compared in any case and in either IDNA form, with or without a final dot. Local parts must be equal, in quotes
 * or not. Brackets and source routes do not count.
 *
 * **Gotchas**
 *
 * An MTA may deliver several addresses to one mailbox (most take `Bob` for `bob`, many take `bob+x` for `bob`), but only for its
 * own domains.
 *
 * **Example** (Mail from a certain sender)
 *
 * ```ts
 * import { type Mailbox, sameAddress } from "effect-milter/Envelope"
 *
 * const isMonitor = (sender: Mailbox) => sameAddress(sender, "monitor@exämple.org")
 * ```
 *
 * @category comparing
 * @since 0.1.0
 */
export const sameAddress = (self: Mailbox | string, that: Mailbox | string): boolean => {
  const one = mailboxOf(self)
  const other = mailboxOf(that)
  return one.unquotedLocalPart === other.unquotedLocalPart && one.domainAscii === other.domainAscii
}

const nullMailbox: ParsedMailbox = { address: "", localPart: "", domain: "", at: -1 }

const parseMailbox = (raw: ByteString): ParsedMailbox => {
  if (raw === "" || raw === "<>") return nullMailbox
  const text = ByteString.toText(raw)
  const bracketed = text.length > 1 && text[0] === "<" && text[text.length - 1] === ">"
  const address = withoutRoute(bracketed ? text.slice(1, -1) : text)
  const { at } = findAt(address)
  const host = at === -1 ? "" : address.slice(at + 1).toLowerCase()
  return {
    address,
    localPart: at === -1 ? address : address.slice(0, at),
    domain: host.endsWith(".") ? host.slice(0, -1) : host,
    at
  }
}

/** Takes off the source route of RFC 5321 appendix C, `@one,@two:`. */
const withoutRoute = (address: string): string => {
  if (address[0] !== "@") return address
  // The colons of an address literal are not the end of the route.
  const route = /^(?:(?:@(?:\[[^\]]*\]|[^[\]:,@"]*),?)+:)+/.exec(address)
  return route === null ? address : address.slice(route[0].length)
}
