/** The words of an address field (RFC 5322 3.2), found in one pass. */
import { endOf, isAtext } from "./addressRules.ts"

/** What separates a word from the one before it. A comment counts more than white space. */
export type Gap = "none" | "space" | "comment"

/**
 * - `special`: one of `<>:;,@.`
 * - `invalid`: a character that no address has outside quotes, such as a quote without its end
 * - `end`: the end of the text, with the gap before it
 * - `comments`: where the comments of the gap are, with their parentheses
 */
export interface Token {
  readonly kind: "atom" | "quoted" | "literal" | "special" | "invalid" | "end"
  readonly start: number
  readonly end: number
  readonly gap: Gap
  readonly comments: ReadonlyArray<readonly [start: number, end: number]>
}

const specials = "<>:;,@."
const noComments: Token["comments"] = []

export const isSpace = (character: string | undefined): boolean =>
  character === " " || character === "\t" || character === "\n" || character === "\r"

/** The index after a comment; the end of the text for one without its end. Comments nest. */
const afterComment = (text: string, start: number): { readonly index: number; readonly complete: boolean } => {
  let depth = 0
  for (let index = start; index < text.length; index++) {
    const character = text[index]!
    if (character === "\\") index++
    else if (character === "(") depth++
    else if (character === ")" && --depth === 0) return { index: index + 1, complete: true }
  }
  return { index: text.length, complete: false }
}

/** The text of an encoded word ends at the next question mark, so that no part is searched twice. */
const encodedWord = /=\?[^?\s]{1,75}\?[bq]\?[^?]*\?=/iy

/**
 * Finds the tokens of a text; `complete` if every comment has its end. The last token is `end`. With `encodedWords` an encoded
 * word is an atom even with spaces, commas and the like inside, which RFC 2047 forbids but mail has.
 */
export const tokenize = (
  text: string,
  encodedWords = false
): { readonly tokens: ReadonlyArray<Token>; readonly complete: boolean } => {
  const tokens: Array<Token> = []
  let complete = true
  // A quote without its end is invalid, and so are the quotes after it: the search for an end is not repeated.
  let quotes = true
  let literals = true
  let index = 0
  while (true) {
    let gap: Gap = "none"
    // Made for the first comment of a gap.
    let found: Array<readonly [number, number]> | undefined
    let comments: Token["comments"] = noComments
    for (; index < text.length; index++) {
      if (text[index] === "(") {
        const after = afterComment(text, index)
        complete &&= after.complete
        comments = found ??= []
        found.push([index, after.index])
        gap = "comment"
        index = after.index - 1
      } else if (!isSpace(text[index])) break
      else if (gap === "none") gap = "space"
    }
    const token = tokenAt(text, index, encodedWords, quotes, literals)
    tokens.push({ kind: token.kind, start: index, end: token.end, gap, comments })
    if (token.kind === "end") return { tokens, complete }
    if (token.kind === "invalid") {
      quotes &&= text[index] !== "\""
      literals &&= text[index] !== "["
    }
    index = token.end
  }
}

const tokenAt = (
  text: string,
  start: number,
  encodedWords: boolean,
  quotes: boolean,
  literals: boolean
): { readonly kind: Token["kind"]; readonly end: number } => {
  if (start >= text.length) return { kind: "end", end: text.length }
  const character = text[start]!
  if (specials.includes(character)) return { kind: "special", end: start + 1 }
  if (isAtext(character.charCodeAt(0))) {
    encodedWord.lastIndex = start
    let end = encodedWords && character === "=" && encodedWord.test(text) ? encodedWord.lastIndex : start + 1
    while (end < text.length && isAtext(text.charCodeAt(end))) end++
    return { kind: "atom", end }
  }
  const isQuoted = character === "\"" && quotes
  if (isQuoted || (character === "[" && literals)) {
    const end = endOf(text, start, isQuoted ? "\"" : "]")
    if (end !== -1) return { kind: isQuoted ? "quoted" : "literal", end }
  }
  // A backslash quotes the next character, as some readers still have it.
  return { kind: "invalid", end: Math.min(start + (character === "\\" ? 2 : 1), text.length) }
}
