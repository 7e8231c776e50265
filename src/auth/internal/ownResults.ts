/** What Authentication-Results of our own say (RFC 8601), taken together for a seal (RFC 8617 4.1.1). */
import { withoutComments } from "./authserv.ts"

/** The text between semicolons that are neither in quotes nor in a comment. */
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

/** Without what is in quotes or a comment. */
const bare = (text: string): string => withoutComments(text).replace(/"(?:[^"\\]|\\[^])*"/g, "").trim()

/** The results of a field, without those that say `none` of all methods together. */
const statementsOf = (value: string): ReadonlyArray<string> =>
  partsOf(value).slice(1).map((part) => part.trim()).filter((part) => !/^(?:none)?$/i.test(bare(part)))

/** The values of all fields of one host as one value: the name of the first, and the results of all. */
export const combined = (values: ReadonlyArray<string>): string => {
  const [first = "", ...others] = values
  if (others.length === 0) return first
  const statements = new Set(values.flatMap(statementsOf))
  return `${partsOf(first)[0]!.trimEnd()};\n ${statements.size === 0 ? "none" : Array.from(statements).join(";\n ")}`
}

/** What a value says of a method, such as `arc`, each time. */
export const resultsOf = (value: string, method: string): ReadonlyArray<string> =>
  statementsOf(value).flatMap((statement) => {
    const [, name, result] = /^([a-z0-9-]+)(?:\s*\/\s*\d+)?\s*=\s*([a-z]+)/i.exec(bare(statement)) ?? []
    return name?.toLowerCase() === method && result !== undefined ? [result.toLowerCase()] : []
  })
