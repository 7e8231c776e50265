/**
 * SMTP sessions with scripted filters: scripts/recordMtas.ts plays them to real MTAs, tests play them to the imitated ones
 * and compare with the recordings.
 */
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"

const text = ByteString.fromText

/**
 * What a filter asks for, and its answers by the name of the command, each of which it gives once; else it says continue.
 */
export interface Script {
  readonly wanted?: Partial<Packet.Negotiated>
  readonly answers?: ReadonlyArray<
    readonly [command: Packet.MtaPacket["_tag"], answer: Packet.FilterPacket | ReadonlyArray<Packet.FilterPacket>]
  >
}

export interface Scenario {
  readonly mta: "postfix" | "sendmail"
  /** The only release that has it, as the folder of its recording is called; any if not given. */
  readonly release?: string
  /** Further lines of sendmail.mc. */
  readonly mc?: ReadonlyArray<string>
  readonly description: string
  /** The recording is that of the last; the one before it has `.first` in its name. */
  readonly filters: ReadonlyArray<Script>
  /** SMTP command lines; a text with line breaks is the message after DATA. The MTA refuses recipients named unknown. */
  readonly lines: ReadonlyArray<string>
  /** Whether the answers to the client are kept, for test/fixtures/dialogues. */
  readonly keepsAnswers?: boolean
  /** Whether the one message is kept as it was delivered, for test/fixtures/deliveries. */
  readonly isKept?: boolean
}

const reject: Packet.FilterPacket = { _tag: "Reject" }

const reply = (line: string): Packet.FilterPacket => ({ _tag: "ReplyCode", text: text(line) })

const message =
  "From: alice@example.org\nSubject: hello\nDate: Mon, 01 Jan 2024 00:00:00 +0000\nMessage-Id: <1@example.org>\n\nHello\n"

const mail = (from = "alice"): string => `MAIL FROM:<${from}@example.org>`

const rcpt = (to = "bob"): string => `RCPT TO:<${to}@test.example>`

const whole = [mail(), rcpt(), "DATA", message]

const noHelo: Script = { wanted: { steps: Step.noHelo } }

const once = (command: Packet.MtaPacket["_tag"], answer: Packet.FilterPacket): Script => ({
  answers: [[command, answer]]
})

const secondHelo = ["EHLO one", mail(), "EHLO two", ...whole, "EHLO three", "EHLO four", "QUIT"]

const unknowns = [
  "EHLO one",
  "FOO a",
  mail(),
  "FOO b",
  rcpt(),
  "FOO c",
  "DATA",
  message,
  "FOO d",
  mail(),
  "RSET",
  "FOO e",
  mail(),
  "EHLO two",
  "FOO f",
  ...whole,
  "QUIT"
]

const afterRefusal = ["EHLO one", mail(), "FOO a", mail(), rcpt(), "FOO b", "RSET", "FOO c", ...whole, "QUIT"]

const discard: Packet.FilterPacket = { _tag: "Discard" }

export const scenarios: { readonly [name: string]: Scenario } = {}
const add = (
  mta: Scenario["mta"],
  name: string,
  description: string,
  filters: Scenario["filters"],
  lines: ReadonlyArray<string>,
  more: Pick<Scenario, "isKept" | "keepsAnswers" | "mc" | "release"> = {}
) => {
  Object.assign(scenarios, { [`${mta}-${name}`]: { mta, description, filters, lines, ...more } })
}

const long = "x".repeat(5000)

