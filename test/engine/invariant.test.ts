/**
 * The invariant of a session, on thousands of conversations, with one filter and with several: on a connection that stays
 * open there is one verdict for each command that expects one, in time, and none for others; scopes close in order, with the
 * exit that fits; no two hooks run at once; nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import { Action } from "effect-milter/Negotiation"
import * as Packet from "effect-milter/Packet"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { MaxOpsBeforeYield } from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import {
  type Command,
  initial,
  type Phase,
  type PhaseName,
  transition
} from "../../src/internal/protocol/commandOrder.ts"
import { forLongTest } from "../../testbed/timeLimits.ts"
import { type Answered, commands, describeExit, isSent } from "../support/filters.ts"
import type * as Ledger from "../support/ledger.ts"
import * as RandomFilter from "../support/randomFilter.ts"
import * as Mta from "../support/rawMta.ts"

// Weighted: most MTAs wait for their answer.
/** What the MTA does while its command is not answered. */
const meanwhiles = [
  ...Array.from({ length: 16 }, () => "wait" as const),
  ...["abort", "abort", "abort", "quit", "end", "reset", "stop"] as const
]

/** Two pieces like that go to a file, if they are kept. */
const bytes = new Uint8Array(140_000)
const large: ReadonlyArray<Packet.MtaPacket> = [{ _tag: "Body", bytes }, { _tag: "EndOfMessage", bytes }]

/** From one stage to the next one. */
const forward: { readonly [K in PhaseName | Answered]: Exclude<Answered, "connect" | "helo" | "unknown"> } = {
  new: "mail",
  idle: "mail",
  connect: "mail",
  helo: "mail",
  unknown: "mail",
  mail: "rcpt",
  rcpt: "data",
  data: "header",
  header: "endOfHeaders",
  endOfHeaders: "body",
  body: "endOfMessage",
  endOfMessage: "mail"
}

/** What MTAs send, mostly forward. */
const steps: ReadonlyArray<readonly [weight: number, Answered | undefined, Packet.MtaPacket]> = [
  ...(["connect", "helo", "unknown"] as const).map((stage) => [1, stage, commands[stage]] as const),
  [2, "mail", Mta.mail()],
  ...(["rcpt", "data", "header", "endOfHeaders", "body"] as const).map((stage) => [6, stage, commands[stage]] as const),
  [2, "endOfMessage", Mta.endOfMessage()],
  [2, "endOfMessage", Mta.endOfMessage("more")],
  [6, "body", large[0]!],
  [2, "endOfMessage", large[1]!],
  [1, undefined, Mta.abort],
  [1, undefined, Mta.quitNewConnection],
  [1, undefined, Mta.macros("M", { i: "Q" })]
]

const Turn = Schema.Struct({
  ...RandomFilter.turn,
  /** Which of the commands that are legal now. */
  command: RandomFilter.number(1000),
  macros: Schema.Boolean,
  meanwhile: RandomFilter.number(1000)
})

const planOf = (least: number, most: number) =>
  Schema.Struct({
    filters: Schema.Array(RandomFilter.Plan).check(Schema.isMinLength(least), Schema.isMaxLength(most)),
    steps: Schema.Union([Schema.Literals([0, 0x7f, 0x1fffff]), RandomFilter.number(0x1fffff)]),
    actions: Schema.Literals([0x1ff, 0x3f, Action.addHeader, 0]),
    turns: Schema.Array(Turn).check(Schema.isMinLength(8), Schema.isMaxLength(50)),
    salt: RandomFilter.number(1_000_000),
    /** See `budgetOf`. */
    budget: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 64 })),
    ending: Schema.Literals(["quit", "end", "reset", "stop"])
  })

type Plan = ReturnType<typeof planOf>["Type"]

/**
 * After how many steps fibers yield, those of the server too: in a quarter of the plans after 3 to 64, which costs five times
 * as much. With 1 or 2 they never come to an end.
 */
const budgetOf = ({ budget, salt }: Plan): number => salt % 4 === 0 ? budget : 2048

