/** A filter whose refusals before RCPT are given to each recipient, but for those that are exempt. */
import * as Effect from "effect/Effect"
import type { Rcpt, Session, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { type At, type Definition, Failed, type Hook } from "./definition.ts"
import { decide, goesOn, inside, madeFrom, outside } from "./wrapping.ts"

export type Except = (
  rcpt: Rcpt,
  at: { readonly session: Session; readonly envelope: NonNullable<At["envelope"]> }
) => Effect.Effect<boolean> | boolean

type Refusal = Verdict.Reject | Verdict.TempFail

/** The inner filter in one SMTP session. */
interface SessionPart {
  readonly state: unknown
  /** Held, of connect and of the latest HELO. */
  atConnect: Refusal | undefined
  atHelo: Refusal | undefined
  /** It has accepted the connection after that, which is no news for those it refuses. */
  isDone: boolean
}

/** And in one message. */
interface MessagePart {
  readonly state: unknown
  refusal: Refusal | undefined
  /** What it has decided after that: for the message, once the recipients are known. */
  last: Verdict.Verdict | undefined
  /** A recipient was exempt. */
  hasRecipient: boolean
}

const sessionOf = ({ connection }: { readonly connection: unknown }): SessionPart => connection as SessionPart // made below
const messageOf = ({ message }: At): MessagePart => message as MessagePart // made below

const isRefusal = (verdict: Verdict.Verdict | Failed): verdict is Refusal =>
  !(verdict instanceof Failed) && (verdict._tag === "Reject" || verdict._tag === "TempFail")

/** Nobody is exempt by default, and then a filter that has refused is not asked any more. */
export const made = (except: Except | undefined): (inner: Definition) => Definition => {
  const make = (inner: Definition): Definition => {
    const own = (at: At): At => ({ ...at, connection: sessionOf(at).state, message: messageOf(at).state })

    /** Nothing it could still say would count. */
    const isOver = ({ atConnect, isDone }: SessionPart): boolean =>
      isDone || (atConnect !== undefined && except === undefined)

    const isSettled = ({ last, refusal }: MessagePart): boolean =>
      last !== undefined || (refusal !== undefined && except === undefined)

    const outsideMessage = (stage: "connect" | "helo"): Hook => (event, at) => {
      const session = sessionOf(at)
      if (stage === "helo") session.atHelo = undefined
      if (isOver(session)) return goesOn
      return Effect.map(
        decide(inner, stage, event, { session: at.session, connection: session.state }),
        (decision) => {
          if (isRefusal(decision)) {
            if (stage === "connect") session.atConnect = decision
            else session.atHelo = decision
            return Verdict.continue
          }
          if (decision instanceof Failed || decision._tag === "Continue" || session.atConnect === undefined) {
            return decision
          }
          session.isDone = true
          return Verdict.continue
        }
      )
    }

    /** A verdict for the whole message waits until all recipients have had theirs. */
    const wait = (message: MessagePart) => (decision: Verdict.Verdict | Failed): Verdict.Verdict | Failed => {
      if (message.refusal === undefined || decision instanceof Failed || decision._tag === "Continue") return decision
      if (isRefusal(decision)) return decision
      message.last = decision
      return Verdict.continue
    }

    const mail: Hook = (event, at) => {
      const message = messageOf(at)
      if (isSettled(message)) return goesOn
      return Effect.map(decide(inner, "mail", event, own(at)), (decision) => {
        if (!isRefusal(decision)) return wait(message)(decision)
        message.refusal ??= decision
        return Verdict.continue
      })
    }

    const rcpt: Hook = (event, at) => {
      const message = messageOf(at)
      const { refusal } = message
      if (refusal === undefined) return decide(inner, "rcpt", event, own(at))
      const { envelope, session } = at
      // There is an envelope at rcpt.
      const exempt = except?.(event as Rcpt, { session, envelope: envelope! }) ?? false
      return Effect.flatMap(Effect.isEffect(exempt) ? exempt : Effect.succeed(exempt), (isExempt) => {
        if (!isExempt) return Effect.succeed(refusal)
        message.hasRecipient = true
        return message.last === undefined ? Effect.map(decide(inner, "rcpt", event, own(at)), wait(message)) : goesOn
      })
    }

    const later = (stage: Stage): Hook => (event, at) => {
      const message = messageOf(at)
      if (message.last !== undefined) return Effect.succeed(message.last)
      // An MTA that goes on without recipients.
      if (message.refusal !== undefined && !message.hasRecipient) return Effect.succeed(message.refusal)
      return decide(inner, stage, event, own(at))
    }

    const rejectedRecipient: Hook = (event, at) =>
      isSettled(messageOf(at)) ? goesOn : decide(inner, "rejectedRecipient", event, own(at))

    const unknown: Hook = (event, at) => {
      const session = sessionOf(at)
      if (isOver(session)) return goesOn
      return decide(inner, "unknown", event, { session: at.session, connection: session.state })
    }

    const special: { readonly [K in Stage]?: Hook } = {
      connect: outsideMessage("connect"),
      helo: outsideMessage("helo"),
      rejectedRecipient,
      unknown
    }

    const hooks = (record: Definition["answers"]): Definition["answers"] => {
      const result: { [K in Stage]?: Hook } = {}
      for (const stage of Object.keys(record) as Array<Stage>) {
        if (stage === "mail" || stage === "rcpt" || stage === "endOfMessage") continue
        result[stage] = special[stage] ?? later(stage)
      }
      return result
    }

    const build = inner.connection
    return {
      ...outside(inner),
      connection: (session) =>
        Effect.map(
          build === undefined ? Effect.undefined : inside(inner, () => build(session)),
          (state): SessionPart | Failed =>
            state instanceof Failed ? state : { state, atConnect: undefined, atHelo: undefined, isDone: false }
        ),
      message: (mail, { connection, session }) => {
        const part = connection as SessionPart // made above
        const refusal = part.atConnect ?? part.atHelo
        const { message } = inner
        return Effect.map(
          message === undefined || part.isDone || (refusal !== undefined && except === undefined)
            ? Effect.undefined
            : inside(inner, () => message(mail, { session, connection: part.state })),
          (state): MessagePart | Failed =>
            state instanceof Failed
              ? state
              : { state, refusal, last: part.isDone ? Verdict.acceptMessage : undefined, hasRecipient: false }
        )
      },
      answers: { ...hooks(inner.answers), mail, rcpt, endOfMessage: later("endOfMessage") },
      observes: hooks(inner.observes)
    }
  }
  return (inner) => madeFrom(inner, make)
}
