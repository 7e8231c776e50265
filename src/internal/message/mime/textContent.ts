/** Reads what must be known of a text part before an edit, in one pass over its decoded content. */
import * as Effect from "effect/Effect"
import * as latin1 from "../../bytes/latin1.ts"
import { type HtmlPositions, HtmlScan } from "./htmlPositions.ts"
import { type Mark, markOfLine } from "./marks.ts"
import { plainParameter } from "./partHeader.ts"
import { loadSaxParser } from "./peers.ts"
import type { Pieces } from "./pieces.ts"
import type { Entity } from "./structure.ts"
import { isAsciiCompatible, isIso2022 } from "./textCharset.ts"
import { type Decoder, decoderFor, encodingOf } from "./transfer.ts"

export interface TextContent {
  /** Decoded bytes. */
  readonly length: number
  /** False if programs differ in how they decode it. */
  readonly isValid: boolean
  readonly isEmpty: boolean
  /** True if all bytes are ASCII. */
  readonly isAscii: boolean
  readonly endsInLine: boolean
  readonly endsInSpace: boolean
  readonly isPgp: boolean
  readonly marks: ReadonlyArray<Mark>
  /** The banners that some quoted text shows. */
  readonly named: ReadonlySet<string>
  /** Undefined for plain text, and if it could not be read. */
  readonly html: HtmlPositions | undefined
}

export const labelOf = ({ typeField }: Entity): string => plainParameter(typeField, "charset")?.trim() ?? ""

/** Hands the decoded content to `use` in pieces; of an encoding that is not standard, the bytes as they are. */
export const decoded = (
  body: Pieces,
  entity: Entity,
  use: (bytes: Uint8Array) => Effect.Effect<void>,
  decoder: Decoder = decoderFor(encodingOf(entity.encoding) ?? "identity"),
  start = entity.bodyStart
): Effect.Effect<void> =>
  Effect.andThen(
    body.forEachEffect(start, entity.bodyEnd, (bytes) => Effect.suspend(() => use(decoder.push(bytes)))),
    Effect.suspend(() => use(decoder.end()))
  )

const lf = 10

export const textContentOf = Effect.fnUntraced(function*(body: Pieces, entity: Entity) {
  const isHtml = entity.type === "text/html"
  const label = labelOf(entity)
  const decoder = decoderFor(encodingOf(entity.encoding) ?? "identity")
  const html = isHtml && (isAsciiCompatible(label) || isIso2022(label))
    ? new HtmlScan(yield* loadSaxParser)
    : undefined
  const mask = isIso2022(label) ? new EscapeMask() : undefined
  const lines = new Lines(isHtml)
  let length = 0
  let last = lf
  let beforeEnd = 0
  let isAscii = true
  yield* decoded(body, entity, (bytes) => {
    if (bytes.length === 0) return Effect.void
    length += bytes.length
    const end = lastBytesOf(bytes)
    if (end.last !== undefined) beforeEnd = end.last
    last = bytes[bytes.length - 1]!
    isAscii &&= !hasHighByte(bytes)
    const text = latin1.slice(bytes, 0, bytes.length)
    lines.push(text)
    return html === undefined ? Effect.void : html.write(mask === undefined ? text : mask.next(text))
  }, decoder)
  lines.end()
  const positions = html === undefined ? undefined : yield* html.end(length)
  const content: TextContent = {
    length,
    isValid: decoder.isValid || entity.encoding === "quoted-printable",
    isEmpty: length === 0,
    isAscii,
    endsInLine: last === lf,
    endsInSpace: beforeEnd === 32,
    isPgp: lines.isPgp,
    marks: isHtml ? positions?.marks ?? [] : lines.marks,
    named: isHtml ? positions?.named ?? new Set() : new Set(lines.marks.map(({ id }) => id)),
    html: positions
  }
  return content
})

export const hasHighByte = (bytes: Uint8Array): boolean => {
  for (const byte of bytes) if (byte > 127) return true
  return false
}

/** The last byte before line ends. */
const lastBytesOf = (bytes: Uint8Array): { readonly last: number | undefined } => {
  let at = bytes.length - 1
  while (at >= 0 && (bytes[at] === lf || bytes[at] === 13)) at--
  return { last: bytes[at] }
}

/** Longer lines are neither marks nor armor. */
const mostLine = 400

const armor = /^-----BEGIN PGP (?:SIGNED )?MESSAGE-----\s*$/

/** Finds lines that matter in pieces of a text. */
class Lines {
  readonly marks: Array<Mark> = []
  isPgp = false
  private readonly isHtml: boolean
  private rest = ""
  private isLong = false
  private at = 0

  constructor(isHtml: boolean) {
    this.isHtml = isHtml
  }

  push(text: string): void {
    let from = 0
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      this.add(text.slice(from, Math.min(end + 1, from + mostLine)), end + 1 - from)
      this.finish()
      from = end + 1
    }
    this.add(text.slice(from, from + mostLine), text.length - from)
  }

  end(): void {
    this.finish()
  }

  private length = 0

  private add(start: string, length: number): void {
    this.length += length
    if (this.length > mostLine) this.isLong = true
    else this.rest += start
  }

  private finish(): void {
    const { isHtml, isLong, length, rest } = this
    if (!isLong && !isHtml && rest !== "") {
      if (rest.startsWith("-----BEGIN PGP ") && armor.test(rest)) this.isPgp = true
      const mark = markOfLine(rest, this.at, length)
      if (mark !== undefined) this.marks.push(mark)
    }
    this.at += length
    this.rest = ""
    this.isLong = false
    this.length = 0
  }
}

/** Hides the bytes between escape sequences of ISO-2022-JP, which may look like tags; the length stays. */
class EscapeMask {
  private isAscii = true
  private escape = ""

  next(text: string): string {
    const out: Array<string> = []
    for (const character of text) {
      if (character === "\x1b") this.escape = character
      else if (this.escape !== "") {
        this.escape += character
        // ESC ( F, ESC $ F and ESC $ ( F
        if (this.escape.length === 4 || (this.escape.length === 3 && !this.escape.endsWith("$("))) {
          this.isAscii = this.escape === "\x1b(B" || this.escape === "\x1b(J"
          this.escape = ""
        }
      }
      out.push(this.isAscii && this.escape === "" ? character : character >= " " ? "x" : character)
    }
    return out.join("")
  }
}
