/** Conditions on recipients, row by row, for the MTAs in memory and the real ones: what the client reads, what the filter sees. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

type Refusal = Verdict.Reject | Verdict.TempFail

/** How the filter under the condition behaves. */
interface Behaviour {
  /** Whether it answers rcpt, only observes it, or has no hook there. */
  readonly rcpt?: "answers" | "observes" | "none"
  /** What a held hook decides; the other two only observe. */
  readonly held?: {
    readonly connect?: Refusal | Verdict.AcceptConnection
    readonly helo?: Refusal | Verdict.AcceptConnection
    readonly mail?: Refusal | Verdict.AcceptMessage | Verdict.DiscardMessage
  }
  /** Local parts that it refuses itself. */
  readonly refuses?: string
}

/** A session with one message. */
export interface Row extends Behaviour {
  readonly name: string
  readonly condition: Milter.Condition
  /**
   * Local parts. Those with `vip` meet the conditions; those with `ahead` and `after` are refused by the filters around, those
   * with `unknown` by the MTA.
   */
  readonly to: ReadonlyArray<string>
  /** What the client reads at each recipient: `ok`, the reply of a filter, or `mta` for a refusal by the MTA. */
  readonly answers: ReadonlyArray<string>
  /** What the filter has seen. */
  readonly seen: ReadonlyArray<string>
  /** The reply to DATA, if the message is refused there. */
  readonly data?: string
  /** Whether the message is dropped. */
  readonly isDiscarded?: boolean
}

const held = ["connect", "helo client.example.org", "state", "mail alice"]

const isVip = ({ recipient }: { readonly recipient: { readonly localPart: string } }): boolean =>
  recipient.localPart.includes("vip")

const each: Milter.Condition = { rcpt: isVip, recipients: "each" }
const any: Milter.Condition = { rcpt: (rcpt) => Effect.succeed(isVip(rcpt)), recipients: "any" }
const atData: Milter.Condition = { data: (_, { envelope }) => envelope.recipients.some(isVip) }
const notForMe = Verdict.reject({ enhanced: "5.7.1", text: "not for me" })
const refused = "550 5.7.1 not for me"
const otherKind = "452 4.5.3 Send to this recipient in a message of its own"

