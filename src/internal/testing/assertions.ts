/** Outcomes for tests: as text, and compared with what a test expects. Re-exported by `MilterTest`. */
import type * as Delivery from "../../Delivery.ts"
import type { Outcome } from "../../MilterClient.ts"
import type { Reply } from "../../Reply.ts"
import { ByteString } from "../bytes/byteString.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"

const { fromBytes, toText } = ByteString

/** The reply as the SMTP client reads it, lines joined by line feeds. */
const replyText = ({ code, enhanced, lines }: Reply): string =>
  lines.map((line, index) =>
    `${code}${index < lines.length - 1 ? "-" : " "}${enhanced === undefined ? "" : `${enhanced} `}${toText(line)}`
  ).join("\n")

const recipientText = ({ address, parameters }: Delivery.Recipient): string =>
  parameters === undefined ? toText(address) : `${toText(address)} ${toText(parameters)}`

const bodyText = (body: Uint8Array): string => toText(fromBytes(body)).replace(/\r\n/g, "\n")

/** Line ends made visible: in a diff they are easily missed, and a CR alone is not shown at all. */
const withLineEnds = (text: string): string => text.replace(/\r/g, "␍").replace(/\n/g, "␊\n")

const withoutSpace = (value: ByteString): string => toText(value).replace(/^ /, "")

const verdictText: { readonly [K in Outcome["_tag"]]: string } = {
  Accepted: "accepted",
  Rejected: "rejected",
  TempFailed: "put off",
  Discarded: "discarded"
}

const headLine = ({ _tag, delivered, reply, stage }: Outcome): string => {
  const held = delivered?.quarantined === undefined ? "" : `, held: ${toText(delivered.quarantined)}`
  return `${verdictText[_tag]} at ${stage}${held}${reply === undefined ? "" : `: ${replyText(reply)}`}`
}

/**
 * Formats an outcome for messages and snapshots: the verdict with its stage and reply, and below it the message that
 * would be delivered, with its envelope, line ends as line feeds.
 *
 * ```text
 * accepted at endOfMessage
 * from <alice@example.org>
 * to <bob@example.net>
 *
 * Subject: hello
 * X-Checked: yes
 *
 * Hello Bob
 * ```
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (outcome: Outcome): string => formatted(outcome, (body) => body)

const formatted = (outcome: Outcome, bodyAs: (body: string) => string): string => {
  const { delivered, failures } = outcome
  const lines = [headLine(outcome), ...failures.map(({ error, policy }) => `${policy}, since ${error.message}`)]
  if (delivered === undefined) return lines.join("\n")
  return [
    ...lines,
    `from <${toText(delivered.sender)}>`,
    ...delivered.recipients.map((recipient) => {
      const [address, ...parameters] = recipientText(recipient).split(" ")
      return [`to <${address}>`, ...parameters].join(" ")
    }),
    "",
    ...delivered.headers.map(({ name, value }) => `${toText(name)}:${toText(value)}`),
    "",
    bodyAs(bodyText(delivered.body))
  ].join("\n")
}

/**
 * What a test expects of a message that passes. Only what is given is compared.
 *
 * - `headers`: fields by name, in any case. A value is what follows the colon and its space; a list of values is for several
 *   fields of that name, in their order; `undefined` is for a field that must be missing. Other fields may be present
 * - `body`: text, with line feeds
 * - `recipients`: all of them, in any order; ESMTP parameters follow after a space
 * - `sender`: `""` for the null sender
 * - `quarantined`: the reason for which it is held, or `undefined`
 *
 * @category models
 * @since 0.1.0
 */
export interface ExpectedMessage {
  readonly headers?: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  readonly body?: string
  readonly recipients?: ReadonlyArray<string>
  readonly sender?: string
  readonly quarantined?: string | undefined
}

/**
 * How a test expects a refused message to end. Only what is given is compared; `reply` as the SMTP client reads it, such as
 * `550 5.7.1 Command rejected`, several lines with a line feed between them.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExpectedRefusal {
  readonly stage?: Outcome["stage"]
  readonly reply?: string | RegExp
}

const messageNames = keysOf<ExpectedMessage>({
  headers: true,
  body: true,
  recipients: true,
  sender: true,
  quarantined: true
})

const refusalNames = keysOf<ExpectedRefusal>({ stage: true, reply: true })

/**
 * An outcome is not what a test expected. vitest and other runners show `expected` and `actual` as a diff; the message
 * names the MTA and holds the whole outcome. Line ends of a body are visible in both: `␊`, and `␍` for a CR on its own.
 *
 * @category errors
 * @since 0.1.0
 */
export class OutcomeMismatch extends Error {
  override readonly name = "OutcomeMismatch"
  readonly expected: unknown
  readonly actual: unknown

  constructor(message: string, expected: unknown, actual: unknown) {
    super(message)
    this.expected = expected
    this.actual = actual
  }
}

