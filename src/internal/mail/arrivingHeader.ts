/** Finds the end of the header in a message that arrives in pieces, where `RawMessage.parse` would find it. */
import * as RawMessage from "../../RawMessage.ts"

/** The header, and the bytes of the body that have come with it. */
export interface Arrived {
  readonly headers: RawMessage.RawMessage["headers"]
  readonly rest: Uint8Array
}

const cr = 13
const lf = 10
const space = 32
const tab = 9
const colon = 58

/** `From ` begins a mailbox file. */
const mailbox = Uint8Array.from("From ", (character) => character.charCodeAt(0))

export class ArrivingHeader {
  private bytes = new Uint8Array(4096)
  private hasField = false
  /** Where the line begins whose end has not come yet. */
  private line = 0
  /** In bytes, as far as it has arrived. */
  length = 0

  /** Takes the next bytes. Gives the header once it is complete. */
  push(bytes: Uint8Array): Arrived | undefined {
    const from = this.length
    this.append(bytes)
    for (let at = from; at < this.length; at++) {
      if (this.bytes[at] !== lf) continue
      const end = this.bodyAt(at)
      if (end !== undefined) return this.cut(end)
      this.line = at + 1
    }
    return undefined
  }

  /** The message is over. */
  end(): Arrived {
    const { body, headers } = RawMessage.parse(this.bytes.subarray(0, this.length))
    return { headers, rest: body }
  }

  private append(bytes: Uint8Array): void {
    const length = this.length + bytes.length
    if (length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(length, this.bytes.length * 2))
      larger.set(this.bytes.subarray(0, this.length))
      this.bytes = larger
    }
    this.bytes.set(bytes, this.length)
    this.length = length
  }

  private cut(end: number): Arrived {
    const { headers } = RawMessage.parse(this.bytes.subarray(0, end))
    return { headers, rest: this.bytes.slice(end, this.length) }
  }

  /** Where the body begins if the line that ends here is not part of the header, or is the empty line after it. */
  private bodyAt(lineFeed: number): number | undefined {
    const { bytes, hasField, line } = this
    const end = lineFeed > line && bytes[lineFeed - 1] === cr ? lineFeed - 1 : lineFeed
    if (end === line) return lineFeed + 1
    if (bytes[line] === space || bytes[line] === tab) return hasField ? undefined : line
    if (isField(bytes, line, end)) {
      this.hasField = true
      return undefined
    }
    return line === 0 && mailbox.every((byte, at) => bytes[at] === byte) ? undefined : line
  }
}

const isField = (bytes: Uint8Array, start: number, end: number): boolean => {
  let at = start
  while (at < end && isNameByte(bytes[at]!)) at++
  if (at === start) return false
  while (at < end && (bytes[at] === space || bytes[at] === tab)) at++
  return at < end && bytes[at] === colon
}

const isNameByte = (byte: number): boolean => byte > space && byte < 127 && byte !== colon