export const rows: ReadonlyArray<Row> = [
  {
    name: "each: no recipient matches, and the filter is out",
    condition: each,
    to: ["bob", "carol"],
    answers: ["ok", "ok"],
    seen: []
  },
  {
    name: "each: its rcpt hook runs for recipients that match",
    condition: each,
    to: ["bob", "vip1", "carol", "vip2"],
    answers: ["ok", "ok", "ok", "ok"],
    seen: [...held, "rcpt vip1", "rcpt vip2", "end bob vip1 carol vip2"]
  },
  {
    name: "each: so does a hook that only observes",
    condition: each,
    rcpt: "observes",
    to: ["bob", "vip1", "carol"],
    answers: ["ok", "ok", "ok"],
    seen: [...held, "rcpt vip1", "end bob vip1 carol"]
  },
  {
    name: "any: no recipient matches, and the filter is out",
    condition: any,
    rcpt: "observes",
    to: ["bob", "carol"],
    answers: ["ok", "ok"],
    seen: []
  },
  {
    name: "any: an answering hook does not run for recipients of before, but they are in the envelope",
    condition: any,
    to: ["bob", "vip1", "carol"],
    answers: ["ok", "ok", "ok"],
    seen: [...held, "rcpt vip1", "rcpt carol", "end bob vip1 carol"]
  },
  {
    name: "any: an observing hook is shown recipients of before",
    condition: any,
    rcpt: "observes",
    to: ["bob", "carol", "vip1", "dora"],
    answers: ["ok", "ok", "ok", "ok"],
    seen: [...held, "rcpt bob", "rcpt carol", "rcpt vip1", "rcpt dora", "end bob carol vip1 dora"]
  },
  {
    name: "data: the envelope does not match, and the filter is out",
    condition: atData,
    rcpt: "observes",
    to: ["bob", "carol"],
    answers: ["ok", "ok"],
    seen: []
  },
  {
    name: "data: an observing hook is shown all recipients",
    condition: atData,
    rcpt: "observes",
    to: ["bob", "vip1", "carol"],
    answers: ["ok", "ok", "ok"],
    seen: [...held, "rcpt bob", "rcpt vip1", "rcpt carol", "end bob vip1 carol"]
  },
  // --- who counts
  ...[each, any].map((condition): Row => ({
    name: `${condition.recipients}: a recipient that a filter ahead refuses does not count`,
    condition,
    to: ["bob", "ahead-vip", "carol"],
    answers: ["ok", "550 5.1.1 refused ahead", "ok"],
    seen: []
  })),
  ...[each, any].map((condition): Row => ({
    name: `${condition.recipients}: a recipient that the MTA refuses does not count`,
    condition,
    to: ["bob", "unknown-vip", "carol"],
    answers: ["ok", "mta", "ok"],
    seen: []
  })),
  ...[each, any].map((condition): Row => ({
    name: `${condition.recipients}: a later refusal by a filter after it does not take it out again`,
    condition,
    to: ["bob", "vip-after"],
    answers: ["ok", "550 5.1.1 refused after"],
    seen: [...held, "rcpt vip-after", "end bob"]
  })),
  {
    name: "data: refused recipients are not in the envelope",
    condition: atData,
    rcpt: "none",
    to: ["bob", "ahead-vip", "vip-after", "unknown-vip"],
    answers: ["ok", "550 5.1.1 refused ahead", "550 5.1.1 refused after", "mta"],
    seen: []
  },
  {
    name: "each: the filter is not for a message whose matching recipients it has refused itself",
    condition: each,
    refuses: "vip1",
    to: ["bob", "vip1"],
    answers: ["ok", "550 5.7.1 not for me"],
    seen: [...held, "rcpt vip1"]
  },
  {
    name: "any: a filter that has joined stays in, whom it refuses itself",
    condition: any,
    refuses: "vip1",
    to: ["bob", "vip1", "carol"],
    answers: ["ok", refused, "ok"],
    seen: [...held, "rcpt vip1", "rcpt carol", "end bob carol"]
  },
  // --- held hooks
  ...[{ connect: notForMe }, { helo: notForMe }, { mail: notForMe }].flatMap((verdict): ReadonlyArray<Row> => {
    const stage = Object.keys(verdict).join()
    const seen = held.slice(0, { connect: 1, helo: 2 }[stage] ?? 4)
    return [
      {
        name: `each: a held refusal of ${stage} is for the recipients that match`,
        condition: each,
        held: verdict,
        to: ["bob", "vip1", "carol", "vip2"],
        answers: ["ok", refused, "ok", refused],
        seen
      },
      {
        name: `any: a held refusal of ${stage} is for this and each further recipient`,
        condition: any,
        held: verdict,
        to: ["bob", "vip1", "carol"],
        answers: ["ok", refused, refused],
        seen
      },
      {
        name: `data: a held refusal of ${stage} is for the message`,
        condition: atData,
        rcpt: "none",
        held: verdict,
        to: ["bob", "vip1"],
        answers: ["ok", "ok"],
        data: refused,
        seen
      }
    ]
  }),
  ...[each, any, atData].flatMap((condition): ReadonlyArray<Row> => {
    const name = condition.recipients ?? "data"
    const common = { condition, rcpt: "none", to: ["bob", "vip1", "carol"], answers: ["ok", "ok", "ok"] } as const
    return [
      {
        ...common,
        name: `${name}: a held hook that accepts the connection takes the filter out`,
        held: { connect: Verdict.acceptConnection },
        seen: held.slice(0, 1)
      },
      {
        ...common,
        name: `${name}: a held hook that accepts the message takes the filter out`,
        held: { mail: Verdict.acceptMessage },
        seen: held
      },
      {
        ...common,
        name: `${name}: a held hook that discards the message decides for all recipients`,
        held: { mail: Verdict.discardMessage },
        isDiscarded: true,
        seen: held
      }
    ]
  }),
  // --- recipients of both kinds
  ...[each, any].map((condition): Row => ({
    name: `${condition.recipients}: apply is what happens anyway`,
    condition: { ...condition, mixed: "apply" },
    rcpt: "none",
    to: ["vip1", "bob"],
    answers: ["ok", "ok"],
    seen: [...held, "end vip1 bob"]
  })),
  ...[each, any].flatMap((condition): ReadonlyArray<Row> => [
    {
      name: `${condition.recipients}, separate: after a recipient that matches, others are put off`,
      condition: { ...condition, mixed: "separate" },
      to: ["vip1", "bob", "vip2", "carol"],
      answers: ["ok", otherKind, "ok", otherKind],
      seen: [...held, "rcpt vip1", "rcpt vip2", "end vip1 vip2"]
    },
    {
      name: `${condition.recipients}, separate: after a recipient that does not match, others are put off`,
      condition: { ...condition, mixed: "separate" },
      rcpt: "observes",
      to: ["bob", "vip1", "carol", "vip2"],
      answers: ["ok", otherKind, "ok", otherKind],
      seen: []
    },
    {
      name: `${condition.recipients}, separate: a refused recipient is of no kind`,
      condition: { ...condition, mixed: "separate" },
      rcpt: "none",
      to: ["ahead", "bob-after", "vip1", "bob"],
      answers: ["550 5.1.1 refused ahead", "550 5.1.1 refused after", "ok", otherKind],
      seen: [...held, "end vip1"]
    }
  ]),
  {
    name: "each, separate: a recipient that the filter refuses itself is of no kind",
    condition: { ...each, mixed: "separate" },
    refuses: "vip1",
    to: ["vip1", "bob", "vip2"],
    answers: [refused, "ok", otherKind],
    seen: [...held, "rcpt vip1"]
  },
  {
    name: "data, skip: one recipient does not match, and the filter is out",
    condition: { ...atData, mixed: "skip" },
    rcpt: "observes",
    to: ["vip1", "bob", "vip2"],
    answers: ["ok", "ok", "ok"],
    seen: []
  },
  {
    name: "data, skip: all recipients match",
    condition: { ...atData, mixed: "skip" },
    rcpt: "observes",
    to: ["vip1", "ahead", "vip2"],
    answers: ["ok", "550 5.1.1 refused ahead", "ok"],
    seen: [...held, "rcpt vip1", "rcpt vip2", "end vip1 vip2"]
  }
]

