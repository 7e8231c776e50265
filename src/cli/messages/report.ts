/** The outcome of a message, as `send` shows it: the verdict, and the changes like a diff. Pure. */
import type * as Delivery from "../../Delivery.ts"
import { ofParts } from "../../internal/bytes/byteString.ts"
import { ByteString } from "../../internal/bytes/byteString.ts"
import { escapeInvisible } from "../../internal/bytes/invisible.ts"
import type * as MilterClient from "../../MilterClient.ts"
import type { Reply } from "../../Reply.ts"
import { printable, shorten, type Style } from "../terminal/style.ts"
import type { verdictCodes } from "../trouble/exit.ts"
import { edits, hunks } from "./lineDiff.ts"

/** How a message ended; `Quarantined` if it passed but is held. */
export const verdictOf = (outcome: MilterClient.Outcome): keyof typeof verdictCodes =>
  outcome._tag === "Accepted" && quarantineOf(outcome) !== undefined ? "Quarantined" : outcome._tag

const quarantineOf = ({ modifications }: MilterClient.Outcome): ByteString | undefined =>
  modifications.findLast((modification) => modification._tag === "Quarantine")?.reason

/** `end of headers` for endOfHeaders. */
const wordsOf = (stage: MilterClient.Outcome["stage"]): string =>
  stage.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

const replyLines = ({ code, enhanced, lines }: Reply): ReadonlyArray<string> =>
  lines.map((line, index) =>
    `${code}${index < lines.length - 1 ? "-" : " "}${enhanced === undefined ? "" : `${enhanced} `}${printable(line)}`
  )

const answerOf = (answer: MilterClient.Answer): string =>
  answer._tag === "Reply"
    ? replyLines(answer).join(" / ")
    : answer._tag === "NotSent"
    ? `not asked (${answer.because})`
    : answer._tag === "NotAnswered"
    ? "no answer wanted"
    : answer._tag.toLowerCase()

const isRefusal = ({ _tag }: MilterClient.Answer): boolean =>
  _tag === "Reject" || _tag === "TempFail" || _tag === "Reply"

/** An address without its brackets. */
const textOf = (address: MilterClient.Text): string =>
  printable(typeof address === "string" ? ByteString.fromText(address) : ByteString.fromBytes(address))
    .replace(/^<(.*)>$/s, "$1")

// --- text

/** The colour of each verdict. */
export const colourOf = (style: Style): { readonly [K in keyof typeof verdictCodes]: (text: string) => string } => ({
  Accepted: style.green,
  Rejected: style.red,
  TempFailed: style.yellow,
  Discarded: style.red,
  Quarantined: style.yellow
})

/** Each verdict in words. */
export const words: { readonly [K in keyof typeof verdictCodes]: string } = {
  Accepted: "accepted",
  Rejected: "rejected",
  TempFailed: "refused for now",
  Discarded: "discarded",
  Quarantined: "quarantined"
}

// Hunks of the body beyond this are counted only.
const mostLines = 200

/** `rejected at mail: 550 5.7.1 not you`, for one of many messages. */
export const line = (outcome: MilterClient.Outcome, style: Style): string => {
  const verdict = verdictOf(outcome)
  const quarantine = quarantineOf(outcome)
  const refused = outcome.recipients.filter(({ answer }) => isRefusal(answer)).length
  const changes = outcome.modifications.length
  const details = [
    ...(quarantine === undefined ? [] : [printable(quarantine)]),
    ...(outcome.reply === undefined ? [] : [replyLines(outcome.reply).join(" / ")]),
    ...(outcome._tag === "Accepted" && refused > 0
      ? [`${refused} of ${outcome.recipients.length} recipients refused`]
      : []),
    ...(changes === 0 ? [] : [`${changes} ${changes === 1 ? "change" : "changes"}`])
  ]
  return `${colourOf(style)[verdict](words[verdict])} at ${wordsOf(outcome.stage)}${
    details.length === 0 ? "" : `: ${shorten(details.join(", "), 300)}`
  }`
}

const section = (
  title: string,
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>,
  style: Style
): ReadonlyArray<string> => {
  const lines = hunks(edits(before, after), 2).flatMap(({ at, edits }) => [
    style.cyan(`@@ ${title}, line ${at} @@`),
    ...edits.map(({ kind, line }) => {
      const text = shorten(line, 1000)
      return kind === "=" ? ` ${text}` : kind === "-" ? style.red(`-${text}`) : style.green(`+${text}`)
    })
  ])
  const surplus = lines.length - mostLines
  return surplus <= 1
    ? lines
    : [...lines.slice(0, mostLines), style.dim(`  … and ${surplus} lines more; --output FILE writes all of them`)]
}

const envelopeLines = ({ recipients, sender }: Delivery.Message): ReadonlyArray<string> => [
  `MAIL FROM:<${printable(sender)}>`,
  ...recipients.map(({ address, parameters }) =>
    `RCPT TO:<${printable(address)}>${parameters === undefined ? "" : ` ${printable(parameters)}`}`
  )
]

