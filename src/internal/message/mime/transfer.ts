/** Decodes and encodes Content-Transfer-Encoding in pieces, and maps offsets of decoded bytes to encoded ones. */
import * as latin1 from "../../bytes/latin1.ts"

export type Encoding = "identity" | "quoted-printable" | "base64"

/** Undefined for an encoding that is not standard. */
export const encodingOf = (name: string): Encoding | undefined =>
  name === "base64" || name === "quoted-printable"
    ? name
    : name === "7bit" || name === "8bit" || name === "binary"
    ? "identity"
    : undefined

/** Takes encoded bytes in pieces and gives decoded ones. */
export interface Decoder {
  readonly push: (bytes: Uint8Array) => Uint8Array
  readonly end: () => Uint8Array
  /** False once there was something that other programs may read differently. */
  readonly isValid: boolean
}

/**
 * Makes a decoder. `wanted`: offsets of decoded bytes, in order; `found` gets for each the offset of the encoded bytes that
 * stand for it, or the offset of the end.
 */
export const decoderFor = (
  encoding: Encoding,
  wanted: ReadonlyArray<number> = [],
  found: Array<number> = []
): Decoder => {
  switch (encoding) {
    case "identity":
      return new Identity(wanted, found)
    case "quoted-printable":
      return new QuotedPrintableDecoder(wanted, found)
    case "base64":
      return new Base64Decoder(wanted, found)
  }
}

const noBytes = new Uint8Array(0)

class Identity implements Decoder {
  readonly isValid = true
  constructor(wanted: ReadonlyArray<number>, found: Array<number>) {
    found.push(...wanted)
  }
  push(bytes: Uint8Array): Uint8Array {
    return bytes
  }
  end(): Uint8Array {
    return noBytes
  }
}

const cr = 13
const lf = 10
const space = 32
const tab = 9
const equals = 61

const hexValue = (byte: number): number =>
  byte >= 48 && byte <= 57
    ? byte - 48
    : byte >= 65 && byte <= 70
    ? byte - 55
    : byte >= 97 && byte <= 102
    ? byte - 87
    : -1

/** Most bytes that wait for what follows them: white space at the end of a line, an unfinished `=XX`. */
const mostPending = 1024

class QuotedPrintableDecoder implements Decoder {
  private readonly wanted: ReadonlyArray<number>
  private readonly found: Array<number>
  /** White space that counts only if something follows it in the line, or `=` and what follows it. */
  private pending: Array<number> = []
  private pendingAt = 0
  private rawAt = 0
  private count = 0
  private out = noBytes
  private length = 0
  isValid = true

  constructor(wanted: ReadonlyArray<number>, found: Array<number>) {
    this.wanted = wanted
    this.found = found
  }

  push(bytes: Uint8Array): Uint8Array {
    this.out = new Uint8Array(bytes.length + this.pending.length)
    this.length = 0
    for (const byte of bytes) this.take(byte)
    return this.out.subarray(0, this.length)
  }

  end(): Uint8Array {
    this.out = new Uint8Array(this.pending.length)
    this.length = 0
    // White space at the end is not content; a soft line break without its line end is one all the same.
    if (this.pending[0] === equals && this.pending.length > 1) this.literal()
    this.pending = []
    while (this.found.length < this.wanted.length) this.found.push(this.rawAt)
    return this.out.subarray(0, this.length)
  }

  private emit(byte: number, rawAt: number): void {
    while (this.found.length < this.wanted.length && this.wanted[this.found.length]! <= this.count) {
      this.found.push(rawAt)
    }
    this.out[this.length++] = byte
    this.count++
  }

  /** The pending bytes were content. */
  private literal(): void {
    const { pending, pendingAt } = this
    if (pending[0] === equals) this.isValid = false
    pending.forEach((byte, index) => this.emit(byte, pendingAt + index))
    this.pending = []
  }

  private take(byte: number): void {
    const { pending } = this
    if (pending.length > 0 && pending[0] === equals) {
      if (this.afterEquals(byte)) {
        this.rawAt++
        return
      }
    }
    if (byte === space || byte === tab) {
      if (this.pending.length === 0) this.pendingAt = this.rawAt
      this.pending.push(byte)
      if (this.pending.length > mostPending) this.literal()
    } else if (byte === equals) {
      this.literal()
      this.pendingAt = this.rawAt
      this.pending = [byte]
    } else {
      // White space before a line end was added on the way.
      if (byte === lf || byte === cr) this.pending = []
      else this.literal()
      this.emit(byte, this.rawAt)
    }
    this.rawAt++
  }

  /** True if the byte belongs to what began with `=`. */
  private afterEquals(byte: number): boolean {
    const { pending, pendingAt } = this
    if (pending.length === 2 && hexValue(pending[1]!) >= 0) {
      const [high, low] = [hexValue(pending[1]!), hexValue(byte)]
      if (low >= 0) {
        this.pending = []
        this.emit(high * 16 + low, pendingAt)
        return true
      }
      this.literal()
      return false
    }
    if (byte === lf) {
      this.pending = []
      return true
    }
    const isBlank = byte === space || byte === tab || byte === cr
    if ((isBlank || (pending.length === 1 && hexValue(byte) >= 0)) && pending.length < mostPending) {
      pending.push(byte)
      return true
    }
    this.literal()
    return false
  }
}

