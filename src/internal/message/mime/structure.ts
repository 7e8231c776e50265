/**
 * The parts of a body and where they are, as `@zone-eu/mailsplit` finds them. What it emits is compared with what it was given:
 * offsets count only as far as the two are the same.
 */
import * as Effect from "effect/Effect"
import * as byteString from "../../bytes/byteString.ts"
import { fieldsOf, type PartField, type Structured, structured } from "./partHeader.ts"
import { loadSplitter } from "./peers.ts"
import type { Pieces } from "./pieces.ts"

/** A part, multipart or not. All places are offsets in the body of the message. */
export interface Entity {
  readonly parent: Entity | undefined
  /** As in IMAP: `1.2` is the second part of the first one; `""` for a multipart message itself. */
  path: string
  readonly headerStart: number
  readonly bodyStart: number
  bodyEnd: number
  /** True if a line end lies between the body and the delimiter after it. */
  isEnded: boolean
  readonly header: string
  readonly fields: ReadonlyArray<PartField>
  /** The media type of Content-Type, or the default. */
  readonly type: string
  readonly typeField: Structured
  readonly disposition: Structured | undefined
  readonly encoding: string
  readonly boundary: string
  readonly children: Array<Entity>
}

export interface Structure {
  readonly root: Entity
  /** False if the body was not understood to its end. */
  readonly complete: boolean
}

/** The most parts, the greatest depth and the longest part header: more than mail programs write. */
const mostParts = 1000
const mostDepth = 100
const mostHeader = 65_536
/** The longest line that can be a delimiter. */
const mostDelimiter = 2048

const isMultipart = (type: string): boolean => type.startsWith("multipart/")

const fieldNamed = (fields: ReadonlyArray<PartField>, name: string): string | undefined =>
  fields.find((field) => field.name === name)?.value

/** Fields that say how a part is to be read: two of a name are read differently by different programs. */
const decisive = ["content-type", "content-transfer-encoding", "content-disposition"]

const hasRepeated = (fields: ReadonlyArray<PartField>): boolean =>
  decisive.some((name) => fields.filter((field) => field.name === name).length > 1)

const stripped = (encoding: string): string => structured(encoding).value

const entityOf = (parent: Entity | undefined, header: string, headerStart: number, bodyStart: number): Entity => {
  const fields = fieldsOf(header)
  const typeText = fieldNamed(fields, "content-type")
  const dispositionText = fieldNamed(fields, "content-disposition")
  const disposition = dispositionText === undefined ? undefined : structured(dispositionText)
  const typeField = structured(typeText ?? "")
  const inDigest = parent?.type === "multipart/digest"
  return {
    parent,
    path: "",
    headerStart,
    bodyStart,
    bodyEnd: bodyStart,
    isEnded: false,
    header,
    fields,
    type: typeField.value.includes("/") ? typeField.value : inDigest ? "message/rfc822" : "text/plain",
    typeField,
    disposition,
    encoding: stripped(fieldNamed(fields, "content-transfer-encoding") ?? "") || "7bit",
    boundary: typeField.parameters.find(({ name }) => name === "boundary")?.value.trimEnd() ?? "",
    children: []
  }
}

/** The fields of a message that say how its body is to be read, as the bytes of a header. */
const rootHeader = (fields: ReadonlyArray<readonly [name: string, value: string]>): string =>
  `${fields.map(([name, value]) => `${name}:${value.replace(/\r?\n/g, "\r\n")}\r\n`).join("")}\r\n`

/** What is used of mailsplit's nodes and chunks. */
interface Node {
  readonly type: "node"
  readonly parentNode: Node | false
  readonly contentType: string | false
  readonly multipart: string | false
  readonly _boundary: Uint8Array | false
  getHeaders(): Uint8Array
}

type Chunk = Node | { readonly type: "data" | "body"; readonly node: Node; readonly value: Uint8Array }

interface Parser {
  on(event: "data", use: (chunk: Chunk) => void): void
  on(event: "error", use: () => void): void
  once(event: "close", use: () => void): void
  write(bytes: Uint8Array, then: () => void): void
  end(): void
  destroy(): void
}

