/** Puts the disclaimer of the sender's domain at the end of each message. */
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { disclaimerFor, type Disclaimers } from "./disclaimers.ts"

export interface Options {
  readonly disclaimers: Disclaimers
  /** Marks the disclaimer, so that a message has it once. */
  readonly id: string
  /** True puts it beside signed and encrypted content, in a part of its own. */
  readonly besideSigned: boolean
}

/**
 * Mail that a person has written gets the text in each of its alternatives, once: a reply that quotes it gets no second one. What is
 * signed or encrypted, invitations and reports are left as they are, and so is a message that cannot be understood to its end.
 */
export const disclaimer = ({ besideSigned, disclaimers, id }: Options) =>
  Milter.onFailure(
    Message.make("disclaimer", { modify: ["mime"] }).on({
      mail: ({ sender }) =>
        Effect.succeed(
          disclaimerFor(disclaimers, sender.domain) === undefined ? Verdict.acceptMessage : Verdict.continue
        ),
      endOfHeaders: (head) => Effect.succeed(Message.isAutomatic(head) ? Verdict.acceptMessage : Verdict.continue),
      document: Effect.fnUntraced(function*({ mime, sender }) {
        const texts = disclaimerFor(disclaimers, sender.domain)
        if (texts === undefined) return Verdict.continue
        const { edited, left } = yield* mime.append({ ...texts, once: id, beside: besideSigned })
        yield* Effect.logDebug("disclaimer", { edited: edited.length, left: left.map(({ why }) => why).join() })
        return Verdict.continue
      })
    }),
    ({ message }) => Effect.as(Effect.logInfo("no disclaimer", { message }), "pass" as const)
  )
