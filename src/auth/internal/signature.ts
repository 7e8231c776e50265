/** Makes DKIM signatures (RFC 6376). mailauth could make them, but never covers the absence of fields. */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { canonicalField, type Canonicalization } from "./canonical.ts"
import type { Field } from "./content.ts"
import type { SigningKey } from "./keyTypes.ts"
import { sign } from "./privateKey.ts"

export interface Signing {
  readonly header: Canonicalization
  readonly body: Canonicalization
  /** Names in lower case. */
  readonly fields: ReadonlyArray<string>
  readonly oversigned: ReadonlySet<string>
  readonly oversignedIfPresent: ReadonlySet<string>
}

/** The most fields of one name that are covered; no honest message has more. */
const most = 50

interface Covered {
  /** The names in the tag `h`, in its order. */
  readonly names: ReadonlyArray<string>
  readonly lines: ReadonlyArray<string>
}

/**
 * Selects the covered fields. Fields of one name are counted from the bottom (RFC 6376 5.4.2). A name that is given once more
 * than there are fields covers the absence of another.
 */
export const covered = (fields: ReadonlyArray<Field>, signing: Signing): Covered => {
  const byName = new Map<string, Array<string>>()
  for (const { line, name } of fields) {
    const lines = byName.get(name)
    if (lines === undefined) byName.set(name, [line])
    else lines.push(line)
  }
  const names: Array<string> = []
  const lines: Array<string> = []
  for (const name of signing.fields) {
    const found = (byName.get(name) ?? []).toReversed().slice(0, most)
    for (const line of found) {
      names.push(name)
      lines.push(line)
    }
    if (signing.oversigned.has(name) || (found.length > 0 && signing.oversignedIfPresent.has(name))) names.push(name)
  }
  return { names, lines }
}

/** Joins words, and breaks lines after a word where they would get longer than mail prefers. */
const wrapped = (words: ReadonlyArray<string>, separator: string): string => {
  let result = ""
  let column = 3
  for (const [index, word] of words.entries()) {
    const text = index === words.length - 1 ? word : `${word}${separator}`
    if (column + text.length > 76 && result !== "") {
      result += `\r\n\t${text}`
      column = 1 + text.length
    } else {
      result += text
      column += text.length
    }
  }
  return result
}

/** Makes the value of a DKIM-Signature field, without the space before it; folds are CR LF and a tab. Times in seconds. */
export const signature = (
  key: SigningKey,
  { lines, names }: Covered,
  { body, header }: Signing,
  { bodyHash, expires, time }: {
    readonly bodyHash: string
    readonly time: number
    readonly expires: number | undefined
  }
): Effect.Effect<string, unknown> =>
  Effect.suspend(() => {
    const unsigned = [
      `v=1; a=${key.algorithm}; c=${header}/${body}; d=${key.domain}; s=${key.selector};`,
      `t=${time}${expires === undefined ? "" : `; x=${expires}`};`,
      `h=${wrapped(names, ":")};`,
      `bh=${bodyHash};`,
      "b="
    ].join("\r\n\t")
    const data = Buffer.from(
      [
        ...lines.map((line) => `${canonicalField(line.slice(0, -2), header)}\r\n`),
        canonicalField(`DKIM-Signature: ${unsigned}`, header)
      ].join(""),
      "latin1"
    )
    return Effect.map(
      sign(key, data, createHash("sha256").update(data).digest()),
      (made) => `${unsigned}${wrapped(made.match(/.{1,70}/g) ?? [], "")}`
    )
  })
