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
const closest = (key: string, known: ReadonlyArray<string>): string | undefined => {
  const given = key.toLowerCase()
  if (given.length > maxLength) return undefined
  const byDistance = known.map((candidate) => ({ candidate, off: distance(given, candidate.toLowerCase()) }))
    .filter(({ candidate, off }) => off <= 2 && off < candidate.length / 2)
    .toSorted((a, b) => a.off - b.off)
  return byDistance[0]?.candidate ?? known.find((candidate) => {
    const other = candidate.toLowerCase()
    return given.length > 2 && (isWithin(other, given) || isWithin(given, other))
  })
}

/** Words what to do about a name that is not known. Names in `taken` are not suggested. */
export const suggestion = (key: string, known: ReadonlyArray<string>, taken: ReadonlyArray<string> = []): string => {
  const meant = closest(key, known.filter((candidate) => !taken.includes(candidate)))
  return `${meant === undefined ? "" : `did you mean ${meant}? `}(known: ${known.join(", ")})`
}

/**
 * Finds a key of the record that is not known: a misspelt name would be ignored without a word. `kind` says what a key is, such
 * as `stage`; `what` and `value` name the owner of the record.
 */
export const unknownKey = (
  record: object,
  known: ReadonlyArray<string>,
  kind: string,
  { value, what }: { readonly what: string; readonly value: string }
): InvalidValue | undefined => {
  const keys = Object.keys(record)
  const key = keys.find((key) => !known.includes(key))
  return key === undefined ? undefined : new InvalidValue({
    what,
    value,
    reason: `${JSON.stringify(key)} is not ${kind}: ${suggestion(key, known, keys)}`
  })
}