const base64Values = new Int8Array(256).fill(-1)
const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
for (let index = 0; index < 64; index++) base64Values[base64Alphabet.charCodeAt(index)] = index

class Base64Decoder implements Decoder {
  /** The places are those of the groups of four that hold the wanted bytes. */
  private readonly wanted: ReadonlyArray<number>
  private readonly found: Array<number>
  private bits = 0
  private digits = 0
  private groupAt = 0
  private rawAt = 0
  private count = 0
  private isPadded = false
  isValid = true

  constructor(wanted: ReadonlyArray<number>, found: Array<number>) {
    this.wanted = wanted
    this.found = found
  }

  push(bytes: Uint8Array): Uint8Array {
    const out = new Uint8Array(Math.ceil((bytes.length + 4) / 4) * 3)
    let length = 0
    for (const byte of bytes) {
      const value = base64Values[byte]!
      if (value >= 0 && !this.isPadded) {
        if (this.digits === 0) this.groupAt = this.rawAt
        this.bits = (this.bits << 6) | value
        if (++this.digits === 4) {
          this.locate(3)
          out[length++] = (this.bits >> 16) & 255
          out[length++] = (this.bits >> 8) & 255
          out[length++] = this.bits & 255
          this.count += 3
          this.digits = 0
          this.bits = 0
        }
      } else if (byte === equals) {
        if (this.digits === 0) this.isValid = false
        this.isPadded = true
      } else if (byte !== cr && byte !== lf && byte !== space && byte !== tab) {
        // Something else, or more after the padding: some programs skip it and some stop.
        this.isValid = false
      }
      this.rawAt++
    }
    return out.subarray(0, length)
  }

  end(): Uint8Array {
    const { bits, digits } = this
    if (digits === 1) this.isValid = false
    if (digits === 0 && this.rawAt > 0) this.groupAt = this.rawAt
    const rest = digits === 2
      ? Uint8Array.of((bits >> 4) & 255)
      : digits === 3
      ? Uint8Array.of((bits >> 10) & 255, (bits >> 2) & 255)
      : noBytes
    while (this.found.length < this.wanted.length) this.found.push(this.groupAt)
    return rest
  }

  private locate(size: number): void {
    while (this.found.length < this.wanted.length && this.wanted[this.found.length]! < this.count + size) {
      this.found.push(this.groupAt)
    }
  }
}

/** Takes bytes in pieces and gives encoded ones. */
export interface Encoder {
  readonly push: (bytes: Uint8Array) => Uint8Array
  readonly end: () => Uint8Array
}

const bytesOf = (text: string): Uint8Array => {
  const bytes = new Uint8Array(text.length)
  latin1.write(bytes, text, 0)
  return bytes
}

/** Bytes in a full line: 76 characters. */
const lineBytes = 57

/** Lines of 76 characters, the last one with a line end too. */
export class Base64Encoder implements Encoder {
  private rest = noBytes

  push(bytes: Uint8Array): Uint8Array {
    const all = new Uint8Array(this.rest.length + bytes.length)
    all.set(this.rest)
    all.set(bytes, this.rest.length)
    const whole = all.length - all.length % lineBytes
    this.rest = all.slice(whole)
    const lines: Array<string> = []
    for (let at = 0; at < whole; at += lineBytes) lines.push(btoa(latin1.slice(all, at, at + lineBytes)), "\r\n")
    return bytesOf(lines.join(""))
  }

  end(): Uint8Array {
    return this.rest.length === 0 ? noBytes : bytesOf(`${btoa(latin1.slice(this.rest, 0, this.rest.length))}\r\n`)
  }
}

/** Most characters in a line of quoted-printable, without the `=` of a soft line break. */
const lineLength = 75

const hex = (byte: number): string => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`

/** CR LF stays a line end; white space before it and all that is not printable ASCII is encoded. */
export class QuotedPrintableEncoder implements Encoder {
  private column = 0
  /** White space or CR whose form depends on what follows. */
  private held: number | undefined
  private out: Array<string> = []

  push(bytes: Uint8Array): Uint8Array {
    for (const byte of bytes) this.take(byte)
    const text = this.out.join("")
    this.out = []
    return bytesOf(text)
  }

  end(): Uint8Array {
    if (this.held !== undefined) this.write(hex(this.held))
    this.held = undefined
    const text = this.out.join("")
    this.out = []
    return bytesOf(text)
  }

  private take(byte: number): void {
    const { held } = this
    this.held = undefined
    if (held === cr && byte === lf) {
      this.out.push("\r\n")
      this.column = 0
      return
    }
    if (held !== undefined) {
      // White space stays itself but at the end of a line, where it would be lost.
      this.write(held === cr || byte === cr || byte === lf ? hex(held) : String.fromCharCode(held))
    }
    if (byte === space || byte === tab || byte === cr) this.held = byte
    else this.write(byte > space && byte < 127 && byte !== equals ? String.fromCharCode(byte) : hex(byte))
  }

  private write(text: string): void {
    if (this.column + text.length > lineLength) {
      this.out.push("=\r\n")
      this.column = 0
    }
    this.out.push(text)
    this.column += text.length
  }
}
