/** Filters whose hooks do what a random plan says, and what such hooks answer. */
import * as Milter from "effect-milter/Milter"
import type { Editor } from "effect-milter/Modification"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import type { Session } from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TemporaryFile } from "../../src/internal/bytes/spool.ts"
import { type Answered, Failure } from "./filters.ts"
import * as Ledger from "./ledger.ts"
import { stages } from "./names.ts"

export const replySteps: { readonly [K in Answered]: number } = {
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
  ...Array.from({ length: 60 }, () => Verdict.continue),
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
export const legalReply = (stage: Answered, reply: Packet.FilterPacket["_tag"]): boolean =>
  basicReplies.includes(reply) ||
  (reply === "Accept" && stage !== "unknown") ||
  (reply === "Discard" && stage !== "unknown" && stage !== "connect" && stage !== "helo") ||
  (reply === "Skip" && stage === "body")

export const number = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/** Most answer at once. */
const mostly = (usual: string, others: string): ReadonlyArray<string> => [
  ...Array.from({ length: 30 }, () => usual),
  ...others.split(" ")
]

/** What a hook does: `never` is interrupted when its time is over, `stubborn` heeds no interruption. */
const behaviours = mostly("now", "yield yield yield slow slow slow stubborn fail die never")
const builders = mostly("now", "yield slow fail die never")
/** What the finalizers of a scope do; `long` is longer than a command may take. */
const finalizers = mostly("now", "slow slow slow long die")
/** What the finalizers of a hook itself do. */
const ownFinalizers = mostly("none", "now slow die")
/** What the end-of-message hook puts in the place of the body; `large` goes to a file, `broken` fails half-way there. */
const bodies = "none none empty small large large slow broken".split(" ")
/** What the opening and the writing of files do. */
const disks = mostly("now", "yield slow slow die")

export const pick = <A>(choices: ReadonlyArray<A>, index: number): A => choices[index % choices.length]!

/** What hooks, builders, finalizers and files do from one command to the next. */
export const turn = {
  hook: number(1000),
  builder: number(1000),
  verdict: number(1000),
  finalizer: number(1000),
  ownFinalizer: number(1000),
  body: number(1000),
  disk: number(1000)
}

const Turn = Schema.Struct(turn)

const mode = Schema.Literals(["answers", "observes", "absent"])

/** What a filter is. */
export const Plan = Schema.Struct({
  stages: Schema.Struct({
    connect: mode,
    helo: mode,
    mail: mode,
    rcpt: mode,
    data: mode,
    header: mode,
    endOfHeaders: mode,
    body: mode,
    endOfMessage: Schema.Literals(["answers", "observes"]),
    unknown: mode
  }),
  /** Where the MTA offers that. */
  edits: Schema.Literals(["body", "header"]),
  policy: Schema.Literals(["reject", "tempFail", "pass"]),
  refuseConnection: Schema.Boolean,
  delays: Schema.Boolean
})

/** The longest that most things take that take time at all. */
export const slow = 1500
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

type Optional = { readonly [K in "addHeader" | "replaceBody"]?: Option.Option<Editor[K]> }

const isOffered = <A>(method: Option.Option<A> | undefined): boolean => method !== undefined && Option.isSome(method)

/** Each filter does something else at each stage; generated numbers are small and often the same. */
const mixed = (...numbers: ReadonlyArray<number>): number =>
  numbers.reduce((sum, number) => {
    const next = Math.imul(sum ^ number, 0x9e3779b1)
    return next ^ (next >>> 15)
  }, 0x2545f491) >>> 1

/** The filters of a plan as one, what their hooks do now, and what they have opened and closed. */
export const play = <Owner>(plans: ReadonlyArray<typeof Plan.Type>) => {
  const now: {
    turn: typeof Turn.Type | undefined
    /** Another one for each turn, if there are several filters. */
    salt: number
    message: Owner | undefined
    /** What end-of-message hooks have done: the length of the new body, and how many fields are new. */
    replaced: number | undefined
    added: number
  } = { turn: undefined, salt: 0, message: undefined, replaced: undefined, added: 0 }
  const ledger = Ledger.make(() => now.message)

  const playing = (plan: typeof Plan.Type, index: number) => {
    const { inside, resource } = ledger.of(index)
    const chosen = <A>(choices: ReadonlyArray<A>, of: keyof typeof Turn.Type, at: number): A => {
      const number = now.turn?.[of]
      if (number === undefined) return choices[0]!
      return pick(choices, plans.length === 1 ? number : mixed(number, now.salt, index, at))
    }
    const acquire = (kind: Ledger.Kind, { id }: Session, at: number) =>
      Effect.suspend(() => {
        const finalizer = chosen(finalizers, "finalizer", at)
        const milliseconds = finalizer === "slow" ? slow : finalizer === "long" ? long : 0
        return resource(kind, id, Effect.orDie(act(finalizer)), milliseconds)
      })
    const edited = Effect.fnUntraced(function*({ addHeader, replaceBody }: Optional, body: string) {
      if (replaceBody !== undefined && Option.isSome(replaceBody)) yield* replaceBody.value(bodyOf(body))
      if (addHeader !== undefined && Option.isSome(addHeader)) yield* addHeader.value(`X-Filter-${index}`, body)
    })
    const hook = (stage: Answered, session: Session, edit?: Optional) =>
      Effect.suspend(() => {
        const at = stages.indexOf(stage)
        const kind = stage === "connect" || stage === "helo" || stage === "unknown" ? "connection" : "message"
        const body = edit === undefined ? "none" : chosen(bodies, "body", at)
        const run = Effect.gen(function*() {
          yield* acquire(kind, session, at)
          yield* act(chosen(behaviours, "hook", at))
          if (edit !== undefined && body !== "none") yield* edited(edit, body)
          return chosen(verdicts[stage], "verdict", at)
        })
        const own = chosen(ownFinalizers, "ownFinalizer", at)
        const whole = inside(kind, session.id, stage, Effect.ensuring(run, Effect.orDie(act(own))))
        // Edits of a hook that fails, in its finalizer at the latest, do not count.
        return Effect.tap(whole, () =>
          Effect.sync(() => {
            if (edit === undefined || body === "none") return
            if (isOffered(edit.replaceBody)) now.replaced = lengths[body]
            if (isOffered(edit.addHeader)) now.added++
          }))
      })
    const build = (kind: Ledger.Kind, session: Session) => {
      const run = Effect.suspend(() =>
        Effect.andThen(acquire(kind, session, stages.length), act(chosen(builders, "builder", stages.length)))
      )
      return inside(kind, session.id, "builder", run)
    }
    const hooks = (mode: string) =>
      Object.fromEntries(
        stages.filter((stage) => plan.stages[stage] === mode).map((stage) => [
          stage,
          (_: unknown, { edit, session }: { readonly session: Session; readonly edit?: Optional }) =>
            mode === "answers" ? hook(stage, session, edit) : Effect.asVoid(hook(stage, session))
        ])
      )
    const policy = plan.policy === "pass"
      ? plan.policy
      : plan.policy === "reject"
      ? Verdict.reject()
      : Verdict.tempFail()
    const made = Milter.make(`filter${index}`, {
      // An MTA that offers nothing is one as well.
      modifyIfOffered: [plan.edits === "body" ? "replaceBody" : "addHeader"],
      refuseConnection: plan.refuseConnection,
      onDefect: policy,
      connection: (session) => build("connection", session),
      message: (_, { session }) => build("message", session)
    }).on(hooks("answers"), hooks("observes"))
    const filter = Milter.onFailure(made, () => Effect.succeed(policy))
    return plan.delays ? Milter.delayReject(filter, { at: "rcpt", except: () => now.salt % 2 === 0 }) : filter
  }

  /** A file on a disk that is slow or full at times. */
  const openFile = Effect.suspend(() => {
    const disk = Effect.suspend(() =>
      Effect.orDie(act(now.turn === undefined ? "now" : pick(disks, mixed(now.turn.disk, now.salt))))
    )
    return Effect.map(Effect.andThen(disk, ledger.openFile), (file): TemporaryFile => ({
      ...file,
      append: (bytes) => Effect.andThen(disk, file.append(bytes))
    }))
  })

  return { filter: Milter.sequence(plans.map(playing)), now, ledger, openFile }
}
