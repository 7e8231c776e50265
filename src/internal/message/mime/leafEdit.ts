/** Edits inside a text part: finds which of its encoded bytes are replaced, and by which. */
import * as Effect from "effect/Effect"
import * as byteString from "../../bytes/byteString.ts"
import type { Spool } from "../../bytes/spool.ts"
import { hasDelimiter } from "./delimiters.ts"
import { type IconvLite, loadIconv } from "./peers.ts"
import { type Piece, Pieces, type Splice, store } from "./pieces.ts"
import type { Entity } from "./structure.ts"
import { asReferences, decoderOf, encodeText, isAscii } from "./textCharset.ts"
import { decoded, hasHighByte, labelOf, type TextContent } from "./textContent.ts"
import {
  Base64Encoder,
  decoderFor,
  type Encoder,
  type Encoding,
  encodingOf,
  QuotedPrintableEncoder
} from "./transfer.ts"

/** Text that replaces some decoded bytes. */
export interface TextEdit {
  readonly at: number
  readonly length: number
  readonly text: string
}

export interface LeafEdit {
  readonly splices: ReadonlyArray<Splice>
  /** The new charset for the part's header, if it changes. */
  readonly charset: string | undefined
  readonly encoding: "quoted-printable" | undefined
}

/** Why the text cannot be put in. */
export type Unfit = "charset" | "encoding" | "html" | "boundary"

/** Most bytes in a line (RFC 5322 2.1.1). */
const mostLine = 998

const isPrintable = (bytes: Uint8Array): boolean => {
  let length = 0
  for (const byte of bytes) {
    length = byte === 10 ? 0 : length + 1
    if (length > mostLine) return false
  }
  return true
}

/** The edits whose text the charset can hold. */
const encodedIn = (edits: ReadonlyArray<TextEdit>, label: string, iconv: IconvLite): ReadonlyArray<ByteEdit> =>
  edits.flatMap(({ at, length, text }) => {
    const bytes = encodeText(text, label, iconv)
    return bytes === undefined ? [] : [{ at, length, bytes }]
  })

interface ByteEdit {
  readonly at: number
  readonly length: number
  readonly bytes: Uint8Array
}

/** The edits are in order and do not overlap. */
export const editLeaf = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  content: TextContent,
  edits: ReadonlyArray<TextEdit>,
  boundaries: ReadonlyArray<string>,
  scratch: Spool
): Effect.fn.Return<LeafEdit | Unfit> {
  const encoding = encodingOf(entity.encoding)
  if (encoding === undefined) return "encoding"
  const declared = labelOf(entity)
  const isHtml = entity.type === "text/html"
  // A sender who knows the text may have made a line of it the boundary.
  const isTaken = (splices: ReadonlyArray<Splice>): Effect.Effect<boolean> =>
    hasDelimiter(new Pieces(splices.flatMap(({ pieces }) => pieces)), boundaries)
  const iconv = yield* loadIconv
  const texts = edits.map((edit) => isHtml ? { ...edit, text: asReferences(edit.text) } : edit)
  const own = encodedIn(texts, declared, iconv)
  // ASCII is UTF-8 as it stands.
  const isPromoted = own.length < edits.length && isAscii(declared) && content.isAscii
  const label = isPromoted ? "utf-8" : declared
  const fitting = isPromoted ? encodedIn(texts, label, iconv) : own
  const charset = isPromoted ? label : undefined
  const isFitting = fitting.length === edits.length
  if (!isFitting && isHtml) return "charset"
  if (isFitting) {
    const isKept = encoding !== "identity" ||
      fitting.every(({ bytes }) => isPrintable(bytes) && (entity.encoding !== "7bit" || !hasHighByte(bytes)))
    if (isKept) {
      const splices = yield* (encoding === "identity"
        ? identity(body, entity, fitting, isHtml, scratch)
        : encoding === "base64"
        ? base64(body, entity, fitting, scratch)
        : quotedPrintable(body, entity, content.length, fitting, scratch))
      return (yield* isTaken(splices)) ? "boundary" : { splices, charset, encoding: undefined }
    }
  }
  const target: Encoding = encoding === "base64" ? "base64" : "quoted-printable"
  const recoder = isFitting ? new SameCharset() : Utf8.from(label)
  if (recoder === undefined) return "charset"
  const pieces = yield* recode(body, entity, edits, fitting, recoder, target, scratch)
  if (pieces === undefined) return "charset"
  const splices: ReadonlyArray<Splice> = [{
    at: entity.bodyStart,
    length: entity.bodyEnd - entity.bodyStart,
    pieces
  }]
  if (yield* isTaken(splices)) return "boundary"
  return {
    splices,
    charset: isFitting ? charset : "utf-8",
    encoding: target === encoding || target === "base64" ? undefined : target
  }
})

const ascii = (text: string): Uint8Array => byteString.toBytes(byteString.ofParts(text))

