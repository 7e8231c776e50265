/** The parts of a message as its hook reads and edits them. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Spool } from "../../bytes/spool.ts"
import type { HeaderEditor } from "../headerList.ts"
import { boundariesAbove } from "./delimiters.ts"
import { type Displayed, displayedText, isRefusedAbove, refusalOf } from "./displayedText.ts"
import { checkIdentifier, markField, markHtml, markText, pairs } from "./marks.ts"
import {
  type Attachment,
  type Banner,
  type EditableMime,
  type EditableMimePart,
  type EditedPart,
  type LeftPart,
  type MimeResult,
  type MimeTree,
  NotEditable,
  type Obstacle,
  type Replacement
} from "./mimeTypes.ts"
import { checkText, type Fields, filePart, type NewPart, textPart } from "./newPart.ts"
import { allLeaves, type Leaf, type Level, signedAbove, viewOf } from "./partView.ts"
import type { Pieces, Splice } from "./pieces.ts"
import { Plan } from "./plan.ts"
import { type Entity, readStructure } from "./structure.ts"

/** The message that is edited. */
export interface Edited {
  readonly headers: HeaderEditor
  /** The body that was set last; {@link MimeEditor.flush} sets the one with all edits. */
  readonly body: Pieces
  readonly setBody: (body: Pieces) => void
  readonly makeSpool: Effect.Effect<Spool>
}

/** A banner that has been checked, with its marks. */
interface Text {
  readonly plain: string
  readonly html: string
  readonly id: string | undefined
  readonly isOnce: boolean
  readonly isBeside: boolean
}

const escapes: { readonly [character: string]: string } = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;" }

const paragraph = (text: string): string =>
  `<p>${text.replace(/[&<>"]/g, (character) => escapes[character]!).split("\r\n").join("<br>\r\n")}</p>`

const textOf = ({ beside, html, mark, once, text }: Banner): Text => {
  const id = once ?? mark
  if (id !== undefined) Result.getOrThrow(checkIdentifier(id))
  const plain = Result.getOrThrow(checkText("banner", text)).replace(/(?:\r\n)+$/, "")
  const rich = html === undefined ? paragraph(plain) : Result.getOrThrow(checkText("banner", html))
  return {
    plain: id === undefined ? plain : markText(plain, id),
    html: id === undefined ? rich : markHtml(rich, id),
    id,
    isOnce: once !== undefined,
    isBeside: beside === true
  }
}

export class MimeEditor implements EditableMime {
  private readonly message: Edited
  private plan: Plan | undefined
  private scratch: Spool | undefined
  private isPending = false
  /** The body and fields that the plan has seen or made. */
  private written: { readonly body: Pieces; readonly fields: string } | undefined

  constructor(message: Edited) {
    this.message = message
  }

  get tree(): Effect.Effect<MimeTree<EditableMimePart>> {
    return Effect.gen({ self: this }, function*() {
      // The tree shows the message as it is now; parts that were read before are stale.
      this.flush()
      if (this.plan?.hasEdits === true) this.plan = undefined
      const plan = yield* this.current
      const { complete, leaves } = yield* allLeaves(plan.level, this.message.makeSpool)
      return {
        complete,
        leaves: leaves.map((leaf) => ({
          ...viewOf(leaf),
          replace: (replacement: Replacement) => this.replace(plan, complete, leaf, replacement)
        }))
      }
    })
  }

  readonly append = (banner: Banner): Effect.Effect<MimeResult, NotEditable> =>
    Effect.suspend(() => this.put("last", textOf(banner)))

  readonly prepend = (banner: Banner): Effect.Effect<MimeResult, NotEditable> =>
    Effect.suspend(() => this.put("first", textOf(banner)))

  readonly attach = <E, R>(attachment: Attachment<E, R>): Effect.Effect<void, E | NotEditable, R> =>
    Effect.gen({ self: this }, function*() {
      const plan = yield* this.editable
      const why = refusalOf(plan.root)
      if (why !== undefined && !isSecured(why)) return yield* new NotEditable({ why, path: plan.root.path })
      const scratch = yield* this.spool
      yield* plan.add("last", () => filePart(attachment, scratch))
      yield* this.apply(plan)
    })

