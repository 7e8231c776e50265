/** Lets those who have logged in send only what an HTTP API allows. */
import * as Milter from "effect-milter/Milter"
import * as Reply from "effect-milter/Reply"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { SenderApi } from "./senderApi.ts"

/** What becomes of a message while the API gives no answer. */
export const whenDown = {
  tempfail: Verdict.tempFail({ enhanced: "4.7.1", text: "Cannot check the sender now, please try again later" }),
  reject: Verdict.reject({ enhanced: "5.7.1", text: "Cannot check the sender now" }),
  pass: "pass"
} as const

export interface Options {
  readonly whenDown: keyof typeof whenDown
  /** Messages with this header are asked about again, with its value: bulk mail needs a campaign that is approved. */
  readonly campaignHeader: string
}

export const senderRestriction = (options: Options) =>
  Milter.make("sender_restriction").on({
    mail: ({ sender }, { session }) => check(session, sender.address),
    header: ({ name, value }, { envelope, session }) =>
      name.toLowerCase() === options.campaignHeader.toLowerCase()
        ? check(session, envelope.sender.address, value.trim())
        : Effect.succeed(Verdict.continue)
  }).pipe(
    Milter.onFailure((error) =>
      Effect.as(
        Effect.logWarning(`the API gives no answer (${error.message}): ${options.whenDown}`),
        whenDown[options.whenDown]
      )
    )
  )

const check = Effect.fnUntraced(function*(session: Stage.Session, sender: string, campaign?: string) {
  const login = session.macros.authentication?.login
  // That nobody sends without a login is for the MTA to see to.
  if (login === undefined) return Verdict.continue
  const api = yield* SenderApi
  const { allow, text = "" } = yield* api.ask({
    login,
    sender,
    client: String(session.client),
    ...(campaign === undefined ? {} : { campaign })
  })
  return allow
    ? Verdict.continue
    : Verdict.reject({ enhanced: "5.7.1", text: Reply.sanitize(text) || "You may not send this" })
})
