/** Edits inside a text part: which of its encoded bytes are replaced by which. */
import * as Effect from "effect/Effect"
import * as byteString from "../../bytes/byteString.ts"
import type { Spool } from "../../bytes/spool.ts"
import { asReferences, decoderOf, encodeText, isAscii } from "./charset.ts"
import { loadIconv } from "./peers.ts"
import type { Piece, Pieces, Splice } from "./pieces.ts"
import type { Entity } from "./structure.ts"
import { decoded, labelOf } from "./textContent.ts"
import {
  Base64Encoder,
  decoderFor,
  type Encoder,
  type Encoding,
  encodingOf,
  QuotedPrintableEncoder
} from "./transfer.ts"

/** Text in the place of some decoded bytes. */
export interface TextEdit {
  readonly at: number
  readonly length: number
  readonly text: string
}

export interface LeafEdit {
  readonly splices: ReadonlyArray<Splice>
  /** What the header of the part must say from now on, if that is something else. */
  readonly charset: string | undefined
  readonly encoding: "quoted-printable" | undefined
}

/** Why the text cannot be put in. */
export type Unfit = "charset" | "encoding"

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

const hasHighByte = (bytes: Uint8Array): boolean => bytes.some((byte) => byte > 127)

interface ByteEdit {
  readonly at: number
  readonly length: number
  readonly bytes: Uint8Array
}

/** The edits are in order and do not overlap. `contentLength` is that of the decoded content. */
export const editLeaf = Effect.fnUntraced(function*(
  body: Pieces,
  entity: Entity,
  contentLength: number,
  edits: ReadonlyArray<TextEdit>,
  scratch: Spool
): Effect.fn.Return<LeafEdit | Unfit> {
  const encoding = encodingOf(entity.encoding)
  if (encoding === undefined) return "encoding"
  const label = labelOf(entity)
  const isHtml = entity.type === "text/html"
  const iconv = yield* loadIconv
  const encoded = edits.map(({ at, length, text }) => {
    const bytes = encodeText(isHtml ? asReferences(text) : text, label, iconv)
    return bytes === undefined ? undefined : { at, length, bytes }
  })
  const fitting = encoded.filter((edit) => edit !== undefined)
  const isFitting = fitting.length === encoded.length
  if (!isFitting && isHtml) return "charset"
  if (isFitting) {
    const isKept = encoding !== "identity" || fitting.every(({ bytes }) =>
      isPrintable(bytes) && (entity.encoding !== "7bit" || !hasHighByte(bytes))
    )
    if (isKept) {
      const splices = yield* (encoding === "identity"
        ? identity(body, entity, fitting, isHtml, scratch)
        : encoding === "base64"
        ? base64(body, entity, fitting, scratch)
        : quotedPrintable(body, entity, contentLength, fitting, scratch))
      return { splices, charset: undefined, encoding: undefined }
    }
  }
  const target: Encoding = encoding === "base64" ? "base64" : "quoted-printable"
  const recoder = isFitting ? new SameCharset() : Utf8.from(label)
  if (recoder === undefined) return "charset"
  const pieces = yield* recode(body, entity, edits, fitting, recoder, target, scratch)
  if (pieces === undefined) return "charset"
  return {
    splices: [{ at: entity.bodyStart, length: entity.bodyEnd - entity.bodyStart, pieces }],
    charset: isFitting ? undefined : "utf-8",
    encoding: target === encoding || target === "base64" ? undefined : target
  }
})

/** Adds bytes to the scratch spool and gives their place. */
export const store = (scratch: Spool, bytes: Uint8Array): Effect.Effect<Piece> =>
  Effect.suspend(() => {
    const start = scratch.length
    return Effect.as(bytes.length === 0 ? Effect.void : scratch.append(bytes), {
      spool: scratch,
      start,
      length: bytes.length
    })
  })

const ascii = (text: string): Uint8Array => byteString.toBytes(text as byteString.ByteString)

const splicesOf = (
  places: ReadonlyArray<{ readonly at: number; readonly end: number; readonly bytes: Uint8Array }>,
  scratch: Spool
): Effect.Effect<ReadonlyArray<Splice>> =>
  Effect.forEach(places, ({ at, bytes, end }) =>
    Effect.map(store(scratch, bytes), (piece) => ({ at, length: end - at, pieces: [piece] })))

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
    return Effect.map(joins ? body.bytes(start - 1, start) : Effect.succeed(lineEnd), ([before]) => ({
      at: start,
      end: start + length,
      bytes: before === 10 ? bytes : lineEnd
    }))
  })
  return yield* splicesOf(places, scratch)
})

const lineEnd = Uint8Array.of(13, 10)

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

/** What ends the encoded line before an edit so that it keeps its meaning. */
const bridge = (before: string, isAtEnd: boolean): string => {
  let end = before.length
  while (end > 0 && " \t\r".includes(before[end - 1]!)) end--
  // A soft line break without its line end would take that of the edit.
  if (before[end - 1] === "=") return "\r\n"
  // White space would be the last of its line, and be lost.
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
  const [before] = yield* body.bytes(at - 1, at)
  const start = scratch.length
  if (at > entity.bodyStart && before !== 10) yield* scratch.append(lineEnd)
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
  const ending = yield* body.bytes(entity.bodyEnd - 1, entity.bodyEnd)
  // The line end before a delimiter is not of the part.
  const surplus = scratch.length > start && ending[0] !== 10 && entity.bodyEnd > entity.bodyStart ? 2 : 0
  const splice: Splice = {
    at,
    length: entity.bodyEnd - at,
    pieces: [{ spool: scratch, start, length: scratch.length - start - surplus }]
  }
  return [splice]
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

/** Gives the bytes of a part in the charset that it shall have. */
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
    // Nobody can tell what such bytes are in a part that says it has none.
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
      (run) => Effect.suspend(() => write(recoder.next(run, run.edit === undefined ? undefined : edits[run.edit]!.text))),
      { discard: true }
    )
  yield* decoded(body, entity, (bytes) => isValid ? take(applied.push(bytes)) : Effect.void)
  yield* take(applied.end())
  yield* Effect.suspend(() => write(recoder.end()))
  yield* writer.end
  if (!isValid) return undefined
  const ending = yield* body.bytes(entity.bodyEnd - 1, entity.bodyEnd)
  const surplus = target === "base64" && scratch.length > start && entity.bodyEnd > entity.bodyStart && ending[0] !== 10
    ? 2
    : 0
  const pieces: ReadonlyArray<Piece> = [{ spool: scratch, start, length: scratch.length - start - surplus }]
  return pieces
})
