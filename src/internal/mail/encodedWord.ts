/** RFC 2047: text outside ASCII in the value of a header field. */
import { fromText } from "../bytes/byteString.ts"

/** A piece of a value: white space, ASCII that goes out as it is, or text to encode. */
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
 * Encodes what is not ASCII in unstructured text; the rest stays as it is, so text that the author has encoded before
 * goes through. Lines that hold encoded words are folded to 76 characters. `column` is where the value begins in its
 * line.
 */
export const encode = (text: string, column: number): string => emit(words(text), column)

/**
 * The same for a list of addresses: encoded words stand where a phrase or a comment may, never in quotes, and an
 * address itself cannot be encoded. `undefined` if one would have to be.
 */
export const encodeAddresses = (text: string, column: number): string | undefined => {
  const tokens: Array<Token> = []
  // A quoted string, an address in angle brackets, a parenthesis, white space, a separator, or anything else.
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\[^])*"|<[^<>]*>|[()]|[ \t\n]+|[,:;]|[^"<()\s,:;]+|[^]/gu)) {
    if (/^[ \t\n]/.test(part)) tokens.push({ kind: "space", text: part })
    else if (!outsideAscii.test(part)) {
      if (part[0] === "@" && last(tokens)?.kind === "encode") return undefined
      plain(tokens, part)
    } else {
      const quoted = part.length > 1 && part[0] === "\""
      // In quotes an @ is part of a name; a local part in quotes has its own behind it.
      if (part[0] === "<" || (!quoted && part.includes("@"))) return undefined
      const content = quoted ? part.slice(1, -1).replace(/\\([^])/gu, "$1").replaceAll("\n", "") : part
      const previous = last(tokens)
      if (previous?.kind === "encode") tokens[tokens.length - 1] = { kind: "encode", text: previous.text + content }
      else {
        // A phrase needs white space between its words; nothing else can stand next to an encoded word but a
        // parenthesis.
        if (!/[ \t\n(]$/.test(previous?.text ?? " ")) tokens.push({ kind: "space", text: " " })
        tokens.push({ kind: "encode", text: content })
      }
    }
  }
  return emit(joined(tokens), column)
}

const last = <A>(items: ReadonlyArray<A>): A | undefined => items[items.length - 1]

const plain = (tokens: Array<Token>, text: string): void => {
  if (last(tokens)?.kind === "encode" && text !== ")") tokens.push({ kind: "space", text: " " })
  tokens.push({ kind: "plain", text })
}

const words = (text: string): ReadonlyArray<Token> =>
  joined(
    Array.from(text.matchAll(/[ \t\n]+|[^ \t\n]+/g), ([part]): Token => ({
      kind: /^[ \t\n]/.test(part) ? "space" : outsideAscii.test(part) ? "encode" : "plain",
      text: part
    }))
  )

/** White space between two encoded words is not displayed, so it has to be inside: neighbours become one token. */
const joined = (tokens: ReadonlyArray<Token>): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  for (const token of tokens) {
    const previous = found[found.length - 2]
    const space = last(found)
    if (token.kind === "encode" && space?.kind === "space" && previous?.kind === "encode") {
      found.length -= 2
      found.push({ kind: "encode", text: previous.text + space.text.replaceAll("\n", "") + token.text })
    } else found.push(token)
  }
  return found
}

const emit = (tokens: ReadonlyArray<Token>, start: number): string => {
  let result = ""
  let column = start
  // White space that may still become a fold.
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
        let length = token.text.length
        // What stands close behind cannot be folded away from it.
        let next = index + 1
        for (; tokens[next]?.kind === "plain"; next++) length += tokens[next]!.text.length
        if (tokens[next]?.kind === "encode") length += leastRoom
        separate(length)
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

/** One encoded word, or several on lines of their own; never cut inside a character. */
const encodeToken = (text: string, column: number, limit: number): string => {
  const bytes = fromText(text)
  // Quoted is longer for most text but can be read and searched, so only scripts far from Latin go as base64.
  const asBase64 = quoted(bytes).length > 1.6 * base64Length(bytes.length)
  const result: Array<string> = []
  let room = Math.max(Math.min(wordLength, limit - column), leastRoom) - frame
  let pending = ""
  let length = 0
  const flush = (): void => {
    result.push(asBase64 ? `=?UTF-8?B?${btoa(pending)}?=` : `=?UTF-8?Q?${quoted(pending)}?=`)
    pending = ""
    length = 0
    room = Math.min(wordLength, limit - 1) - frame
  }
  for (const character of text) {
    const more = fromText(character)
    const next = asBase64 ? base64Length(pending.length + more.length) : length + quoted(more).length
    if (next > room && pending !== "") flush()
    length = asBase64 ? 0 : length + quoted(more).length
    pending += more
  }
  flush()
  return result.join("\n ")
}
