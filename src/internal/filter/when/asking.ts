/** Asks conditions once for all filters of a sequence, so that they get the same answer. */
import * as Effect from "effect/Effect"
import type { Mailbox } from "../../../Envelope.ts"
import type { Envelope, Events, Rcpt, Session, Stage } from "../../../Stage.ts"
import type { ConditionAt } from "./conditionTypes.ts"

/** Asks the condition, once for each object `about`. */
export type Ask<K extends Stage> = (
  about: object,
  event: Events[K],
  at: Parameters<ConditionAt<K, never>>[1]
) => Effect.Effect<boolean>

const effectOf = (answer: Effect.Effect<boolean> | boolean): Effect.Effect<boolean> =>
  Effect.isEffect(answer) ? answer : Effect.succeed(answer)

export const askOnce = <K extends Stage>(test: ConditionAt<K, never>): Ask<K> => {
  const known = new WeakMap<object, boolean>()
  return (about, event, at) =>
    Effect.suspend(() =>
      Effect.tap(
        effectOf(known.get(about) ?? test(event, at)),
        (takesPart) => Effect.sync(() => known.set(about, takesPart))
      )
    )
}

/** Asks about an envelope. */
export type AskEnvelope = (envelope: Envelope, session: Session) => Effect.Effect<boolean>

/** Asks the condition once for each set of recipients: a client may name more of them after a DATA that was refused. */
export const askOnceOfEnvelope = (test: ConditionAt<"data", never>, mixed: "apply" | "skip"): AskEnvelope => {
  // Each filter may have an envelope of its own, but the sender in it is the same object for all of them.
  const known = new WeakMap<Mailbox, { readonly recipients: number; readonly takesPart: boolean }>()
  const ask = (envelope: Envelope, session: Session): Effect.Effect<boolean> =>
    Effect.suspend(() => effectOf(test({}, { session, envelope })))
  const askForEach = Effect.fnUntraced(function*(envelope: Envelope, session: Session) {
    for (const rcpt of envelope.recipients) {
      const recipients: ReadonlyArray<Rcpt> = [rcpt]
      if (!(yield* ask({ ...envelope, recipients }, session))) return false
    }
    return envelope.recipients.length > 0
  })
  return (envelope, session) =>
    Effect.suspend(() => {
      const last = known.get(envelope.sender)
      const { length } = envelope.recipients
      if (last?.recipients === length) return Effect.succeed(last.takesPart)
      return Effect.tap(mixed === "skip" ? askForEach(envelope, session) : ask(envelope, session), (takesPart) =>
        Effect.sync(() => known.set(envelope.sender, { recipients: length, takesPart })))
    })
}
