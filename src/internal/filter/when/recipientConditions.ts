/** Conditions on recipients: asked at each recipient, or at DATA about all of them. */
import * as Effect from "effect/Effect"
import { InvalidValue } from "../../../InvalidValue.ts"
import type { Envelope, Rcpt, Stage } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { type Definition, Failed } from "../definition.ts"
import { goesOn, type WrappedResult } from "../wrapping.ts"
import type { Ask, AskEnvelope } from "./asking.ts"
import type { RecipientCondition } from "./conditionTypes.ts"
import { holdsAnswers, isRefusal, type LateAt, type LateHook, type LateMessage, wrapLate } from "./lateMessage.ts"

/** Temporary, so that the client sends to this recipient in the next message. */
const otherKind = Verdict.tempFail({
  code: "452",
  enhanced: "4.5.3",
  text: "Send to this recipient in a message of its own"
})

const none: ReadonlyArray<Rcpt> = []

/** The recipients that were accepted before the one that the stage is about, which is the last. */
const earlierIn = (envelope: Envelope): ReadonlyArray<Rcpt> => envelope.recipients.slice(0, -1)

export const atRcpt =
  (ask: Ask<"rcpt">, { mixed, recipients }: Pick<RecipientCondition, "recipients" | "mixed">) =>
  (inner: Definition): Definition => {
    const isEach = recipients === "each"
    const isSeparate = mixed === "separate"

    /** Whether the message is for recipients of the other kind so far: with the filter, or without. */
    const isOtherKind = (message: LateMessage, matches: boolean, envelope: Envelope): boolean => {
      // Under "each" a filter that has refused all its recipients takes no part.
      const takesPart = isEach ? message.isIn : message.joined !== undefined
      return takesPart ? !matches : matches && envelope.recipients.length > 1
    }

    const rcpt: LateHook<"rcpt"> = Effect.fnUntraced(function*(event, at) {
      const { envelope, message, session } = at
      const settled = message.joined?.verdict
      if (settled !== undefined && !isRefusal(settled)) return settled
      const matches = yield* ask(event, event, { session, envelope: envelope! })
      if (isSeparate && isOtherKind(message, matches, envelope!)) {
        if (session.origin === "smtp") return otherKind
        yield* message.warnOnce(
          `${inner.name} takes part in a message for recipients of both kinds: local mail cannot be separated`
        )
      }
      if (!matches && (isEach || message.joined === undefined)) return Verdict.continue
      const joined = yield* message.join(at, isEach ? none : earlierIn(envelope!))
      if (joined instanceof Failed) return joined
      if (joined.verdict !== undefined) return joined.verdict
      const decision = yield* message.decide("rcpt", event, at, joined)
      if (!isEach || isAccepted(decision)) message.isIn = true
      return decision
    })
    // A held refusal was for recipients. Others may have been accepted without the filter.
    const refused = ({ envelope }: LateAt) => (verdict: Verdict.Verdict): Verdict.Verdict =>
      envelope!.recipients.length > 0 ? Verdict.acceptMessage : verdict
    const isAnswered = isSeparate || inner.answers.rcpt !== undefined || holdsAnswers(inner)
    const inContent = (stage: Stage): LateHook => (event, at) => at.message.later(stage, event, at, refused(at))
    // An MTA that goes on after a held refusal, without recipients, gets it again at the end.
    const end = holdsAnswers(inner) ? { endOfMessage: inContent("endOfMessage") } : {}
    return wrapLate(
      inner,
      inContent,
      isAnswered ? { answers: { ...end, rcpt }, observes: {} } : { answers: end, observes: { rcpt } }
    )
  }

const isAccepted = (decision: WrappedResult): boolean => !(decision instanceof Failed) && !isRefusal(decision)

export const atData = (ask: AskEnvelope) => (inner: Definition): Definition => {
  if (inner.answers.rcpt !== undefined) {
    throw new InvalidValue({
      what: "filter",
      value: inner.name,
      reason:
        "expected a condition of rcpt, since the filter answers rcpt: at data it is too late to refuse a recipient"
    })
  }
  /** Asks, and joins if the condition is true; gives a failure of the filter. */
  const decideOn = Effect.fnUntraced(function*(at: LateAt) {
    const { message, session } = at
    // There is an envelope in a message.
    const envelope = at.envelope!
    message.isAsked = true
    message.isIn = yield* ask(envelope, session)
    if (!message.isIn) return undefined
    const joined = yield* message.join(at, envelope.recipients)
    return joined instanceof Failed ? joined : undefined
  })
  // A held refusal refuses the message.
  const refused = ({ message }: LateAt) => (verdict: Verdict.Verdict): Verdict.Verdict =>
    message.isIn ? verdict : Verdict.acceptMessage
  const inContent = (stage: Stage): LateHook => (event, at) => {
    const { message } = at
    if (message.isAsked) return message.later(stage, event, at, refused(at))
    // The MTA sends no DATA.
    return Effect.flatMap(
      decideOn(at),
      (failed) => failed === undefined ? message.later(stage, event, at, refused(at)) : Effect.succeed(failed)
    )
  }
  const data: LateHook<"data"> = (event, at) =>
    Effect.flatMap(decideOn(at), (failed) => {
      if (failed !== undefined) return Effect.succeed(failed)
      // The client may try again after a DATA that another filter refuses, with more recipients.
      return at.message.isIn ? at.message.later("data", event, at, refused(at)) : goesOn
    })
  // Without DATA the condition is asked here at the latest.
  const endOfMessage = inContent("endOfMessage")
  return wrapLate(
    inner,
    inContent,
    inner.answers.data !== undefined || holdsAnswers(inner)
      ? { answers: { data, endOfMessage }, observes: {} }
      : { answers: { endOfMessage }, observes: { data } }
  )
}