const splicesOf = (
  places: ReadonlyArray<{ readonly at: number; readonly end: number; readonly bytes: Uint8Array }>,
  scratch: Spool
): Effect.Effect<ReadonlyArray<Splice>> =>
  Effect.forEach(
    places,
    ({ at, bytes, end }) => Effect.map(store(scratch, bytes), (piece) => ({ at, length: end - at, pieces: [piece] }))
  )

const identity = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  edits: ReadonlyArray<ByteEdit>,
  isHtml: boolean,
  scratch: Spool
) {
  const places = yield* Effect.forEach(edits, ({ at, bytes, length }) => {
    const start = entity.bodyStart + at
    // Two lines that become one may be too long together.
    const joins = isHtml && length > 0 && bytes.length === 0
    return Effect.map(joins ? isLineStart(body, entity, start) : Effect.succeed(true), (isKept) => ({
      at: start,
      end: start + length,
      bytes: isKept ? bytes : lineEnd
    }))
  })
  return yield* splicesOf(places, scratch)
})

const lineEnd = Uint8Array.of(13, 10)

/** True at the beginning of a part too. */
const isLineStart = (body: Pieces, { bodyStart }: Entity, at: number): Effect.Effect<boolean> =>
  at <= bodyStart ? Effect.succeed(true) : Effect.map(body.bytes(at - 1, at), ([byte]) => byte === 10)

const quotedPrintable = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  contentLength: number,
  edits: ReadonlyArray<ByteEdit>,
  scratch: Spool
) {
  const found: Array<number> = []
  const decoder = decoderFor("quoted-printable", edits.flatMap(({ at, length }) => [at, at + length]), found)
  yield* decoded(body, entity, () => Effect.void, decoder)
  const places = yield* Effect.forEach(edits, ({ at, bytes }, index) => {
    const start = entity.bodyStart + found[2 * index]!
    const end = entity.bodyStart + found[2 * index + 1]!
    const before = Math.max(entity.bodyStart, start - softBreakTail)
    return Effect.map(body.bytes(before, start), (tail) => {
      const line = byteString.fromBytes(tail)
      const encoder = new QuotedPrintableEncoder()
      const text = byteString.fromBytes(encoder.push(bytes)) + byteString.fromBytes(encoder.end())
      return { at: start, end, bytes: ascii(bridge(line, at === contentLength) + text) }
    })
  })
  return yield* splicesOf(places, scratch)
})

/** More white space than this is not put after a soft line break. */
const softBreakTail = 1024

/** The bytes that end the encoded line before an edit, so that the line keeps its meaning. */
const bridge = (before: string, isAtEnd: boolean): string => {
  let end = before.length
  while (end > 0 && " \t\r".includes(before[end - 1]!)) end--
  // A soft line break without its line end would take that of the edit.
  if (before[end - 1] === "=") return "\r\n"
  // White space at the end of a line would be lost.
  return end < before.length && !isAtEnd ? "=\r\n" : ""
}

const base64 = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  edits: ReadonlyArray<ByteEdit>,
  scratch: Spool
) {
  const found: Array<number> = []
  const first = edits[0]!.at
  yield* decoded(body, entity, () => Effect.void, decoderFor("base64", [first], found))
  const at = entity.bodyStart + found[0]!
  const start = scratch.length
  if (!(yield* isLineStart(body, entity, at))) yield* scratch.append(lineEnd)
  const writer = new Writer(new Base64Encoder(), scratch)
  const skipped = first - first % 3
  const applied = new Applied(edits, skipped)
  yield* decoded(
    body,
    entity,
    (bytes) => Effect.forEach(applied.push(bytes), ({ bytes }) => writer.write(bytes), { discard: true }),
    decoderFor("base64"),
    at
  )
  yield* Effect.forEach(applied.end(), ({ bytes }) => writer.write(bytes), { discard: true })
  yield* writer.end
  const splice: Splice = {
    at,
    length: entity.bodyEnd - at,
    pieces: [yield* encodedSince(body, entity, start, scratch)]
  }
  return [splice]
})

/** The base64 text of a part; the line end before a delimiter does not belong to it. */
const encodedSince = (body: Pieces, entity: Entity, start: number, scratch: Spool): Effect.Effect<Piece> =>
  Effect.map(isLineStart(body, entity, entity.bodyEnd), (endsInLine) => {
    const length = scratch.length - start
    return { source: scratch, start, length: endsInLine ? length : Math.max(0, length - 2) }
  })

class Writer {
  private readonly encoder: Encoder
  private readonly scratch: Spool

  constructor(encoder: Encoder, scratch: Spool) {
    this.encoder = encoder
    this.scratch = scratch
  }

  write(bytes: Uint8Array): Effect.Effect<void> {
    return this.append(this.encoder.push(bytes))
  }

  get end(): Effect.Effect<void> {
    return Effect.suspend(() => this.append(this.encoder.end()))
  }

