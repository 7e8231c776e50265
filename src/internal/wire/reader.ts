/** Reads the fields of a packet, and the errors of reading. Re-exported by `Wire` and `Packet`. */
import * as Data from "effect/Data"
import type * as Frame from "../../Frame.ts"
import * as byteString from "../bytes/byteString.ts"

/**
 * A frame whose bytes are not a packet: a string without its NUL, a field that is missing, an unknown code.
 *
 * `offset` is the place in bytes from the start of the stream, as in `FrameError`; `expected` says what should have been
 * there; `command` is the name of the packet (`"Mail"`), or undefined if the code is unknown.
 *
 * @category errors
 * @since 0.1.0
 */
export class PacketError extends Data.TaggedError("PacketError")<{
  readonly offset: number
  readonly expected: string
  readonly command: string | undefined
}> {
  override get message(): string {
    return `${this.command ?? "Packet"}: expected ${this.expected} at byte ${this.offset}`
  }
}

/**
 * Something in a packet that was ignored because real peers tolerate it, too: bytes after the last field, a macro name
 * without its value. The packet was decoded without it.
 *
 * `offset` is the place in bytes from the start of the stream, `command` the name of the packet.
 *
 * @category models
 * @since 0.1.0
 */
export interface PacketWarning {
  readonly _tag: "PacketWarning"
  readonly offset: number
  readonly command: string
  readonly message: string
}

const noBytes = new Uint8Array(0)

/**
 * A cursor over the payload of one frame. Fields read through it; a missing byte or NUL throws {@link PacketError}.
 *
 * @category models
 * @since 0.1.0
 */
export class Reader {
  /** The bytes that hold the payload. */
  bytes: Uint8Array = noBytes
  /** Where in `bytes` the next field begins. */
  offset = 0
  /** Where in `bytes` the payload ends. */
  limit = 0
  /** Warnings about what was ignored in this packet; undefined if nothing was. */
  warnings: Array<PacketWarning> | undefined = undefined

  // The place in the stream of index 0 of `bytes`.
  private shift = 0
  private command = ""

  /** Starts with another frame; `command` is for errors and warnings. */
  reset(frame: Frame.Frame, command: string): void {
    this.bytes = frame.bytes
    this.offset = frame.offset
    this.limit = frame.limit
    this.warnings = undefined
    this.shift = frame.position + 5 - frame.offset
    this.command = command
  }

  /** Throws a {@link PacketError}: `expected` should be at `at`. */
  fail(expected: string, at = this.offset): never {
    throw new PacketError({ offset: at + this.shift, expected, command: this.command })
  }

  /** Notes that something at `at` is ignored. */
  warn(message: string, at = this.offset): void {
    const warning: PacketWarning = { _tag: "PacketWarning", offset: at + this.shift, command: this.command, message }
    if (this.warnings === undefined) this.warnings = [warning]
    else this.warnings.push(warning)
  }

  /** One byte. */
  u8(): number {
    if (this.offset >= this.limit) this.fail("a byte")
    return this.bytes[this.offset++]!
  }

  /** Two bytes, the higher first. */
  u16(): number {
    const { bytes, offset } = this
    if (offset + 2 > this.limit) this.fail("two bytes")
    this.offset = offset + 2
    return (bytes[offset]! << 8) | bytes[offset + 1]!
  }

  /** Four bytes, the highest first. */
  u32(): number {
    const { bytes, offset } = this
    if (offset + 4 > this.limit) this.fail("four bytes")
    this.offset = offset + 4
    return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0
  }

  /** The bytes up to the next NUL, which is consumed. */
  text(): byteString.ByteString {
    const start = this.offset
    const end = this.indexOfNul()
    if (end === -1) this.fail("a string that ends with NUL")
    this.offset = end + 1
    return byteString.slice(this.bytes, start, end)
  }

  /** Reads the NUL-terminated strings of the payload; bytes after the last NUL are ignored. */
  texts(): Array<byteString.ByteString> {
    const { bytes, limit, offset } = this
    let end = limit
    while (end > offset && bytes[end - 1] !== 0) end--
    const texts: Array<byteString.ByteString> = []
    if (end - offset > 4096) {
      // A part of a string keeps the whole string in memory.
      while (this.offset < end) texts.push(this.text())
      return texts
    }
    this.offset = end
    // One string for all of them: to cut it takes V8 a tenth of the time that making a string from bytes takes.
    const all = byteString.slice(bytes, offset, end)
    for (let at = 0; at < all.length;) {
      const nul = all.indexOf("\0", at)
      // A part of a string of bytes is one.
      texts.push(byteString.cut(all, at, nul))
      at = nul + 1
    }
    return texts
  }

  private indexOfNul(): number {
    const { bytes, limit, offset } = this
    // Most strings are short, and a loop finds their end before the native `indexOf` has begun.
    const near = Math.min(limit, offset + 64)
    let at = offset
    while (at < near && bytes[at] !== 0) at++
    if (at < near) return at
    if (at === limit) return -1
    const found = bytes.indexOf(0, at)
    return found < limit ? found : -1
  }

  /** Reads the rest of the payload, as a view into the frame's bytes. */
  rest(): Uint8Array {
    const { bytes, limit, offset } = this
    this.offset = limit
    // Never a Node Buffer, as `subarray` would give: the `slice` of a Buffer is no copy, as whoever calls it takes it for.
    return offset === limit ? noBytes : new Uint8Array(bytes.buffer, bytes.byteOffset + offset, limit - offset)
  }
}
