/** The edits of a message's parts so far, and the bytes that result. */
import * as Effect from "effect/Effect"
import type { Spool } from "../../bytes/spool.ts"
import { boundariesAbove, type MixedPlaces, mixedPlacesOf } from "./delimiters.ts"
import { isAttachment } from "./displayedText.ts"
import { editLeaf, type LeafEdit, type TextEdit, type Unfit } from "./leafEdit.ts"
import type { Marked } from "./marks.ts"
import { ascii, delimited, type Fields, freshBoundary, headerBytes, type NewPart } from "./newPart.ts"
import { folded, plainParameter, withParameter } from "./partHeader.ts"
import type { Leaf, Level } from "./partView.ts"
import { pieceOf, type Pieces, type Splice } from "./pieces.ts"
import { type Entity, leavesOf } from "./structure.ts"
import { type TextContent, textContentOf } from "./textContent.ts"

interface LeafPlan {
  readonly first: ReadonlyArray<string>
  readonly last: ReadonlyArray<string>
  readonly removed: ReadonlyArray<Marked>
  readonly edit: LeafEdit
  readonly splices: ReadonlyArray<Splice>
}

/** Text for the beginning or the end of a part, lines ended by CR LF but for the last. */
export interface Insertion {
  readonly end: "first" | "last"
  readonly text: string
}

type Wanted = Omit<LeafPlan, "edit" | "splices">

const noPlan: Wanted = { first: [], last: [], removed: [] }

export class Plan {
  readonly level: Level
  /** The fields of the message that begin with Content-, as they were. */
  readonly fields: Fields
  private readonly scratch: Spool
  private readonly contents = new Map<Entity, TextContent>()
  private readonly leaves = new Map<Entity, LeafPlan>()
  private readonly replaced = new Map<Entity, { readonly splice: Splice; readonly fields: Fields }>()
  private readonly added: { readonly first: Array<NewPart>; readonly last: Array<NewPart> } = { first: [], last: [] }
  private places: MixedPlaces | undefined
  private boundary: string | undefined
  hasEdits = false

  constructor(level: Level, fields: Fields, scratch: Spool) {
    this.level = level
    this.fields = fields
    this.scratch = scratch
  }

  get root(): Entity {
    return this.level.structure.root
  }

  contentOf(entity: Entity): Effect.Effect<TextContent> {
    const known = this.contents.get(entity)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.tap(
      textContentOf(this.level.body, entity),
      (content) => Effect.sync(() => this.contents.set(entity, content))
    )
  }

  isReplaced(entity: Entity): boolean {
    return this.replaced.has(entity)
  }

  isRemoved(entity: Entity, start: number): boolean {
    return this.leaves.get(entity)?.removed.some((range) => range.start <= start && start < range.end) ?? false
  }

  /** Puts text into a part, or says why not. */
  insert(entity: Entity, { end, text }: Insertion): Effect.Effect<Unfit | undefined> {
    const old = this.leaves.get(entity) ?? noPlan
    return this.render(entity, {
      ...old,
      // A later insertion goes outside of the earlier ones.
      first: end === "first" ? [text, ...old.first] : old.first,
      last: end === "last" ? [...old.last, text] : old.last
    })
  }

  /** Takes ranges of its content out of a part, or says why not. */
  remove(entity: Entity, ranges: ReadonlyArray<Marked>): Effect.Effect<Unfit | undefined> {
    const old = this.leaves.get(entity) ?? noPlan
    const removed = [...old.removed, ...ranges].toSorted((left, right) => left.start - right.start)
    return this.render(entity, { ...old, removed })
  }

  private render(entity: Entity, plan: Wanted): Effect.Effect<Unfit | undefined> {
    return Effect.gen({ self: this }, function*() {
      const content = yield* this.contentOf(entity)
      const edits = entity.type === "text/html" ? htmlEdits(content, plan) : plainEdits(entity, content, plan)
      if (edits === undefined) return "html"
      const edit = yield* editLeaf(
        this.level.body,
        entity,
        content,
        edits,
        boundariesAbove(entity),
        this.scratch
      )
      if (typeof edit === "string") return edit
      const header = entity.parent === undefined ? [] : headerSplices(entity, edit)
      this.leaves.set(entity, { ...plan, edit, splices: [...header, ...edit.splices] })
      this.hasEdits = true
      return undefined
    })
  }

  replace({ entity, level }: Leaf, { body, fields }: NewPart): void {
    const isRoot = entity.parent === undefined
    const header = isRoot ? [] : [pieceOf(headerBytes(fields))]
    const start = isRoot ? entity.bodyStart : entity.headerStart
    // A body needs a line end at its end; a part has the line end of the delimiter after it.
    const end = isRoot || !entity.isEnded ? [lineEnd] : []
    const splice: Splice = {
      at: (level.base ?? 0) + start,
      length: entity.bodyEnd - start,
      pieces: [...header, ...body, ...end]
    }
    this.replaced.set(entity, { splice, fields })
    this.hasEdits = true
  }