for (const mta of ["postfix", "sendmail"] as const) {
  add(mta, "helo-again", "HELO again, after MAIL and with nothing open", [{}], secondHelo)
  add(mta, "nohelo", "a filter that wants no HELO, and HELO again", [noHelo], secondHelo)
  add(mta, "nohelo-mail", "a filter that wants no HELO, the client leaves after MAIL", [noHelo], [
    "EHLO one",
    mail(),
    "QUIT"
  ])
  add(mta, "helo-only", "HELO and QUIT", [{}], ["EHLO one", "QUIT"])
  add(mta, "nohelo-only", "a filter that wants no HELO; HELO and QUIT", [noHelo], ["EHLO one", "QUIT"])
  add(mta, "mail-helo-mail", "HELO, MAIL, a second HELO, and the client leaves", [{}], [
    "EHLO one",
    mail(),
    "EHLO two",
    "QUIT"
  ])
  add(mta, "rcpt-refused", "recipients that the MTA refuses itself, to a filter that wants to see them", [{
    wanted: { steps: Step.rejectedRecipients }
  }], ["EHLO one", mail(), rcpt("unknown"), rcpt(), rcpt("unknown2"), "DATA", message, "QUIT"])
  add(mta, "rcpt-refused-unseen", "recipients that the MTA refuses itself, to a filter that does not ask for them", [
    {}
  ], ["EHLO one", mail(), rcpt("unknown"), rcpt(), rcpt("unknown2"), "DATA", message, "QUIT"])
  add(mta, "unknown-commands", "unknown commands everywhere", [{}], unknowns)
  add(mta, "mail-refused", "MAIL is refused once", [once("Mail", reject)], afterRefusal, { keepsAnswers: true })
  add(
    mta,
    "mail-reply-nostatus",
    "MAIL is refused with a reply without status",
    [once("Mail", reply("550 go away"))],
    afterRefusal,
    { keepsAnswers: true }
  )
  add(
    mta,
    "rcpt-reply-nostatus",
    "RCPT, DATA and end of message are refused with replies without status",
    [{
      answers: [["Rcpt", reply("550 go away")], ["Rcpt", reply("450 later")], ["Rcpt", reply("553 no")], [
        "Rcpt",
        reply("554 no")
      ], ["EndOfMessage", reply("550 no")]]
    }],
    ["EHLO one", mail(), rcpt("a"), rcpt("b"), rcpt("c"), rcpt("d"), rcpt(), "DATA", message, "QUIT"],
    {
      keepsAnswers: true
    }
  )
  add(mta, "chain-mail-refused", "two filters: the first refuses MAIL once, this is the second", [
    once("Mail", reject),
    {}
  ], afterRefusal)
  add(
    mta,
    "chain-mail-refused-second",
    "two filters: this, the second, refuses MAIL once",
    [{}, once("Mail", reject)],
    afterRefusal
  )
  add(mta, "chain-mail-discard", "two filters: the first discards at MAIL once, this is the second", [
    once("Mail", discard),
    {}
  ], ["EHLO one", ...whole, "FOO a", ...whole, "QUIT"])
  add(mta, "chain-rcpt-refused", "two filters: the first refuses a recipient, this is the second", [
    once("Rcpt", reject),
    {}
  ], ["EHLO one", mail(), rcpt("a"), rcpt("b"), "DATA", message, "QUIT"])
  add(mta, "chain-rcpt-discard", "two filters: the first discards at RCPT once, this is the second", [
    once("Rcpt", discard),
    {}
  ], ["EHLO one", mail(), rcpt("a"), rcpt("b"), "DATA", message, "FOO a", ...whole, "QUIT"])
  add(mta, "chain-data-refused", "two filters: the first refuses DATA once, this is the second", [
    once("Data", reject),
    {}
  ], ["EHLO one", mail(), rcpt(), "DATA", "FOO a", "RSET", ...whole, "QUIT"])
  add(mta, "chain-mail-accept", "two filters: the first accepts at MAIL once, this is the second", [
    once("Mail", { _tag: "Accept" }),
    {}
  ], ["EHLO one", ...whole, "FOO a", ...whole, "QUIT"])
}

for (const mta of ["postfix", "sendmail"] as const) {
  add(
    mta,
    "header-bytes",
    "no space after the colon, and lines of 5000 bytes from the client and the filter",
    [{
      wanted: { steps: Step.leadingSpace },
      answers: [["EndOfMessage", [
        { _tag: "AddHeader", name: text("X-Added"), value: text(` ${long}`) },
        { _tag: "Continue" }
      ]]]
    }],
    ["EHLO one", mail(), rcpt(), "DATA", `X-Tight:value\nX-Long: ${long}\n${message}`, "QUIT"],
    { isKept: true }
  )
}

// Postfix adds one for clients on its own host, before the filters.
add("sendmail", "no-message-id", "a message without Message-Id", [{ wanted: { macros: [] } }], [
  "EHLO one",
  mail(),
  rcpt(),
  "DATA",
  message.replace(/Message-Id.*\n/, ""),
  "QUIT"
])

/** The release that scripts/buildSendmail.sh builds. */
export const largerPackets = "sendmail-8.18-mds"

/** 66,000 bytes: one larger packet, and two of the usual size. */
const largeBody = new TextEncoder().encode(`${"x".repeat(64)}\r\n`.repeat(1000))

const largeField = `X-Long: ${Array(67).fill("x".repeat(990)).join("\n ")}\n`

for (
  const [name, size, step, field] of [
    ["256k", 262_143, Step.payload256K, largeField],
    ["1m", 1_048_575, Step.payload1M, ""]
  ] as const
) {
  add(
    "sendmail",
    `large-packets-${name}`,
    `packets of ${size} bytes are agreed on; ${field === "" ? "" : "a field and "}a new body in one packet`,
    [{
      wanted: { steps: step },
      answers: [["EndOfMessage", [{ _tag: "ReplaceBody", bytes: largeBody }, { _tag: "Continue" }]]]
    }],
    ["EHLO one", mail(), rcpt(), "DATA", `${field}${message}`, "QUIT"],
    {
      release: largerPackets,
      isKept: true,
      mc: [
        "define(`confMAX_HEADERS_LENGTH', `1000000')dnl",
        "LOCAL_CONFIG",
        `O Milter.maxdatasize=${size}`,
        "divert(0)dnl"
      ]
    }
  )
}

/** Whether a release of its MTA has the scenario. */
export const isOf = ({ release }: Scenario, name: string): boolean =>
  name === largerPackets ? release === name : release === undefined
