/** The module of an application that knows accounts. It brings a filter along: who has no account gets no mail. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly message: string }> {}

export class Accounts extends Context.Service<Accounts, {
  readonly has: (address: string) => Effect.Effect<boolean, Unavailable>
}>()("app/Accounts") {
  /** A real one would ask a directory. */
  static readonly layerOf = (addresses: ReadonlyArray<string>) =>
    Layer.succeed(this, { has: (address) => Effect.succeed(addresses.includes(address)) })
}

const filter = Milter.make("unknown-recipients").on({
  rcpt: Effect.fnUntraced(function*({ recipient }) {
    const accounts = yield* Accounts
    return (yield* accounts.has(recipient.address.toLowerCase()))
      ? Verdict.continue
      : Verdict.reject({ code: "550", enhanced: "5.1.1", text: "no such user" })
  })
})

/** What others list, without knowing of accounts. */
export class UnknownRecipients extends Milter.Service<UnknownRecipients>()("app/UnknownRecipients") {
  static readonly layer = Milter.layer(
    this,
    Milter.onFailure(
      filter,
      (error) => Effect.as(Effect.logWarning(error), Verdict.tempFail({ enhanced: "4.3.0", text: "try again later" }))
    )
  )
}
