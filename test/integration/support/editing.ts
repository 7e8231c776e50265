/** A filter that makes at end of message the edits that it is told to. */
import * as Milter from "effect-milter/Milter"
import type * as Modification from "effect-milter/Modification"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { capabilities } from "../../support/names.ts"

/** What the filter does. */
export type Edit = (edit: Modification.EditorOf<typeof capabilities[number], never>) => Effect.Effect<unknown>

export const nothing: Edit = () => Effect.void

export const make = (edit: Ref.Ref<Edit>) =>
  Milter.make("editing", { modify: capabilities }).on({
    endOfMessage: (_, at) => Effect.flatMap(Ref.get(edit), (f) => Effect.as(f(at.edit), Verdict.continue))
  })