const headerLines = ({ headers }: Delivery.Message): ReadonlyArray<string> =>
  headers.flatMap(({ name, value }) => `${printable(name)}:${printable(value)}`.split("\n"))

const bodyLines = ({ body }: Delivery.Message): ReadonlyArray<string> => {
  const lines = ByteString.fromBytes(body).split("\r\n")
  // Parts of a string of bytes.
  return (lines.at(-1) === "" ? lines.slice(0, -1) : lines).map((line) => printable(ofParts(line)))
}

/** The differences of two messages, like a diff. */
export const changes = (before: Delivery.Message, after: Delivery.Message, style: Style): ReadonlyArray<string> => [
  ...section("envelope", envelopeLines(before), envelopeLines(after), style),
  ...section("header", headerLines(before), headerLines(after), style),
  ...section("body", bodyLines(before), bodyLines(after), style)
]

/** The report for people. `before` is the message without the refused recipients. */
export const text = (before: Delivery.Message, outcome: MilterClient.Outcome, style: Style): string => {
  const verdict = verdictOf(outcome)
  const quarantine = quarantineOf(outcome)
  const lines = [
    `${style.bold(colourOf(style)[verdict](words[verdict]))} at ${wordsOf(outcome.stage)}${
      quarantine === undefined ? "" : `: ${printable(quarantine)}`
    }`
  ]
  if (outcome.reply !== undefined) lines.push(...replyLines(outcome.reply).map((line) => `  ${line}`))
  else if (outcome._tag !== "Rejected") lines.push("  250 2.0.0 Ok (the MTA's)")
  else lines.push("  the MTA had refused all recipients itself")
  if (outcome.recipients.length > 1 || outcome.recipients.some(({ answer }) => !isRefusal(answer))) {
    for (const { address, answer } of outcome.recipients) {
      if (isRefusal(answer)) lines.push(style.yellow(`  <${textOf(address)}> is refused: ${answerOf(answer)}`))
    }
  }
  if (outcome._tag === "Accepted") lines.push(...delivery(before, outcome, style))
  return `${lines.join("\n")}\n`
}

const delivery = (
  before: Delivery.Message,
  { delivered }: MilterClient.Outcome,
  style: Style
): ReadonlyArray<string> => {
  const lines = delivered === undefined ? [] : changes(before, delivered, style)
  return lines.length === 0
    ? [style.dim("  nothing is changed")]
    : [style.bold("--- as it was sent"), style.bold("+++ as it would be delivered"), ...lines]
}

// --- JSON

const decoded = (bytes: Uint8Array): { readonly text: string } | { readonly base64: string } => {
  const string = ByteString.fromBytes(bytes)
  return ByteString.isUtf8(string) ? { text: ByteString.toText(string) } : { base64: btoa(string) }
}

const jsonOf = (packet: MilterClient.ModificationPacket): object =>
  packet._tag === "ReplaceBody"
    ? { type: packet._tag, ...decoded(packet.bytes) }
    : {
      type: packet._tag,
      ...Object.fromEntries(
        Object.entries(packet).filter(([key]) => key !== "_tag").map(([key, value]) => [
          key,
          typeof value === "string" ? ByteString.toText(ofParts(value)) : value
        ])
      )
    }

const replyJson = (reply: Reply | undefined): object | null =>
  reply === undefined
    ? null
    : { code: reply.code, enhanced: reply.enhanced ?? null, lines: reply.lines.map(ByteString.toText) }

/**
 * The report for programs, on one line. Bytes that are not UTF-8 become U+FFFD, except in bodies, which are base64 then.
 */
export const json = (file: string, outcome: MilterClient.Outcome, exitCode: number): string => {
  const { delivered, modifications, recipients, reply, stage } = outcome
  const quarantine = quarantineOf(outcome)
  return `${
    escapeInvisible(JSON.stringify(
      {
        file,
        verdict: verdictOf(outcome),
        stage,
        exitCode,
        reply: replyJson(reply),
        quarantine: quarantine === undefined ? null : ByteString.toText(quarantine),
        recipients: recipients.map(({ address, answer }) => ({
          address: textOf(address),
          answer: answer._tag,
          ...(answer._tag === "Reply" ? { reply: replyJson(answer) } : {})
        })),
        modifications: modifications.map(jsonOf),
        delivered: delivered === undefined ? null : {
          sender: ByteString.toText(delivered.sender),
          recipients: delivered.recipients.map(({ address, parameters }) => ({
            address: ByteString.toText(address),
            parameters: parameters === undefined ? null : ByteString.toText(parameters)
          })),
          headers: delivered.headers.map(({ name, value }) => [ByteString.toText(name), ByteString.toText(value)]),
          body: decoded(delivered.body)
        }
      }
    ))
  }\n`
}
