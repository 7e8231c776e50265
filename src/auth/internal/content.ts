/** Header and body of a message as they pass, as the bytes that signatures cover. */
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import { PassThrough, type Readable } from "node:stream"
import { LineEnds } from "../../internal/bytes/lineEnds.ts"
import { Step } from "../../Negotiation.ts"
import type { Header, Session } from "../../Stage.ts"

/** A header field as it stands in the message, one character a byte: folds are CR LF, and a CR LF ends it. */
export interface Field {
  /** In lower case, without space in front of the colon. */
  readonly name: string
  readonly line: string
}

/** The bytes of a field. If the MTA does not show the space after the colon, one is assumed: almost all fields have it. */
export const fieldOf = ({ name, raw }: Header, { agreed }: Session): Field => ({
  name: name.trimEnd().toLowerCase(),
  line: `${name}:${(agreed.steps & Step.leadingSpace) === 0 ? " " : ""}${raw.replace(/\r?\n/g, "\r\n")}\r\n`
})

/**
 * - `piece`: bytes that mailauth gets at once
 * - `line`: the longest line. mailauth keeps a line until its end, and scans it from the beginning again for each piece
 */
const limits = { piece: 2 ** 12, line: 2 ** 18 }

/** Gives other connections their turn. */
const turn: Effect.Effect<void> = Effect.callback((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

const lf = 10

/** A message on its way into mailauth, which reads it as a stream: at most a line and some pieces of the body are in memory. */
export class Feed {
  private readonly stream = new PassThrough()
  private readonly lineEnds = new LineEnds()
  /** The line that has not ended yet. */
  private line: Array<Uint8Array> = []
  private lineLength = 0
  /** Why not all of the body is read. */
  tooLarge: string | undefined

  constructor(header: Uint8Array) {
    // An error without a listener would end the process.
    this.stream.on("error", () => undefined)
    this.stream.write(header)
  }

  get readable(): Readable {
    return this.stream
  }

  /** Passes whole lines on, in pieces. Completes when there is room for more. */
  body(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.tooLarge !== undefined || this.stream.destroyed) return Effect.void
      // Line ends become CR LF: with LF alone mailauth would take each line for a piece of its own.
      const text = this.lineEnds.next(bytes)
      const end = text.lastIndexOf(lf) + 1
      const whole = end === 0 ? undefined : Buffer.concat([...this.line, text.subarray(0, end)])
      if (end > 0) {
        this.line = []
        this.lineLength = 0
      }
      // A copy, since the hook's bytes are a view of a buffer that is written again.
      this.line.push(text.slice(end))
      this.lineLength += text.length - end
      const longest = this.lineLength > limits.line
      if (longest) this.line = []
      return Effect.andThen(
        whole === undefined ? Effect.void : this.pieces(whole, 0),
        longest ? Effect.sync(() => this.giveUp()) : Effect.void
      )
    })
  }

  end(): void {
    if (this.stream.destroyed || this.tooLarge !== undefined) return
    for (const rest of this.line) this.stream.write(rest)
    this.stream.end()
  }

  close(): void {
    this.stream.destroy()
  }

  private pieces(whole: Uint8Array, from: number): Effect.Effect<void> {
    if (from === whole.length || this.stream.destroyed || this.tooLarge !== undefined) return Effect.void
    let to = whole.lastIndexOf(lf, from + limits.piece - 1) + 1
    // A line that is longer than a piece.
    if (to <= from) to = whole.indexOf(lf, from) + 1
    if (to - from > limits.line) return Effect.sync(() => this.giveUp())
    return this.write(whole.subarray(from, to)).pipe(
      Effect.andThen(turn),
      Effect.andThen(Effect.suspend(() => this.pieces(whole, to)))
    )
  }

  private write(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const { stream } = this
      if (stream.destroyed || stream.write(bytes)) return resume(Effect.void)
      const done = (): void => {
        stream.off("drain", done)
        stream.off("close", done)
        resume(Effect.void)
      }
      // The stream closes when nothing reads it any more.
      stream.on("drain", done)
      stream.on("close", done)
      return Effect.sync(done)
    })
  }

  /** Ends with random bytes in place of the rest, which no signature covers; one with `l` may end before them. */
  private giveUp(): void {
    this.tooLarge = "line too long"
    this.stream.end(randomBytes(32))
  }
}
