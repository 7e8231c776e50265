/** Client and server agree on generated sessions: what the filter decided is what the MTA hears, and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, References, Result, Schema } from "effect"
import * as Milter from "../../src/Milter.ts"
import type * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import { Step } from "../../src/Negotiation.ts"
import * as Reply from "../../src/Reply.ts"
import * as Verdict from "../../src/Verdict.ts"
import { ByteString } from "../../src/Wire.ts"

const refusal = { code: "554", enhanced: "5.7.9", text: ["one 100%", "two"] } as const
const later = { enhanced: "4.2.1", text: "later" } as const

const verdicts = {
  continue: Verdict.continue,
  reject: Verdict.reject(),
  tempFail: Verdict.tempFail(),
  refuse: Verdict.reject(refusal),
  putOff: Verdict.tempFail(later),
  acceptConnection: Verdict.acceptConnection,
  acceptMessage: Verdict.acceptMessage,
  discardMessage: Verdict.discardMessage,
  skipBody: Verdict.skipBody
}

type Name = keyof typeof verdicts

const mtas = {
  postfix: MilterTest.postfix,
  postfix26: MilterTest.postfix26,
  postfix38: MilterTest.postfix38,
  sendmail: MilterTest.sendmail
}

const basic = ["continue", "continue", "continue", "reject", "tempFail", "refuse", "putOff"] as const
const ofMessage = [...basic, "acceptMessage", "discardMessage"] as const

/** A stage: nobody looks, somebody watches, or somebody answers, with these verdicts in turn. */
const stage = <const Names extends ReadonlyArray<Name>>(names: Names) =>
  Schema.Struct({
    mode: Schema.Literals(["absent", "observes", "answers"]),
    waits: Schema.Boolean,
    verdicts: Schema.NonEmptyArray(Schema.Literals(names))
  })

const FilterPlan = Schema.Struct({
  connect: stage(["continue", ...basic, "acceptConnection"]),
  helo: stage(["continue", ...basic, "acceptConnection"]),
  mail: stage(ofMessage),
  rcpt: stage(ofMessage),
  data: stage(ofMessage),
  header: stage(["continue", "continue", ...ofMessage]),
  endOfHeaders: stage(ofMessage),
  body: stage([...ofMessage, "skipBody"]),
  endOfMessage: stage(ofMessage),
  unknown: stage(basic)
})

type Stage = keyof typeof FilterPlan.fields

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const MessagePlan = Schema.Struct({
  unknownFirst: Schema.Boolean,
  heloFirst: Schema.Boolean,
  recipients: upTo(3),
  headers: upTo(3),
  body: Schema.Literals([0, 1, 70_000, 140_000]),
  /** After so many steps the client gives the message up; often there are fewer. */
  patience: upTo(20)
})

const Plan = Schema.Struct({
  mta: Schema.Literals(["postfix", "postfix26", "postfix38", "sendmail"]),
  filter: FilterPlan,
  version: Schema.Literals([2, 3, 4, 6]),
  steps: Schema.Literals([0x1fffff, 0x1fffff, 0x7f, 0, Step.skip | Step.noBody, 0x1fffff & ~Step.skip, 0xff080]),
  messages: Schema.Array(MessagePlan).check(Schema.isMaxLength(3)),
  /** After how many steps fibers yield, on both sides; with 1 or 2 they never come to an end. */
  budget: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 64 }))
})

interface Seen {
  readonly stage: Stage
  readonly verdict: Name | undefined
}

const filterOf = (plan: typeof FilterPlan.Type, log: Array<Seen>) => {
  const calls: { [K in Stage]?: number } = {}
  const run = (stage: Stage): Effect.Effect<Verdict.Verdict> => {
    const { mode, verdicts: names, waits } = plan[stage]
    return Effect.andThen(
      waits ? Effect.yieldNow : Effect.void,
      Effect.sync(() => {
        const call = calls[stage] = (calls[stage] ?? -1) + 1
        const name = names[call % names.length]!
        log.push({ stage, verdict: mode === "answers" ? name : undefined })
        return verdicts[name]
      })
    )
  }
  const hooks = (mode: "answers" | "observes") =>
    Object.fromEntries(
      (Object.keys(plan) as Array<Stage>)
        .filter((stage) => plan[stage].mode === mode)
        .map((stage) => [
          stage,
          () => mode === "answers" ? run(stage) : Effect.asVoid(run(stage))
        ])
    )
  // The schema has only verdicts that are legal where they stand.
  return Milter.make("generated").on(hooks("answers"), hooks("observes"))
}

