/**
 * The invariant of a session, on two thousand conversations: on a connection that stays open there is one verdict for each
 * command that expects one, in time, and none for others; scopes close in order, with the exit that fits; nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type { Editor } from "effect-milter/Modification"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import type { Session } from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Command, type Phase, transition } from "../src/internal/session.ts"
import { type Answered, commands, describeExit, Failure, isSent } from "./support/filters.ts"
import * as Ledger from "./support/ledger.ts"
import * as Mta from "./support/rawMta.ts"

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
/** What the finalizers of a scope do; `long` is longer than a command may take. */
const finalizers = "now now now now now now now now now now now now slow slow long die".split(" ")
/** What the finalizers of a hook itself do. */
const ownFinalizers = "none none none none none none none none none none none none now slow die".split(" ")
/** What the end-of-message hook puts in the place of the body; `large` goes to a file, `broken` fails half-way there. */
const bodies = "none none none none empty small large large slow broken".split(" ")
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
  finalizer: number(1000),
  ownFinalizer: number(1000),
  body: number(1000),
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

/** What an MTA knows of a message: the verdict that settled it, and that on DATA, which can be tried again. */
interface Told {
  final: Packet.FilterPacket | undefined
  refused: Packet.FilterPacket | undefined
}

const slow = 1500
const long = 10_000

const piece = new Uint8Array(60_000)
const lengths: { readonly [body: string]: number } = { empty: 0, small: 1000, large: 300_000, slow: 300_000 }

const bodyOf = (kind: string): Uint8Array | Stream.Stream<Uint8Array, Failure> => {
  const large = Stream.fromIterable([piece, piece, piece, piece, piece])
  switch (kind) {
    case "large":
      return large
    case "slow":
      return Stream.mapEffect(
        large,
        (bytes, index) => index === 4 ? Effect.as(Effect.sleep(slow), bytes) : Effect.succeed(bytes)
      )
    case "broken":
      return Stream.concat(large, Stream.fail(new Failure({ at: "body" })))
    default:
      return new Uint8Array(lengths[kind]!)
  }
}

/** The filter of a plan, what its hooks do now, and what it has opened and closed. */
const playing = (plan: typeof Plan.Type) => {
  const now: { turn: typeof Turn.Type | undefined; message: Told | undefined; replaced: number | undefined } = {
    turn: undefined,
    message: undefined,
    replaced: undefined
  }
  const ledger = Ledger.make(() => now.message)
  const act = (kind: string): Effect.Effect<void, Failure> => {
    switch (kind) {
      case "yield":
        return Effect.yieldNow
      case "slow":
        return Effect.sleep(slow)
      case "long":
        return Effect.sleep(long)
      case "stubborn":
        return Effect.uninterruptible(Effect.sleep(slow))
      case "never":
        return Effect.never
      case "fail":
        return Effect.suspend(() => Effect.fail(new Failure({ at: kind })))
      case "die":
        return Effect.suspend(() => Effect.die(new Failure({ at: kind })))
      default:
        return Effect.void
    }
  }
  const chosen = (choices: ReadonlyArray<string>, of: (turn: typeof Turn.Type) => number): string =>
    now.turn === undefined ? choices[0]! : pick(choices, of(now.turn))
  const resource = (kind: Ledger.Kind, { id }: Session) =>
    Effect.suspend(() => {
      const finalizer = chosen(finalizers, (turn) => turn.finalizer)
      const milliseconds = finalizer === "slow" ? slow : finalizer === "long" ? long : 0
      return ledger.resource(kind, id, Effect.orDie(act(finalizer)), milliseconds)
    })
  const hook = (stage: Answered, session: Session, edit?: Pick<Editor, "replaceBody">) =>
    Effect.suspend(() => {
      const kind = stage === "connect" || stage === "helo" || stage === "unknown" ? "connection" : "message"
      const behaviour = chosen(behaviours, (turn) => turn.hook)
      const body = chosen(bodies, (turn) => turn.body)
      const verdict = pick(verdicts[stage], now.turn?.verdict ?? 0)
      const run = Effect.gen(function*() {
        yield* resource(kind, session)
        yield* act(behaviour)
        if (edit !== undefined && body !== "none") yield* edit.replaceBody(bodyOf(body))
        return verdict
      })
      const own = chosen(ownFinalizers, (turn) => turn.ownFinalizer)
      const whole = ledger.inside(kind, session.id, stage, Effect.ensuring(run, Effect.orDie(act(own))))
      // Edits of a hook that fails, in its finalizer at the latest, do not count.
      return Effect.tap(whole, () =>
        Effect.sync(() => {
          if (edit !== undefined) now.replaced = lengths[body]
        }))
    })
  const build = (kind: Ledger.Kind, session: Session) => {
    const run = Effect.suspend(() =>
      Effect.andThen(resource(kind, session), act(chosen(builders, (turn) => turn.builder)))
    )
    return ledger.inside(kind, session.id, "builder", run)
  }
  const hooks = (mode: string) =>
    Object.fromEntries(
      stages.filter((stage) => plan.stages[stage] === mode).map((stage) => [
        stage,
        (_: unknown, { edit, session }: { readonly session: Session; readonly edit?: Pick<Editor, "replaceBody"> }) =>
          mode === "answers" ? hook(stage, session, edit) : Effect.asVoid(hook(stage, session))
      ])
    )
  const policy = plan.policy === "pass" ? plan.policy : plan.policy === "reject" ? Verdict.reject() : Verdict.tempFail()
  const made = Milter.make("test", {
    modify: ["replaceBody"],
    refuseConnection: plan.refuseConnection,
    onDefect: policy,
    connection: (session) => build("connection", session),
    message: (_, { session }) => build("message", session)
  }).on(hooks("answers"), hooks("observes"))
  return { filter: Milter.onFailure(made, () => Effect.succeed(policy)), now, ledger }
}

