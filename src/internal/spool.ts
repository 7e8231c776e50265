/** Where a new body waits until it is complete: in memory, and past a limit in a file. */
import * as Effect from "effect/Effect"

/** A temporary file that is gone when it is closed, or when the process is. Failures are defects: the disk is ours. */
export interface TemporaryFile {
  readonly append: (bytes: Uint8Array) => Effect.Effect<void>
  readonly read: (position: number, length: number) => Effect.Effect<Uint8Array>
  readonly close: Effect.Effect<void>
}

export type OpenFile = Effect.Effect<TemporaryFile>

/** Most bytes of a body kept in memory. */
const inMemory = 262_144

export class Spool {
  private readonly openFile: OpenFile | undefined
  private chunks: Array<Uint8Array> = []
  private file: TemporaryFile | undefined
  length = 0

  /** Without files (tests in memory, an MTA's socket that is none of Node's) all stays in memory. */
  constructor(openFile: OpenFile | undefined) {
    this.openFile = openFile
  }

  append(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.length += bytes.length
      if (this.file !== undefined) return this.file.append(bytes)
      // Copied: its author may reuse the buffer before the answer is written.
      this.chunks.push(bytes.slice())
      return this.length > inMemory && this.openFile !== undefined ? this.moveToFile(this.openFile) : Effect.void
    })
  }

  private moveToFile(openFile: OpenFile): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.uninterruptible(Effect.tap(openFile, (file) => {
        this.file = file
        return Effect.void
      })),
      (file) => {
        const { chunks } = this
        this.chunks = []
        return Effect.forEach(chunks, (chunk) => file.append(chunk), { discard: true })
      }
    )
  }

  /** Hands the contents to `write` in pieces of at most this many bytes; one empty piece if there is nothing. */
  pieces(maximum: number, write: (piece: Uint8Array) => Effect.Effect<void>): Effect.Effect<void> {
    const { chunks, file, length } = this
    if (length === 0) return write(new Uint8Array(0))
    if (file === undefined) {
      const all = new Uint8Array(length)
      let at = 0
      for (const chunk of chunks) {
        all.set(chunk, at)
        at += chunk.length
      }
      return Effect.forEach(starts(length, maximum), (start) => write(all.subarray(start, start + maximum)), {
        discard: true
      })
    }
    return Effect.forEach(
      starts(length, maximum),
      (start) => Effect.flatMap(file.read(start, Math.min(maximum, length - start)), write),
      { discard: true }
    )
  }

  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.chunks = []
      return this.file?.close ?? Effect.void
    })
  }
}

const starts = function*(length: number, step: number): Generator<number> {
  for (let start = 0; start < length; start += step) yield start
}
