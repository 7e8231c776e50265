/**
 * Addresses in header fields (RFC 5322 3.4, with the obsolete forms of 4.4 and the characters of RFC 6532): reading and
 * writing them. One pass over the text, then one over its words; groups cannot nest, so nothing recurs.
 *
 * There are two readings. The strict reading accepts what the grammar allows and nothing else. The forgiving reading accepts the
 * same. Of other elements it takes the addresses that are clearly separate, and leaves out what is ambiguous.
 */
import * as Result from "effect/Result"
import { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"
import { isDotAtom, isHostName, isLiteral, isQuotedString } from "./addressRules.ts"
import { type Gap, type Token, tokenize } from "./addressTokens.ts"
import type { Address, Group } from "./addressTypes.ts"
import * as encodedWord from "./encodedWord.ts"

/** A mailbox as the strict reading gives it. */
export interface StrictMailbox extends Address {
  /** As written, without white space and comments. */
  readonly domain: string
  /**
   * White space or a comment at a place where some readers do not expect it: between the words of the address, or, as a comment,
   * anywhere between the angle brackets.
   */
  readonly inside: Gap
}

export interface StrictGroup {
  readonly name: string
  readonly members: ReadonlyArray<StrictMailbox>
}

interface AddrSpec {
  readonly address: string
  readonly domain: string
  readonly inside: Gap
  /** The index of the token after it. */
  readonly next: number
}

interface Angle extends AddrSpec {
  readonly closed: boolean
}

type Entry = { readonly mailbox: StrictMailbox } | { readonly group: string; readonly members: Array<StrictMailbox> }

const worse = (one: Gap, other: Gap): Gap =>
  one === "comment" || other === "comment" ? "comment" : one === "space" ? one : other

/** Characters that one line of a message cannot have. */
const breaks = /[\0\r\n]/g

class Reader {
  readonly entries: Array<Entry> = []
  /** The first fault. */
  error: string | undefined
  private readonly text: string
  private readonly tokens: ReadonlyArray<Token>
  private group: { readonly group: string; readonly members: Array<StrictMailbox> } | undefined

  constructor(text: string, isStrict: boolean) {
    this.text = text
    const { complete, tokens } = tokenize(text, !isStrict)
    this.tokens = tokens
    if (!complete) this.error = "a comment without its end"
    const last = tokens.length - 1
    for (let index = 0; index < last; index = this.element(index)) {
      if (isStrict && this.error !== undefined) break
    }
    if (this.group !== undefined) this.error ??= "a group without its end"
  }

  /** Reads the element that begins at a token, and returns the index of the next token. */
  private element(start: number): number {
    if (this.isSpecial(start, ",")) return start + 1
    if (this.isSpecial(start, ";")) {
      if (this.group === undefined) this.error ??= "a semicolon outside a group"
      this.group = undefined
      if (!this.isSpecial(start + 1, ",") && !this.isEnd(start + 1)) this.error ??= "no comma after a group"
      return start + 1
    }
    let next = start
    while (this.isWord(next) || this.isSpecial(next, ".")) next++
    if (this.isSpecial(next, ":") && this.isWord(start) && this.group === undefined) {
      this.group = { group: this.phrase(start, next), members: [] }
      this.entries.push(this.group)
      return next + 1
    }
    if (this.isSpecial(next, "<") && (next === start || this.isWord(start))) {
      const found = this.angle(next)
      if (found?.closed === true && this.isSeparator(found.next)) return this.add(this.phrase(start, next), found)
    } else if (this.isSpecial(next, "@")) {
      const found = this.addrSpec(start, this.tokens.length - 1)
      if (found !== undefined && this.isSeparator(found.next)) return this.add(this.comments(found.next), found)
    }
    this.error ??= `no address at character ${this.tokens[start]!.start + 1}`
    return this.guess(start)
  }

  private add(name: string, { address, domain, inside, next }: AddrSpec): number {
    const mailbox = { name, address, domain, inside }
    if (this.group === undefined) this.entries.push({ mailbox })
    else this.group.members.push(mailbox)
    return next
  }

  /** Takes the separate addresses of an element that the grammar does not allow; returns the index after it. */
  private guess(start: number): number {
    let end = start
    while (!this.isEnd(end) && !this.isSpecial(end, ",") && !this.isSpecial(end, ";")) end++
    if (end === start) return start + 1
    // A single word is a local address, as MTAs read it.
    const local = this.localAddress(start, end)
    if (local !== undefined) return this.add(this.comments(end), local)
    let name = start
    for (let index = start; index < end;) {
      if (this.isSpecial(index, "<")) {
        const found = this.angle(index, end)
        if (found !== undefined) this.add(this.phrase(name, index), found)
        index++
        while (index < end && !this.isSpecial(index, ">") && !this.isSpecial(index, "<")) index++
        if (this.isSpecial(index, ">")) index++
        name = index
      } else if (this.isWord(index) || this.isSpecial(index, ".") || this.isSpecial(index, "@")) {
        // Words without a gap between them.
        const first = index++
        let isAddress = this.isSpecial(first, "@")
        for (; index < end && this.tokens[index]!.gap === "none"; index++) {
          if (this.isSpecial(index, "@")) isAddress = true
          else if (!this.isWord(index) && !this.isSpecial(index, ".")) break
        }
        if (!isAddress) continue
        const found = this.addrSpec(first, index)
        if (found?.next === index && !this.touchesInvalid(first, index)) {
          this.add(this.phrase(name, first) || this.comments(index), found)
        }
        name = index
      } else if (this.isSpecial(index++, ":")) name = index
    }
    return end
  }

  /** Whether an invalid character touches these words: they may be a part of something else. */
  private touchesInvalid(start: number, end: number): boolean {
    const before = this.tokens[start - 1]
    const after = this.tokens[end]!
    return (before?.kind === "invalid" && this.tokens[start]!.gap === "none") ||
      (after.kind === "invalid" && after.gap === "none")
  }

  /** Atoms with dots between them and nothing else. */
  private localAddress(start: number, end: number): AddrSpec | undefined {
    for (let index = start; index < end; index++) {
      const { gap, kind } = this.tokens[index]!
      if ((index > start && gap !== "none") || (kind !== "atom" && !this.isSpecial(index, "."))) return undefined
    }
    const address = this.textOf(start, end)
    return isDotAtom(address) && !address.includes("=?")
      ? { address, domain: "", inside: "none", next: end }
      : undefined
  }

  /** An address in angle brackets; not closed only if `end` is where it stops being looked for. */
  private angle(start: number, end = this.tokens.length - 1): Angle | undefined {
    let index = start + 1
    let inside: Gap = "none"
    if (this.isSpecial(index, "@") || this.isSpecial(index, ",")) {
      const after = this.route(index, end)
      if (after === -1) return undefined
      for (; index < after; index++) inside = worse(inside, this.tokens[index]!.gap)
    }
    const found = this.addrSpec(index, end) ??
      // A guess: something has been wrong already.
      (this.error === undefined ? undefined : this.localBefore(index, end))
    if (found === undefined) return undefined
    const closed = found.next < end && this.isSpecial(found.next, ">")
    if (!closed && found.next !== end) return undefined
    // All readers agree on white space after the first bracket and before the last.
    const edges = [this.tokens[index]!, this.tokens[found.next]!].some(({ gap }) => gap === "comment")
    inside = worse(worse(inside, found.inside), edges ? "comment" : "none")
    return { ...found, inside, closed, next: closed ? found.next + 1 : found.next }
  }

  private localBefore(start: number, end: number): AddrSpec | undefined {
    let next = start
    while (next < end && (this.isWord(next) || this.isSpecial(next, "."))) next++
    return this.localAddress(start, next)
  }

  /** A source route: domains with commas between them, up to a colon. Returns the index after that, -1 if the route is invalid. */
  private route(start: number, end: number): number {
    let index = start
    let domains = 0
    while (index < end) {
      if (this.isSpecial(index, ",")) index++
      else if (this.isSpecial(index, "@")) {
        index = this.domain(index + 1, end)
        if (index === -1 || (!this.isSpecial(index, ",") && !this.isSpecial(index, ":"))) return -1
        domains++
      } else return this.isSpecial(index, ":") && domains > 0 ? index + 1 : -1
    }
    return -1
  }

  private addrSpec(start: number, end: number): AddrSpec | undefined {
    let at = start
    while (at < end && this.isWord(at)) {
      at++
      if (at < end && this.isSpecial(at, ".")) at++
      else break
    }
    if (at === start || at >= end || !this.isSpecial(at, "@") || this.isSpecial(at - 1, ".")) return undefined
    let next = this.domain(at + 1, end)
    if (next === -1) return undefined
    const domain = this.textOf(at + 1, next)
    let inside: Gap = "none"
    for (let index = start + 1; index < next; index++) inside = worse(inside, this.tokens[index]!.gap)
    // The dot of the root, which DNS writes at the end of a name.
    if (next < end && this.isSpecial(next, ".") && this.tokens[next]!.gap === "none") next++
    return { address: `${this.textOf(start, at)}@${domain}`, domain, inside, next }
  }

  /** The index after a domain; -1 if it is missing or invalid. */
  private domain(start: number, end: number): number {
    const literal = this.tokens[start]!
    if (start < end && literal.kind === "literal") {
      return this.text.slice(literal.start + 1, literal.end).includes("[") ? -1 : start + 1
    }
    if (start >= end || literal.kind !== "atom") return -1
    let next = start + 1
    while (next + 1 < end && this.isSpecial(next, ".") && this.tokens[next + 1]!.kind === "atom") next += 2
    return next
  }

  /** The words of an address, without the gaps between them. */
  private textOf(start: number, end: number): string {
    const words: Array<string> = []
    for (let index = start; index < end; index++) {
      const token = this.tokens[index]!
      const word = this.text.slice(token.start, token.end)
      words.push(token.kind === "literal" ? word.replace(/[ \t]/g, "") : word)
    }
    return decodeText(words.join("").replace(/\r?\n(?=[ \t])/g, "").replace(breaks, " "))
  }

  /** A name: single spaces between its words, without quotes. */
  private phrase(start: number, end: number): string {
    const words: Array<string> = []
    for (let index = start; index < end; index++) {
      const token = this.tokens[index]!
      if (token.kind === "invalid") continue
      if (words.length > 0 && token.gap !== "none") words.push(" ")
      const word = this.text.slice(token.start, token.end)
      words.push(token.kind === "quoted" ? unquote(word) : word)
    }
    return encodedWord.decode(ofParts(words.join("")))
  }

  /** The text of the comments before a token. */
  private comments(index: number): string {
    const texts = this.tokens[index]!.comments.map(([start, end]) => {
      const last = this.text[end - 1] === ")" ? end - 1 : end
      return unescape(this.text.slice(start + 1, last)).trim()
    })
    return encodedWord.decode(ofParts(texts.join(" ")))
  }

  private isWord(index: number): boolean {
    const { kind } = this.tokens[index]!
    return kind === "atom" || kind === "quoted"
  }

  private isEnd(index: number): boolean {
    return index >= this.tokens.length - 1
  }

  private isSeparator(index: number): boolean {
    return this.isEnd(index) || this.isSpecial(index, ",") || (this.group !== undefined && this.isSpecial(index, ";"))
  }

  private isSpecial(index: number, character: string): boolean {
    const token = this.tokens[index]
    return token?.kind === "special" && this.text[token.start] === character
  }
}

const decodeText = (text: string): string => ByteString.toText(ofParts(text))

const unescape = (text: string): string =>
  text.replace(/\r?\n(?=[ \t])/g, "").replace(/\\([^])/g, "$1").replace(breaks, " ")

const unquote = (word: string): string => unescape(word.slice(1, -1))

/**
 * Reads a list by the grammar. Fails with the first fault. A final dot of a domain is accepted, though not in the grammar: all
 * readers agree on its meaning.
 */
export const parse = (
  value: ByteString
): Result.Result<ReadonlyArray<StrictMailbox | StrictGroup>, string> => {
  const { entries, error } = new Reader(value, true)
  return error === undefined
    ? Result.succeed(
      entries.map((entry) => "mailbox" in entry ? entry.mailbox : { name: entry.group, members: entry.members })
    )
    : Result.fail(error)
}

/** Reads a list and leaves out what is ambiguous. */
export const read = (value: ByteString): ReadonlyArray<Address | Group> => {
  const strict = new Reader(value, true)
  const { entries } = strict.error === undefined ? strict : new Reader(value, false)
  return entries.map((entry) =>
    "mailbox" in entry ? mailboxOf(entry.mailbox) : { name: entry.group, members: entry.members.map(mailboxOf) }
  )
}

const mailboxOf = ({ address, name }: Address): Address => ({ name, address })

/** A list for a header field. It reads back as it was given. */
export const format = (addresses: ReadonlyArray<Address | Group>): string =>
  addresses.map((one) =>
    "members" in one
      ? `${writtenName(one.name)}:${one.members.length === 0 ? "" : ` ${format(one.members)}`};`
      : one.name === ""
      ? written(one.address)
      : `${writtenName(one.name)} <${written(one.address)}>`
  ).join(", ")

const quoted = (text: string): string => `"${text.replace(/["\\]/g, "\\$&")}"`

/** An invalid address goes into quotes as a whole, so that it cannot become several. */
const written = (address: string): string => {
  const at = address.lastIndexOf("@")
  const domain = address.slice(at + 1)
  if (at === -1 || !(isHostName(domain) || isLiteral(domain) || isDotAtom(domain))) {
    return isDotAtom(address) ? address : quoted(address)
  }
  const local = address.slice(0, at)
  return isWords(local) ? address : `${quoted(local)}@${domain}`
}

/** Atoms and quoted strings with single dots between them. */
const isWords = (text: string): boolean => {
  if (isDotAtom(text) || isQuotedString(text)) return true
  const { complete, tokens } = tokenize(text)
  return complete && tokens.length % 2 === 0 &&
    tokens.every(({ gap, kind, start }, index) =>
      gap === "none" && (index === tokens.length - 1 || (index % 2 === 0
        ? kind === "atom" || kind === "quoted"
        : text[start] === "." && kind === "special"))
    )
}

const writtenName = (name: string): string =>
  name.includes("=?")
    // It would be taken for an encoded word.
    ? encodedWord.encodeAll(name)
    : isPhrase(name)
    ? name
    : quoted(name)

/** Atoms in ASCII with single spaces between them. */
const isPhrase = (name: string): boolean =>
  /^[!-~ ]+$/.test(name) && name.split(" ").every((word) => isDotAtom(word) && !word.includes("."))