/** Takes what mailsplit emits, in its order. */
class Reading {
  readonly root: Entity
  private readonly rootLength: number
  private readonly entities = new Map<Node, Entity>()
  /** Bytes that mailsplit was given and has not yet given back. */
  private pending: Array<Uint8Array> = []
  private offset = 0
  /** The offset of the next byte that mailsplit gives back. */
  at: number
  isFaithful = true
  private count = 0
  /** The part whose bytes came last, and the last two of these bytes. */
  private open: Entity | undefined
  private tail = ""
  /** The beginning of a line between parts. */
  private line = ""
  private readonly ended = new Set<Entity>()

  constructor(header: string) {
    this.rootLength = header.length
    this.at = -header.length
    this.root = entityOf(undefined, header, 0, 0)
    this.isFaithful = !hasRepeated(this.root.fields)
  }

  feed(bytes: Uint8Array): void {
    this.pending.push(bytes)
  }

  emitted(chunk: Chunk): void {
    if (!this.isFaithful) return
    if (chunk.type === "node") this.node(chunk)
    else if (!this.isNext(chunk.value)) this.isFaithful = false
    else if (chunk.type === "body") this.body(this.entities.get(chunk.node), chunk.value)
    else if (chunk.value.length > 0) {
      this.delimiter(chunk.value[0]!)
      const entity = this.entities.get(chunk.node)
      if (entity !== undefined) this.between(entity, byteString.fromBytes(chunk.value))
    }
  }

  /**
   * Checks the text between parts, without the delimiters before parts. Each multipart has one final delimiter there, after
   * its parts. With more of them, some programs see more parts than others.
   */
  private between(entity: Entity, text: string): void {
    const all = this.line + text
    const lines = all.split("\n")
    this.line = lines.pop()!.slice(-mostDelimiter)
    for (const line of lines) {
      if (!line.startsWith("--")) continue
      for (let at: Entity | undefined = entity; at !== undefined; at = at.parent) {
        if (at.boundary === "" || !line.startsWith(at.boundary, 2)) continue
        const rest = line.slice(at.boundary.length + 2).trim()
        if (rest !== "" && rest !== "--") continue
        if (at.children.length === 0 || this.ended.has(at) || rest === "") this.isFaithful = false
        this.ended.add(at)
      }
    }
  }

  /** The bytes of a part lie together, and after its header. */
  private body(entity: Entity | undefined, bytes: Uint8Array): void {
    if (entity === undefined || entity.bodyEnd !== this.at - bytes.length) this.isFaithful = false
    else {
      entity.bodyEnd = this.at
      this.tail = `${this.tail}${byteString.fromBytes(bytes.subarray(-2))}`.slice(-2)
      this.open = entity
    }
  }

  /** The first byte after a part: the line end before a delimiter is not of the part, wherever mailsplit has counted it. */
  private delimiter(first: number): void {
    const { open, tail } = this
    this.open = undefined
    this.tail = ""
    if (open === undefined) return
    const length = first === 13 || first === 10 ? 0 : tail === "\r\n" ? 2 : tail.endsWith("\n") ? 1 : undefined
    if (length === undefined) return
    open.bodyEnd -= length
    open.isEnded = true
  }

  private node(node: Node): void {
    const start = this.at
    const header = node.getHeaders()
    if (!this.isNext(header)) {
      this.isFaithful = false
      return
    }
    if (node.parentNode === false) {
      this.entities.set(node, this.root)
      if (header.length !== this.rootLength || !isSameReading(this.root, node)) this.isFaithful = false
      return
    }
    const parent = this.entities.get(node.parentNode)
    if (parent === undefined || ++this.count > mostParts || depthOf(parent) >= mostDepth) {
      this.isFaithful = false
      return
    }
    const entity = entityOf(parent, byteString.fromBytes(header), start, this.at)
    parent.children.push(entity)
    this.open = entity
    this.tail = ""
    this.line = ""
    this.entities.set(node, entity)
    // Two readings of one header would be two structures.
    const isCut = !/(?:^|\n)\r?\n$/.test(entity.header.slice(-4))
    if (isCut || !isSameReading(entity, node) || hasRepeated(entity.fields)) this.isFaithful = false
  }

