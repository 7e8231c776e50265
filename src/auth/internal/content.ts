/** Header and body of a message as they pass, in the bytes that signatures are about. */
import * as Effect from "effect/Effect"
import { PassThrough, type Readable } from "node:stream"
import { Step } from "../../Negotiation.ts"
import type { Header, Session } from "../../Stage.ts"

/** A header field as it stands in the message, one character a byte: folds are CR LF, and a CR LF ends it. */
export interface Field {
  /** In lower case, without space in front of the colon. */
  readonly name: string
  readonly line: string
}

/** Where the space behind the colon was not left to the filter, one is taken for granted: almost all fields have it. */
export const fieldOf = ({ name, raw }: Header, { agreed }: Session): Field => ({
  name: name.trimEnd().toLowerCase(),
  line: `${name}:${(agreed.steps & Step.leadingSpace) === 0 ? " " : ""}${raw.replace(/\r?\n/g, "\r\n")}\r\n`
})

/**
 * Most that mailauth is given to parse. It takes the square of the number of lines in a field (10 s for 50000 of them), of
 * the length of a Received field and of a line in the body; real mail is far below.
 */
const limits = { headerBytes: 2 ** 18, fieldLines: 4000, bodyLine: 2 ** 20, signatures: 20 }

const linesIn = (line: string): number => {
  let count = 0
  for (let at = line.indexOf("\n"); at !== -1; at = line.indexOf("\n", at + 1)) count++
  return count
}

/** The header of a message, as far as it can be read: signatures beyond the limit are left out. */
export class HeaderBlock {
  /** Why it cannot be read. */
  tooLarge: string | undefined
  private lines: Array<string> = []
  private length = 0
  private signatures = 0

  add({ line, name }: Field): void {
    if (this.tooLarge !== undefined || (name === "dkim-signature" && ++this.signatures > limits.signatures)) return
    this.length += line.length
    if (this.length > limits.headerBytes || linesIn(line) > limits.fieldLines) {
      this.tooLarge = "header too large"
      this.lines = []
    } else this.lines.push(line)
  }

  /** With the empty line behind it. */
  get bytes(): Uint8Array {
    return Buffer.from(`${this.lines.join("")}\r\n`, "latin1")
  }
}

/** A message on its way into mailauth, which reads it as a stream: at most a line and some pieces of the body are in memory. */
export class Feed {
  private readonly stream = new PassThrough()
  /** Length of the line that has not ended yet. */
  private line = 0
  /** Why this message cannot be read. */
  tooLarge: string | undefined

  constructor(header: HeaderBlock) {
    // An error without a listener would end the process.
    this.stream.on("error", () => undefined)
    if (header.tooLarge === undefined) this.stream.write(header.bytes)
    else this.giveUp(header.tooLarge)
  }

  get readable(): Readable {
    return this.stream
  }

  /** Completes when there is room for more. */
  body(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const { stream } = this
      const last = bytes.lastIndexOf(10)
      this.line = last === -1 ? this.line + bytes.length : bytes.length - last - 1
      if (this.line > limits.bodyLine) this.giveUp("line too long")
      // Copied: the hook's bytes are the socket's.
      if (stream.destroyed || stream.write(Buffer.from(bytes))) return resume(Effect.void)
      const done = (): void => {
        stream.off("drain", done)
        stream.off("close", done)
        resume(Effect.void)
      }
      // It closes when nobody reads any more.
      stream.on("drain", done)
      stream.on("close", done)
      return Effect.sync(done)
    })
  }

  end(): void {
    if (!this.stream.destroyed) this.stream.end()
  }

  close(): void {
    this.stream.destroy()
  }

  private giveUp(reason: string): void {
    this.tooLarge = reason
    this.close()
  }
}
