/** Combines our own Authentication-Results (RFC 8601) for a seal (RFC 8617 4.1.1). */
import { withoutComments } from "./authserv.ts"

/** Splits a text at semicolons outside quotes and comments. */
const partsOf = (text: string): ReadonlyArray<string> => {
  const parts: Array<string> = []
  let depth = 0
  let isQuoted = false
  let start = 0
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (character === "\\" && (isQuoted || depth > 0)) index++
    else if (character === "\"" && depth === 0) isQuoted = !isQuoted
    else if (character === "(" && !isQuoted) depth++
    else if (character === ")" && depth > 0) depth--
    else if (character === ";" && !isQuoted && depth === 0) {
      parts.push(text.slice(start, index))
      start = index + 1
    }
  }
  return [...parts, text.slice(start)]
}

/** Removes comments and quoted strings. */
const bare = (text: string): string => withoutComments(text).replace(/"(?:[^"\\]|\\[^])*"/g, "").trim()

/** The results of a field, without a plain `none`, which says that there are no results. */
const statementsOf = (value: string): ReadonlyArray<string> =>
  partsOf(value).slice(1).map((part) => part.trim()).filter((part) => !/^(?:none)?$/i.test(bare(part)))

/** Combines the values of all fields of one host: the name of the first, and the results of all. */
export const combined = (values: ReadonlyArray<string>): string => {
  const [first = "", ...others] = values
  if (others.length === 0) return first
  const statements = new Set(values.flatMap(statementsOf))
  return `${partsOf(first)[0]!.trimEnd()};\n ${statements.size === 0 ? "none" : Array.from(statements).join(";\n ")}`
}

/** All results of a method, such as `arc`, in a value. */
export const resultsOf = (value: string, method: string): ReadonlyArray<string> =>
  statementsOf(value).flatMap((statement) => {
    const [, name, result] = /^([a-z0-9-]+)(?:\s*\/\s*\d+)?\s*=\s*([a-z]+)/i.exec(bare(statement)) ?? []
    return name?.toLowerCase() === method && result !== undefined ? [result.toLowerCase()] : []
  })
