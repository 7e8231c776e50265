/** The definition of a filter in the shadow. Loaded when a server or a test starts with such a filter. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { OutsideMessage, Stage } from "../../../Stage.ts"
import { allStages, isOfMessage, sessionStages } from "../../protocol/stageTable.ts"
import type { Definition, Definitions } from "../definition.ts"
import { madeFrom, type StateHook, wrapWithState } from "../wrapping.ts"
import type { DryRunMessage } from "./dryRunMessage.ts"
import { makeShadows, Shadow, type Shadows } from "./shadowSession.ts"

// The builder of the message's state shows MAIL; the end of the message is always watched.
const watched = allStages.filter((stage) => isOfMessage(stage) && stage !== "mail" && stage !== "endOfMessage")

/** Makes the definitions of filters in the shadow, which share the room for what waits. */
export const shadowDefinitions = (
  definitions: Definitions,
  maxSpoolBytes: number | undefined
): Effect.Effect<Definitions, never, Scope.Scope> =>
  Effect.map(
    makeShadows(maxSpoolBytes),
    (all) => definitions.map((inner) => madeFrom(inner, (inner) => shadowed(all, inner)))
  )

type ShadowHook = StateHook<Shadow, DryRunMessage>

const shadowed = (shadows: Shadows, inner: Definition): Definition => {
  const outsideMessage = (stage: OutsideMessage): ShadowHook => (event, at) => {
    at.connection.outside(stage, event, at.session)
    return Exit.void
  }
  const inMessage = (stage: Stage): ShadowHook => (event, at) => at.connection.inside(stage, at.message, event, at)
  const observes: { [K in Stage]?: ShadowHook } = {
    // Always watched: without a hook of the filter, the message ends here as accepted.
    endOfMessage: inMessage("endOfMessage")
  }
  const has = (stage: Stage): boolean => inner.answers[stage] !== undefined || inner.observes[stage] !== undefined
  for (const stage of sessionStages) {
    // Connect is always watched: the state of the connection is built there.
    if (stage === "connect" || has(stage)) observes[stage] = outsideMessage(stage)
  }
  for (const stage of watched) if (has(stage)) observes[stage] = inMessage(stage)
  const harmless: Definition = {
    ...inner,
    modify: [],
    modifyIfOffered: [],
    signer: undefined,
    verifier: false,
    remote: undefined,
    refuseConnection: false,
    onFailure: undefined
  }
  return wrapWithState<Shadow, DryRunMessage>(harmless, {
    connection: () =>
      Effect.contextWith((context: Context.Context<never>) => {
        const shadow = new Shadow(shadows, inner, context)
        return Effect.as(atEnd((exit) => shadow.close(exit)), shadow)
      }),
    message: (mail, { connection, session }) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const message = connection.begin(mail, session, context)
        return Effect.as(atEnd((exit) => connection.end(message, exit)), message)
      }),
    answers: {},
    observes
  })
}

const atEnd = (f: (exit: Exit.Exit<unknown, unknown>) => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.addFinalizer((exit) => Effect.sync(() => f(exit)))