  readonly removeMarked = (id: string): Effect.Effect<MimeResult, NotEditable> =>
    Effect.gen({ self: this }, function*() {
      Result.getOrThrow(checkIdentifier(id))
      const plan = yield* this.editable
      const edited: Array<EditedPart> = []
      const left: Array<LeftPart> = []
      for (const entity of plan.texts) {
        if (isRefusedAbove(entity) || plan.isReplaced(entity)) continue
        const { marks } = yield* plan.contentOf(entity)
        const ranges = pairs(marks).filter((pair) => pair.id === id && !plan.isRemoved(entity, pair.start))
        if (ranges.length > 0) {
          const why = yield* plan.remove(entity, ranges)
          if (why === undefined) edited.push({ ...named(entity), how: "removed" })
          else left.push({ ...named(entity), why })
        }
        const isLeft = marks.some((mark) => mark.id === id && !plan.isRemoved(entity, mark.start))
        if (isLeft && ranges.length === 0) left.push({ ...named(entity), why: "marked" })
      }
      yield* this.unmark(id)
      if (edited.length > 0) yield* this.apply(plan)
      return { edited, left }
    })

  /** Where the body differs from the one that was last read as a whole. */
  get splices(): ReadonlyArray<Splice> {
    return this.plan?.splices ?? []
  }

  /** Puts all edits into the body at once: a message may have a thousand parts to replace. */
  flush(): void {
    if (!this.isPending) return
    this.isPending = false
    // The body was replaced in between: the edits were for the old one.
    if (this.plan === undefined || this.written?.body !== this.message.body) return
    const body = this.plan.body
    this.message.setBody(body)
    this.written = { ...this.written, body }
  }

  private get spool(): Effect.Effect<Spool> {
    return Effect.suspend(() =>
      this.scratch !== undefined ?
        Effect.succeed(this.scratch) :
        Effect.tap(this.message.makeSpool, (spool) =>
          Effect.sync(() => {
            this.scratch = spool
          }))
    )
  }

  /** The plan for the message as it is; a new one if something else has changed the body or its fields. */
  private get current(): Effect.Effect<Plan> {
    return Effect.gen({ self: this }, function*() {
      const fields = contentFields(this.message.headers)
      const isSame = this.written?.body === this.message.body && this.written.fields === JSON.stringify(fields)
      if (this.plan !== undefined && isSame) return this.plan
      this.flush()
      const { body } = this.message
      const structure = yield* readStructure(fields, body)
      const level: Level = { body, structure, base: 0, outer: undefined }
      const plan = new Plan(level, fields, yield* this.spool)
      this.plan = plan
      this.written = { body, fields: JSON.stringify(fields) }
      return plan
    })
  }

  private get editable(): Effect.Effect<Plan, NotEditable> {
    return Effect.flatMap(this.current, (plan) =>
      plan.level.structure.complete
        ? Effect.succeed(plan)
        : Effect.fail(new NotEditable({ why: "structure", path: "" })))
  }

  private put(end: "first" | "last", text: Text): Effect.Effect<MimeResult, NotEditable> {
    return Effect.gen({ self: this }, function*() {
      const plan = yield* this.editable
      if (text.isOnce && this.message.headers.getAll(markField).includes(text.id!)) return alreadyMarked
      const { refused, targets } = displayedText(plan.root, end)
      const edited: Array<EditedPart> = []
      const left: Array<LeftPart> = refused.map(({ entity, why }) => ({ ...named(entity), why }))
      const fitting: Array<Entity> = []
      for (const entity of targets) {
        const content = yield* plan.contentOf(entity)
        const isMarked = content.marks.some(({ id, start }) => id === text.id && !plan.isRemoved(entity, start)) ||
          (entity.type === "text/html" && content.named.has(text.id ?? ""))
        if (text.isOnce && isMarked) return alreadyMarked
        const why = content.isPgp ? "pgp" : content.isValid ? undefined : "encoding"
        if (why !== undefined) left.push({ ...named(entity), why })
        // A message without a body has no text to which more could be added.
        else if (!plan.isReplaced(entity) && !(content.isEmpty && entity === plan.root)) fitting.push(entity)
      }
      for (const entity of fitting) {
        const why = yield* plan.insert(entity, { end, text: entity.type === "text/html" ? text.html : text.plain })
        if (why === undefined) edited.push({ ...named(entity), how: "inside" })
        else left.push({ ...named(entity), why })
      }
      if (edited.length === 0 && mayStandBeside(plan.root, { refused, targets }, left, text)) {
        const scratch = yield* this.spool
        yield* plan.add(end, (boundaries) => textPart(text.plain, "plain", boundaries, scratch))
        edited.push({ path: "", type: "text/plain", how: "beside" })
      }
      if (edited.length > 0) {
        if (text.id !== undefined) yield* this.mark(text.id)
        yield* this.apply(plan)
      }
      return { edited, left }
    })
  }