const mismatch = (outcome: Outcome, what: string, expected: unknown, actual: unknown): never => {
  const found = `with ${outcome.mta} the message was ${formatted(outcome, withLineEnds)}`
  throw new OutcomeMismatch(`expected ${what}, but ${found}`, expected, actual)
}

const isSame = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

const valuesOf = ({ headers }: Delivery.Delivered, name: string): string | ReadonlyArray<string> | undefined => {
  const values = headers.filter((field) => field.name.toLowerCase() === name.toLowerCase())
    .map(({ value }) => withoutSpace(value))
  return values.length > 1 ? values : values[0]
}

// JSON has no undefined, and null reads well in a diff.
const orNull = <A>(value: A | undefined): A | null => value ?? null

const one = (values: string | ReadonlyArray<string> | undefined): string | ReadonlyArray<string> | null =>
  typeof values === "string" || values === undefined
    ? orNull(values)
    : values.length > 1
    ? values
    : orNull(values[0])

/** Both sides of the comparison, with the same keys. */
const compared = (delivered: Delivery.Delivered, expected: ExpectedMessage): readonly [unknown, unknown] => {
  const left: { [key: string]: unknown } = {}
  const right: { [key: string]: unknown } = {}
  const both = (key: string, expected: unknown, actual: unknown): void => {
    left[key] = expected
    right[key] = actual
  }
  if ("sender" in expected) both("sender", expected.sender, toText(delivered.sender))
  if (expected.recipients !== undefined) {
    both("recipients", expected.recipients.toSorted(), delivered.recipients.map(recipientText).toSorted())
  }
  for (const [name, value] of Object.entries(expected.headers ?? {})) {
    both(name, one(value), one(valuesOf(delivered, name)))
  }
  if (expected.body !== undefined) {
    both("body", withLineEnds(expected.body), withLineEnds(bodyText(delivered.body)))
  }
  if ("quarantined" in expected) {
    both(
      "quarantined",
      orNull(expected.quarantined),
      orNull(delivered.quarantined === undefined ? undefined : toText(delivered.quarantined))
    )
  }
  return [left, right]
}

/**
 * Asserts that the message passes and is delivered like this. Returns what is delivered, for further checks. Throws
 * {@link OutcomeMismatch}.
 *
 * **Example** (A header field added, another removed)
 *
 * ```ts
 * import type * as MilterClient from "effect-milter/MilterClient"
 * import * as MilterTest from "effect-milter/MilterTest"
 *
 * const check = (outcome: MilterClient.Outcome) =>
 *   MilterTest.assertAccepted(outcome, {
 *     headers: { "X-Checked": "yes", "X-Draft": undefined },
 *     recipients: ["bob@example.net"]
 *   })
 * ```
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertAccepted = (outcome: Outcome, expected: ExpectedMessage = {}): Delivery.Delivered => {
  checkKeys("key of an expected message", expected, messageNames)
  const { delivered } = outcome
  if (outcome._tag !== "Accepted" || delivered === undefined) {
    return mismatch(outcome, "a message that passes", "accepted", headLine(outcome))
  }
  const [left, right] = compared(delivered, expected)
  return isSame(left, right) ? delivered : mismatch(outcome, "something else", left, right)
}

const assertEnded = (outcome: Outcome, tag: Outcome["_tag"], expected: ExpectedRefusal): void => {
  checkKeys("key of an expected refusal", expected, refusalNames)
  const { reply, stage } = expected
  if (outcome._tag !== tag) mismatch(outcome, `that it is ${verdictText[tag]}`, verdictText[tag], headLine(outcome))
  if (stage !== undefined && stage !== outcome.stage) mismatch(outcome, `that at ${stage}`, stage, outcome.stage)
  if (reply === undefined) return
  const actual = outcome.reply === undefined ? "" : replyText(outcome.reply)
  if (typeof reply === "string" ? reply === actual : reply.test(actual)) return
  mismatch(outcome, "another reply", String(reply), actual)
}

/**
 * Asserts that the client gets a 5xx. Throws {@link OutcomeMismatch}.
 *
 * **Example** (Refused for its sender)
 *
 * ```ts
 * import type * as MilterClient from "effect-milter/MilterClient"
 * import * as MilterTest from "effect-milter/MilterTest"
 *
 * const check = (outcome: MilterClient.Outcome) =>
 *   MilterTest.assertRejected(outcome, { stage: "mail", reply: "550 5.7.1 not allowed here!" })
 * ```
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertRejected = (outcome: Outcome, expected: ExpectedRefusal = {}): void =>
  assertEnded(outcome, "Rejected", expected)

/**
 * Asserts that the client gets a 4xx. Throws {@link OutcomeMismatch}.
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertTempFailed = (outcome: Outcome, expected: ExpectedRefusal = {}): void =>
  assertEnded(outcome, "TempFailed", expected)

/**
 * Asserts that the client gets a 250 and nobody gets the message. Throws {@link OutcomeMismatch}.
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertDiscarded = (outcome: Outcome, expected: Pick<ExpectedRefusal, "stage"> = {}): void =>
  assertEnded(outcome, "Discarded", expected)
