/** Dates in header fields (RFC 5322 3.3, with the obsolete forms of 4.3). */
import * as DateTime from "effect/DateTime"

const date =
  /^(?:[a-z]{3}(?: ?, ?| ))?(\d{1,2}) ([a-z]{3}) (\d{2,4}) (\d{1,2}) ?: ?(\d{2})(?: ?: ?(\d{2}))?(?: ?([+-]\d{4}|[a-z]{1,5}))?$/i

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

// Hours from UTC. RFC 5322 4.3: all other names are of unknown meaning, so they count as UTC.
const zones: { readonly [name: string]: number } = {
  EST: -5,
  EDT: -4,
  CST: -6,
  CDT: -5,
  MST: -7,
  MDT: -6,
  PST: -8,
  PDT: -7
}

/** A date without comments, with single spaces, has fewer characters. */
const longest = 60

/** The text with comments, which nest, and runs of white space as one space each; `undefined` if it is too long for a date. */
const simplified = (text: string): string | undefined => {
  let result = ""
  let depth = 0
  let isSpace = true
  for (let index = 0; index < text.length; index++) {
    const character = text[index]!
    if (depth > 0 && character === "\\") index++
    else if (character === "(") depth++
    else if (depth > 0 && character === ")") depth--
    else if (depth === 0 && !/\s/.test(character)) {
      result += isSpace && result !== "" ? ` ${character}` : character
      isSpace = false
      if (result.length > longest) return undefined
      continue
    }
    isSpace = true
  }
  return depth === 0 ? result : undefined
}

/** The offset from UTC in minutes. */
const offsetOf = (zone: string): number | undefined => {
  if (!/^[+-]/.test(zone)) return (zones[zone.toUpperCase()] ?? 0) * 60
  const minutes = Number(zone.slice(3))
  // RFC 5322 3.3: up to 9959.
  return minutes > 59 ? undefined : Number(`${zone[0]}1`) * (Number(zone.slice(1, 3)) * 60 + minutes)
}

/** Reads a date; `undefined` for a text that is not a date. */
export const parse = (text: string): DateTime.Utc | undefined => {
  const found = date.exec(simplified(text) ?? "")
  if (found === null) return undefined
  const [, day, monthName, yearText, hour, minute, second = "0", zone = "UT"] = found
  const month = months.indexOf(monthName!.toLowerCase())
  const number = Number(yearText)
  const year = yearText!.length === 2 && number < 50 ? number + 2000 : yearText!.length < 4 ? number + 1900 : number
  const [hours, minutes, seconds] = [Number(hour), Number(minute), Number(second)]
  const offset = offsetOf(zone)
  const local = new Date(0)
  local.setUTCFullYear(year, month, Number(day))
  // A day that the month does not have would become a day of the next month.
  if (
    month === -1 || local.getUTCDate() !== Number(day) || hours > 23 || minutes > 59 || seconds > 60 ||
    offset === undefined
  ) {
    return undefined
  }
  local.setUTCHours(hours, minutes, seconds)
  return DateTime.makeUnsafe(local.getTime() - offset * 60_000)
}
