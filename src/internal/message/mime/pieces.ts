/** A body as a list of runs of spools: an edit replaces some of its bytes and copies none of the others. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Spool } from "../../bytes/spool.ts"

/** Where bytes can be read: a spool, or a few bytes in memory. */
interface Source {
  readonly read: (start: number, most: number) => Effect.Effect<Uint8Array>
}

/** Some bytes of a source. */
export interface Piece {
  readonly source: Source
  readonly start: number
  readonly length: number
}

/** The bytes that take the place of `length` bytes at offset `at`. */
export interface Splice {
  readonly at: number
  readonly length: number
  readonly pieces: ReadonlyArray<Piece>
}

/** Most bytes of one read. */
const readSize = 65_536

const noBytes = new Uint8Array(0)

export class Pieces {
  readonly list: ReadonlyArray<Piece>
  readonly length: number
  /** Where each piece begins. */
  private readonly starts: ReadonlyArray<number>

  constructor(list: ReadonlyArray<Piece>) {
    this.list = list.filter(({ length }) => length > 0)
    let at = 0
    this.starts = this.list.map(({ length }) => {
      const start = at
      at += length
      return start
    })
    this.length = at
  }

  static of(spool: Spool): Pieces {
    return new Pieces([{ source: spool, start: 0, length: spool.length }])
  }

  /** The index of the piece that holds a byte. */
  private holder(at: number): number {
    let low = 0
    let high = this.starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.starts[middle]! <= at) low = middle
      else high = middle - 1
    }
    return low
  }

  /** At least one and at most `most` bytes from a position on; empty only at the end. */
  read(at: number, most = readSize): Effect.Effect<Uint8Array> {
    if (at >= this.length) return Effect.succeed(noBytes)
    const index = this.holder(at)
    const { length, source, start } = this.list[index]!
    const offset = at - this.starts[index]!
    return source.read(start + offset, Math.min(most, length - offset, readSize))
  }

  /** All bytes of a range that the caller knows to be small. */
  bytes(start: number, end: number): Effect.Effect<Uint8Array> {
    return Effect.suspend(() => {
      const all = new Uint8Array(Math.max(0, Math.min(end, this.length) - start))
      let at = 0
      return Effect.as(
        Effect.whileLoop({
          while: () => at < all.length,
          body: () => this.read(start + at, all.length - at),
          step: (bytes) => {
            all.set(bytes, at)
            at += bytes.length
          }
        }),
        all
      )
    })
  }

  /** Hands a range to `use` piece by piece, and lets other fibers run between them. `use` returns false to stop. */
  forEach(start: number, end: number, use: (bytes: Uint8Array, at: number) => boolean | void): Effect.Effect<void> {
    return Effect.suspend(() => {
      let at = start
      return Effect.whileLoop({
        while: () => at < end,
        body: () => Effect.andThen(Effect.yieldNow, this.read(at, Math.min(end - at, readSize))),
        step: (bytes) => {
          at = use(bytes, at) === false || bytes.length === 0 ? end : at + bytes.length
        }
      })
    })
  }

  /** The same for a `use` that is an effect. */
  forEachEffect(
    start: number,
    end: number,
    use: (bytes: Uint8Array, at: number) => Effect.Effect<void>
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      let at = start
      return Effect.whileLoop({
        while: () => at < end,
        body: () =>
          Effect.flatMap(
            Effect.andThen(Effect.yieldNow, this.read(at, Math.min(end - at, readSize))),
            (bytes) => Effect.as(use(bytes, at), bytes.length)
          ),
        step: (length) => {
          at += length
        }
      })
    })
  }

  /** The pieces that make up a range. */
  slice(start: number, end: number): ReadonlyArray<Piece> {
    const found: Array<Piece> = []
    for (let at = start, index = this.holder(at); at < end; index++) {
      const { length, source, start: from } = this.list[index]!
      const offset = at - this.starts[index]!
      const taken = Math.min(length - offset, end - at)
      found.push({ source, start: from + offset, length: taken })
      at += taken
    }
    return found
  }

  stream(start = 0, end = this.length): Stream.Stream<Uint8Array> {
    return Stream.unfold(start, (at) =>
      at >= end
        ? Effect.undefined
        : Effect.map(this.read(at, Math.min(end - at, readSize)), (bytes) => [bytes, at + bytes.length] as const))
  }

  /** This body with other bytes in some places. The splices are in order and do not overlap. */
  splice(splices: ReadonlyArray<Splice>): Pieces {
    const all: Array<Piece> = []
    let at = 0
    for (const splice of splices) {
      all.push(...this.slice(at, splice.at), ...splice.pieces)
      at = splice.at + splice.length
    }
    all.push(...this.slice(at, this.length))
    return new Pieces(all)
  }
}

/** A few bytes that are kept as they are. */
export const pieceOf = (bytes: Uint8Array): Piece => ({
  source: { read: (start, most) => Effect.succeed(bytes.subarray(start, start + most)) },
  start: 0,
  length: bytes.length
})

/** Adds bytes to a spool and gives their place. */
export const store = (spool: Spool, bytes: Uint8Array): Effect.Effect<Piece> =>
  Effect.suspend(() => {
    const start = spool.length
    return Effect.as(bytes.length === 0 ? Effect.void : spool.append(bytes), {
      source: spool,
      start,
      length: bytes.length
    })
  })
