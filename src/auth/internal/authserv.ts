/** Reading Authentication-Results (RFC 8601): whose they are, and what one of our own says. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../InvalidValue.ts"
import { asciiDomain } from "./privateKey.ts"

/** A host name, or any other token of RFC 2045. */
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

/** In lower case and A-labels, which are one name with U-labels (RFC 8601 5), without a final dot. */
export const normalId = (id: string): string => asciiDomain(id) ?? id.toLowerCase()

/**
 * The authserv-id at the beginning of a value, normal; what follows it (a version, the results) does not matter. Nothing if
 * there is none to be read.
 */
export const idOf = (value: string): string => {
  // A token of RFC 2045 ends at any of these.
  const [, quoted, token] = /^\s*(?:"((?:[^"\\]|\\[^])*)"|([^\s()<>@,;:\\"/[\]?=]*))/.exec(withoutComments(value)) ?? []
  return normalId(quoted?.replace(/\\([^])/g, "$1") ?? token ?? "")
}

/** Breaks lines at spaces outside quotes, where they get longer than mail prefers. */
export const fold = (text: string, column: number): string => {
  let result = ""
  let at = column
  for (const [word] of text.matchAll(/(?:"(?:[^"\\]|\\[^])*"|[^\s"])+|\s+|"/g)) {
    if (/^\s/.test(word)) continue
    const breaks = result !== "" && at + 1 + word.length > 78
    result += breaks ? `\n  ${word}` : result === "" ? word : ` ${word}`
    at = breaks ? word.length + 2 : at + word.length + 1
  }
  return result
}
