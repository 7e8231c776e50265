/** Hooks that hold the events before a condition for a filter that may take part later. */
import type { OutsideMessage, Stage } from "../../../Stage.ts"
import type { Definition } from "../definition.ts"
import { goesOn, type StateHook } from "../wrapping.ts"
import type { ConditionalSession } from "./conditionalSession.ts"

/** A hook outside messages, which therefore says nothing of their state. */
type Hold = StateHook<ConditionalSession, unknown>

export const holdConnect: Hold = (event, at) => {
  at.connection.connect = event
  return goesOn
}

const holdHelo: Hold = (event, at) => {
  at.connection.helo = event
  return goesOn
}

export const hasHook = ({ answers, observes }: Definition, stage: Stage): boolean =>
  answers[stage] !== undefined || observes[stage] !== undefined

/** The hooks that hold connect and helo, if the filter has hooks there. */
export const held = (inner: Definition): { readonly [K in OutsideMessage]?: Hold } => ({
  ...(hasHook(inner, "connect") ? { connect: holdConnect } : {}),
  ...(hasHook(inner, "helo") ? { helo: holdHelo } : {})
})