const outcomes: { readonly [K in Packet.FilterPacket["_tag"]]?: string } = {
  Continue: "Accepted",
  Accept: "Accepted",
  Reject: "Rejected",
  TempFail: "TempFailed",
  Discard: "Discarded"
}
const outcomeOf = (reply: Packet.FilterPacket): string | undefined =>
  reply._tag === "ReplyCode" ? (reply.text.startsWith("5") ? "Rejected" : "TempFailed") : outcomes[reply._tag]

type Entry = Ledger.Entry<Told | undefined>

/** Sessions are numbered, in base 36 behind the start of their process. */
const serial = (session: string): number => Number.parseInt(session.split("-")[1]!, 36)

/** What is wrong with the exit of a message, of which the MTA knows this. `around` is all of its session. */
const wrongMessage = (entry: Entry, told: Told, around: ReadonlyArray<Entry>): string | undefined => {
  const exit = entry.exit!
  const verdict = told.final ?? told.refused
  if (Exit.isSuccess(exit)) {
    if (verdict === undefined) return "success without a verdict"
    const outcome = Option.map(Milter.outcome(exit), ({ _tag }) => _tag)
    if (Option.getOrUndefined(outcome) !== outcomeOf(verdict)) return "not the outcome that the MTA was told"
    // A failure at RCPT is that of a recipient, one at DATA may be followed by another DATA.
    const failed = entry.failures.some(({ at }) => at !== "rcpt" && at !== "data")
    return failed && !entry.cut ? "success in spite of a failure" : undefined
  }
  // What failed at an unknown command without an answer counts for the message.
  if (!Cause.hasInterruptsOnly(exit.cause)) {
    const error = Cause.squash(exit.cause)
    return around.some(({ failures }) => failures.some((failure) => failure.error === error))
      ? undefined
      : "the cause of no hook"
  }
  return around.some(({ cut }) => cut) || verdict === undefined ? undefined : "interruption after a verdict"
}

/** How a connection ends, as far as its MTA can know. */
type End = "success" | "interruption" | "either"

const wrongConnection = (entry: Entry, end: End, around: ReadonlyArray<Entry>): string | undefined => {
  const exit = entry.exit!
  const built = entry.failures.find(({ at }) => at === "builder")
  if (built !== undefined) {
    return Exit.isFailure(exit) && Cause.squash(exit.cause) === built.error ? undefined : "not the cause of its builder"
  }
  if (end === "either" || around.some(({ cut }) => cut)) {
    return Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? "the cause of no builder" : undefined
  }
  if (Exit.isSuccess(exit)) return end === "success" ? undefined : "success"
  return Cause.hasInterruptsOnly(exit.cause) && end === "interruption" ? undefined : "failure"
}

const isEdit = ({ _tag }: Packet.FilterPacket): boolean => _tag === "ReplaceBody"
const isVerdict = ({ _tag }: Packet.FilterPacket): boolean => _tag !== "ReplaceBody" && _tag !== "Progress"

