/** Finds keys of records that the library would ignore, and suggests what was meant. */
import { InvalidValue } from "../../InvalidValue.ts"

/** Longer keys are not compared. */
const maxLength = 40

/** How many letters must be changed, added or removed to make one text of the other. */
const distance = (a: string, b: string): number => {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const changed = above[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(above[column]! + 1, current[column - 1]! + 1, changed))
    }
    above = current
  }
  return above[b.length]!
}

/** Whether the letters of a text occur in another one in the same order: `rcpt` in `recipient`. */
const isWithin = (short: string, long: string): boolean => {
  let index = 0
  for (const letter of long) if (letter === short[index]) index++
  return index === short.length
}

/** The known key that was probably meant. */
export const closest = (key: string, known: ReadonlyArray<string>): string | undefined => {
  const given = key.toLowerCase()
  if (given.length > maxLength) return undefined
  const byDistance = known.map((candidate) => ({ candidate, off: distance(given, candidate.toLowerCase()) }))
    .filter(({ candidate, off }) => off <= 2 && off <= candidate.length / 2)
    .toSorted((a, b) => a.off - b.off)
  return byDistance[0]?.candidate ?? known.find((candidate) => {
    const other = candidate.toLowerCase()
    return given.length > 2 && (isWithin(other, given) || isWithin(given, other))
  })
}

/** The error for a name that is not known; `taken` are names that cannot be meant, since they are there. */
const unknownName = (
  what: string,
  name: string,
  known: ReadonlyArray<string>,
  taken: ReadonlyArray<string>
): InvalidValue | undefined => {
  if (known.includes(name)) return undefined
  const meant = closest(name, known.filter((candidate) => !taken.includes(candidate)))
  const expected = `expected ${known.join(", ")}`
  const reason = meant === undefined ? expected : `did you mean ${meant}? (${expected})`
  return new InvalidValue({ what, value: name, reason })
}

/**
 * The error for a key that is not known: it would be ignored, and with it what its author wants. `what` says what a key is,
 * such as `stage of greylist`.
 */
export const unknownKey = (what: string, record: object, known: ReadonlyArray<string>): InvalidValue | undefined => {
  const keys = Object.keys(record)
  for (const key of keys) {
    const error = unknownName(what, key, known, keys)
    if (error !== undefined) return error
  }
  return undefined
}

const orThrow = (error: InvalidValue | undefined): void => {
  if (error !== undefined) throw error
}

/** Throws the error of {@link unknownKey}. */
export const checkKeys = (what: string, record: object, known: ReadonlyArray<string>): void =>
  orThrow(unknownKey(what, record, known))

/** The same for each name of a list. */
export const checkNames = (what: string, names: ReadonlyArray<string>, known: ReadonlyArray<string>): void =>
  names.forEach((name) => orThrow(unknownName(what, name, known, names)))

/** All properties of a type, of which the compiler knows if one is missing. */
export type AllKeys<A> = { readonly [K in keyof Required<A>]: true }

/** A list of them. */
export const keysOf = <A>(keys: AllKeys<A>): ReadonlyArray<string> => Object.keys(keys)
