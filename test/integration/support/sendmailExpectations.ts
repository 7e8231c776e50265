/**
 * What an SMTP client and a filter see of each verdict at each stage with Sendmail, in the session of expectations.ts.
 * Recorded with Sendmail 8.17.1, row by row.
 */
import * as Verdict from "effect-milter/Verdict"
import {
  changedFrom,
  type Changes,
  closedAfter,
  connectionStages,
  type Expectation,
  firstMail,
  largeMessage,
  type MessageStage,
  messageStages,
  type Outcome,
  type Refusal,
  refusals,
  type Replies,
  row,
  secondMail,
  upTo
} from "./expectations.ts"

const unhindered: Replies = {
  greeting: 220,
  ehlo: 250,
  mail: "250 2.1.0 <alice@example.org>... Sender ok",
  rcptBob: "250 2.1.5 <bob@test.example>... Recipient ok",
  rcptCarol: "250 2.1.5 <carol@test.example>... Recipient ok",
  data: 354,
  message: 250,
  unknown: "500 5.5.1 Command unrecognized: \"FOOBAR xyz\"",
  secondMail: "250 2.1.0 <dave@example.org>... Sender ok",
  secondRcpt: "250 2.1.5 <erin@test.example>... Recipient ok",
  secondData: 354,
  secondMessage: 250,
  quit: 221
}

const changed = changedFrom(unhindered)

const needMail = "503 5.0.0 Need MAIL before RCPT"
const needMailForData = "503 5.0.0 Need MAIL command"
const needRcpt = "503 5.0.0 Need RCPT (recipient)"
const nestedMail = "503 5.5.0 Sender already specified"

/** After a refused MAIL the client's further commands are out of order. */
const withoutMail: Changes = {
  rcptBob: needMail,
  rcptCarol: needMail,
  data: needMailForData,
  message: undefined,
  secondRcpt: needMail,
  secondData: needMailForData,
  secondMessage: undefined
}

/** There is an abort only for a message that somebody else ended, and no unknown command after a message that has ended. */
const allCommands = "CHMRRTLLLLLNBEMRTLLLLLNBEQ"

const passed: Outcome = { replies: changed({}), delivered: [firstMail, secondMail], commands: allCommands }

const isContent = (stage: MessageStage): boolean => stage !== "mail" && stage !== "rcpt" && stage !== "data"

const hasOwnText = ({ name }: Refusal): boolean => name !== "reject" && name !== "tempFail"

const isTemporary = ({ text }: Refusal): boolean => text.startsWith("4")

const closes = ({ text }: Refusal): boolean => text.startsWith("421")

const later = "451 4.3.2 Please try again later"

const textAt = (stage: MessageStage, refusal: Refusal): string =>
  hasOwnText(refusal)
    ? refusal.text
    : isTemporary(refusal)
    ? later
    : `${isContent(stage) ? 554 : 550} 5.7.1 Command rejected`

/** Replies to MAIL and RCPT with some codes begin with the address. */
const about = (address: string, stage: MessageStage, refusal: Refusal): string =>
  textAt(stage, refusal).replace(/^((?:450|550|553)[- ][\d.]+) /, `$1 <${address}>... `)

/** The whole session is refused, from MAIL on. What a filter says at connect is not used but for its class. */
const sessionRefused = (stage: "connect" | "helo", refusal: Refusal): Expectation => {
  const { name, text, verdict } = refusal
  const commands = stage === "connect" ? "CQ" : "CHQ"
  const refused = (replies: Replies) => row(stage, name, verdict, { replies, commands })
  if (closes(refusal)) {
    return refused(
      stage === "connect"
        ? closedAfter("greeting", { greeting: "421 4.7.0 mx.test.example closing connection" })
        : closedAfter("ehlo", changed({ ehlo: text }))
    )
  }
  const isWorded = stage === "helo" && hasOwnText(refusal)
  if (isTemporary(refusal) && !isWorded) return refused(changed({ ...withoutMail, mail: later, secondMail: later }))
  const to = isWorded ? text : "550 5.0.0 Command rejected"
  return refused(changed({
    ...(stage === "connect" ? { greeting: "554 mx.test.example ESMTP not accepting messages" } : {}),
    mail: to,
    rcptBob: to,
    rcptCarol: to,
    data: to,
    message: undefined,
    secondMail: to,
    secondRcpt: to,
    secondData: to,
    secondMessage: undefined
  }))
}

