/** A filter that gives one verdict at one stage, which can be changed, and continues everywhere else; and what comes of it. */
import { assert } from "@effect/vitest"
import { Mailbox } from "effect-milter/Envelope"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type { Content, Mailbox as Mail, MtaError } from "../../../testbed/mta.ts"
import { realTime } from "../../../testbed/realTime.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"
import { type Expectation, runSession, summarize } from "./expectations.ts"
import type * as FilterServer from "./filterServer.ts"

/** For one recipient only, if it is given. */
export type Setting = Pick<Expectation, "stage" | "verdict" | "recipient">

const addressOf = (event: object): string | undefined =>
  "recipient" in event && event.recipient instanceof Mailbox ? event.recipient.address : undefined

export const make = Effect.gen(function*() {
  const setting = yield* Ref.make<Setting>({ stage: "connect", verdict: Verdict.continue, recipient: undefined })
  // The rows keep to what is legal at their stage; their common type cannot say so.
  const at = <K extends keyof Verdict.ByStage>(stage: K) => (event: object) =>
    Effect.map(
      Ref.get(setting),
      ({ recipient, stage: where, verdict }) =>
        (stage === where && (recipient === undefined || recipient === addressOf(event))
          ? verdict
          : Verdict.continue) as Verdict.ByStage[K]
    )
  const filter = Milter.make("stage-and-verdict").on({
    connect: at("connect"),
    helo: at("helo"),
    mail: at("mail"),
    rcpt: at("rcpt"),
    data: at("data"),
    header: at("header"),
    endOfHeaders: at("endOfHeaders"),
    body: at("body"),
    endOfMessage: at("endOfMessage"),
    unknown: at("unknown")
  })
  return { setting, filter }
})

/** An MTA with that filter, and the tap between them. */
export interface Fixture {
  readonly setting: Ref.Ref<Setting>
  readonly tap: FilterServer.Tap
  readonly mta: {
    readonly port: number
    readonly awaitIdle: () => Effect.Effect<Effect.Success<Mail["delivered"]>, MtaError>
    readonly clear: Effect.Effect<void, MtaError>
  }
  readonly withoutReceived: (message: Content) => string
}

/** Plays the session of a row of the table, and compares everything that the row tells. */
export const check = Effect.fnUntraced(function*({ mta, setting, tap, withoutReceived }: Fixture, row: Expectation) {
  yield* Ref.set(setting, row)
  // What a row that failed has left would fail this one, too.
  yield* mta.clear
  tap.take()
  const client = yield* SmtpClient.connect(mta.port)
  const replies = summarize(yield* runSession(client, row.message), row.replies)
  yield* client.close
  assert.deepStrictEqual(replies, row.replies)
  const messages = yield* mta.awaitIdle()
  assert.deepStrictEqual(messages.map(({ recipients, sender }) => ({ sender, recipients })), row.delivered)
  for (const one of messages) assert.strictEqual(withoutReceived(one), row.message.replaceAll("\r\n", "\n"))
  // The last commands of a session come after its client has gone.
  let seen = tap.take()
  for (let turn = 0; turn < 100 && seen.length < row.commands.length; turn++) {
    yield* realTime(Effect.sleep(10))
    seen += tap.take()
  }
  assert.strictEqual(seen, row.commands)
})