  private append(bytes: Uint8Array): Effect.Effect<void> {
    return bytes.length === 0 ? Effect.void : this.scratch.append(bytes)
  }
}

/** A run of decoded bytes: of the part, or those of the edit with this index. */
interface Run {
  readonly bytes: Uint8Array
  readonly edit: number | undefined
}

/** Takes decoded bytes in pieces and gives them with the edits made. */
class Applied {
  private readonly edits: ReadonlyArray<ByteEdit>
  private at: number
  private next = 0

  constructor(edits: ReadonlyArray<ByteEdit>, at: number) {
    this.edits = edits
    this.at = at
  }

  push(bytes: Uint8Array): ReadonlyArray<Run> {
    const runs: Array<Run> = []
    let from = 0
    const end = this.at + bytes.length
    while (from < bytes.length) {
      const edit = this.edits[this.next]
      const place = this.at + from
      if (edit === undefined || edit.at > end || (edit.at === end && edit.length === 0)) {
        runs.push({ bytes: bytes.subarray(from), edit: undefined })
        break
      }
      if (edit.at > place) {
        runs.push({ bytes: bytes.subarray(from, from + edit.at - place), edit: undefined })
        from += edit.at - place
        continue
      }
      if (edit.at === place) runs.push({ bytes: edit.bytes, edit: this.next })
      const last = edit.at + edit.length
      from = Math.min(bytes.length, last - this.at)
      if (last > end) break
      this.next++
    }
    this.at = end
    return runs
  }

  end(): ReadonlyArray<Run> {
    return this.edits.slice(this.next).filter(({ at }) => at >= this.at).map(({ bytes }, index) => ({
      bytes,
      edit: this.next + index
    }))
  }
}

/** Converts the bytes of a part to its new charset. */
interface Recoder {
  /** Undefined once a byte is not of the old charset. */
  readonly next: (run: Run, text: string | undefined) => Uint8Array | undefined
  readonly end: () => Uint8Array | undefined
}

class SameCharset implements Recoder {
  next({ bytes }: Run): Uint8Array {
    return bytes
  }
  end(): Uint8Array {
    return new Uint8Array(0)
  }
}

class Utf8 implements Recoder {
  private readonly decoder: InstanceType<typeof TextDecoder>
  private readonly isAscii: boolean

  private constructor(decoder: InstanceType<typeof TextDecoder>, isAscii: boolean) {
    this.decoder = decoder
    this.isAscii = isAscii
  }

  static from(label: string): Utf8 | undefined {
    const decoder = decoderOf(label, { fatal: true })
    return decoder === undefined ? undefined : new Utf8(decoder, isAscii(label))
  }

  next({ bytes, edit }: Run, text: string | undefined): Uint8Array | undefined {
    if (edit !== undefined) return this.joined(new Uint8Array(0), false, text)
    // In a part that claims to be ASCII, the meaning of other bytes is unknown.
    if (this.isAscii && hasHighByte(bytes)) return undefined
    return this.joined(bytes, true, "")
  }

  end(): Uint8Array | undefined {
    return this.joined(new Uint8Array(0), false, "")
  }

  private joined(bytes: Uint8Array, stream: boolean, after = ""): Uint8Array | undefined {
    try {
      return new TextEncoder().encode(this.decoder.decode(bytes, { stream }) + after)
    } catch {
      return undefined
    }
  }
}

const recode = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  edits: ReadonlyArray<TextEdit>,
  fitting: ReadonlyArray<ByteEdit>,
  recoder: Recoder,
  target: Encoding,
  scratch: Spool
) {
  const start = scratch.length
  const writer = new Writer(target === "base64" ? new Base64Encoder() : new QuotedPrintableEncoder(), scratch)
  let isValid = true
  const write = (bytes: Uint8Array | undefined): Effect.Effect<void> => {
    if (bytes === undefined) isValid = false
    return bytes === undefined || !isValid ? Effect.void : writer.write(bytes)
  }
  const noBytes = new Uint8Array(0)
  const applied = new Applied(
    edits.map(({ at, length }, index) => ({ at, length, bytes: fitting[index]?.bytes ?? noBytes })),
    0
  )
  const take = (runs: ReadonlyArray<Run>) =>
    Effect.forEach(
      runs,
      (run) =>
        Effect.suspend(() => write(recoder.next(run, run.edit === undefined ? undefined : edits[run.edit]!.text))),
      { discard: true }
    )
  yield* decoded(body, entity, (bytes) => isValid ? take(applied.push(bytes)) : Effect.void)
  yield* take(applied.end())
  yield* Effect.suspend(() => write(recoder.end()))
  yield* writer.end
  if (!isValid) return undefined
  const pieces: ReadonlyArray<Piece> = [
    target === "base64"
      ? yield* encodedSince(body, entity, start, scratch)
      : { source: scratch, start, length: scratch.length - start }
  ]
  return pieces
})
