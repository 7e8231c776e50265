/** Conditions that are asked at connect, helo or mail: before a message has a recipient. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Helo, Mail, Session, Stage } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { ByteString } from "../../bytes/byteString.ts"
import { type Definition, Failed } from "../definition.ts"
import { wholeOf } from "../sessionView.ts"
import { decide, goesOn, type StateHook, type StateHooks, wrapWithState } from "../wrapping.ts"
import type { Ask } from "./asking.ts"
import {
  type ConditionalMessage,
  conditionalMessage,
  hooksAfterMail,
  join,
  type MessageBuilder
} from "./conditionalMessage.ts"
import { type ConditionalSession, newSession } from "./conditionalSession.ts"
import { hasHook, held, holdConnect } from "./heldEvents.ts"

/** The filter takes no part in the message. */
const out = conditionalMessage(Verdict.acceptMessage, undefined)

type ConditionalHook<K extends Stage = Stage> = StateHook<ConditionalSession, ConditionalMessage, K>
type ConditionalHooks = StateHooks<ConditionalSession, ConditionalMessage>

interface Messages {
  readonly message: MessageBuilder<ConditionalMessage>
  readonly answers: ConditionalHooks
  readonly observes: ConditionalHooks
}

/** The hooks of messages, which are the same for all these conditions. */
const messages = (
  inner: Definition,
  takesPart: (part: ConditionalSession, mail: Mail, session: Session) => Effect.Effect<boolean, never, Scope.Scope>
): Messages => {
  const inMessage = (stage: Stage): ConditionalHook => (event, at) => {
    const { state, verdict } = at.message
    // Given at MAIL, and later to an MTA that goes on all the same.
    if (verdict !== undefined) return Effect.succeed(verdict)
    return decide(inner, stage, event, { ...at, connection: at.connection.state, message: state })
  }
  return {
    message: (mail, { connection, session }) =>
      Effect.flatMap(
        takesPart(connection, mail, session),
        (takesPart) => takesPart ? join(inner, connection, mail, session) : Effect.succeed(out)
      ),
    answers: { ...hooksAfterMail(inner.answers, inMessage), mail: inMessage("mail") },
    observes: hooksAfterMail(inner.observes, inMessage)
  }
}

export const atConnect = (ask: Ask<"connect">) => (inner: Definition): Definition => {
  const later = messages(inner, ({ takesPart }) => Effect.succeed(takesPart === true))
  const live = (stage: "connect" | "helo"): ConditionalHook => (event, at) => {
    const part = at.connection
    return part.takesPart === true ? part.hook(stage, event, at.session) : goesOn
  }
  const hooks = (record: Definition["answers"]): ConditionalHooks => ({
    ...(record.connect === undefined ? {} : { connect: live("connect") }),
    ...(record.helo === undefined ? {} : { helo: live("helo") })
  })
  return wrapWithState<ConditionalSession, ConditionalMessage>(inner, {
    ...later,
    connection: (session) =>
      Effect.flatMap(newSession(inner), (part) =>
        Effect.flatMap(
          ask(wholeOf(session), { hostname: session.hostname, client: session.client }, { session }),
          (takesPart) => {
            part.takesPart = takesPart
            if (!takesPart) return Effect.succeed(part)
            return Effect.map(part.enter(session), (decision) => decision instanceof Failed ? decision : part)
          }
        )),
    answers: { ...later.answers, ...hooks(inner.answers) },
    observes: { ...later.observes, ...hooks(inner.observes) }
  })
}

export const atHelo = (ask: Ask<"helo">) => (inner: Definition): Definition => {
  const decided = (part: ConditionalSession, about: object, event: Helo, session: Session): Effect.Effect<boolean> =>
    Effect.map(ask(about, event, { session }), (takesPart) => part.takesPart = takesPart)
  const later = messages(inner, (part, _, session) =>
    part.takesPart === undefined
      // A client may send MAIL without HELO.
      ? decided(part, wholeOf(session), { name: "", raw: ByteString.fromText("") }, session)
      : Effect.succeed(part.takesPart))
  const helo: ConditionalHook<"helo"> = (event, at) => {
    const part = at.connection
    part.helo = event
    return Effect.flatMap(
      decided(part, event, event, at.session),
      (takesPart) => takesPart ? part.enter(at.session) : goesOn
    )
  }
  const isAnswered = inner.answers.connect !== undefined || inner.answers.helo !== undefined
  return wrapWithState<ConditionalSession, ConditionalMessage>(inner, {
    ...later,
    connection: () => newSession(inner),
    answers: { ...later.answers, ...(isAnswered ? { helo } : {}) },
    observes: {
      ...later.observes,
      ...(hasHook(inner, "connect") ? { connect: holdConnect } : {}),
      ...(isAnswered ? {} : { helo })
    }
  })
}

export const atMail = (ask: Ask<"mail">) => (inner: Definition): Definition => {
  const later = messages(inner, (part, mail, session) => {
    const leave = Effect.addFinalizer(() => Effect.sync(() => part.takesPart = false))
    return Effect.tap(
      Effect.map(ask(mail, mail, { session }), (takesPart) => part.takesPart = takesPart),
      // Runs with the scope of the message. The time between messages matters to no other hook.
      (takesPart) => takesPart && hasHook(inner, "unknown") ? leave : Effect.void
    )
  })
  // No hook of the filter runs at connect or helo.
  return wrapWithState<ConditionalSession, ConditionalMessage>({ ...inner, refuseConnection: false }, {
    ...later,
    connection: () => newSession(inner),
    observes: { ...later.observes, ...held(inner) }
  })
}