const heard = (name: Name, agreed: number): MilterClient.Answer => {
  switch (name) {
    case "continue":
      return { _tag: "Continue" }
    case "reject":
      return { _tag: "Reject" }
    case "tempFail":
      return { _tag: "TempFail" }
    case "refuse":
      return { _tag: "Reply", ...Result.getOrThrow(Reply.parse(Result.getOrThrow(Reply.render(refusal, "5")))) }
    case "putOff":
      return { _tag: "Reply", code: "451", enhanced: "4.2.1", lines: [ByteString.fromText("later")] }
    case "acceptConnection":
    case "acceptMessage":
      return { _tag: "Accept" }
    case "discardMessage":
      return { _tag: "Discard" }
    case "skipBody":
      return (agreed & Step.skip) !== 0 ? { _tag: "Skip" } : { _tag: "Continue" }
  }
}

const goesOn = ({ _tag }: MilterClient.Answer): boolean =>
  _tag === "Continue" || _tag === "Skip" || _tag === "NotSent" || _tag === "NotAnswered"

const isAsked = ({ _tag }: MilterClient.Answer): boolean => _tag !== "NotSent"

/** Plays the session as an MTA would, and compares each answer with what the filter has decided meanwhile. */
const play = (plan: typeof Plan.Type, mta: MilterClient.Client, log: Array<Seen>) =>
  Effect.gen(function*() {
    const agreed = (yield* mta.negotiate({ version: plan.version, steps: plan.steps })).steps
    const step = Effect.fnUntraced(function*(
      stage: Stage,
      effect: Effect.Effect<MilterClient.Answer, MilterClient.ClientError>
    ) {
      const before = log.length
      const answer = yield* effect
      // A hook that is only watching may still run; the next command waits for it.
      const seen = log.slice(before).filter((entry) => entry.stage === stage)
      if (plan.filter[stage].mode !== "answers" || !isAsked(answer)) {
        assert.isTrue(goesOn(answer), `${stage}: ${answer._tag}`)
        return answer
      }
      const verdict = seen[seen.length - 1]?.verdict
      // A piece of a body that is skipped where the MTA cannot, or an empty body, reaches no hook.
      if (verdict === undefined) assert.deepStrictEqual([stage, answer._tag], ["body", "Continue"])
      else assert.deepStrictEqual(answer, heard(verdict, agreed), stage)
      if (stage !== "body") assert.strictEqual(seen.length, 1, stage)
      return answer
    })
    yield* step("connect", mta.connect({ hostname: "client.example.org", address: "192.0.2.1" }))
    yield* step("helo", mta.helo("client.example.org"))
    for (const message of plan.messages) yield* playMessage(message, mta, step)
  })

const playMessage = Effect.fnUntraced(function*(
  plan: typeof MessagePlan.Type,
  mta: MilterClient.Client,
  step: (
    stage: Stage,
    effect: Effect.Effect<MilterClient.Answer, MilterClient.ClientError>
  ) => Effect.Effect<MilterClient.Answer, MilterClient.ClientError>
) {
  if (plan.unknownFirst) yield* step("unknown", mta.unknown("FOO"))
  if (plan.heloFirst) yield* step("helo", mta.helo("again.example.org"))
  let accepted = 0
  const rcpt = (n: number) =>
    Effect.map(step("rcpt", mta.rcpt(`<${n}@example.net>`)), (answer) => {
      if (goesOn(answer)) accepted++
      // A recipient that is refused is no reason to stop.
      return answer._tag === "Accept" || answer._tag === "Discard" ? answer : { _tag: "Continue" as const }
    })
  const steps: ReadonlyArray<Effect.Effect<MilterClient.Answer, MilterClient.ClientError>> = [
    step("mail", mta.mail("<alice@example.org>")),
    ...Array.from({ length: plan.recipients }, (_, n) => rcpt(n)),
    Effect.suspend(() => accepted === 0 ? Effect.succeed({ _tag: "Reject" as const }) : step("data", mta.data())),
    ...Array.from({ length: plan.headers }, (_, n) => step("header", mta.header("Subject", String(n)))),
    step("endOfHeaders", mta.endOfHeaders()),
    step("body", mta.body(new Uint8Array(plan.body))),
    step("endOfMessage", Effect.map(mta.endOfMessage(), ({ verdict }) => verdict))
  ]
  for (const next of steps.slice(0, plan.patience + 1)) {
    if (!goesOn(yield* next)) break
  }
  yield* mta.abort()
})

/** Some 15 seconds' worth where it counts, and a second's otherwise. */
const runs = Number(process.env["EFFECT_MILTER_SESSIONS"] ?? (process.env["CI"] === undefined ? 1000 : 10_000))

describe("client and server", () => {
  it.effect.prop("agree", { plan: Plan }, ({ plan }) =>
    Effect.suspend(() => {
      const log: Array<Seen> = []
      return MilterTest.run(filterOf(plan.filter, log), (mta) => play(plan, mta, log), {
        negotiate: false,
        as: mtas[plan.mta]
      })
    }).pipe(Effect.provideService(References.MaxOpsBeforeYield, plan.budget)), { arbitrary: { runs } })
})
