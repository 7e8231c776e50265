/** RFC 2047: text outside ASCII in the value of a header field. */
import { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"
import { tokenize } from "./addressTokens.ts"
import * as charset from "./charset.ts"

/** A piece of a value: white space, ASCII that is sent unchanged, or text to encode. */
interface Token {
  readonly kind: "space" | "plain" | "encode"
  readonly text: string
}

// Most characters in an encoded word, and in a line that holds one.
const wordLength = 75
const lineLength = 76
// `=?UTF-8?Q?` and `?=`
const frame = 12
// Room for an encoded word with one character of any kind.
const leastRoom = frame + 12

const outsideAscii = /[^\0-\x7f]/

/**
 * Encodes words of unstructured text; the rest stays as it is. Lines that hold encoded words are folded to 76 characters.
 * `column` is where the value begins in its line.
 */
export const encode = (text: string, column: number, isEncoded: (word: string) => boolean): string =>
  emit(joined(words(text, isEncoded)), column)

/** The whole text as encoded words with spaces between them, as a phrase may have them. */
export const encodeAll = (text: string): string => encodeToken(text, 0, wordLength + 1).replaceAll("\n", "")

/**
 * Encodes the names and comments of a list of addresses: encoded words stand where a phrase or a comment may, never in
 * quotes, and an address itself cannot be encoded. `undefined` if one would have to be.
 *
 * - `ascii`: text outside ASCII is encoded
 * - `lookalikes`: text in quotes that looks like an encoded word is encoded
 */
export const encodeAddresses = (
  text: string,
  column: number,
  { ascii, lookalikes }: { readonly ascii: boolean; readonly lookalikes: boolean }
): string | undefined => {
  const needsEncoding = (part: string): boolean => ascii && outsideAscii.test(part)
  const list = new TokenList(needsEncoding)
  const { tokens } = tokenize(text)
  const special = (index: number): string => tokens[index]?.kind === "special" ? text[tokens[index].start]! : ""
  const isWord = (index: number): boolean => tokens[index]?.kind === "atom" || tokens[index]?.kind === "quoted"
  // Words that are followed by an @, with dots between them at most: those of a local part.
  const isLocal: Array<boolean> = []
  for (let index = tokens.length - 1; index >= 0; index--) {
    isLocal[index] = isWord(index) &&
      (special(index + 1) === "@" || (special(index + 1) === "." && isLocal[index + 2] === true))
  }
  let isAngle = false
  let isDomain = false
  let end = 0
  for (const [index, token] of tokens.entries()) {
    for (const [from, to] of token.comments) {
      list.space(text.slice(end, from))
      list.comment(text.slice(from, to))
      end = to
    }
    list.space(text.slice(end, token.start))
    const part = text.slice(token.start, token.end)
    end = token.end
    if (token.kind === "special") {
      isDomain = part === "@" || (isDomain && part === ".")
      isAngle = part === "<" || (isAngle && part !== ">")
    }
    const isEncoded = needsEncoding(part) || (lookalikes && token.kind === "quoted" && part.includes("=?"))
    if (!isEncoded) list.plain(part)
    else if (isAngle || isDomain || isLocal[index]) {
      if (needsEncoding(part)) return undefined
      list.plain(part)
    } else {list.encode(
        token.kind === "quoted" ? part.slice(1, -1).replace(/\\([^])/gu, "$1").replaceAll("\n", "") : part
      )}
    if (token.kind === "atom" && special(index + 1) !== ".") isDomain = false
  }
  return emit(joined(list.tokens), column)
}

class TokenList {
  readonly tokens: Array<Token> = []
  private readonly needsEncoding: (part: string) => boolean
  // Read from the whole, it would cost a copy of what is there each time.
  private lastCharacter = ""

  constructor(needsEncoding: (part: string) => boolean) {
    this.needsEncoding = needsEncoding
  }

  private get last(): Token | undefined {
    return this.tokens[this.tokens.length - 1]
  }

  private push(kind: Token["kind"], text: string): void {
    const { last } = this
    if (text === "") return
    this.lastCharacter = text[text.length - 1]!
    if (last?.kind === kind) this.tokens[this.tokens.length - 1] = { kind, text: last.text + text }
    else this.tokens.push({ kind, text })
  }

  space(text: string): void {
    this.push("space", text)
  }

  plain(text: string): void {
    // An encoded word ends at white space or with the comment that it stands in.
    if (this.last?.kind === "encode" && text[0] !== ")") this.push("space", " ")
    this.push("plain", text)
  }

  encode(text: string): void {
    if (this.last?.kind === "plain" && this.lastCharacter !== "(") this.push("space", " ")
    this.push("encode", text)
  }

  comment(text: string): void {
    for (const [part] of text.matchAll(/[ \t\n]+|[()]|(?:\\[^]|[^()\\ \t\n])+|\\/gu)) {
      if (/^[ \t\n]/.test(part)) this.space(part)
      else if (this.needsEncoding(part)) this.encode(part.replace(/\\([^])/gu, "$1"))
      else this.plain(part)
    }
  }
}

const words = (text: string, isEncoded: (word: string) => boolean): ReadonlyArray<Token> =>
  Array.from(text.matchAll(/[ \t\n]+|[^ \t\n]+/g), ([part]): Token => ({
    kind: /^[ \t\n]/.test(part) ? "space" : isEncoded(part) ? "encode" : "plain",
    text: part
  }))

const endsWithWord = ({ kind, text }: Token): boolean => kind === "plain" && text.endsWith("?=") && text.includes("=?")

/** Joins adjacent tokens to encode: white space between two encoded words is not displayed, so it must be inside one. */
const joined = (tokens: ReadonlyArray<Token>): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  for (const token of tokens) {
    const previous = found[found.length - 2]
    const space = found[found.length - 1]
    if (space?.kind !== "space" || previous === undefined) {
      found.push(token)
      continue
    }
    const between = space.text.replaceAll("\n", "")
    if (token.kind === "encode" && previous.kind === "encode") {
      found.length -= 2
      found.push({ kind: "encode", text: previous.text + between + token.text })
    } else if (token.kind === "encode" && endsWithWord(previous)) {
      // The author has encoded the word before.
      found.push({ kind: "encode", text: between + token.text })
    } else if (previous.kind === "encode" && token.kind === "plain" && /^=\?[^?]*\?[bq]\?/i.test(token.text)) {
      found[found.length - 2] = { kind: "encode", text: previous.text + between }
      found.push(token)
    } else found.push(token)
  }
  return found
}

