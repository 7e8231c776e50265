/** The line ends of a body from a filter, in the form in which an MTA shows the body to the next filter. */
import { bytesOf } from "./concat.ts"

const cr = 13
const lf = 10

/** Both CR LF and LF end a line, and become CR LF; a CR alone is a character. Takes a body in pieces cut anywhere. */
export class LineEnds {
  private afterCr = false
  private last = lf

  next(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes
    let bare = 0
    let before = this.afterCr ? cr : 0
    for (const byte of bytes) {
      if (byte === lf && before !== cr) bare++
      before = byte
    }
    const { afterCr } = this
    this.last = before
    this.afterCr = before === cr
    if (bare === 0) return bytes
    const all = new Uint8Array(bytes.length + bare)
    let at = 0
    before = afterCr ? cr : 0
    for (const byte of bytes) {
      if (byte === lf && before !== cr) all[at++] = cr
      all[at++] = byte
      before = byte
    }
    return all
  }

  /** The line end that the last line lacks; empty if it is complete. */
  get end(): Uint8Array {
    return this.last === lf ? new Uint8Array(0) : Uint8Array.of(cr, lf)
  }
}

/** Text as SMTP has it: UTF-8, and lines end with CR LF, the last one too. Bytes stay as they are. */
export const contentOf = (body: string | Uint8Array): Uint8Array => {
  if (typeof body !== "string") return body
  const lines = body.replace(/\r?\n/g, "\r\n")
  return bytesOf(lines === "" || lines.endsWith("\r\n") ? lines : `${lines}\r\n`)
}
