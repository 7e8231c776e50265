/**
 * What an SMTP client and a filter see of each verdict at each stage with Postfix: one SMTP session, the same for all rows
 * of the table, and its outcome. Recorded with Postfix 3.7.11, row by row, and compared with 3.10 and 3.11, which differ
 * in the answer to an unknown command: see {@link ownsUnknown}. What Sendmail makes of the same session is in
 * sendmailExpectations.ts.
 *
 * The rows say nothing about how a filter is written: take `stage` and `verdict`, build a filter that gives this verdict
 * there (only for `recipient`, if it is set) and continues everywhere else, run {@link runSession}, and compare.
 */
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { crlf, type Reply, type SmtpClient, type SmtpClientError } from "../../../testbed/smtpClient.ts"

/** The steps of the session, in order. */
export const steps = [
  "greeting",
  "ehlo",
  "mail",
  "rcptBob",
  "rcptCarol",
  "data",
  "message",
  "unknown",
  "secondMail",
  "secondRcpt",
  "secondData",
  "secondMessage",
  "quit"
] as const

/** A step of the session: two messages on one connection, with an unknown command between them. */
export type Step = typeof steps[number]

/** What the client sends at each step; the message itself at `message` and `secondMessage`. */
const commands: Readonly<Record<Exclude<Step, "greeting" | "message" | "secondMessage">, string>> = {
  ehlo: "EHLO client.example.org",
  mail: "MAIL FROM:<alice@example.org>",
  rcptBob: "RCPT TO:<bob@test.example>",
  rcptCarol: "RCPT TO:<carol@test.example>",
  data: "DATA",
  unknown: "FOOBAR xyz",
  secondMail: "MAIL FROM:<dave@example.org>",
  secondRcpt: "RCPT TO:<erin@test.example>",
  secondData: "DATA",
  quit: "QUIT"
}

/** Five header fields and one line; the filter gets no more fields, since the MTA has none to add. */
export const smallMessage = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: plain
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>