/** Only 421 ends the session; with 521 it goes on. */
const messageRefused = (stage: MessageStage, refusal: Refusal): Outcome => {
  const [first, second] = upTo[stage]
  const text = textAt(stage, refusal)
  switch (stage) {
    case "mail": {
      const mail = about("alice@example.org", stage, refusal)
      return closes(refusal)
        ? { replies: closedAfter("mail", changed({ mail })), commands: "CHMQ" }
        : {
          replies: changed({ ...withoutMail, mail, secondMail: about("dave@example.org", stage, refusal) }),
          commands: "CHMUMQ"
        }
    }
    case "rcpt": {
      const rcptBob = about("bob@test.example", stage, refusal)
      return closes(refusal)
        ? { replies: closedAfter("rcptBob", changed({ rcptBob })), commands: "CHMRQ" }
        // MAIL still stands after all its recipients were refused.
        : {
          replies: changed({
            rcptBob,
            rcptCarol: about("carol@test.example", stage, refusal),
            data: needRcpt,
            message: undefined,
            secondMail: nestedMail,
            secondRcpt: about("erin@test.example", stage, refusal),
            secondData: needRcpt,
            secondMessage: undefined
          }),
          commands: "CHMRRURQ"
        }
    }
    case "data":
      return closes(refusal)
        ? { replies: closedAfter("data", changed({ data: text })), commands: "CHMRRTQ" }
        // So does it after DATA was refused, and the second DATA is about the first MAIL.
        : {
          replies: changed({
            data: text,
            message: undefined,
            secondMail: nestedMail,
            secondData: text,
            secondMessage: undefined
          }),
          commands: "CHMRRTURTQ"
        }
    default:
      return closes(refusal)
        ? { replies: closedAfter("message", changed({ message: text })), commands: `CH${first}Q` }
        : { replies: changed({ message: text, secondMessage: text }), commands: `CH${first}${second}Q` }
  }
}

const recipientRefused = (refusal: Refusal): ReadonlyArray<Expectation> => {
  const { name, verdict } = refusal
  const rcptBob = about("bob@test.example", "rcpt", refusal)
  const rcptCarol = about("carol@test.example", "rcpt", refusal)
  return [
    row("rcpt", `${name} for the first recipient`, verdict, {
      recipient: "bob@test.example",
      ...(closes(refusal)
        ? messageRefused("rcpt", refusal)
        : {
          replies: changed({ rcptBob }),
          delivered: [{ sender: "alice@example.org", recipients: ["carol@test.example"] }, secondMail],
          commands: allCommands
        })
    }),
    row("rcpt", `${name} for the second recipient`, verdict, {
      recipient: "carol@test.example",
      ...(closes(refusal)
        ? { replies: closedAfter("rcptCarol", changed({ rcptCarol })), commands: "CHMRRQ" }
        : {
          replies: changed({ rcptCarol }),
          delivered: [{ sender: "alice@example.org", recipients: ["bob@test.example"] }, secondMail],
          commands: allCommands
        })
    })
  ]
}

/** The commands of a message that the filter has accepted or discarded at that stage. */
const left = (stage: MessageStage, behind: string, between: string): string => {
  const [first, second] = upTo[stage]
  return `CH${first}${behind}${between}${second}${behind}Q`
}

/** The table. */
export const expectations: ReadonlyArray<Expectation> = [
  ...[...connectionStages, ...messageStages].map((stage) => row(stage, "continue", Verdict.continue, passed)),
  ...refusals.flatMap((refusal) => [
    ...connectionStages.map((stage) => sessionRefused(stage, refusal)),
    ...messageStages.map((stage) => row(stage, refusal.name, refusal.verdict, messageRefused(stage, refusal))),
    ...recipientRefused(refusal)
  ]),
  row("connect", "acceptConnection", Verdict.acceptConnection, { ...passed, commands: "CQ" }),
  row("helo", "acceptConnection", Verdict.acceptConnection, { ...passed, commands: "CHQ" }),
  ...messageStages.flatMap((stage) => [
    row(stage, "acceptMessage", Verdict.acceptMessage, { ...passed, commands: left(stage, "", "") }),
    // A message that is discarded before its content has come is aborted; after MAIL the filter hears of other commands.
    row(stage, "discardMessage", Verdict.discardMessage, {
      replies: changed({}),
      commands: left(stage, stage === "rcpt" || stage === "data" ? "A" : "", stage === "mail" ? "U" : "")
    })
  ]),
  row("rcpt", "acceptMessage for the first recipient", Verdict.acceptMessage, {
    ...passed,
    recipient: "bob@test.example",
    commands: "CHMRMRTLLLLLNBEQ"
  }),
  row("rcpt", "discardMessage for the second recipient", Verdict.discardMessage, {
    ...passed,
    recipient: "carol@test.example",
    delivered: [secondMail],
    commands: "CHMRRAMRTLLLLLNBEQ"
  }),
  row("body", "continue through a large body", Verdict.continue, {
    ...passed,
    message: largeMessage,
    commands: allCommands.replaceAll("B", "BBBB")
  }),
  row("body", "skipBody in a large body", Verdict.skipBody, { ...passed, message: largeMessage })
]

/** What the filter's verdict on an unknown command is to the client, wherever the filter hears of it. */
export const unknownRefusals: ReadonlyArray<Refusal> = refusals.map((refusal) => ({
  ...refusal,
  text: textAt("data", refusal),
  closes: closes(refusal)
}))
