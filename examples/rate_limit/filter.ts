/** Limits how many recipients an account writes to, by its tier, and counts those whose mail was accepted. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { tierOf, type Tiers, type Window, windowsOf } from "./tiers.ts"
import { Usage } from "./usage.ts"

/** What becomes of mail while nobody knows what is used up. */
export const whenDown = {
  tempfail: Verdict.tempFail({ enhanced: "4.3.0", text: "Cannot check your limits now, please try again later" }),
  pass: "pass"
} as const

/** A message in progress: the places that its recipients have taken. */
interface Taken {
  /** What the client has logged in as; none, and the message is neither limited nor counted. */
  readonly account: string | undefined
  readonly recipients: Array<ReadonlyArray<Window>>
}

/**
 * A recipient takes its place at RCPT, so that no two messages can have the last one. What the places were for is known
 * when the message has ended: accepted, and the recipients are billed; anything else, and the places are given back.
 */
export const rateLimit = (tiers: Tiers, options: { readonly whenDown: keyof typeof whenDown }) =>
  Milter.make("rate_limit", {
    message: (_, { session }) =>
      Effect.acquireRelease(
        // In lower case: else each spelling would have limits of its own.
        Effect.sync((): Taken => ({ account: session.macros.authentication?.login?.toLowerCase(), recipients: [] })),
        ({ account, recipients }, exit) =>
          account === undefined || recipients.length === 0 ? Effect.void : settle(tiers, account, recipients, exit)
      )
  }).on({
    rcpt: Effect.fnUntraced(function*(_, { message: { account, recipients } }) {
      if (account === undefined) return Verdict.continue
      const usage = yield* Usage
      const now = yield* Clock.currentTimeMillis
      const windows = windowsOf(tiers, account, now)
      const full = yield* usage.reserve(windows)
      if (full !== undefined) {
        yield* Effect.logInfo(`${account} has used up ${wordsOf(full)}`)
        return refusal(full, now)
      }
      recipients.push(windows)
      return Verdict.continue
    })
  }).pipe(
    // Redis is left alone for a while after it has failed: each recipient would wait for its timeout.
    Milter.circuitBreaker({ failures: 5, openFor: "5 seconds", whileOpen: whenDown[options.whenDown] }),
    Milter.onFailure(({ message }) =>
      Effect.as(Effect.logWarning(`${message}: ${options.whenDown}`), whenDown[options.whenDown])
    )
  )

const settle = Effect.fnUntraced(
  function*(tiers: Tiers, account: string, recipients: Taken["recipients"], exit: Exit.Exit<unknown, unknown>) {
    const usage = yield* Usage
    const isAccepted = Option.exists(Milter.outcome(exit), ({ _tag }) => _tag === "Accepted")
    if (!isAccepted) return yield* Effect.ignore(usage.release(recipients.flat()), { log: "Warn" })
    const month = DateTime.formatIso(yield* DateTime.now).slice(0, 7)
    const billed = { tier: tierOf(tiers, account), account, recipients: recipients.length }
    yield* Effect.catch(
      usage.bill(month, billed),
      // Nobody waits for us any more. What is not counted is in the log.
      ({ message }) => Effect.logError(`not billed: ${JSON.stringify({ month, ...billed })} (${message})`)
    )
  }
)

const wordsOf = ({ limit }: Window): string => `${limit.recipients} recipients in ${Duration.format(limit.per)}`

/** 450: servers answer a 452 with the rest of the recipients, at once. */
const refusal = (full: Window, now: number) =>
  Verdict.tempFail({
    code: "450",
    enhanced: "4.7.1",
    text: `You have used up ${wordsOf(full)}; try again in ${
      Duration.format(Duration.seconds(Math.ceil((full.ends - now) / 1000)))
    }`
  })
