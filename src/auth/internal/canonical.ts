/** Canonicalization (RFC 6376 3.4): the bytes of a message that a signature covers. */
import { createHash, type Hash } from "node:crypto"

export type Canonicalization = "relaxed" | "simple"

/** A header field of one line or several, without its last CR LF; one character a byte. */
export const canonicalField = (line: string, how: Canonicalization): string => {
  if (how === "simple") return line
  const colon = line.indexOf(":")
  const name = line.slice(0, colon).replace(/[A-Z]/g, (letter) => letter.toLowerCase()).replace(/[ \t]+$/, "")
  const value = line.slice(colon + 1).replace(/\r\n/g, "").replace(/[ \t]+/g, " ").replace(/^ | $/g, "")
  return `${name}:${value}`
}

const tab = 9
const lf = 10
const cr = 13
const space = 32

/**
 * The hash of a body that comes in pieces. Empty lines at the end do not count, so line ends wait until something follows. In
 * relaxed form the same holds for spaces at the end of a line.
 */
export class BodyHash {
  private readonly relaxed: boolean
  private readonly hash: Hash = createHash("sha256")
  private buffer = new Uint8Array(8192)
  private filled = 0
  /** Line ends that wait. */
  private lines = 0
  private spaces = false
  private carriageReturn = false
  /** Whether there has been anything but line ends. */
  private content = false

  constructor(how: Canonicalization) {
    this.relaxed = how === "relaxed"
  }

  update(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.carriageReturn) {
        this.carriageReturn = false
        if (byte !== lf) this.put(cr)
      }
      if (byte === lf) {
        // Spaces before a line end do not count. Verifiers do not mind a missing CR.
        this.spaces = false
        this.lines++
      } else if (byte === cr) this.carriageReturn = true
      else if (this.relaxed && (byte === space || byte === tab)) this.spaces = true
      else this.put(byte)
    }
  }

  /** Base64. */
  digest(): string {
    if (this.carriageReturn) this.put(cr)
    // An empty body counts as an empty line in simple form, and as nothing in relaxed form.
    if (this.content || !this.relaxed) {
      this.write(cr)
      this.write(lf)
    }
    this.flush()
    return this.hash.digest("base64")
  }

  private put(byte: number): void {
    this.content = true
    for (; this.lines > 0; this.lines--) {
      this.write(cr)
      this.write(lf)
    }
    if (this.spaces) {
      this.spaces = false
      this.write(space)
    }
    this.write(byte)
  }

  private write(byte: number): void {
    if (this.filled === this.buffer.length) this.flush()
    this.buffer[this.filled++] = byte
  }

  private flush(): void {
    this.hash.update(this.buffer.subarray(0, this.filled))
    this.filled = 0
  }
}
