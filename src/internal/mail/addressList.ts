/** Addresses and dates in header fields. Lists of addresses and RFC 2047 are read by postal-mime. */
import * as DateTime from "effect/DateTime"
import { addressParser, decodeWords } from "postal-mime"
import type { Address, Group } from "./addressTypes.ts"

/** Text as people see it: encoded words are decoded, white space around is taken off. */
export const decode = (text: string): string => (text.includes("=?") ? decodeWords(text) : text).trim()

export const parseAddresses = (text: string): ReadonlyArray<Address | Group> =>
  addressParser(text).map((found) => found.group === undefined ? addressOf(found) : groupOf(found.name, found.group))

const addressOf = ({ address, name }: Address): Address => ({ name, address })

const groupOf = (name: string, members: ReadonlyArray<Address>): Group => ({ name, members: members.map(addressOf) })

// What a phrase may be made of without quotes, with single spaces between.
const atoms = /^[\w!#$%&'*+\-/=?^`{|}~]+(?: [\w!#$%&'*+\-/=?^`{|}~]+)*$/

const phrase = (text: string): string => atoms.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`

export const formatAddresses = (addresses: ReadonlyArray<Address | Group>): string =>
  addresses.map((one) =>
    "members" in one
      ? `${phrase(one.name)}:${one.members.length === 0 ? "" : ` ${formatAddresses(one.members)}`};`
      : one.name === ""
      ? one.address
      : `${phrase(one.name)} <${one.address}>`
  ).join(", ")

const day =
  /^(?:[a-z]{3},?\s*)?(\d{1,2})\s+([a-z]{3})\s+(\d{2,4})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([+-]\d{4}|[a-z]{1,5}))?$/i

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

/** The date of RFC 5322, obsolete forms included; undefined for what is none. */
export const parseDate = (text: string): DateTime.Utc | undefined => {
  const found = day.exec(text.replace(/\((?:[^()\\]|\\.)*\)/g, " ").trim())
  if (found === null) return undefined
  const [, date, monthName, yearText, hour, minute, second = "0", zone = "UT"] = found
  const month = months.indexOf(monthName!.toLowerCase())
  const number = Number(yearText)
  const year = yearText!.length === 2 && number < 50 ? number + 2000 : yearText!.length < 4 ? number + 1900 : number
  const [hours, minutes, seconds] = [Number(hour), Number(minute), Number(second)]
  const local = new Date(0)
  local.setUTCFullYear(year, month, Number(date))
  // A day that the month does not have would be one of the next month.
  if (month === -1 || local.getUTCDate() !== Number(date) || hours > 23 || minutes > 59 || seconds > 60) {
    return undefined
  }
  local.setUTCHours(hours, minutes, seconds)
  const offset = /^[+-]/.test(zone)
    ? Number(`${zone[0]}1`) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3)))
    : (zones[zone.toUpperCase()] ?? 0) * 60
  return DateTime.makeUnsafe(local.getTime() - offset * 60_000)
}