  /** Adds a part before or after all others: in the multipart/mixed that the message is, or in one around it. */
  add(end: "first" | "last", make: (boundaries: ReadonlyArray<string>) => Effect.Effect<NewPart>): Effect.Effect<void>
  add<E, R>(
    end: "first" | "last",
    make: (boundaries: ReadonlyArray<string>) => Effect.Effect<NewPart, E, R>
  ): Effect.Effect<void, E, R>
  add<E, R>(
    end: "first" | "last",
    make: (boundaries: ReadonlyArray<string>) => Effect.Effect<NewPart, E, R>
  ): Effect.Effect<void, E, R> {
    return Effect.gen({ self: this }, function*() {
      const { body } = this.level
      if (this.places === undefined && this.boundary === undefined) {
        // A root that is replaced is no multipart any more.
        this.places = this.root.type === "multipart/mixed" ? yield* mixedPlacesOf(body, this.root) : undefined
        if (this.places === undefined) this.boundary = yield* freshBoundary(body)
      }
      const part = yield* make([this.boundary ?? this.root.boundary])
      if (end === "first") this.added.first.unshift(part)
      else this.added.last.push(part)
      this.hasEdits = true
    })
  }

  /** The splices of the body, in order. */
  get splices(): ReadonlyArray<Splice> {
    const replaced = [...this.replaced.values()].map(({ splice }) => splice)
    const inner = [...this.leaves.values()].flatMap(({ splices }) => splices).concat(replaced)
      .toSorted((left, right) => left.at - right.at || left.length - right.length)
    const { first, last } = this.around
    const all = [...first, ...withoutCovered(inner, replaced), ...last]
    return this.places === undefined ? all : all.toSorted((left, right) => left.at - right.at)
  }

  /** The splices before and after the whole body, or at the delimiters of the multipart/mixed. */
  private get around(): { readonly first: ReadonlyArray<Splice>; readonly last: ReadonlyArray<Splice> } {
    const { added, boundary, places } = this
    if (places !== undefined) {
      const first = delimited(this.root.boundary, added.first)
      const last = delimited(this.root.boundary, added.last)
      return {
        first: first.length === 0 ? [] : [{ at: places.first, length: 0, pieces: first }],
        last: last.length === 0 ? [] : [{ at: places.last, length: 0, pieces: last }]
      }
    }
    if (boundary === undefined) return { first: [], last: [] }
    const before = [
      ...delimited(boundary, added.first),
      pieceOf(ascii(`--${boundary}\r\n`)),
      pieceOf(headerBytes(this.ownFields))
    ]
    const after = [lineEnd, ...delimited(boundary, added.last), pieceOf(ascii(`--${boundary}--\r\n`))]
    return {
      first: [{ at: 0, length: 0, pieces: before }],
      last: [{ at: this.level.body.length, length: 0, pieces: after }]
    }
  }

  /** The Content-* fields of what the message was, edits counted. */
  private get ownFields(): Fields {
    const { root } = this
    const replaced = this.replaced.get(root)
    if (replaced !== undefined) return replaced.fields
    const plan = this.leaves.get(root)
    return plan === undefined ? this.fields : changedFields(root, this.fields, plan.edit)
  }

  /** The Content-* fields that the message must have. */
  get messageFields(): Fields {
    if (this.boundary === undefined) return this.ownFields
    const encoding = this.ownFields.find(([name, value]) =>
      name.toLowerCase() === "content-transfer-encoding" && /^\s*(?:8bit|binary)\b/i.test(value)
    )
    // A multipart that holds such bytes must say so too (RFC 2045 6.4).
    return [
      ["Content-Type", ` multipart/mixed;\n boundary="${this.boundary}"`],
      ...(encoding === undefined ? [] : [encoding])
    ]
  }

  /** The body with all edits. */
  get body(): Pieces {
    return this.level.body.splice(this.splices)
  }

  /** All text parts that are shown. */
  get texts(): ReadonlyArray<Entity> {
    return leavesOf(this.root).filter((entity) =>
      (entity.type === "text/plain" || entity.type === "text/html") && !isAttachment(entity)
    )
  }
}

/** Splices within a replaced part go with it. */
const withoutCovered = (
  splices: ReadonlyArray<Splice>,
  replaced: ReadonlyArray<Splice>
): ReadonlyArray<Splice> => {
  const wide = replaced.toSorted((left, right) => left.at - right.at || right.length - left.length)
  const kept: Array<Splice> = []
  let next = 0
  let covered: Splice | undefined
  for (const splice of splices) {
    while (next < wide.length && wide[next]!.at <= splice.at) {
      const candidate = wide[next++]!
      if (covered === undefined || candidate.at >= covered.at + covered.length) covered = candidate
    }
    const isInside = covered !== undefined && splice !== covered && splice.at >= covered.at &&
      splice.at + splice.length <= covered.at + covered.length
    if (!isInside) kept.push(splice)
  }
  return kept
}

