import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { type Command, type Phase, transition } from "../src/internal/session.ts"
import { type Answered, commands, Failure, goOn, isSent } from "./support/filters.ts"
import * as Mta from "./support/rawMta.ts"

describe("layer", () => {
  it.effect("gives each session an id of its own", () =>
    Effect.gen(function*() {
      const ids: Array<string> = []
      const filter = Milter.make("test").on({
        connect: (_, { session }) => Effect.sync(() => (ids.push(session.id), Verdict.continue))
      })
      const server = yield* Mta.serve(filter)
      for (let index = 0; index < 3; index++) {
        const mta = yield* server.open()
        yield* mta.say(Mta.connect(), Mta.quitNewConnection, Mta.connect())
      }
      assert.strictEqual(new Set(ids).size, 6)
    }))

  it.effect("runs hooks with the services around it, but in no span of its own", () =>
    Effect.gen(function*() {
      class Names extends Context.Service<Names, { readonly name: string }>()("test/Names") {}
      const seen: Array<unknown> = []
      const filter = Milter.make("test").on({
        mail: Effect.fnUntraced(function*() {
          seen.push((yield* Names).name)
          seen.push(yield* Effect.isFailure(Effect.currentParentSpan))
          return Verdict.continue
        })
      })
      const server = yield* Mta.serve(filter).pipe(
        Effect.provide(Layer.succeed(Names, { name: "outer" })),
        Effect.withSpan("start")
      )
      yield* (yield* server.open()).say(Mta.mail())
      assert.deepStrictEqual(seen, ["outer", true])
    }))

  it.effect("puts the session into the log lines of hooks", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: (_, { session }) => Effect.as(Effect.logWarning(session.id), Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      for (let index = 0; index < 2; index++) yield* (yield* server.open()).say(Mta.mail())
      assert.strictEqual(server.logs.length, 2)
      for (const { session, text } of server.logs) assert.strictEqual(session, text)
    }))

  it.effect("serves connections side by side: a slow one holds up no other", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: ({ sender }) => sender.localPart === "slow" ? Effect.andThen(Effect.sleep("1 second"), goOn) : goOn
      })
      const server = yield* Mta.serve(filter)
      const slow = yield* server.open()
      const fast = yield* server.open()
      assert.deepStrictEqual(yield* slow.say(Mta.mail("<slow@x>")), [])
      assert.deepStrictEqual(yield* fast.each(...Mta.message.slice(0, 2), Mta.endOfMessage()), [
        "Continue",
        "",
        "Continue"
      ])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* slow.replies, ["Continue"])
    }))
})

// --- the invariant: on a connection that stays open, one verdict for each command that expects one and none for others

const stages = [
  "connect",
  "helo",
  "mail",
  "rcpt",
  "data",
  "header",
  "endOfHeaders",
  "body",
  "endOfMessage",
  "unknown"
] as const satisfies ReadonlyArray<Answered>

const replySteps: { readonly [K in Answered]: number } = {
  connect: Step.noReplyConnect,
  helo: Step.noReplyHelo,
  mail: Step.noReplyMail,
  rcpt: Step.noReplyRcpt,
  data: Step.noReplyData,
  header: Step.noReplyHeader,
  endOfHeaders: Step.noReplyEndOfHeaders,
  body: Step.noReplyBody,
  endOfMessage: 0,
  unknown: Step.noReplyUnknown
}

const ofConnection = [
  Verdict.continue,
  Verdict.continue,
  Verdict.continue,
  Verdict.reject(),
  Verdict.tempFail({ text: "later" }),
  Verdict.acceptConnection
]
const ofMessage = [
  ...Array.from({ length: 9 }, () => Verdict.continue),
  Verdict.reject({ text: "no" }),
  Verdict.tempFail(),
  Verdict.acceptMessage,
  Verdict.discardMessage
]
const verdicts: { readonly [K in Answered]: ReadonlyArray<Verdict.Verdict> } = {
  connect: ofConnection,
  helo: ofConnection,
  mail: ofMessage,
  rcpt: ofMessage,
  data: ofMessage,
  header: ofMessage,
  endOfHeaders: ofMessage,
  body: [...ofMessage, Verdict.skipBody],
  endOfMessage: ofMessage,
  unknown: [Verdict.continue, Verdict.reject(), Verdict.tempFail()]
}

const basicReplies: ReadonlyArray<Packet.FilterPacket["_tag"]> = ["Continue", "Reject", "TempFail", "ReplyCode"]
const legalReply = (stage: Answered, reply: Packet.FilterPacket["_tag"]): boolean =>
  basicReplies.includes(reply) ||
  (reply === "Accept" && stage !== "unknown") ||
  (reply === "Discard" && stage !== "unknown" && stage !== "connect" && stage !== "helo") ||
  (reply === "Skip" && stage === "body")