const emit = (tokens: ReadonlyArray<Token>, start: number): string => {
  let result = ""
  let column = start
  // White space that can still become a fold.
  let space = ""
  const write = (text: string): void => {
    result += text
    const fold = text.lastIndexOf("\n")
    column = fold === -1 ? column + text.length : text.length - fold - 1
  }
  const separate = (room: number): void => {
    write(
      space !== "" && result !== "" && !space.includes("\n") && column + space.length + room > lineLength
        ? `\n${space}`
        : space
    )
    space = ""
  }
  for (const [index, token] of tokens.entries()) {
    switch (token.kind) {
      case "space":
        space += token.text
        break
      case "plain": {
        // Text without white space before it cannot move to a line of its own.
        separate(token.text.length + (tokens[index + 1]?.kind === "encode" ? leastRoom : 0))
        write(token.text)
        break
      }
      case "encode":
        separate(leastRoom)
        write(encodeToken(token.text, column, tokens[index + 1]?.kind === "plain" ? lineLength - 1 : lineLength))
        break
    }
  }
  return result + space
}

const hex = (character: string): string => `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`

// What may stand for itself in a phrase, where the rules are the strictest.
const quoted = (bytes: string): string =>
  bytes.replace(/[^A-Za-z0-9!*+\-/]/g, (character) => character === " " ? "_" : hex(character))

const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4

// What may stand for itself in a phrase, where the rules are the strictest; a space is written as an underscore.
const plainInWord = /[A-Za-z0-9!*+\-/ ]/

