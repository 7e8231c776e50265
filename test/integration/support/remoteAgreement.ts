/**
 * Fifty messages for milters that stand at an MTA themselves, and the same milters as filters of one server: what each
 * message is, and what of its delivery differs from one to the next.
 */
import type { Delivered } from "../../../testbed/mta.ts"
import { crlf, type MailResult } from "../../../testbed/smtpClient.ts"

/** What the client does before the message, on a connection that more messages share. */
export type Before = "nothing" | "connect" | "rset" | "ehlo"

export interface Letter {
  readonly name: string
  readonly before: Before
  readonly mailParameters: string
  readonly from: string
  readonly to: ReadonlyArray<string>
  readonly message: string
}

/** What the test pattern makes rspamd reject. */
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

const dated = "Date: Mon, 05 Jan 2026 10:00:00 +0000\nMessage-ID: <1@example.org>\n"

const usual = "From: Alice <alice@example.org>\nTo: bob@test.example\nSubject: Lunch?\n"

const kinds: ReadonlyArray<readonly [name: string, header: string, body: string, mailParameters?: string]> = [
  ["plain", usual + dated, "Shall we meet at noon?\n"],
  [
    "8-bit",
    `${usual}${dated}Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n`,
    "gr\xfc\xdfe\n\xff\xfe\n",
    "BODY=8BITMIME"
  ],
  ["empty", usual + dated, ""],
  ["long lines", usual + dated, `${"x".repeat(900)}\n`.repeat(80)],
  ["dots", usual + dated, ".\n..\n.x\n\n\n"],
  ["a replaced body", `${usual}${dated}X-Replace: yes\n`, "old\n"],
  [
    "fields that are folded, twice there, dropped",
    `${usual}${dated}X-Folded: one\n\ttwo\n  three \nX-Note: a\nX-Note: b\nX-Drop: c\nx-drop: d\nX-Empty:\n`,
    "x\n"
  ],
  ["no date", "From: alice@example.org\nTo: bob@test.example\nSubject: no date\n", "x\n"],
  ["spam", usual + dated, `${gtube}\n`],
  [
    "UTF-8 in the header",
    `From: Alice <alice@example.org>\nTo: bob@test.example\nSubject: gr\xc3\xbc\xc3\x9fe\n${dated}X-Bytes: \xe9\n`,
    "x\n"
  ]
]

const recipients: ReadonlyArray<ReadonlyArray<string>> = [
  ["bob@test.example"],
  ["bob@test.example", "early@test.example", "carol@test.example"],
  ["own@test.example", "bob@test.example", "dan@test.example"],
  ["bob@test.example", "carol@test.example", "late@test.example"],
  ["early@test.example", "own@test.example", "late@test.example"]
]

const before: ReadonlyArray<Before> = ["connect", "nothing", "rset", "nothing", "ehlo", "nothing", "rset"]

/** 5 MB of text. */
const large = `${"0123456789".repeat(7)}\n`.repeat(70_000)

export const letters: ReadonlyArray<Letter> = Array.from({ length: 50 }, (_, n) => {
  const [name, header, body, mailParameters = ""] = kinds[n % kinds.length]!
  const isLarge = n === 20 || n === 35
  return {
    name: `${n}: ${isLarge ? "5 MB" : name}`,
    before: before[n % before.length]!,
    mailParameters,
    from: n % 11 === 4 ? "" : "alice@example.org",
    // All meet all: the numbers of kinds and of recipients share a factor.
    to: recipients[(n + Math.floor(n / 10)) % recipients.length]!,
    message: crlf(`${header}\n${isLarge ? large : body}`)
  }
})

/** The fields of a signature that change with time. */
const signatureParts = /\b(t|x|b)=[^;]*/g

/** A field without what is named to differ. */
const substituted = (field: string, { queueId }: Delivered, made: ReadonlySet<string>): string => {
  const name = field.slice(0, field.indexOf(":")).toLowerCase()
  if (made.has(name)) return `${name}: made up`
  const known = field.replaceAll(queueId, "QUEUE-ID")
  if (name === "received") return known.replace(/;\s+\w{3}, [^]*$/, "; DATE")
  return name === "dkim-signature" ? known.replace(signatureParts, "$1=") : known
}

/** Date and Message-Id that the MTA makes up for a message without them. */
const madeUp = ({ message }: Letter): ReadonlySet<string> => {
  const header = message.slice(0, message.indexOf("\r\n\r\n"))
  return new Set(["date", "message-id"].filter((name) => !new RegExp(`^${name}:`, "im").test(header)))
}

/** A delivered message, for comparison. */
export const comparable = (letter: Letter, delivered: Delivered) => ({
  sender: delivered.sender,
  recipients: delivered.recipients,
  fields: delivered.fields.map((field) => substituted(field, delivered, madeUp(letter))),
  body: delivered.body
})

/** The replies to a message, for comparison. */
export const repliesOf = ({ data, mail, message, queueId, rcpt }: MailResult): ReadonlyArray<string> =>
  [mail, ...rcpt, data, message].map((reply) =>
    reply === undefined ? "" : queueId === undefined ? reply.text : reply.text.replaceAll(queueId, "QUEUE-ID")
  )