const number = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

// Weighted: most hooks answer at once, and most MTAs wait for their answer.
/** What a hook does: `never` is interrupted when its time is over, `stubborn` heeds no interruption. */
const behaviours = "now now now now now now now now yield yield yield slow slow slow stubborn fail die never".split(" ")
const builders = "now now now now now now now now now now now now yield slow fail die".split(" ")
/** What the MTA does while its command is not answered. */
const meanwhiles = [
  ...Array.from({ length: 16 }, () => "wait" as const),
  ...["abort", "abort", "abort", "quit", "end", "reset"] as const
]

const pick = <A>(choices: ReadonlyArray<A>, index: number): A => choices[index % choices.length]!

/** What MTAs send, mostly forward. */
const steps: ReadonlyArray<readonly [weight: number, Answered | undefined, Packet.MtaPacket]> = [
  ...(["connect", "helo", "unknown"] as const).map((stage) => [1, stage, commands[stage]] as const),
  [2, "mail", Mta.mail()],
  ...(["rcpt", "data", "header", "endOfHeaders", "body"] as const).map((stage) => [6, stage, commands[stage]] as const),
  [4, "endOfMessage", Mta.endOfMessage()],
  [2, "endOfMessage", Mta.endOfMessage("more")],
  [1, undefined, Mta.abort],
  [1, undefined, Mta.quitNewConnection],
  [1, undefined, Mta.macros("M", { i: "Q" })]
]

const Turn = Schema.Struct({
  /** Which of the commands that are legal now. */
  command: number(1000),
  hook: number(1000),
  builder: number(1000),
  verdict: number(1000),
  macros: Schema.Boolean,
  meanwhile: number(1000)
})

const Plan = Schema.Struct({
  stages: Schema.Struct({
    connect: Schema.Literals(["absent", "answers", "observes"]),
    helo: Schema.Literals(["absent", "answers", "observes"]),
    mail: Schema.Literals(["absent", "answers", "observes"]),
    rcpt: Schema.Literals(["absent", "answers", "observes"]),
    data: Schema.Literals(["absent", "answers", "observes"]),
    header: Schema.Literals(["absent", "answers", "observes"]),
    endOfHeaders: Schema.Literals(["absent", "answers", "observes"]),
    body: Schema.Literals(["absent", "answers", "observes"]),
    endOfMessage: Schema.Literals(["absent", "answers", "observes"]),
    unknown: Schema.Literals(["absent", "answers", "observes"])
  }),
  offered: Schema.Union([Schema.Literals([0, 0x7f, 0x1fffff]), number(0x1fffff)]),
  policy: Schema.Literals(["reject", "tempFail", "pass"]),
  refuseConnection: Schema.Boolean,
  turns: Schema.Array(Turn).check(Schema.isMinLength(5), Schema.isMaxLength(40)),
  ending: Schema.Literals(["quit", "end", "reset", "stop"])
})

/** The filter of a plan, what its hooks do now, and what it has opened and closed. */
const playing = (plan: typeof Plan.Type) => {
  const now: { turn: typeof Turn.Type | undefined } = { turn: undefined }
  const counts = { hooks: 0, hooksEnded: 0, opened: 0, closed: new Map<number, number>() }
  const act = (kind: string): Effect.Effect<void, Failure> => {
    switch (kind) {
      case "yield":
        return Effect.yieldNow
      case "slow":
        return Effect.sleep("1500 millis")
      case "stubborn":
        return Effect.uninterruptible(Effect.sleep("1500 millis"))
      case "never":
        return Effect.never
      case "fail":
        return Effect.fail(new Failure({ at: kind }))
      case "die":
        return Effect.die(kind)
      default:
        return Effect.void
    }
  }
  const resource = Effect.acquireRelease(
    Effect.sync(() => ++counts.opened),
    (id) =>
      Effect.sync(() => {
        counts.closed.set(id, (counts.closed.get(id) ?? 0) + 1)
      })
  )
  const hook = (stage: Answered) =>
    Effect.suspend(() => {
      const { turn } = now
      counts.hooks++
      return Effect.andThen(resource, act(turn === undefined ? "now" : pick(behaviours, turn.hook))).pipe(
        Effect.onExit(() =>
          Effect.sync(() => {
            counts.hooksEnded++
          })
        ),
        Effect.as(pick(verdicts[stage], turn?.verdict ?? 0))
      )
    })
  const build = () => Effect.suspend(() => Effect.andThen(resource, act(pick(builders, now.turn?.builder ?? 0))))
  const hooks = (mode: string) =>
    Object.fromEntries(
      stages.filter((stage) => plan.stages[stage] === mode).map((stage) => [
        stage,
        () => mode === "answers" ? hook(stage) : Effect.asVoid(hook(stage))
      ])
    )
  const policy = plan.policy === "pass" ? plan.policy : plan.policy === "reject" ? Verdict.reject() : Verdict.tempFail()
  const made = Milter.make("test", {
    refuseConnection: plan.refuseConnection,
    onDefect: policy,
    connection: build,
    message: build
  }).on(hooks("answers"), hooks("observes"))
  return { filter: Milter.onFailure(made, () => Effect.succeed(policy)), now, counts }
}

