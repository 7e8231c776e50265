/** Storage for a new body until it is complete: in memory, and above a limit in a file. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { concat } from "./concat.ts"

/** A temporary file that is removed when it is closed or when the process ends. Failures are defects: no peer causes them. */
export interface TemporaryFile {
  readonly append: (bytes: Uint8Array) => Effect.Effect<void>
  readonly read: (position: number, length: number) => Effect.Effect<Uint8Array>
  readonly close: Effect.Effect<void>
}

export type OpenFile = Effect.Effect<TemporaryFile>

/** The function with which hooks open files; the server that runs the hooks provides it. */
export const Files = Context.Reference<OpenFile | undefined>("effect-milter/internal/Files", {
  defaultValue: () => undefined
})

/** Most bytes of a body kept in memory. */
const mostInMemory = 262_144

export class Spool {
  private readonly openFile: OpenFile | undefined
  private readonly inMemory: number
  private chunks: Array<Uint8Array> = []
  private file: TemporaryFile | undefined
  private isClosed = false
  length = 0

  /** Without `openFile` (tests in memory, sockets other than Node's) the whole body stays in memory. */
  constructor(openFile: OpenFile | undefined, inMemory = mostInMemory) {
    this.openFile = openFile
    this.inMemory = inMemory
  }

  append(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.length += bytes.length
      if (this.file !== undefined) return this.file.append(bytes)
      // Copied: the filter may reuse the buffer before the answer is written.
      this.chunks.push(bytes.slice())
      return this.length > this.inMemory && this.openFile !== undefined ? this.moveToFile(this.openFile) : Effect.void
    })
  }

  private moveToFile(openFile: OpenFile): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.uninterruptible(Effect.tap(openFile, (file) => {
        this.file = file
        // The spool was closed while the file was being opened: `close` cannot have closed the file.
        return this.isClosed ? file.close : Effect.void
      })),
      (file) => {
        const { chunks } = this
        this.chunks = []
        return Effect.forEach(chunks, (chunk) => file.append(chunk), { discard: true })
      }
    )
  }

  /** At most this many bytes from a position on. */
  read(start: number, maximum: number): Effect.Effect<Uint8Array> {
    return Effect.suspend(() => {
      const length = Math.min(maximum, this.length - start)
      if (this.file !== undefined) return this.file.read(start, length)
      if (this.chunks.length > 1) this.chunks = [concat(this.chunks)]
      return Effect.succeed(this.chunks[0]?.subarray(start, start + length) ?? new Uint8Array(0))
    })
  }

  /** Hands the contents to `write` in pieces of at most this many bytes; one empty piece if there is nothing. */
  pieces(maximum: number, write: (piece: Uint8Array) => Effect.Effect<void>): Effect.Effect<void> {
    if (this.length === 0) return write(new Uint8Array(0))
    return Effect.forEach(
      starts(this.length, maximum),
      (start) => Effect.flatMap(this.read(start, maximum), write),
      { discard: true }
    )
  }

  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.chunks = []
      this.isClosed = true
      return this.file?.close ?? Effect.void
    })
  }
}

const starts = function*(length: number, step: number): Generator<number> {
  for (let start = 0; start < length; start += step) yield start
}