  /** Compares bytes with those that are expected, and goes on after them. */
  private isNext(bytes: Uint8Array): boolean {
    let from = 0
    while (from < bytes.length) {
      const due = this.pending[0]
      if (due === undefined) return false
      const length = Math.min(due.length - this.offset, bytes.length - from)
      for (let index = 0; index < length; index++) {
        if (due[this.offset + index] !== bytes[from + index]) return false
      }
      from += length
      this.offset += length
      if (this.offset === due.length) {
        this.pending.shift()
        this.offset = 0
      }
    }
    this.at += bytes.length
    return true
  }
}

const isSameReading = ({ boundary, type, typeField }: Entity, node: Node): boolean => {
  if (typeField.value !== "" && typeField.value !== node.contentType) return false
  if (!isMultipart(type)) return node.multipart === false
  return node.multipart !== false &&
    boundary === (node._boundary === false ? "" : byteString.fromBytes(node._boundary))
}

const depthOf = (entity: Entity): number => {
  let depth = 1
  for (let above = entity.parent; above !== undefined; above = above.parent) depth++
  return depth
}

/** Reads the parts of a body; `fields` are those of the message that begin with Content-, with their bytes. */
export const readStructure = Effect.fnUntraced(function*(
  fields: ReadonlyArray<readonly [name: string, value: string]>,
  body: Pieces
) {
  const Splitter = yield* loadSplitter
  const header = rootHeader(fields)
  const reading = new Reading(header)
  // Messages in messages are read on their own, from their decoded content.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types have no event but data
  const splitter = new Splitter({
    ignoreEmbedded: true,
    maxHeadSize: mostHeader,
    maxChildNodes: mostParts
  }) as unknown as Parser
  let hasFailed = false
  splitter.on("error", () => {
    hasFailed = true
  })
  splitter.on("data", (chunk) => reading.emitted(chunk))
  const write = (bytes: Uint8Array): Effect.Effect<void> =>
    Effect.callback((resume) => {
      if (hasFailed || !reading.isFaithful) return resume(Effect.void)
      reading.feed(bytes)
      splitter.write(bytes, () => resume(Effect.void))
    })
  const end = Effect.callback<void>((resume) => {
    if (hasFailed || !reading.isFaithful) return resume(Effect.void)
    splitter.once("close", () => resume(Effect.void))
    splitter.end()
  })
  yield* write(byteString.toBytes(byteString.ofParts(header)))
  yield* body.forEachEffect(0, body.length, (bytes) => write(bytes))
  yield* end
  splitter.destroy()
  const { root } = reading
  number(root, isMultipart(root.type) ? "" : "1")
  const isWhole = reading.isFaithful && !hasFailed && reading.at === body.length && isUnderstood(root)
  const complete = isWhole && !(yield* endsInDelimiter(body, root))
  const structure: Structure = { root, complete }
  return structure
})

/** A delimiter without a line end, at the end of the body: the beginning of a part to some programs, and text to others. */
const endsInDelimiter = (body: Pieces, root: Entity): Effect.Effect<boolean> =>
  Effect.map(body.bytes(Math.max(0, body.length - mostDelimiter), body.length), (bytes) => {
    const text = byteString.fromBytes(bytes)
    const line = text.slice(text.lastIndexOf("\n") + 1).trimEnd()
    const waiting = [root]
    for (let entity = waiting.pop(); entity !== undefined; entity = waiting.pop()) {
      if (entity.boundary !== "" && line === `--${entity.boundary}`) return true
      waiting.push(...entity.children)
    }
    return false
  })

const number = (entity: Entity, path: string): void => {
  entity.path = path
  entity.children.forEach((child, index) => number(child, path === "" ? `${index + 1}` : `${path}.${index + 1}`))
}

/** A multipart without parts has no boundary, or one that does not occur. */
const isUnderstood = (entity: Entity): boolean =>
  isMultipart(entity.type) ? entity.children.length > 0 && entity.children.every(isUnderstood) : true

/** The parts that are not made of parts, in their order. */
export const leavesOf = (entity: Entity): ReadonlyArray<Entity> =>
  isMultipart(entity.type) ? entity.children.flatMap(leavesOf) : [entity]
