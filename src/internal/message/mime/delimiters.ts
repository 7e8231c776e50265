/** The delimiters of multiparts: where parts can be added, and which lines would be taken for a delimiter. */
import * as Effect from "effect/Effect"
import * as byteString from "../../bytes/byteString.ts"
import * as latin1 from "../../bytes/latin1.ts"
import type { Pieces } from "./pieces.ts"
import { type Entity, leavesOf } from "./structure.ts"

export interface MixedPlaces {
  /** The first delimiter line. */
  readonly first: number
  /** The last delimiter line, `--boundary--`. */
  readonly last: number
}

/** The longest delimiter line: 70 characters of boundary, and white space as far as a line goes. */
const mostDelimiter = 2048

const hasSameBoundary = (root: Entity): boolean => {
  const waiting = [...root.children]
  for (let entity = waiting.pop(); entity !== undefined; entity = waiting.pop()) {
    if (entity.boundary === root.boundary) return true
    waiting.push(...entity.children)
  }
  return false
}

/** Undefined if the delimiters are not where they should be: then parts are added around the multipart, not in it. */
export const mixedPlacesOf = Effect.fnUntraced(function*(
  body: Pieces,
  root: Entity
): Effect.fn.Return<MixedPlaces | undefined> {
  const { boundary, children } = root
  if (children.length === 0 || boundary === "" || hasSameBoundary(root)) return undefined
  const { headerStart } = children[0]!
  const from = Math.max(0, headerStart - mostDelimiter)
  const before = byteString.fromBytes(yield* body.bytes(from, headerStart))
  const line = before.lastIndexOf("\n", before.length - 2) + 1
  if (!before.startsWith(`--${boundary}`, line)) return undefined
  const last = yield* closeOf(body, boundary, leavesOf(root).at(-1)!.bodyEnd)
  return last === undefined ? undefined : { first: from + line, last }
})

const closeOf = (body: Pieces, boundary: string, from: number): Effect.Effect<number | undefined> =>
  Effect.suspend(() => {
    const delimiter = `--${boundary}--`
    let rest = ""
    let restAt = from
    let found: number | undefined
    const lines = (text: string, isEnd: boolean): void => {
      let at = 0
      while (found === undefined) {
        const end = text.indexOf("\n", at)
        if (end === -1 && !isEnd) break
        const line = text.slice(at, end === -1 ? undefined : end)
        if (line.startsWith(delimiter) && line.slice(delimiter.length).trim() === "") found = restAt + at
        if (end === -1) break
        at = end + 1
      }
      restAt += at
      rest = text.slice(at)
      // A line of this length is not a delimiter, and nothing in the rest of the line can be one.
      if (rest.length > mostDelimiter) {
        restAt += rest.length - mostDelimiter
        rest = "x".repeat(mostDelimiter)
      }
    }
    return Effect.map(
      body.forEach(from, body.length, (bytes) => {
        lines(rest + latin1.slice(bytes, 0, bytes.length), false)
        return found === undefined
      }),
      () => {
        if (found === undefined) lines(rest, true)
        return found
      }
    )
  })

/** The boundaries of all multiparts around a part. */
export const boundariesAbove = (entity: Entity): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let above = entity.parent; above !== undefined; above = above.parent) {
    if (above.boundary !== "") found.push(above.boundary)
  }
  return found
}

const isTaken = (text: string, boundaries: ReadonlyArray<string>): boolean =>
  boundaries.some((boundary) => text.includes(`\n--${boundary}`))

/** Whether one of the lines would be taken for a delimiter. */
export const isDelimited = (bytes: Uint8Array, boundaries: ReadonlyArray<string>): boolean =>
  isTaken(`\n${latin1.slice(bytes, 0, bytes.length)}`, boundaries)

/** The same for bytes of any length. */
export const hasDelimiter = (pieces: Pieces, boundaries: ReadonlyArray<string>): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const longest = Math.max(0, ...boundaries.map(({ length }) => length)) + 3
    let tail = "\n"
    let found = false
    return Effect.map(
      boundaries.length === 0 ? Effect.void : pieces.forEach(0, pieces.length, (bytes) => {
        const text = tail + latin1.slice(bytes, 0, bytes.length)
        found ||= isTaken(text, boundaries)
        tail = text.slice(-longest)
        return !found
      }),
      () => found
    )
  })
