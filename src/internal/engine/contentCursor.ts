/** Where the filters are in a message's content: the pass, and in a later pass the field or piece. */
import type * as Effect from "effect/Effect"
import type { HeaderValue } from "../../Header.ts"
import type * as Packet from "../../Packet.ts"
import type { Edits } from "../filter/editor.ts"
import { type ContentStage, type StageRow, stages } from "../protocol/stageTable.ts"
import type { Plan } from "./contentPasses.ts"
import { combine, type Content, type ContentBody } from "./editedContent.ts"
import type { FilterMessage } from "./filterMessage.ts"
import type { Closing } from "./scopeCloser.ts"

/** What the filters of a later pass are asked about next, or a piece of the body that is to be read first. */
export type ContentStep =
  | {
    readonly _tag: "Ask"
    readonly stage: StageRow<ContentStage>
    readonly event: HeaderValue | undefined
  }
  | { readonly _tag: "Read"; readonly piece: Effect.Effect<Uint8Array> }

const ask = (stage: StageRow<ContentStage>, event?: HeaderValue): ContentStep => ({
  _tag: "Ask",
  stage,
  event
})
const endOfHeaders = ask(stages.endOfHeaders)
const endOfMessage = ask(stages.endOfMessage)

export class ContentCursor {
  private readonly plan: Plan
  /** What is kept for later passes. */
  private readonly content: Content | undefined
  private _pass = 0
  private headers: ReadonlyArray<HeaderValue> = []
  private field = 0
  private isHeaderEnded = false
  private body: ContentBody | undefined
  private piece = 0

  constructor(plan: Plan, content: Content | undefined) {
    this.plan = plan
    this.content = content
  }

  /** The current pass; pass 0 is over the content as the MTA sends it. */
  get pass(): number {
    return this._pass
  }

  keepHeader({ name, value }: Packet.Header): void {
    if (this.plan.keepsHeaders) this.content!.header(name, value)
  }

  /** Stores a piece of the body; undefined if no later pass reads it. */
  keepBody(bytes: Uint8Array): Effect.Effect<void> | undefined {
    return this.plan.keepsBody ? this.content!.append(bytes) : undefined
  }

  /** Begins the pass of the filters that have not seen the content yet, with the edits so far. False if there are none. */
  beginNextPass(parts: ReadonlyArray<FilterMessage>): boolean {
    if (this._pass === this.plan.lastPass) return false
    const rest = parts.filter(({ hasLeft, pass }) => !hasLeft && pass > this._pass)
    if (rest.length === 0) return false
    this.applyEdits(parts)
    this._pass = Math.min(...rest.map(({ pass }) => pass))
    this.headers = this.plan.keepsHeaders ? this.content!.headers : []
    this.body = this.plan.keepsBody ? this.content!.body : undefined
    this.field = this.piece = 0
    this.isHeaderEnded = false
    return true
  }

  /** Moves on, in a later pass. */
  next(parts: ReadonlyArray<FilterMessage>): ContentStep {
    const event = this.headers[this.field++]
    if (event !== undefined) return ask(stages.header, event)
    if (!this.isHeaderEnded) {
      this.isHeaderEnded = true
      return endOfHeaders
    }
    const { body } = this
    if (body === undefined || this.piece >= body.pieces || !this.isBodyWanted(parts)) return endOfMessage
    // Piece by piece, so that a large body is never in memory whole: reading waits while the hooks run.
    return { _tag: "Read", piece: body.piece(this.piece++) }
  }

  private isBodyWanted(parts: ReadonlyArray<FilterMessage>): boolean {
    return parts.some(({ isDoneWithBody, pass }) => pass === this._pass && !isDoneWithBody)
  }

  private applyEdits(parts: ReadonlyArray<FilterMessage>): void {
    for (const { edits, pass } of parts) {
      if (pass === this._pass && edits !== undefined) this.content?.apply(edits)
    }
  }

  /** The edits of all filters, as one list for the message that the MTA holds. */
  allEdits(parts: ReadonlyArray<FilterMessage>): Edits | undefined {
    if (parts.length === 1) return parts[0]!.edits
    const all = parts.flatMap(({ edits }) => edits === undefined ? [] : [edits])
    if (all.length < 2) return all[0]
    if (this.content === undefined) return combine(all)
    // The edits of the last pass are not applied yet.
    this.applyEdits(parts)
    return this.content.combine(all)
  }

  /** Whether anything of the content is kept, for later passes or to put edits together. */
  get isKept(): boolean {
    return this.content !== undefined
  }

  /** What is kept closes with the message. */
  get closings(): ReadonlyArray<Closing> {
    return this.content === undefined ? [] : [this.content.closing]
  }
}
