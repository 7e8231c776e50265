/** Reads and writes Authentication-Results (RFC 8601). */
import * as Result from "effect/Result"
import { asciiDomain } from "../../internal/mail/domainName.ts"
import { InvalidValue } from "../../InvalidValue.ts"

/** Checks an authserv-id: a host name, or any other token of RFC 2045. */
export const checkId = (id: string): Result.Result<string, InvalidValue> =>
  /^[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,255}$/.test(id)
    ? Result.succeed(id)
    : Result.fail(
      new InvalidValue({
        what: "authserv-id",
        value: id,
        reason: "expected a host name, without space and punctuation"
      })
    )

/** The text without comments, which nest; quoted strings stay. */
export const withoutComments = (text: string): string => {
  let result = ""
  let depth = 0
  let quoted = false
  for (let index = 0; index < text.length; index++) {
    const character = text[index]!
    if (character === "\\" && (quoted || depth > 0)) {
      if (depth === 0) result += text.slice(index, index + 2)
      index++
    } else if (depth === 0 && character === "\"") {
      quoted = !quoted
      result += character
    } else if (!quoted && character === "(") depth++
    else if (depth > 0 && character === ")") {
      depth--
      // A comment separates like a space.
      if (depth === 0) result += " "
    } else if (depth === 0) result += character
  }
  return result
}

/** Normalizes an authserv-id: lower case, A-labels (the same name as U-labels, RFC 8601 5), no final dot. */
export const normalId = (id: string): string => asciiDomain(id) ?? id.toLowerCase()

/**
 * The authserv-id at the beginning of a value, normalized; what follows it (a version, the results) does not matter. Empty if
 * the value does not begin with one.
 */
export const idOf = (value: string): string => {
  // A token of RFC 2045 ends at any of these.
  const [, quoted, token] = /^\s*(?:"((?:[^"\\]|\\[^])*)"|([^\s()<>@,;:\\"/[\]?=]*))/.exec(withoutComments(value)) ?? []
  return normalId(quoted?.replace(/\\([^])/g, "$1") ?? token ?? "")
}

/** The end of the quoted string that begins here, after its last quote; undefined without one. */
const endOfQuotes = (text: string, from: number): number | undefined => {
  for (let index = from + 1; index < text.length; index++) {
    if (text[index] === "\\") index++
    else if (text[index] === "\"") return index + 1
  }
  return undefined
}

/** Splits a text at spaces outside quotes. A quote without end is like any other character. */
const wordsOf = (text: string): ReadonlyArray<string> => {
  const words: Array<string> = []
  let begin = 0
  let isOpen = false
  for (let index = 0; index < text.length;) {
    const end: number | undefined = !isOpen && text[index] === "\"" ? endOfQuotes(text, index) : undefined
    // Later quotes have no end either.
    if (!isOpen && text[index] === "\"") isOpen = end === undefined
    if (end !== undefined) index = end
    else if (/\s/.test(text[index]!)) {
      if (index > begin) words.push(text.slice(begin, index))
      begin = ++index
    } else index++
  }
  if (begin < text.length) words.push(text.slice(begin))
  return words
}

/** Breaks lines at spaces outside quotes, where they get longer than mail prefers. */
export const fold = (text: string, column: number): string => {
  let result = ""
  let at = column
  for (const word of wordsOf(text)) {
    const breaks = result !== "" && at + 1 + word.length > 78
    result += breaks ? `\n  ${word}` : result === "" ? word : ` ${word}`
    at = breaks ? word.length + 2 : at + word.length + 1
  }
  return result
}

/** Replaces each quote inside a comment by `'`: some readers take it for the begin of a quoted string. */
export const withPlainComments = (text: string): string => {
  let result = ""
  let depth = 0
  for (let index = 0; index < text.length;) {
    const character = text[index]!
    const end = depth === 0 && character === "\"" ? endOfQuotes(text, index) ?? text.length : index + 1
    if (character === "\\") {
      result += text.slice(index, index + 2)
      index += 2
      continue
    }
    if (character === "(") depth++
    else if (character === ")" && depth > 0) depth--
    result += depth > 0 && character === "\"" ? "'" : text.slice(index, end)
    index = end
  }
  return result
}
