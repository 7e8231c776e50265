/** What an operator wants of a filter without writing TypeScript: on trial, and what happens when it fails. */
import * as Effect from "effect/Effect"
import { mapped } from "../../internal/filter/filterValue.ts"
import { mapInner } from "../../internal/filter/wrapping.ts"
import * as Milter from "../../Milter.ts"
import * as Verdict from "../../Verdict.ts"
import type { OnTrouble, Settings } from "./serveSettings.ts"

const policies: { readonly [K in OnTrouble]: Milter.FailurePolicy } = {
  tempfail: Verdict.tempFail(),
  reject: Verdict.reject(),
  pass: "pass"
}

/** The filter as the settings want it. */
export const applied = (
  filter: Milter.Filter<never, never>,
  { onDefect, onFailure, shadow }: Pick<Settings, "onDefect" | "onFailure" | "shadow">
): Milter.Filter<never, never> => {
  // Failures that the filter handles itself stay its own; a policy for defects is the operator's.
  const handled = onFailure === undefined
    ? filter
    : Milter.onFailure(filter, () => Effect.succeed(policies[onFailure]))
  const settled = onDefect === undefined
    ? handled
    : mapped(handled, (definition) => mapInner(definition, (inner) => ({ ...inner, onDefect: policies[onDefect] })))
  return shadow ? Milter.shadow(settled) : settled
}
