/** Edits of parts outside of a server: what they make of the fields and the body, and which bytes they have replaced. */
import type * as Message from "effect-milter/Message"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import { HeaderValue } from "../../../src/Header.ts"
import { Spool } from "../../../src/internal/bytes/spool.ts"
import { HeaderEditor } from "../../../src/internal/message/headerList.ts"
import { MimeEditor } from "../../../src/internal/message/mime/mimeEditor.ts"
import { Pieces } from "../../../src/internal/message/mime/pieces.ts"
import type { Mail } from "./mimeMessages.ts"

export interface Outcome<A> {
  readonly result: Result.Result<A, Message.NotEditable>
  readonly mail: Mail
  /** What the splices say was there before them, put back into the edited body. */
  readonly undone: string
}

const bytesOf = (text: string): Uint8Array => ByteString.toBytes(ByteString.make(text))

export const edit = <A>(
  { body, fields }: Mail,
  use: (mime: Message.EditableMime) => Effect.Effect<A, Message.NotEditable>
): Effect.Effect<Outcome<A>> =>
  Effect.gen(function*() {
    const spool = new Spool(undefined)
    yield* spool.append(bytesOf(body))
    const source = Pieces.of(spool)
    let current = source
    const headers = new HeaderEditor(
      fields.map(([name, value]) => new HeaderValue(ByteString.make(name), ByteString.make(value), true)),
      false
    )
    const editor = new MimeEditor({
      headers,
      get body() {
        return current
      },
      setBody: (body) => {
        current = body
      },
      makeSpool: Effect.sync(() => new Spool(undefined))
    })
    const result = yield* Effect.result(use(editor))
    editor.flush()
    const edited = ByteString.fromBytes(yield* current.bytes(0, current.length))
    let undone = ""
    let at = 0
    let from = 0
    for (const splice of current === source ? [] : editor.splices) {
      const length = splice.pieces.reduce((sum, piece) => sum + piece.length, 0)
      undone += edited.slice(at, at + splice.at - from) + body.slice(splice.at, splice.at + splice.length)
      at += splice.at - from + length
      from = splice.at + splice.length
    }
    undone += edited.slice(at)
    return {
      result,
      mail: { fields: headers.fields.map(({ name, raw }) => [name, raw] as const), body: edited },
      undone
    }
  })