/** What an MTA knows of a message: the verdict that settled it, and that on DATA, which can be tried again. */
interface Told {
  final: Packet.FilterPacket | undefined
  refused: Packet.FilterPacket | undefined
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

/** Sessions are numbered, in base 36 after the start of their process. */
const serial = (session: string): number => Number.parseInt(session.split("-")[1]!, 36)

/** What is wrong with the exit of a message, of which the MTA knows this. `around` is all of its session. */
const wrongMessage = (entry: Entry, told: Told, around: ReadonlyArray<Entry>): string | undefined => {
  const exit = entry.exit!
  const verdict = told.final ?? told.refused
  if (Exit.isSuccess(exit)) {
    if (verdict === undefined) return "success without a verdict"
    const outcome = Option.getOrUndefined(Milter.outcome(exit))
    if (outcome?._tag !== outcomeOf(verdict)) return "not the outcome that the MTA was told"
    // A failure at RCPT is that of a recipient, one at DATA may be followed by another DATA, and one without an answer may
    // have been overtaken by the verdict of another filter.
    const failed = entry.failures.some(({ at }) => at !== "rcpt" && at !== "data")
    const isOwn = outcome === undefined || !("by" in outcome) || outcome.by === `filter${entry.filter}`
    return failed && isOwn && !entry.cut ? "success in spite of a failure" : undefined
  }
  // What failed at an unknown command without an answer counts for the message.
  if (!Cause.hasInterruptsOnly(exit.cause)) {
    const error = Cause.squash(exit.cause)
    return around.some(({ failures, filter }) =>
        filter === entry.filter && failures.some((failure) => failure.error === error)
      )
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

const isPiece = ({ _tag }: Packet.FilterPacket): boolean => _tag === "ReplaceBody"
const isField = ({ _tag }: Packet.FilterPacket): boolean => _tag === "AddHeader" || _tag === "InsertHeader"
const isVerdict = (packet: Packet.FilterPacket): boolean =>
  packet._tag !== "Progress" && !isPiece(packet) && !isField(packet)

const isContent = (stage: Answered | undefined): boolean =>
  stage === "header" || stage === "endOfHeaders" || stage === "body"

/** The time from one look to the next, in milliseconds. */
const look = { command: 1000, endOfMessage: 5000 }
/** How late the server notices that a time is over. */
const sweep = 250
/** The longest that a hook and its own finalizer take to stop. */
const stop = 2 * RandomFilter.slow

/** Plays a plan as an MTA that waits for its answers, and checks each. */
const play = Effect.fnUntraced(function*(plan: Plan) {
  const { filter, ledger, now, openFile } = RandomFilter.play<Told>(plan.filters)
  now.salt = plan.salt
  const server = yield* Mta.serve(filter, {}, openFile)
  const bystander = yield* server.open()
  yield* bystander.say(Mta.connect(), Mta.mail(), Mta.rcpt())
  const first = serial(ledger.entries()[0]!.session)
  const mta = yield* server.open({ actions: plan.actions, steps: plan.steps })
  let phase: Phase = next(initial, "Negotiate")
  let how: "quit" | "end" | "reset" | "stop" | "timeout" | undefined
  let stopping: Fiber.Fiber<void> | undefined
  /** How many hooks may run before that of the command which is to be answered. */
  let ahead = 0
  /** A command whose answer may still come. */
  let late: { readonly stage: Answered; readonly message: Told | undefined } | undefined
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
    assert.isTrue(isVerdict(reply!) && RandomFilter.legalReply(stage, reply!._tag), shown)
    assert.isAtMost(elapsed, allowed(), `${stage}: time`)
    if (stage !== "endOfMessage") {
      assert.strictEqual(packets.length, 1, shown)
    } else {
      // The pieces stand together, directly before the verdict.
      const pieces = packets.filter(isPiece)
      assert.deepStrictEqual(packets.slice(-1 - pieces.length, -1), pieces, shown)
      const passes = reply!._tag === "Continue" || reply!._tag === "Accept"
      const length = pieces.reduce((sum, packet) => sum + (packet._tag === "ReplaceBody" ? packet.bytes.length : 0), 0)
      assert.strictEqual(pieces.length > 0 ? length : undefined, passes ? now.replaced : undefined, "the new body")
      assert.lengthOf(packets.filter(isField), passes ? now.added : 0, shown)
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
      transition(phase, codeOf(packet._tag)) === undefined || (stage !== undefined && !isSent(mta, stage)) ||
        // Two of them must not wait, since nobody would read any more and notice the end.
        (large.includes(packet) && ahead > 0)
        ? []
        : Array.from({ length: weight }, () => [stage, packet] as const)
    )
    let usual = forward[phase.name]
    while (possible.every(([stage]) => stage !== usual)) usual = forward[usual]
    const [stage, packet] = RandomFilter.pick(
      turn.command < 500 ? possible.filter(([stage]) => stage === usual) : possible,
      turn.command
    )
    now.turn = turn
    now.salt++
    now.replaced = undefined
    now.added = 0
    const before = phase
    phase = next(phase, packet._tag)
    if (stage === "mail") now.message = { final: undefined, refused: undefined }
    else if (!phase.hasMessage && before.hasMessage && stage !== "endOfMessage") now.message = undefined
    if (packet._tag === "QuitNewConnection") sessions++
    if (turn.macros && stage !== undefined) yield* mta.write(Mta.macros("CHMRTLNBEU"[turn.command % 10]!, { x: "y" }))
    yield* mta.write(packet)
    yield* Mta.settle
    if (stage === undefined || (mta.agreed.steps & RandomFilter.replySteps[stage]) !== 0) {
      // Hooks that only watch may go on after it: of each filter a builder and one for the stage.
      ahead += 2 * plan.filters.length
      // What comes after a refused DATA, but for a recipient, has the same answer.
      const { message } = now
      if (message !== undefined && isContent(stage)) message.final ??= message.refused
      assert.deepStrictEqual(yield* mta.replies, [], packet._tag)
      continue
    }
    const meanwhile = RandomFilter.pick(meanwhiles, turn.meanwhile)
    if (meanwhile === "wait") {
      yield* verdict(stage)
    } else if (meanwhile === "abort") {
      yield* mta.write(Mta.abort)
      phase = next(phase, "Abort")
      yield* verdict(stage)
      now.message = undefined
    } else if (meanwhile === "stop") {
      const replies = (yield* mta.packets).filter(isVerdict)
      if (replies[0] !== undefined) told(stage, replies[0])
      stopping = yield* Effect.forkChild(server.stop)
      replies.push(...(yield* mta.packets).filter(isVerdict))
      assert.lengthOf(replies, 1, `${stage}: the server stops`)
      how = meanwhile
    } else {
      // The answer may be out already, or be lost.
      yield* meanwhile === "quit" ? mta.write(Mta.quit) : mta[meanwhile]
      const replies = (yield* mta.packets).filter(isVerdict)
      assert.isAtMost(replies.length, 1)
      if (replies[0] !== undefined) told(stage, replies[0])
      // A command that waits for finalizers is still worked on before the QUIT after it.
      else if (meanwhile === "quit") late = { stage, message: now.message }
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
  now.message = late?.message
  if (how === "stop") stopping ??= yield* Effect.forkChild(server.stop)
  const atEase = () =>
    ledger.entries().every(({ open, running, session }) =>
      (open.length === 0 || serial(session) === first) && running === 0
    )
  for (let seconds = 0; seconds < 300 && !atEase(); seconds += 5) yield* TestClock.adjust("5 seconds")
  if (late !== undefined) {
    const replies = (yield* mta.packets).filter(isVerdict)
    assert.isAtMost(replies.length, 1)
    if (replies[0] !== undefined) told(late.stage, replies[0])
  }
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
    // A QUIT after a command that waits for finalizers may not be seen in time.
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
    // Interrupted before it acquired anything: there was nobody to be told.
    if (entry.exit === undefined && entry.cut) continue
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
      /^(Error (filter\d failed at|a finalizer of filter\d failed|the content of a message could not be kept)|Warn (Command|Finalizer)Timeout|Warn .* interrupts)/
    )
  }
}, Effect.scoped)

const codeOf = (command: Command): number => Packet.mtaDefinitions.find(({ name }) => name === command)!.code

const next = (phase: Phase, command: Command): Phase => transition(phase, codeOf(command))!.phase

// The same conversations each time, so that a change is what makes a difference. Others on request: a falsification there may
// be one of the model above, which does not know everything a server can be doing when its MTA leaves.
const seed = process.env["EFFECT_MILTER_SEED"] ?? "effect-milter"

describe("any conversation", () => {
  const promise =
    "has one verdict for each command that expects one, in time, and none for others; scopes close in order"
  it.effect.prop(
    `with a filter ${promise}`,
    [planOf(1, 1)],
    ([plan]) => Effect.provideService(play(plan), MaxOpsBeforeYield, budgetOf(plan)),
    { arbitrary: { runs: 2000, size: 30, seed }, timeout: forLongTest }
  )

  it.effect.prop(
    `with a sequence of filters ${promise}`,
    [planOf(2, 3)],
    ([plan]) => Effect.provideService(play(plan), MaxOpsBeforeYield, budgetOf(plan)),
    { arbitrary: { runs: 700, size: 60, seed }, timeout: forLongTest }
  )
})