/** The filter of a row between two others, and what it has seen. */
export const filterOf = (row: Row) => {
  const seen: Array<string> = []
  const note = (line: string) => Effect.sync(() => void seen.push(line))
  const { connect, helo, mail } = row.held ?? {}
  const { rcpt = "answers", refuses } = row
  const said = {
    connect: () => note("connect"),
    helo: ({ name }: { readonly name: string }) => note(`helo ${name}`),
    mail: ({ sender }: { readonly sender: { readonly localPart: string } }) => note(`mail ${sender.localPart}`),
    rcpt: ({ recipient }: { readonly recipient: { readonly localPart: string } }) => note(`rcpt ${recipient.localPart}`)
  }
  const inner = Milter.make("inner", { modify: ["addHeader"], message: () => note("state") }).on({
    ...(connect === undefined ? {} : { connect: () => Effect.as(said.connect(), connect) }),
    ...(helo === undefined
      ? {}
      : { helo: (event: Parameters<typeof said.helo>[0]) => Effect.as(said.helo(event), helo) }),
    ...(mail === undefined
      ? {}
      : { mail: (event: Parameters<typeof said.mail>[0]) => Effect.as(said.mail(event), mail) }),
    ...(rcpt === "answers"
      ? {
        rcpt: (event: Parameters<typeof said.rcpt>[0]) =>
          Effect.as(said.rcpt(event), event.recipient.localPart === refuses ? notForMe : Verdict.continue)
      }
      : {}),
    endOfMessage: (_, { edit, envelope }) =>
      note(`end ${envelope.recipients.map(({ recipient }) => recipient.localPart).join(" ")}`).pipe(
        Effect.andThen(edit.addHeader("X-Tag", "yes")),
        Effect.as(Verdict.continue)
      )
  }, {
    ...(connect === undefined ? { connect: said.connect } : {}),
    ...(helo === undefined ? { helo: said.helo } : {}),
    ...(mail === undefined ? { mail: said.mail } : {}),
    ...(rcpt === "observes" ? { rcpt: said.rcpt } : {})
  })
  const filter = Milter.sequence([
    refusing("ahead", (name) => name.startsWith("ahead")),
    Milter.when(inner, row.condition),
    refusing("after", (name) => name.endsWith("after"))
  ])
  return { filter, seen }
}

const refusing = (name: string, isRefused: (localPart: string) => boolean) =>
  Milter.make(name).on({
    rcpt: ({ recipient }) =>
      Effect.succeed(
        isRefused(recipient.localPart)
          ? Verdict.reject({ enhanced: "5.1.1", text: `refused ${name}` })
          : Verdict.continue
      )
  })

/** The recipients that a row's message is delivered to; undefined if it is not delivered. */
export const deliveredTo = ({ answers, data, isDiscarded, to }: Row): ReadonlyArray<string> | undefined =>
  data !== undefined || isDiscarded === true
    ? undefined
    : to.filter((_, index) => answers[index] === "ok").map((name) => `${name}@test.example`)

/** Whether the filter of a row has edited the message. */
export const isTagged = ({ seen }: Row): boolean => seen.some((line) => line.startsWith("end"))

/** Whether the MTA itself refuses the recipient. */
export const isUnknown = (localPart: string): boolean => localPart.startsWith("unknown")