/** One encoded word, or several on lines of their own; never cut inside a character. */
const encodeToken = (text: string, column: number, limit: number): string => {
  const bytes = ByteString.fromText(text)
  // Quoted is longer for most text but can be read and searched, so only scripts far from Latin go as base64.
  const asBase64 = quoted(bytes).length > 1.6 * base64Length(bytes.length)
  const result: Array<string> = []
  let room = Math.max(Math.min(wordLength, limit - column), leastRoom) - frame
  let start = 0
  let length = 0
  const flush = (end: number): void => {
    const pending = bytes.slice(start, end)
    result.push(asBase64 ? `=?UTF-8?B?${btoa(pending)}?=` : `=?UTF-8?Q?${quoted(pending)}?=`)
    start = end
    length = 0
    room = Math.min(wordLength, limit - 1) - frame
  }
  for (let at = 0; at < bytes.length;) {
    let end = at + 1
    while (end < bytes.length && (bytes.charCodeAt(end) & 0xc0) === 0x80) end++
    const more = plainInWord.test(bytes[at]!) ? 1 : 3 * (end - at)
    if ((asBase64 ? base64Length(end - start) : length + more) > room && at > start) flush(at)
    length += more
    at = end
  }
  flush(bytes.length)
  return result.join("\n ")
}

interface Word {
  readonly charset: string
  readonly bytes: string
  readonly end: number
}

const base64Bytes = (text: string): string => {
  const digits = text.replace(/[^A-Za-z0-9+/]+/g, "")
  // One digit alone makes no byte.
  return atob(digits.length % 4 === 1 ? digits.slice(0, -1) : digits)
}

const quotedBytes = (text: string): string =>
  text.replaceAll("_", " ").replace(
    /=([0-9a-f]{2})/gi,
    (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))
  )

/** Finds places in a text from left to right, so that no part of it is searched twice. */
const finder = (text: string, sought: string): (from: number) => number => {
  let found = -2
  return (from) => {
    if (found !== -1 && found < from) found = text.indexOf(sought, from)
    return found
  }
}

// Longer than any name of a character set, with a language (RFC 2231 5).
const longestCharset = 75

/** Characters that would break the line or end the value, and other controls except tab and escape. */
const controls = /[\0-\x08\n-\x1a\x1c-\x1f\x7f-\x9f\u2028\u2029]+/g

/**
 * Decodes text for people, on one line. Accepts more than RFC 2047 allows, as mail programs do: encoded words anywhere, with
 * spaces or bytes outside ASCII inside, and characters that are cut in two by the end of a word. A word of an unknown
 * character set is unchanged.
 */
export const decode = (value: ByteString): string => {
  const nextStart = finder(value, "=?")
  const nextEnd = finder(value, "?=")
  let result = ""
  // The start of the text that is not in the result yet.
  let rest = 0
  let pending: Word | undefined
  const flush = (): void => {
    if (pending === undefined) return
    result += charset.decode(ofParts(pending.bytes), pending.charset)
    pending = undefined
  }
  for (let at = nextStart(0); at !== -1; at = nextStart(at)) {
    const word = wordAt(value, at, nextStart, nextEnd)
    if (word === undefined) {
      at += 2
      continue
    }
    const between = value.slice(rest, at)
    const isNeighbour = pending !== undefined && /^[ \t\r\n]*$/.test(between)
    if (pending !== undefined && isNeighbour && pending.charset === word.charset) {
      pending = { ...word, bytes: pending.bytes + word.bytes }
    } else {
      flush()
      if (!isNeighbour) result += ByteString.toText(ofParts(between))
      pending = word
    }
    at = rest = word.end
  }
  flush()
  return (result + ByteString.toText(ofParts(value.slice(rest)))).replace(controls, " ")
}

/** The encoded word that begins here, if there is one. */
const wordAt = (
  value: string,
  at: number,
  nextStart: (from: number) => number,
  nextEnd: (from: number) => number
): Word | undefined => {
  const [head, name, encoding] = wordHead.exec(value.slice(at + 2, at + longestCharset + 5)) ?? []
  if (head === undefined || name === undefined || encoding === undefined) return undefined
  const start = at + 2 + head.length
  const end = nextEnd(start)
  if (end === -1) return undefined
  const other = nextStart(start)
  // Not one that has no end of its own.
  if (other !== -1 && other < end - 1) return undefined
  const [label = ""] = name.toLowerCase().split("*", 1)
  if (charset.decode(ofParts(""), label) === undefined) return undefined
  const text = value.slice(start, end)
  const bytes = encoding === "b" || encoding === "B" ? base64Bytes(text) : quotedBytes(text)
  return { charset: label, bytes, end: end + 2 }
}

const wordHead = /^([^?=\s]{1,75})\?([bq])\?/i