/** Plays a plan as an MTA that waits for its answers, and checks each. */
const play = Effect.fnUntraced(function*(plan: typeof Plan.Type) {
  const { counts, filter, now } = playing(plan)
  const server = yield* Mta.serve(filter)
  const bystander = yield* server.open()
  yield* bystander.say(Mta.connect(), Mta.mail(), Mta.rcpt())
  const mta = yield* server.open({ steps: plan.offered })
  let phase: Phase = "idle"
  let open = true

  /** Waits for the one verdict on a command, at most as long as its time and that of what is in front of it. */
  const verdict = Effect.fnUntraced(function*(stage: Answered) {
    const packets: Array<Packet.FilterPacket["_tag"]> = []
    const isOver = () => packets.some((tag) => tag !== "Progress")
    for (let seconds = 0; !isOver() && seconds < 600; seconds++) {
      packets.push(...(yield* mta.packets).map(({ _tag }) => _tag))
      if (!isOver()) yield* TestClock.adjust("1 second")
    }
    packets.push(...(yield* mta.packets).map(({ _tag }) => _tag))
    const progress = packets.filter((tag) => tag === "Progress")
    if (stage !== "endOfMessage") assert.strictEqual(progress.length, 0)
    assert.strictEqual(packets.length - progress.length, 1, `${stage}: ${packets.join(", ")}`)
    assert.notStrictEqual(packets.at(-1), "Progress")
    assert.isTrue(legalReply(stage, packets.at(-1)!), `${stage}: ${packets.join(", ")}`)
  })

  for (const turn of plan.turns) {
    const possible = steps.flatMap(([weight, stage, packet]) =>
      transition(phase, packet._tag) === undefined || (stage !== undefined && !isSent(mta, stage))
        ? []
        : Array.from({ length: weight }, () => [stage, packet] as const)
    )
    const [stage, packet] = pick(possible, turn.command)
    now.turn = turn
    phase = next(phase, packet._tag)
    if (turn.macros && stage !== undefined) yield* mta.write(Mta.macros("CHMRTLNBEU"[turn.command % 10]!, { x: "y" }))
    yield* mta.write(packet)
    yield* Mta.settle
    if (stage === undefined || (mta.agreed.steps & replySteps[stage]) !== 0) {
      // Hooks that only watch may go on behind it.
      assert.deepStrictEqual(yield* mta.replies, [], packet._tag)
      continue
    }
    const meanwhile = pick(meanwhiles, turn.meanwhile)
    if (meanwhile === "wait") {
      yield* verdict(stage)
    } else if (meanwhile === "abort") {
      yield* mta.write(Mta.abort)
      phase = next(phase, "Abort")
      yield* verdict(stage)
    } else {
      // The answer may be out already, or be lost.
      yield* meanwhile === "quit" ? mta.write(Mta.quit) : mta[meanwhile]
      assert.isAtMost((yield* mta.replies).filter((reply) => reply !== "Progress").length, 1)
      open = false
      break
    }
  }

  if (open) {
    yield* plan.ending === "quit"
      ? mta.write(Mta.quit)
      : plan.ending === "stop"
      ? Mta.settle
      : mta[plan.ending]
  }
  now.turn = undefined
  // Whatever heeds no interruption comes to its end.
  yield* TestClock.adjust("30 seconds")
  if (!open || plan.ending !== "stop") {
    assert.isTrue(yield* mta.closed)
    assert.isFalse(yield* bystander.closed)
  }
  yield* server.stop
  assert.isTrue(yield* mta.closed)
  assert.strictEqual(counts.hooksEnded, counts.hooks, "hooks that ended")
  assert.strictEqual(counts.closed.size, counts.opened, "resources that were released")
  for (const times of counts.closed.values()) assert.strictEqual(times, 1)
  // Nothing but what filters do wrong is logged.
  for (const { level, text } of server.logs) {
    assert.match(`${level} ${text}`, /^(Error test failed at|Warn CommandTimeout|Warn test interrupts)/)
  }
}, Effect.scoped)

const next = (phase: Phase, command: Command): Phase => transition(phase, command)!.phase

describe("any conversation", () => {
  it.effect.prop(
    "has one verdict for each command that expects one, none for others, and leaves nothing behind",
    [Plan],
    ([plan]) => play(plan),
    { arbitrary: { runs: 2000, size: 30 }, timeout: 240_000 }
  )
})
