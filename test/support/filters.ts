/** Filters for tests: what they answer, and what they acquire and release. */
import * as Milter from "effect-milter/Milter"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { order } from "./names.ts"
import * as Mta from "./rawMta.ts"

export type Answered = keyof Verdict.ByStage

export const goOn = Effect.succeed(Verdict.continue)

/** Answers every stage with continue, but for those named. */
export const answering = (
  verdicts: { readonly [K in Answered]?: Verdict.Verdict | Effect.Effect<Verdict.Verdict> },
  name = "test"
) => {
  const hook = <K extends Answered>(stage: K) => (): Effect.Effect<Verdict.ByStage[K]> => {
    const verdict = verdicts[stage] ?? Verdict.continue
    // The tables below hold what is legal, and some of what only plain JavaScript can give.
    return (Effect.isEffect(verdict) ? verdict : Effect.succeed(verdict)) as Effect.Effect<Verdict.ByStage[K]>
  }
  return Milter.make(name).on({
    connect: hook("connect"),
    helo: hook("helo"),
    mail: hook("mail"),
    rcpt: hook("rcpt"),
    data: hook("data"),
    header: hook("header"),
    endOfHeaders: hook("endOfHeaders"),
    body: hook("body"),
    endOfMessage: hook("endOfMessage"),
    unknown: hook("unknown")
  })
}

export const commands: { readonly [K in Answered]: Packet.MtaPacket } = {
  connect: Mta.connect(),
  helo: Mta.helo(),
  mail: Mta.mail(),
  rcpt: Mta.rcpt(),
  data: Mta.data,
  header: Mta.header(),
  endOfHeaders: Mta.endOfHeaders,
  body: Mta.body(),
  endOfMessage: Mta.endOfMessage(),
  unknown: Mta.unknown()
}

/** The commands that lead to a stage. */
export const before = (stage: Answered): ReadonlyArray<Packet.MtaPacket> =>
  order.slice(0, stage === "unknown" ? 2 : order.indexOf(stage)).map((stage) => commands[stage])

export class Failure extends Data.TaggedError("Failure")<{ readonly at: string }> {}

export const describeExit = (exit: Exit.Exit<unknown, unknown>): string =>
  Option.match(Milter.outcome(exit), {
    onSome: (outcome) => "by" in outcome ? `${outcome._tag} by ${outcome.by}` : outcome._tag,
    onNone: () =>
      Exit.isSuccess(exit)
        ? "success"
        : Cause.hasInterruptsOnly(exit.cause)
        ? "interrupted"
        : `failed with ${String(Cause.squash(exit.cause))}`
  })

/** State builders that write down when they run and how they are closed. */
export const recorder = () => {
  const events: Array<string> = []
  const resource = (name: string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        events.push(`${name} opens`)
        return name
      }),
      (_, exit) =>
        Effect.sync(() => {
          events.push(`${name} closes: ${describeExit(exit)}`)
        })
    )
  let connections = 0
  let messages = 0
  return {
    events,
    /** What has happened since the last look. */
    take: () => events.splice(0),
    log: (event: string) => Effect.sync(() => void events.push(event)),
    resource,
    options: {
      connection: () => Effect.suspend(() => resource(`connection ${++connections}`)),
      message: () => Effect.suspend(() => resource(`message ${++messages}`))
    }
  }
}

const suppressed: { readonly [K in Answered]?: number } = {
  data: Step.noData,
  header: Step.noHeaders,
  endOfHeaders: Step.noEndOfHeaders,
  body: Step.noBody,
  unknown: Step.noUnknown
}

/** Whether an MTA that keeps to the agreement sends the command of this stage. */
export const isSent = (mta: Mta.Mta, stage: Answered): boolean => (mta.agreed.steps & (suppressed[stage] ?? 0)) === 0
