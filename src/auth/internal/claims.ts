/**
 * Tests whether a field of Authentication-Results may be taken for one of ours.
 *
 * The text before the results is compared as the most forgiving reader would read it: readers differ in how they treat
 * comments, quotes, escapes and white space (OpenDMARC joins the parts of a name across all of these), and honest mail does
 * not have our name in an unusual form.
 */
import { normalId } from "./authserv.ts"

/** The text before the results, which begin at the first semicolon outside quotes and comments. */
interface Head {
  readonly text: string
  /** The same without comments. */
  readonly bare: string
  /** Whether each parenthesis and each quote is closed, and no parenthesis is inside another. */
  readonly isPlain: boolean
}

const headOf = (value: string): Head => {
  let bare = ""
  let depth = 0
  let deepest = 0
  let quoted = false
  let index = 0
  for (; index < value.length; index++) {
    const character = value[index]!
    if (character === "\\") {
      index++
      if (depth === 0) bare += value[index] ?? ""
    } else if (depth === 0 && character === "\"") quoted = !quoted
    else if (!quoted && character === "(") deepest = Math.max(deepest, ++depth)
    else if (depth > 0 && character === ")") {
      depth--
      if (depth === 0) bare += "\0"
    } else if (depth === 0) {
      if (character === ";" && !quoted) break
      bare += character
    }
  }
  return { text: value.slice(0, index), bare, isPlain: depth === 0 && deepest < 2 && !quoted }
}

// A name that is longer could not stand in DNS.
const longest = 1024

/** The names in a text. White space around a dot belongs to the name; characters that names do not have separate them. */
const namesIn = (text: string): ReadonlyArray<string> =>
  text.split(".").map((part) => part.trim()).join(".").split(/[\s\0;,=/<>@:?[\]()"\\]+/)
    .filter((name) => name !== "" && name.length <= longest)

/** The readings of a text: with and without characters outside ASCII, with and without comments inside a name. */
const readings = (text: string): ReadonlyArray<string> => {
  const joined = text.replaceAll("\0", "")
  const ascii = /[^\x20-\x7e]+/g
  return [text.replaceAll("\0", " "), joined, text.replace(ascii, " "), joined.replace(ascii, "")]
}

/** Keeps only the characters of ASCII names and versions. */
const squeezed = (text: string): string => text.toLowerCase().replace(/[^a-z0-9.-]+/g, "")

export const claims = (value: string, ids: ReadonlySet<string>): boolean => {
  const { bare, isPlain, text } = headOf(value)
  // Some readers decode encoded words, in which a name could hide.
  if (text.includes("=?")) return true
  const first = value.slice(0, value.includes(";") ? value.indexOf(";") : value.length)
  const found = new Set(
    [bare, ...isPlain ? [] : [text, first]].flatMap(readings).flatMap(namesIn).map(normalId)
  )
  for (const id of ids) {
    if (found.has(id)) return true
    const all = squeezed(bare)
    if (all.startsWith(id) && /^\.?[0-9]*$/.test(all.slice(id.length))) return true
  }
  return false
}