Hello, Bob.
`)

/** The same with a body of more than three chunks of 65535 bytes, so that a skipped body is one that can be told. */
export const largeMessage = smallMessage + `${"0123456789".repeat(7)}\r\n`.repeat(2800)

/**
 * A reply: its code, or its whole text with lines joined by LF. 0 is the end of the connection instead of a reply; steps
 * after that are not reached, nor is a message whose DATA was refused: they are left out.
 */
export type Expected = number | string

/** One verdict at one stage, and all that follows from it. */
export interface Expectation {
  readonly stage: keyof Verdict.ByStage
  /** What to call the verdict in the name of a test. */
  readonly name: string
  readonly verdict: Verdict.Verdict
  /** The verdict is for this recipient only, the others continue. */
  readonly recipient: string | undefined
  /** What is sent at `message` and `secondMessage`. */
  readonly message: string
  readonly replies: Readonly<Partial<Record<Step, Expected>>>
  /** The envelopes that reach the end of the queue, in order. Contents are as sent. */
  readonly delivered: ReadonlyArray<{ readonly sender: string; readonly recipients: ReadonlyArray<string> }>
  /**
   * The commands that the filter receives, by their letters and without macros, if it asked for all of them and lets none
   * go unanswered. Where Q is missing Postfix hangs up without a word.
   */
  readonly commands: string
}

/** Does what the table is about. A step that is not reached has no reply. */
export const runSession = Effect.fnUntraced(function*(
  client: SmtpClient,
  message: string
): Effect.fn.Return<Partial<Record<Step, Reply>>, SmtpClientError> {
  const replies: Partial<Record<Step, Reply>> = { greeting: client.greeting }
  for (const step of steps) {
    if (step === "greeting") continue
    if (step === "message" || step === "secondMessage") {
      const answer = step === "message" ? replies.data : replies.secondData
      if (answer?.code === 354) replies[step] = yield* client.content(message)
    } else {
      replies[step] = yield* client.command(commands[step])
    }
    if (replies[step]?.ended !== undefined) break
  }
  return replies
})

/** The replies in the form of the expected ones, for `deepStrictEqual`: a code where only a code is expected. */
export const summarize = (
  replies: Partial<Record<Step, Reply>>,
  expected: Expectation["replies"]
): Partial<Record<Step, Expected>> => {
  const summary: Partial<Record<Step, Expected>> = {}
  for (const step of steps) {
    const reply = replies[step]
    if (reply === undefined) continue
    summary[step] = typeof expected[step] === "string" ? reply.text : reply.code
  }
  return summary
}

// ---------------------------------------------------------------------------------------------------------------------

export type Replies = Partial<Record<Step, Expected>>

const unhindered: Readonly<Record<Step, Expected>> = {
  greeting: 220,
  ehlo: 250,
  mail: "250 2.1.0 Ok",
  rcptBob: "250 2.1.5 Ok",
  rcptCarol: "250 2.1.5 Ok",
  data: 354,
  message: 250,
  unknown: "500 5.5.2 Error: command not recognized",
  secondMail: "250 2.1.0 Ok",
  secondRcpt: "250 2.1.5 Ok",
  secondData: 354,
  secondMessage: 250,
  quit: 221
}

export const firstMail = { sender: "alice@example.org", recipients: ["bob@test.example", "carol@test.example"] }
export const secondMail = { sender: "dave@example.org", recipients: ["erin@test.example"] }

/** What differs from an unhindered session; undefined takes a step out. */
export type Changes = Readonly<{ [S in Step]?: Expected | undefined }>

export const changedFrom = (unhindered: Replies) => (changes: Changes): Replies => {
  const replies: Replies = {}
  for (const step of steps) {
    const reply = step in changes ? changes[step] : unhindered[step]
    if (reply !== undefined) replies[step] = reply
  }
  return replies
}

const changed = changedFrom(unhindered)

/** The connection ends after this step: the next one finds it closed. */
export const closedAfter = (last: Step, replies: Replies): Replies => {
  const shortened: Replies = {}
  for (const step of steps.slice(0, steps.indexOf(last) + 1)) {
    const reply = replies[step]
    if (reply !== undefined) shortened[step] = reply
  }
  const next = steps[steps.indexOf(last) + 1]
  if (next !== undefined) shortened[next === "message" ? "unknown" : next] = 0
  return shortened
}

const needMail = "503 5.5.1 Error: need MAIL command"
const needRcpt = "503 5.5.1 Error: need RCPT command"
const noRecipients = "554 5.5.1 Error: no valid recipients"
const nestedMail = "503 5.5.1 Error: nested MAIL command"

/** After a refused MAIL the client's further commands are out of order. */
const withoutMail: Changes = {
  rcptBob: needMail,
  rcptCarol: needMail,
  data: needRcpt,
  message: undefined,
  secondRcpt: needMail,
  secondData: needRcpt,
  secondMessage: undefined
}

export type Stage = keyof Verdict.ByStage
export type MessageStage = Exclude<Stage, "connect" | "helo" | "unknown">

/** The commands up to and including a stage's, of the first message with its two recipients and of the second. */
export const upTo: Readonly<Record<MessageStage, readonly [first: string, second: string]>> = {
  mail: ["M", "M"],
  rcpt: ["MR", "MR"],
  data: ["MRRT", "MRT"],
  header: ["MRRTL", "MRTL"],
  endOfHeaders: ["MRRTLLLLLN", "MRTLLLLLN"],
  body: ["MRRTLLLLLNB", "MRTLLLLLNB"],
  endOfMessage: ["MRRTLLLLLNBE", "MRTLLLLLNBE"]
}

const allCommands = "CHMRRTLLLLLNBEAUMRTLLLLLNBEAAQ"

/** A verdict that refuses: `text` is what the client reads, `closes` whether the session ends with it. */
export interface Refusal {
  readonly name: string
  readonly verdict: Verdict.Basic
  readonly text: string
  readonly closes: boolean
}

export const refusals: ReadonlyArray<Refusal> = [
  { name: "reject", verdict: Verdict.reject(), text: "550 5.7.1 Command rejected", closes: false },
  {
    name: "tempFail",
    verdict: Verdict.tempFail(),
    text: "451 4.7.1 Service unavailable - try again later",
    closes: false
  },
  {
    name: "reject with a percent sign",
    verdict: Verdict.reject({ code: "550", enhanced: "5.7.1", text: "100% no %s" }),
    text: "550 5.7.1 100% no %s",
    closes: false
  },
  {
    name: "reject with three lines",
    verdict: Verdict.reject({ code: "554", enhanced: "5.7.9", text: ["first line", "50% second", "third line"] }),
    text: "554-5.7.9 first line\n554-5.7.9 50% second\n554 5.7.9 third line",
    closes: false
  },
  {
    name: "tempFail with a text",
    verdict: Verdict.tempFail({ code: "450", enhanced: "4.2.1", text: "mailbox is full" }),
    text: "450 4.2.1 mailbox is full",
    closes: false
  },
  {
    name: "tempFail 421",
    verdict: Verdict.tempFail({ code: "421", enhanced: "4.7.0", text: "go away" }),
    text: "421 4.7.0 go away",
    closes: true
  },
  {
    name: "reject 521",
    verdict: Verdict.reject({ code: "521", enhanced: "5.7.0", text: "go away for good" }),
    text: "521 5.7.0 go away for good",
    closes: true
  }
]

export interface Outcome {
  readonly replies: Replies
  readonly delivered?: Expectation["delivered"]
  readonly commands: string
  readonly recipient?: string
  readonly message?: string
}

export const row = <S extends Stage>(
  stage: S,
  name: string,
  verdict: Verdict.ByStage[S],
  { commands, delivered = [], message = smallMessage, recipient, replies }: Outcome
): Expectation => ({ stage, name, verdict, recipient, message, replies, delivered, commands })

/** A release of Postfix: `[3, 7]`. */
export type Release = readonly [major: number, minor: number]

/**
 * Whether this Postfix itself answers an unknown command with 500 5.5.2 where a filter has refused for good (5yz), there or
 * for the whole session. 3.7 gives the filter's reply; 3.10 does not, and does not hang up after a 521 either. The releases
 * between were not seen.
 */
const ownsUnknown = ([major, minor]: Release): boolean => major > 3 || minor >= 10

const isPermanent = ({ verdict }: Refusal): boolean => verdict._tag === "Reject"

/** The whole session is refused, from MAIL on; Postfix remembers the reply and the filter hears no more. */
const sessionRefused = (stage: "connect" | "helo", release: Release, refusal: Refusal): Expectation => {
  const { closes, name, text, verdict } = refusal
  const commands = stage === "connect" ? "C" : "CH"
  // 421 at once. At connect the client does not see the filter's text.
  if (text.startsWith("421")) {
    const replies = stage === "connect"
      ? closedAfter("greeting", { greeting: "421 mx.test.example Service unavailable - try again later" })
      : closedAfter("ehlo", changed({ ehlo: text }))
    return row(stage, name, verdict, { replies, commands })
  }
  const greeting = stage === "connect" && text.startsWith("5")
    ? "554 mx.test.example ESMTP not accepting connections"
    : 220
  const unknown = isPermanent(refusal) && ownsUnknown(release) ? unhindered.unknown : text
  const replies = changed({ ...withoutMail, greeting, mail: text, unknown, secondMail: text })
  return row(stage, name, verdict, { replies: closes ? closedAfter("mail", replies) : replies, commands })
}

const messageRefused: Readonly<Record<MessageStage, (refusal: Refusal) => Outcome>> = {
  mail: ({ closes, text }) =>
    closes
      ? { replies: closedAfter("mail", changed({ mail: text })), commands: "CHMAAQ" }
      : { replies: changed({ ...withoutMail, mail: text, secondMail: text }), commands: "CHMAUMAAQ" },
  // MAIL still stands after all its recipients were refused, so the second one is out of order.
  rcpt: ({ closes, text }) =>
    closes
      ? { replies: closedAfter("rcptBob", changed({ rcptBob: text })), commands: "CHMRAAQ" }
      : {
        replies: changed({
          rcptBob: text,
          rcptCarol: text,
          data: noRecipients,
          message: undefined,
          secondMail: nestedMail,
          secondRcpt: text,
          secondData: noRecipients,
          secondMessage: undefined
        }),
        commands: "CHMRRURAAQ"
      },
  // So does it after DATA was refused, and the second DATA is about the first MAIL.
  data: ({ closes, text }) =>
    closes
      ? { replies: closedAfter("data", changed({ data: text })), commands: "CHMRRTAAQ" }
      : {
        replies: changed({
          data: text,
          message: undefined,
          secondMail: nestedMail,
          secondData: text,
          secondMessage: undefined
        }),
        commands: "CHMRRTURTAAQ"
      },
  header: (refusal) => contentRefused("header", refusal),
  endOfHeaders: (refusal) => contentRefused("endOfHeaders", refusal),
  body: (refusal) => contentRefused("body", refusal),
  endOfMessage: (refusal) => contentRefused("endOfMessage", refusal)
}

/** Postfix asks about the content only when it has all of it: the answer is to the final dot, whatever the stage. */
const contentRefused = (stage: MessageStage, { closes, text }: Refusal): Outcome => {
  const [first, second] = upTo[stage]
  return closes
    ? { replies: closedAfter("message", changed({ message: text })), commands: `CH${first}AAQ` }
    : { replies: changed({ message: text, secondMessage: text }), commands: `CH${first}AU${second}AAQ` }
}

const unknownRefused = (release: Release, refusal: Refusal): Expectation => {
  const { closes, name, text, verdict } = refusal
  if (isPermanent(refusal) && ownsUnknown(release)) return row("unknown", name, verdict, passed)
  return row(
    "unknown",
    name,
    verdict,
    closes
      ? {
        replies: closedAfter("unknown", changed({ unknown: text })),
        delivered: [firstMail],
        commands: "CHMRRTLLLLLNBEAUAQ"
      }
      : { replies: changed({ unknown: text }), delivered: [firstMail, secondMail], commands: allCommands }
  )
}

/** For one of two recipients the message goes on, without it; 421 and 521 end that, too. */
const recipientRefused = ({ closes, name, text, verdict }: Refusal): ReadonlyArray<Expectation> => [
  row("rcpt", `${name} for the first recipient`, verdict, {
    recipient: "bob@test.example",
    ...(closes
      ? messageRefused.rcpt({ closes, name, text, verdict })
      : {
        replies: changed({ rcptBob: text }),
        delivered: [{ sender: "alice@example.org", recipients: ["carol@test.example"] }, secondMail],
        commands: allCommands
      })
  }),
  row("rcpt", `${name} for the second recipient`, verdict, {
    recipient: "carol@test.example",
    ...(closes
      ? { replies: closedAfter("rcptCarol", changed({ rcptCarol: text })), commands: "CHMRRAAQ" }
      : {
        replies: changed({ rcptCarol: text }),
        delivered: [{ sender: "alice@example.org", recipients: ["bob@test.example"] }, secondMail],
        commands: allCommands
      })
  })
]

export const connectionStages = ["connect", "helo"] as const
export const messageStages = ["mail", "rcpt", "data", "header", "endOfHeaders", "body", "endOfMessage"] as const

const passed: Outcome = { replies: changed({}), delivered: [firstMail, secondMail], commands: allCommands }

/** Accept and discard look alike to the client and to the filter; they differ in what is delivered. */
const withoutFilter = (stage: MessageStage, delivered: Expectation["delivered"]): Outcome => {
  const [first, second] = upTo[stage]
  return { replies: changed({}), delivered, commands: `CH${first}AU${second}AAQ` }
}

/** The table for a release. */
export const expectationsOf = (release: Release): ReadonlyArray<Expectation> => [
  ...[...connectionStages, ...messageStages, "unknown" as const].map((stage) =>
    row(stage, "continue", Verdict.continue, passed)
  ),
  ...refusals.flatMap((refusal) => [
    ...connectionStages.map((stage) => sessionRefused(stage, release, refusal)),
    ...messageStages.map((stage) => row(stage, refusal.name, refusal.verdict, messageRefused[stage](refusal))),
    ...recipientRefused(refusal),
    unknownRefused(release, refusal)
  ]),
  row("connect", "acceptConnection", Verdict.acceptConnection, { ...passed, commands: "C" }),
  row("helo", "acceptConnection", Verdict.acceptConnection, { ...passed, commands: "CH" }),
  ...messageStages.flatMap((stage) => [
    row(stage, "acceptMessage", Verdict.acceptMessage, withoutFilter(stage, [firstMail, secondMail])),
    row(stage, "discardMessage", Verdict.discardMessage, withoutFilter(stage, []))
  ]),
  // A verdict on one recipient, but the whole message goes: the first sees no second recipient any more.
  row("rcpt", "acceptMessage for the first recipient", Verdict.acceptMessage, {
    ...passed,
    recipient: "bob@test.example",
    commands: "CHMRAUMRTLLLLLNBEAAQ"
  }),
  row("rcpt", "discardMessage for the second recipient", Verdict.discardMessage, {
    ...passed,
    recipient: "carol@test.example",
    delivered: [secondMail],
    commands: "CHMRRAUMRTLLLLLNBEAAQ"
  }),
  row("body", "continue through a large body", Verdict.continue, {
    ...passed,
    message: largeMessage,
    commands: allCommands.replaceAll("B", "BBBB")
  }),
  row("body", "skipBody in a large body", Verdict.skipBody, { ...passed, message: largeMessage })
]