/** The time from one look to the next, in milliseconds. */
const look = { command: 1000, endOfMessage: 5000 }
/** How late the server notices that a time is over. */
const sweep = 250
/** The longest that a hook and its own finalizer take to stop. */
const stop = 2 * slow

/** Plays a plan as an MTA that waits for its answers, and checks each. */
const play = Effect.fnUntraced(function*(plan: typeof Plan.Type) {
  const { filter, ledger, now } = playing(plan)
  const server = yield* Mta.serve(filter, {}, ledger.openFile)
  const bystander = yield* server.open()
  yield* bystander.say(Mta.connect(), Mta.mail(), Mta.rcpt())
  const first = serial(ledger.entries()[0]!.session)
  const mta = yield* server.open({ steps: plan.offered })
  let phase: Phase = "idle"
  let how: "quit" | "end" | "reset" | "stop" | "timeout" | undefined
  /** How many hooks may run before that of the command which is to be answered. */
  let ahead = 0
  /** SMTP sessions before this one. */
  let sessions = 0

  const told = (stage: Answered, reply: Packet.FilterPacket): void => {
    const { message } = now
    if (message === undefined || message.final !== undefined || stage === "unknown") return
    const refuses = outcomeOf(reply) === "Rejected" || outcomeOf(reply) === "TempFailed"
    if (stage === "data" && (refuses || reply._tag === "Continue")) message.refused = refuses ? reply : undefined
    else if (reply._tag === "Skip" || (stage === "rcpt" && refuses)) return
    else if (stage === "endOfMessage" || reply._tag !== "Continue") message.final = reply
  }

  /** Waits for the one verdict on a command, at most as long as its time and that of what is in front of it. */
  const verdict = Effect.fnUntraced(function*(stage: Answered) {
    const packets: Array<Packet.FilterPacket> = []
    const began = yield* Clock.currentTimeMillis
    const finalizersBefore = ledger.time.finalizers
    const [budget, step] = stage === "endOfMessage" ? [240_000, look.endOfMessage] : [8000, look.command]
    const allowed = () =>
      budget + sweep + ahead * (8000 + sweep + stop) + stop + ledger.time.finalizers - finalizersBefore + step
    let elapsed = 0
    packets.push(...(yield* mta.packets))
    while (!packets.some(isVerdict) && elapsed < 600_000) {
      yield* TestClock.adjust(step)
      packets.push(...(yield* mta.packets))
      elapsed = (yield* Clock.currentTimeMillis) - began
    }
    packets.push(...(yield* mta.packets))
    const shown = `${stage}: ${packets.map(({ _tag }) => _tag).join(", ")}`
    const reply = packets.at(-1)
    assert.strictEqual(packets.filter(isVerdict).length, 1, shown)
    assert.isTrue(isVerdict(reply!) && legalReply(stage, reply!._tag), shown)
    assert.isAtMost(elapsed, allowed(), `${stage}: time`)
    if (stage !== "endOfMessage") {
      assert.strictEqual(packets.length, 1, shown)
    } else {
      // The pieces stand together, directly before the verdict.
      const edits = packets.filter(isEdit)
      assert.deepStrictEqual(packets.slice(-1 - edits.length, -1), edits, shown)
      const passes = reply!._tag === "Continue" || reply!._tag === "Accept"
      const length = edits.reduce((sum, packet) => sum + (packet._tag === "ReplaceBody" ? packet.bytes.length : 0), 0)
      assert.strictEqual(edits.length > 0 ? length : undefined, passes ? now.replaced : undefined, "the new body")
    }
    ahead = 0
    if (yield* mta.closed) {
      // It has waited too long for finalizers.
      assert.strictEqual(reply!._tag, "TempFail", "the last answer")
      assert.match(server.logs.at(-1)!.text, /^FinalizerTimeout/)
      how = "timeout"
    } else {
      told(stage, reply!)
    }
  })

  for (const turn of plan.turns) {
    const possible = steps.flatMap(([weight, stage, packet]) =>
      transition(phase, packet._tag) === undefined || (stage !== undefined && !isSent(mta, stage))
        ? []
        : Array.from({ length: weight }, () => [stage, packet] as const)
    )
    const [stage, packet] = pick(possible, turn.command)
    now.turn = turn
    now.replaced = undefined
    const before = phase
    phase = next(phase, packet._tag)
    if (stage === "mail") now.message = { final: undefined, refused: undefined }
    else if (phase === "idle" && before !== "idle" && stage !== "endOfMessage") now.message = undefined
    if (packet._tag === "QuitNewConnection") sessions++
    if (turn.macros && stage !== undefined) yield* mta.write(Mta.macros("CHMRTLNBEU"[turn.command % 10]!, { x: "y" }))
    yield* mta.write(packet)
    yield* Mta.settle
    if (stage === undefined || (mta.agreed.steps & replySteps[stage]) !== 0) {
      // Hooks that only watch may go on behind it: a builder and one for the stage.
      ahead += 2
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
      now.message = undefined
    } else {
      // The answer may be out already, or be lost.
      yield* meanwhile === "quit" ? mta.write(Mta.quit) : mta[meanwhile]
      const replies = (yield* mta.packets).filter(isVerdict)
      assert.isAtMost(replies.length, 1)
      if (replies[0] !== undefined) told(stage, replies[0])
      how = meanwhile
    }
    if (how !== undefined) break
    if (stage === "endOfMessage") now.message = undefined
  }

  const { message } = now
  const unsettled = message !== undefined && message.final === undefined
  const begun = ledger.entries().some(({ owner }) => owner === message)
  if (how === undefined) {
    how = plan.ending
    if (how !== "stop") yield* how === "quit" ? mta.write(Mta.quit) : mta[how]
  }
  now.turn = undefined
  now.message = undefined
  const stopping = how === "stop" ? yield* Effect.forkChild(server.stop) : undefined
  const atEase = () =>
    ledger.entries().every(({ open, running, session }) =>
      (open.length === 0 || serial(session) === first) && running === 0
    )
  for (let seconds = 0; seconds < 300 && !atEase(); seconds += 5) yield* TestClock.adjust("5 seconds")
  assert.isTrue(yield* mta.closed)
  if (stopping === undefined) {
    assert.isFalse(yield* bystander.closed)
    yield* server.stop
  } else {
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(stopping)
  }
  const { counts } = ledger
  assert.strictEqual(counts.hooksEnded, counts.hooks, "hooks that ended")
  assert.strictEqual(counts.closed, counts.opened, "resources that were released")
  assert.strictEqual(counts.filesClosed, counts.filesOpened, "files that are gone")
  const waited = server.logs.some(({ text }) => text.startsWith("FinalizerTimeout"))
  const end: End = how === "quit"
    // A QUIT behind a command which waits for finalizers may not be seen in time.
    ? (waited ? "either" : "success")
    : how === "end"
    // So may a MAIL never be read.
    ? (!unsettled ? "success" : begun ? "interruption" : "either")
    : "interruption"
  // Of those before it nobody knows whether their QUIT_NC was still read.
  const endOf = (session: string): End =>
    serial(session) === first
      ? "interruption"
      : serial(session) === first + 1 + sessions || end === "success"
      ? end
      : "either"
  for (const entry of ledger.entries()) {
    const around = ledger.entries().filter(({ session }) => session === entry.session)
    const wrong = entry.kind === "message"
      ? wrongMessage(entry, entry.owner ?? { final: undefined, refused: undefined }, around)
      : wrongConnection(entry, endOf(entry.session), around)
    if (wrong !== undefined) {
      ledger.wrong.push(
        `a ${entry.kind} (${entry.session} of ${sessions}, ${how}) closes with ${describeExit(entry.exit!)}: ${wrong}`
      )
    }
  }
  if (ledger.wrong.length > 0) assert.fail(ledger.wrong.join("; "))
  // Nothing but what filters do wrong is logged.
  for (const { level, text } of server.logs) {
    assert.match(
      `${level} ${text}`,
      /^(Error test failed at|Error a finalizer of test failed|Warn (Command|Finalizer)Timeout|Warn test interrupts)/
    )
  }
}, Effect.scoped)

const next = (phase: Phase, command: Command): Phase => transition(phase, command)!.phase

// The same conversations each time, so that a change is what makes a difference. Others on request: a falsification there may
// be one of the model above, which does not know everything a server can be doing when its MTA leaves.
const seed = process.env["EFFECT_MILTER_SEED"] ?? "effect-milter"

describe("any conversation", () => {
  it.effect.prop(
    "has one verdict for each command that expects one, in time, and none for others; scopes close in order",
    [Plan],
    ([plan]) => play(plan),
    { arbitrary: { runs: 2000, size: 30, seed }, timeout: 240_000 }
  )
})
