/** The report of a session that the program prints. */
import { assert, describe, it } from "@effect/vitest"
import * as report from "../../../src/cli/messages/report.ts"
import { coloured, plain } from "../../../src/cli/terminal/style.ts"
import type * as Delivery from "../../../src/Delivery.ts"
import type * as MilterClient from "../../../src/MilterClient.ts"
import { ByteString } from "../../../src/Wire.ts"

const text = ByteString.fromText

const before: Delivery.Message = {
  sender: text("alice@example.org"),
  recipients: [{ address: text("bob@example.net"), parameters: undefined }],
  headers: [{ name: text("From"), value: text(" alice@example.org") }, { name: text("Subject"), value: text(" hi") }],
  body: new TextEncoder().encode("one\r\ntwo\r\n")
}

const accepted: MilterClient.Outcome = {
  _tag: "Accepted",
  stage: "endOfMessage",
  reply: undefined,
  filter: undefined,
  closes: false,
  failures: [],
  mta: "Postfix 3.7.11",
  recipients: [{ address: "<bob@example.net>", answer: { _tag: "Continue" } }],
  modifications: [],
  delivered: { ...before, quarantined: undefined }
}

const show = (outcome: MilterClient.Outcome): string => report.text(before, outcome, plain)

describe("the report", () => {
  it("of a message that is not changed", () => {
    assert.strictEqual(show(accepted), "accepted at end of message\n  250 2.0.0 Ok (the MTA's)\n  nothing is changed\n")
  })

  it("of changes, by section", () => {
    const outcome: MilterClient.Outcome = {
      ...accepted,
      delivered: {
        sender: text("bounces@example.org"),
        recipients: [...before.recipients, { address: text("carol@example.net"), parameters: text("NOTIFY=NEVER") }],
        headers: [{ name: text("X-New"), value: text(" a\n\tb") }, before.headers[0]!],
        body: new TextEncoder().encode("one\r\n2\x1b[2J\r\n"),
        quarantined: undefined
      }
    }
    assert.strictEqual(
      show(outcome),
      `accepted at end of message
  250 2.0.0 Ok (the MTA's)
--- as it was sent
+++ as it would be delivered
@@ envelope, line 1 @@
-MAIL FROM:<alice@example.org>
+MAIL FROM:<bounces@example.org>
 RCPT TO:<bob@example.net>
+RCPT TO:<carol@example.net> NOTIFY=NEVER
@@ header, line 1 @@
+X-New: a
+	b
 From: alice@example.org
-Subject: hi
@@ body, line 1 @@
 one
-two
+2\\x1B[2J
`
    )
    assert.include(report.text(before, outcome, coloured), "\u001b[32m+X-New: a\u001b[0m")
  })

  it("of a refusal, with all lines of the reply", () => {
    const reply = { code: "550", enhanced: "5.7.1", lines: [text("no"), text("never\x07")] }
    const rejected: MilterClient.Outcome = {
      ...accepted,
      _tag: "Rejected",
      stage: "mail",
      reply,
      recipients: [],
      delivered: undefined
    }
    assert.strictEqual(show(rejected), "rejected at mail\n  550-5.7.1 no\n  550 5.7.1 never\\x07\n")
    assert.strictEqual(
      show({ ...rejected, _tag: "Discarded", reply: undefined, stage: "body" }),
      "discarded at body\n  250 2.0.0 Ok (the MTA's)\n"
    )
  })

  it("of recipients that are refused", () => {
    const recipients: MilterClient.Outcome["recipients"] = [
      ...accepted.recipients,
      {
        address: "<busy@example.net>",
        answer: { _tag: "Reply", code: "451", enhanced: "4.2.1", lines: [text("later")] }
      }
    ]
    assert.include(show({ ...accepted, recipients }), "  <busy@example.net> is refused: 451 4.2.1 later\n")
  })

  it("of a quarantine", () => {
    const outcome: MilterClient.Outcome = {
      ...accepted,
      modifications: [{ _tag: "Quarantine", reason: text("odd") }]
    }
    assert.strictEqual(report.verdictOf(outcome), "Quarantined")
    assert.match(show(outcome), /^quarantined at end of message: odd\n/)
  })

  it("counts what is too long to show", () => {
    const body = new TextEncoder().encode("line\r\n".repeat(1000))
    assert.match(show({ ...accepted, delivered: { ...before, body, quarantined: undefined } }), /… and \d+ lines more/)
  })

  it("for programs", () => {
    const outcome: MilterClient.Outcome = {
      ...accepted,
      modifications: [
        { _tag: "ReplaceBody", bytes: Uint8Array.of(0xff) },
        { _tag: "InsertHeader", index: 1, name: text("X"), value: text(" ü") }
      ]
    }
    const json = JSON.parse(report.json("a.eml", outcome, 0))
    assert.deepInclude(json, { verdict: "Accepted", stage: "endOfMessage", exitCode: 0, reply: null, quarantine: null })
    assert.deepStrictEqual(json.recipients, [{ address: "bob@example.net", answer: "Continue" }])
    assert.deepStrictEqual(json.modifications, [
      { type: "ReplaceBody", base64: "/w==" },
      { type: "InsertHeader", index: 1, name: "X", value: " ü" }
    ])
    assert.deepStrictEqual(json.delivered.headers[1], ["Subject", " hi"])
    assert.deepStrictEqual(json.delivered.body, { text: "one\r\ntwo\r\n" })
  })

  it("shows what a terminal would obey, and marks of direction", () => {
    const hostile = "a\u009b2J\u007f\u202etxt.exe\u2066\u200b\u{e0041}\u2028z"
    const outcome: MilterClient.Outcome = {
      ...accepted,
      reply: { code: "550", enhanced: undefined, lines: [text(hostile)] },
      recipients: [
        { address: `<${hostile}@example.net>`, answer: { _tag: "Reject" } },
        { address: "<b@example.net>", answer: { _tag: "Continue" } }
      ],
      modifications: [{ _tag: "Quarantine", reason: text(hostile) }],
      delivered: {
        sender: text(hostile),
        recipients: [{ address: text(hostile), parameters: text(hostile) }],
        headers: [{ name: text("X"), value: text(hostile) }],
        body: new TextEncoder().encode(hostile),
        quarantined: undefined
      }
    }
    const harmless = /^[\n\x20-\x7e…]*$/
    assert.match(show(outcome), harmless)
    assert.include(show(outcome), "a\\x9B2J\\x7F\\u{202E}txt.exe\\u{2066}\\u{200B}\\u{E0041}\\u{2028}z")
    const json = report.json("a.eml", outcome, 0)
    assert.match(json, harmless)
    assert.strictEqual(JSON.parse(json).quarantine, hostile)
    // What scripts and emoji need stays.
    assert.include(
      show({ ...outcome, modifications: [{ _tag: "Quarantine", reason: text("👩\u200d💻") }] }),
      "👩\u200d💻"
    )
  })
})
