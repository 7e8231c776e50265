/** Parts as hooks read them, those of messages in the message included. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as byteString from "../../bytes/byteString.ts"
import type { Spool } from "../../bytes/spool.ts"
import { filenamesOf } from "./filenames.ts"
import { type MimePart, Undecodable } from "./mimeTypes.ts"
import { fieldsOf } from "./partHeader.ts"
import { Pieces } from "./pieces.ts"
import { type Entity, leavesOf, readStructure, type Structure } from "./structure.ts"
import { decoderOf, isAscii } from "./textCharset.ts"
import { decoded, labelOf } from "./textContent.ts"
import { decoderFor, encodingOf } from "./transfer.ts"

/** A body with its parts: that of the message, or of a message in it. */
export interface Level {
  readonly body: Pieces
  readonly structure: Structure
  /** The offset of the body in the message's body; undefined if the body had to be decoded, and so has no place there. */
  readonly base: number | undefined
  /** The message/rfc822 part around it. */
  readonly outer: Leaf | undefined
}

export interface Leaf {
  readonly level: Level
  readonly entity: Entity
  readonly path: string
}

/** The most levels of messages in messages: more than people forward. */
const mostNested = 20
/** The header of a message in the message. */
const mostHeader = 1_048_576

export const signedAbove = (entity: Entity): boolean => {
  for (let above = entity.parent; above !== undefined; above = above.parent) {
    if (above.type === "multipart/signed") return true
  }
  return false
}

const isMessage = ({ type }: Entity): boolean => type === "message/rfc822" || type === "message/global"

/** All parts in order, and whether all of them were understood. */
export const allLeaves = (
  level: Level,
  makeSpool: Effect.Effect<Spool>
): Effect.Effect<{ readonly leaves: ReadonlyArray<Leaf>; readonly complete: boolean }> =>
  Effect.gen(function*() {
    const found: Array<Leaf> = []
    let complete = level.structure.complete
    // Depth first, without recursion that a sender could drive deep.
    const waiting: Array<{ readonly leaf: Leaf; readonly depth: number }> = leavesAt(level, 0).toReversed()
    while (waiting.length > 0) {
      const { depth, leaf } = waiting.pop()!
      found.push(leaf)
      if (!isMessage(leaf.entity)) continue
      if (depth >= mostNested || found.length + waiting.length > mostLeaves) {
        complete = false
        continue
      }
      const inner = yield* messageIn(leaf, makeSpool)
      complete &&= inner.structure.complete
      waiting.push(...leavesAt(inner, depth + 1).toReversed())
    }
    return { leaves: found, complete }
  })

const mostLeaves = 1000

const leavesAt = (level: Level, depth: number) =>
  leavesOf(level.structure.root).map((entity) => ({
    leaf: {
      level,
      entity,
      path: level.outer === undefined ? entity.path : `${level.outer.path}.${entity.path}`
    },
    depth
  }))

const messageIn = Effect.fnUntraced(function*(outer: Leaf, makeSpool: Effect.Effect<Spool>): Effect.fn.Return<Level> {
  const { entity, level } = outer
  const isPlain = encodingOf(entity.encoding) === "identity"
  const content = isPlain
    ? new Pieces(level.body.slice(entity.bodyStart, entity.bodyEnd))
    : yield* decodedInto(level, entity, yield* makeSpool)
  const end = yield* headerEnd(content)
  const header = byteString.fromBytes(yield* content.bytes(0, end))
  const fields = fieldsOf(header).filter(({ name }) => name.startsWith("content-"))
    .map(({ name, value }) => [name, ` ${value}`] as const)
  const body = new Pieces(content.slice(end, content.length))
  const structure = yield* readStructure(fields, body)
  return {
    body,
    structure,
    base: isPlain && level.base !== undefined ? level.base + entity.bodyStart + end : undefined,
    outer
  }
})

const decodedInto = ({ body }: Level, entity: Entity, spool: Spool): Effect.Effect<Pieces> =>
  Effect.map(
    decoded(body, entity, (bytes) => bytes.length === 0 ? Effect.void : spool.append(bytes)),
    () => Pieces.of(spool)
  )

/** The offset after the empty line that ends a header. */
const headerEnd = (content: Pieces): Effect.Effect<number> =>
  Effect.suspend(() => {
    const most = Math.min(content.length, mostHeader)
    let found: number | undefined
    let lineLength = 0
    return Effect.map(
      content.forEach(0, most, (bytes, at) => {
        for (let index = 0; index < bytes.length && found === undefined; index++) {
          if (bytes[index] === 10) {
            if (lineLength === 0) found = at + index + 1
            lineLength = 0
          } else if (bytes[index] !== 13) lineLength++
        }
        return found === undefined
      }),
      () => found ?? most
    )
  })

/** A part as hooks read it. */
export const viewOf = ({ entity, level, path }: Leaf): MimePart => {
  const filenames = filenamesOf(entity.disposition, entity.typeField)
  const charset = labelOf(entity)
  const content = contentOf(level.body, entity)
  return {
    path,
    type: entity.type,
    charset: charset === "" ? undefined : charset,
    filename: filenames[0],
    filenames,
    disposition: entity.disposition?.value,
    size: entity.bodyEnd - entity.bodyStart,
    inSigned: signedAbove(entity),
    inMessage: level.outer?.path,
    content,
    text: textOf(path, charset, entity, content)
  }
}

const contentOf = (body: Pieces, entity: Entity): Stream.Stream<Uint8Array> =>
  Stream.suspend(() => {
    const decoder = decoderFor(encodingOf(entity.encoding) ?? "identity")
    return Stream.concat(
      Stream.map(body.stream(entity.bodyStart, entity.bodyEnd), (bytes) => decoder.push(bytes)),
      Stream.sync(() => decoder.end())
    ).pipe(Stream.filter((bytes) => bytes.length > 0))
  })

const textOf = (
  path: string,
  charset: string,
  entity: Entity,
  content: Stream.Stream<Uint8Array>
): Effect.Effect<string, Undecodable> =>
  Effect.suspend(() => {
    // Many programs write UTF-8 and say nothing, or US-ASCII, of which it is an extension.
    const decoder = encodingOf(entity.encoding) === undefined
      ? undefined
      : decoderOf(isAscii(charset) ? "utf-8" : charset, { fatal: true, ignoreBOM: false })
    if (decoder === undefined) return Effect.fail(new Undecodable({ path, charset }))
    const texts: Array<string> = []
    const next = (bytes: Uint8Array | undefined) =>
      Result.try({
        try: () => texts.push(decoder.decode(bytes, { stream: bytes !== undefined })),
        catch: () => new Undecodable({ path, charset })
      })
    return Stream.runForEach(content, (bytes) => Effect.fromResult(next(bytes))).pipe(
      Effect.andThen(Effect.suspend(() => Effect.fromResult(next(undefined)))),
      Effect.map(() => texts.join(""))
    )
  })
