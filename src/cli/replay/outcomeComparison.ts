/** Compares what two filters made of the same messages. Pure. */
import type * as Delivery from "../../Delivery.ts"
import { ofParts } from "../../internal/bytes/byteString.ts"
import { changes } from "../messages/report.ts"
import type { Style } from "../terminal/style.ts"
import type { MessageOutcome } from "./outcomes.ts"

/** A message whose outcomes differ, and how, in lines. */
export interface OutcomeDifference {
  readonly message: number
  readonly sender: string
  readonly lines: ReadonlyArray<string>
}

/** The message without the values of ignored header fields. */
const without = (message: Delivery.Message, ignored: ReadonlySet<string>): Delivery.Message => ({
  ...message,
  headers: message.headers.map(({ name, value }) => ({
    name,
    value: ignored.has(name.toLowerCase()) ? ofParts(" (ignored)") : value
  }))
})

const removedAndAdded = (
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>,
  style: Style
): ReadonlyArray<string> => [
  ...before.filter((line) => !after.includes(line)).map((line) => style.red(`- ${line}`)),
  ...after.filter((line) => !before.includes(line)).map((line) => style.green(`+ ${line}`))
]

const differenceOf = (
  recorded: MessageOutcome | undefined,
  replayed: MessageOutcome | undefined,
  ignored: ReadonlySet<string>,
  style: Style
): ReadonlyArray<string> => {
  const linesOf = (outcome: MessageOutcome | undefined) =>
    outcome === undefined ? [] : [outcome.verdict, ...outcome.refused]
  const lines = removedAndAdded(linesOf(recorded), linesOf(replayed), style)
  return recorded?.delivered === undefined || replayed?.delivered === undefined
    ? lines
    : [...lines, ...changes(without(recorded.delivered, ignored), without(replayed.delivered, ignored), style)]
}

/** The messages whose outcomes differ. The values of ignored header fields may. */
export const compare = (
  recorded: ReadonlyArray<MessageOutcome>,
  replayed: ReadonlyArray<MessageOutcome>,
  ignored: ReadonlySet<string>,
  style: Style
): ReadonlyArray<OutcomeDifference> =>
  Array.from({ length: Math.max(recorded.length, replayed.length) }, (_, index) => ({
    message: index + 1,
    sender: (recorded[index] ?? replayed[index])!.sender,
    lines: differenceOf(recorded[index], replayed[index], ignored, style)
  })).filter(({ lines }) => lines.length > 0)

const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`

export const show = (
  connection: number,
  messages: number,
  differences: ReadonlyArray<OutcomeDifference>,
  style: Style
): string =>
  [
    `connection ${connection}: ${counted(messages, "message")}, ${
      differences.length === 0 ? style.green("same outcome") : style.red(counted(differences.length, "other outcome"))
    }`,
    ...differences.flatMap(({ lines, message, sender }) => [
      `  ${style.cyan(`@@ message ${message}, from ${sender} @@`)}`,
      ...lines.map((line) => `  ${line}`)
    ])
  ].map((line) => `${line}\n`).join("")

/** The last line: what differs, and the negotiations that do, which no client sees. */
export const summary = (messages: number, differences: number, negotiations: number, style: Style): string =>
  `${counted(messages, "message")}: ${
    differences === 0 ? style.green("same outcome") : style.red(counted(differences, "other outcome"))
  }${negotiations === 0 ? "" : `; ${counted(negotiations, "negotiation")} differ, which does not count`}\n`
