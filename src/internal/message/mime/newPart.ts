/** Parts that an edit makes: texts, files, and the multipart around what was there. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { InvalidValue } from "../../../InvalidValue.ts"
import * as byteString from "../../bytes/byteString.ts"
import * as latin1 from "../../bytes/latin1.ts"
import type { Spool } from "../../bytes/spool.ts"
import { isDelimited } from "./delimiters.ts"
import { filenameParameter } from "./filenames.ts"
import type { Attachment } from "./mimeTypes.ts"
import { type Piece, pieceOf, type Pieces, store } from "./pieces.ts"
import { Base64Encoder, type Encoder, QuotedPrintableEncoder } from "./transfer.ts"

/** Fields with their values as they stand after the colon, folds as LF and white space. */
export type Fields = ReadonlyArray<readonly [name: string, value: string]>

export interface NewPart {
  readonly fields: Fields
  readonly body: ReadonlyArray<Piece>
}

export const ascii = (text: string): Uint8Array => byteString.toBytes(byteString.ofParts(text))

/** The bytes of a part's header and the empty line after it. */
export const headerBytes = (fields: Fields): Uint8Array =>
  ascii(`${fields.map(([name, value]) => `${name}:${value.replace(/\r?\n/g, "\r\n")}\r\n`).join("")}\r\n`)

/** Lines end with CR LF, with or without one at the end. */
export const lineEnds = (text: string): string => text.replace(/\r\n|\r|\n/g, "\r\n")

export const checkText = (what: string, text: string): Result.Result<string, InvalidValue> =>
  text.includes("\0")
    ? Result.fail(new InvalidValue({ what, value: text, reason: "expected text without NUL" }))
    : Result.succeed(lineEnds(text))

const encodeAll = (encoder: Encoder, bytes: Uint8Array): Uint8Array => {
  const [start, end] = [encoder.push(bytes), encoder.end()]
  const all = new Uint8Array(start.length + end.length)
  all.set(start)
  all.set(end, start.length)
  return all
}

const isSevenBit = (text: string): boolean =>
  /^[\t\r\n -~]*$/.test(text) && text.split("\r\n").every(({ length }) => length <= 998)

/** A text part, in the plainest encoding that holds it and is not taken for a delimiter. */
export const textPart = (
  text: string,
  subtype: "plain" | "html",
  boundaries: ReadonlyArray<string>,
  scratch: Spool
): Effect.Effect<NewPart> => {
  const bytes = new TextEncoder().encode(text)
  const quotedPrintable = (): Uint8Array => encodeAll(new QuotedPrintableEncoder(), bytes)
  const choices: ReadonlyArray<readonly [encoding: string, bytes: () => Uint8Array]> = [
    ...(isSevenBit(text) ? [["7bit", () => bytes] as const] : []),
    ["quoted-printable", quotedPrintable]
  ]
  const base64 = ["base64", encodeAll(new Base64Encoder(), bytes)] as const
  const [encoding, encoded] =
    choices.map(([name, make]) => [name, make()] as const).find(([, made]) => !isDelimited(made, boundaries)) ?? base64
  return Effect.map(store(scratch, encoded), (piece): NewPart => ({
    fields: [
      ["Content-Type", ` text/${subtype}; charset=utf-8`],
      ["Content-Transfer-Encoding", ` ${encoding}`]
    ],
    body: [piece]
  }))
}

const mediaType = /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}$/

const checkAttachment = ({ filename, type }: { readonly filename: string; readonly type: string }): void => {
  const invalid = (what: string, value: string, reason: string): InvalidValue =>
    new InvalidValue({ what, value, reason })
  if (!mediaType.test(type)) throw invalid("media type", type, "expected a type such as application/pdf")
  if (/^(?:multipart|message)\//i.test(type)) {
    throw invalid("media type", type, "expected a type that may be encoded in base64 (RFC 2045 6.4)")
  }
  if (/[\0-\x1f\x7f]/.test(filename)) throw invalid("filename", filename, "expected text without control characters")
}

/** A file, in base64. */
export const filePart = <E, R>(
  { content, filename, type }: Attachment<E, R>,
  scratch: Spool
): Effect.Effect<NewPart, E, R> =>
  Effect.suspend(() => {
    checkAttachment({ filename, type })
    const start = scratch.length
    const encoder = new Base64Encoder()
    const append = (bytes: Uint8Array): Effect.Effect<void> => bytes.length === 0 ? Effect.void : scratch.append(bytes)
    const stream = typeof content === "string"
      ? Stream.succeed(new TextEncoder().encode(content))
      : content instanceof Uint8Array
      ? Stream.succeed(content)
      : content
    const charset = typeof content === "string" && /^text\//i.test(type) ? "; charset=utf-8" : ""
    return Stream.runForEach(stream, (bytes) => inParts(bytes, (part) => append(encoder.push(part)))).pipe(
      Effect.andThen(Effect.suspend(() => append(encoder.end()))),
      Effect.map((): NewPart => ({
        fields: [
          ["Content-Type", ` ${type}${charset}`],
          ["Content-Transfer-Encoding", " base64"],
          ["Content-Disposition", ` attachment${filename === "" ? "" : filenameParameter(filename)}`]
        ],
        // The line end belongs to the delimiter that follows.
        body: [{ source: scratch, start, length: Math.max(0, scratch.length - start - 2) }]
      }))
    )
  })

const partSize = 65_536

/** Encodes in pieces, between which other fibers run: the content may be large. */
const inParts = (bytes: Uint8Array, use: (part: Uint8Array) => Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    let at = 0
    return Effect.whileLoop({
      while: () => at < bytes.length,
      body: () => Effect.andThen(use(bytes.subarray(at, at + partSize)), Effect.yieldNow),
      step: () => {
        at += partSize
      }
    })
  })

/** Parts between delimiters: each with the delimiter before it and the line end after it. */
export const delimited = (boundary: string, parts: ReadonlyArray<NewPart>): ReadonlyArray<Piece> =>
  parts.flatMap(({ body, fields }) => [
    pieceOf(ascii(`--${boundary}\r\n`)),
    pieceOf(headerBytes(fields)),
    ...body,
    pieceOf(ascii("\r\n"))
  ])

const random = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

/** A boundary that does not occur in the body. Neither base64 nor quoted-printable can have `=_`. */
export const freshBoundary = (body: Pieces): Effect.Effect<string> =>
  Effect.gen(function*() {
    while (true) {
      const boundary = `=_${random()}`
      let tail = ""
      let isFound = false
      yield* body.forEach(0, body.length, (bytes) => {
        const text = tail + latin1.slice(bytes, 0, bytes.length)
        isFound ||= text.includes(boundary)
        tail = text.slice(-boundary.length)
        return !isFound
      })
      if (!isFound) return boundary
    }
  })