const isFlowed = ({ typeField }: Entity): boolean => plainParameter(typeField, "format")?.toLowerCase() === "flowed"

/** Lines of format=flowed (RFC 3676): none flows into the next, and those that look quoted are not. */
const flowed = (text: string): string =>
  text.split("\r\n").map((line) => {
    const fixed = line === "-- " ? line : line.trimEnd()
    return /^(?: |>|From )/.test(fixed) ? ` ${fixed}` : fixed
  }).join("\r\n")

const plainEdits = (
  entity: Entity,
  { endsInLine, endsInSpace, length }: TextContent,
  { first, last, removed }: Wanted
): ReadonlyArray<TextEdit> => {
  const isSoft = isFlowed(entity)
  const shaped = (text: string): string => isSoft ? flowed(text) : text
  const cuts = removed.map(({ end, start }): TextEdit => ({ at: start, length: end - start, text: "" }))
  const isCut = removed.at(-1)?.end === length
  const before = (endsInLine || isCut ? "" : "\r\n") + (isSoft && endsInSpace && !isCut ? "\r\n" : "")
  // The line end before a delimiter is not of the part. A body of its own should end with one.
  const after = entity.isEnded ? "" : "\r\n"
  return [
    ...(first.length === 0 ? [] : [{ at: 0, length: 0, text: first.map((text) => `${shaped(text)}\r\n`).join("") }]),
    ...cuts,
    ...(last.length === 0
      ? []
      : [{ at: length, length: 0, text: before + last.map(shaped).join("\r\n") + after }])
  ]
}

const htmlEdits = (
  { html }: TextContent,
  { first, last, removed }: Wanted
): ReadonlyArray<TextEdit> | undefined => {
  if (html === undefined || (last.length > 0 && html.last === undefined)) return undefined
  const lines = (texts: ReadonlyArray<string>): string => `\r\n${texts.join("\r\n")}\r\n`
  /** Moves an insertion out of ranges that are removed. */
  const outside = (at: number): number => removed.find(({ end, start }) => start < at && at < end)?.end ?? at
  const edits = [
    ...(first.length === 0 ? [] : [{ at: outside(html.first), length: 0, text: lines(first) }]),
    ...(last.length === 0 || html.last === undefined ? [] : [{ at: outside(html.last), length: 0, text: lines(last) }]),
    ...removed.map(({ end, start }) => ({ at: start, length: end - start, text: "" }))
  ]
  return edits.toSorted((left, right) => left.at - right.at || left.length - right.length)
}

/** Values by name in lower case; undefined for a field that goes. */
const changesOf = (
  { fields }: Entity,
  { charset, encoding }: LeafEdit
): ReadonlyMap<string, readonly [name: string, value: string] | undefined> => {
  const changes = new Map<string, readonly [string, string] | undefined>([["content-md5", undefined]])
  if (charset !== undefined) {
    const type = fields.find(({ name }) => name === "content-type")?.value ?? "text/plain"
    changes.set("content-type", ["Content-Type", ` ${folded(withParameter(type, "charset", charset))}`])
  }
  if (encoding !== undefined) {
    changes.set("content-transfer-encoding", ["Content-Transfer-Encoding", ` ${encoding}`])
  }
  return changes
}

const changedFields = (entity: Entity, fields: Fields, edit: LeafEdit): Fields => {
  const changes = changesOf(entity, edit)
  const missing = new Set(changes.keys())
  const kept = fields.flatMap((field): Fields => {
    const key = field[0].toLowerCase()
    if (!changes.has(key)) return [field]
    missing.delete(key)
    const change = changes.get(key)
    return change === undefined ? [] : [[field[0], change[1]]]
  })
  return [
    ...kept,
    ...[...missing].flatMap((key): Fields => {
      const change = changes.get(key)
      return change === undefined ? [] : [change]
    })
  ]
}

const headerSplices = (entity: Entity, edit: LeafEdit): ReadonlyArray<Splice> => {
  const { fields, headerStart } = entity
  const end = fields.at(-1)?.end ?? 0
  return [...changesOf(entity, edit)].flatMap(([key, change]) => {
    const present = fields.filter(({ name }) => name === key)
    const text = change === undefined ? "" : `${change[0]}:${change[1].replace(/\n/g, "\r\n")}\r\n`
    if (present.length === 0 && text === "") return []
    const places = present.length === 0 ? [{ start: end, end }] : present
    return places.map((place, index): Splice => ({
      at: headerStart + place.start,
      length: place.end - place.start,
      pieces: [pieceOf(ascii(index === 0 ? text : ""))]
    }))
  })
}

const lineEnd = pieceOf(ascii("\r\n"))