  private mark(id: string): Effect.Effect<void> {
    const { headers } = this.message
    return headers.getAll(markField).includes(id) ? Effect.void : headers.append(markField, id)
  }

  private unmark(id: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { headers } = this.message
      const places = headers.getAll(markField).flatMap((value, index) => value === id ? [index + 1] : [])
      return Effect.forEach(places.toReversed(), (occurrence) => headers.remove(markField, occurrence), {
        discard: true
      })
    })
  }

  private replace(
    plan: Plan,
    complete: boolean,
    leaf: Leaf,
    replacement: Replacement
  ): Effect.Effect<void, NotEditable> {
    return Effect.gen({ self: this }, function*() {
      const why = (yield* this.current) !== plan ? "stale" : complete ? obstacleTo(leaf) : "structure"
      if (why !== undefined) return yield* new NotEditable({ why, path: leaf.path })
      const scratch = yield* this.spool
      plan.replace(leaf, yield* partOf(replacement, boundariesAround(leaf), scratch))
      yield* this.apply(plan)
    })
  }

  /** Applies the plan to the message. */
  private apply(plan: Plan): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const { body, headers } = this.message
      const isChanged = writeFields(headers, plan.messageFields)
      if (isChanged && headers.field("MIME-Version") === undefined) yield* headers.append("MIME-Version", "1.0")
      this.isPending = true
      this.written = { body, fields: JSON.stringify(contentFields(headers)) }
    })
  }
}

const named = ({ path, type }: Entity): { readonly path: string; readonly type: string } => ({ path, type })

const alreadyMarked: MimeResult = { edited: [], left: [{ path: "", type: "", why: "marked" }] }

const isSecured = (why: Obstacle): boolean => why === "signed" || why === "encrypted" || why === "pgp"

/** Whether programs read messages of this kind, from which another part would hide the content. */
const isWhole = (why: Obstacle): boolean => why === "report" || why === "calendar" || why === "tnef"

const mayStandBeside = (
  root: Entity,
  { refused }: Displayed,
  left: ReadonlyArray<LeftPart>,
  { isBeside }: Text
): boolean => {
  if (refused.some(({ entity, why }) => isWhole(why) || (why === "message" && entity === root))) return false
  return isBeside || !left.some(({ why }) => isSecured(why))
}

const obstacleTo = ({ entity, level }: Leaf): Obstacle | undefined => {
  // The header of a message in the message is in its bytes, and would have to be rewritten as well.
  if (level.outer !== undefined && (level.base === undefined || entity.parent === undefined)) return "message"
  for (let at: Leaf | undefined = { entity, level, path: "" }; at !== undefined; at = at.level.outer) {
    if (signedAbove(at.entity)) return "signed"
    for (let above = at.entity.parent; above !== undefined; above = above.parent) {
      if (above.type === "multipart/encrypted") return "encrypted"
    }
  }
  return undefined
}

const boundariesAround = ({ entity, level }: Leaf): ReadonlyArray<string> => [
  ...boundariesAbove(entity),
  ...(level.outer === undefined ? [] : boundariesAround(level.outer))
]

const partOf = (
  replacement: Replacement,
  boundaries: ReadonlyArray<string>,
  scratch: Spool
): Effect.Effect<NewPart> =>
  Effect.suspend(() => {
    if ("text" in replacement) {
      return textPart(Result.getOrThrow(checkText("text", replacement.text)), "plain", boundaries, scratch)
    }
    if ("html" in replacement) {
      return textPart(Result.getOrThrow(checkText("text", replacement.html)), "html", boundaries, scratch)
    }
    const { content, filename = "", type } = replacement
    return filePart({ content, filename, type }, scratch)
  })

const contentFields = ({ fields }: HeaderEditor): Fields =>
  fields.filter(({ name }) => name.toLowerCase().startsWith("content-")).map(({ name, raw }) => [name, raw])

/** Gives the message these fields that begin with Content-, and no others. True if it had others. */
const writeFields = (headers: HeaderEditor, wanted: Fields): boolean => {
  const old = contentFields(headers)
  if (JSON.stringify(old) === JSON.stringify(wanted)) return false
  const names = new Set([...old, ...wanted].map(([name]) => name.toLowerCase()))
  for (const name of names) {
    const values = (fields: Fields) =>
      fields.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value)
    const [before, after] = [values(old), values(wanted)]
    if (JSON.stringify(before) === JSON.stringify(after)) continue
    const spelled = wanted.find(([field]) => field.toLowerCase() === name)?.[0] ?? name
    headers.replaceAll(spelled, after)
  }
  return true
}
