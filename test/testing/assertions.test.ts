/** Assertions about outcomes: what they accept, and what they say about the rest. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Delivery from "../../src/Delivery.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import { Action, Step } from "../../src/Negotiation.ts"
import { ByteString } from "../../src/Wire.ts"

const text = ByteString.fromText

const delivered: Delivery.Delivered = {
  sender: text("alice@example.org"),
  recipients: [{ address: text("bob@example.net"), parameters: undefined }, {
    address: text("jörg@example.net"),
    parameters: text("NOTIFY=NEVER")
  }],
  headers: [
    { name: text("Subject"), value: text(" grüße\n and more") },
    { name: text("X-Tag"), value: text(" one") },
    { name: text("x-tag"), value: text("two") }
  ],
  body: ByteString.toBytes(text("Hello\r\nBob\r\n")),
  quarantined: undefined
}

const accepted: MilterClient.Outcome = {
  _tag: "Accepted",
  stage: "endOfMessage",
  reply: undefined,
  filter: undefined,
  closes: false,
  recipients: [],
  modifications: [],
  delivered,
  failures: [],
  mta: "Postfix 3.7.11"
}

const rejected: MilterClient.Outcome = {
  ...accepted,
  _tag: "Rejected",
  stage: "rcpt",
  reply: { code: "550", enhanced: "5.1.1", lines: [text("no such user"), text("really")] },
  delivered: undefined
}

const mismatch = (check: () => void): MilterTest.OutcomeMismatch => {
  try {
    check()
  } catch (error) {
    if (error instanceof MilterTest.OutcomeMismatch) return error
    throw error
  }
  throw new Error("it passed")
}

describe("format", () => {
  it("shows a message that passes", () => {
    assert.strictEqual(
      MilterTest.format({ ...accepted, delivered: { ...delivered, quarantined: text("odd") } }),
      `accepted at endOfMessage, held: odd
from <alice@example.org>
to <bob@example.net>
to <jörg@example.net> NOTIFY=NEVER

Subject: grüße
 and more
X-Tag: one
x-tag:two

Hello
Bob
`
    )
  })

  it("shows a refusal", () => {
    assert.strictEqual(MilterTest.format(rejected), "rejected at rcpt: 550-5.1.1 no such user\n550 5.1.1 really")
  })

  it("shows filters that failed", () => {
    const error = new MilterClient.ClientError({
      reason: { _tag: "Timeout", milliseconds: 30_000 },
      command: "Mail",
      address: "inet:9000@127.0.0.1"
    })
    assert.strictEqual(
      MilterTest.format({
        ...rejected,
        reply: undefined,
        failures: [{ filter: "inet:9000@127.0.0.1", policy: "accept", error }]
      }),
      "rejected at rcpt\naccept, since inet:9000@127.0.0.1, at Mail: no answer within 30 s"
    )
  })
})

describe("assertions", () => {
  it("pass where the outcome is as expected", () => {
    assert.strictEqual(MilterTest.assertAccepted(accepted), delivered)
    MilterTest.assertAccepted(accepted, {
      headers: { subject: "grüße\n and more", "X-Tag": ["one", "two"], "X-None": undefined, "X-Also": [] },
      body: "Hello\nBob\n",
      recipients: ["jörg@example.net NOTIFY=NEVER", "bob@example.net"],
      sender: "alice@example.org",
      quarantined: undefined
    })
    MilterTest.assertRejected(rejected)
    MilterTest.assertRejected(rejected, { stage: "rcpt", reply: "550-5.1.1 no such user\n550 5.1.1 really" })
    MilterTest.assertRejected(rejected, { reply: /no such user/ })
    MilterTest.assertTempFailed({ ...rejected, _tag: "TempFailed" }, { stage: "rcpt" })
    MilterTest.assertDiscarded({ ...rejected, _tag: "Discarded", reply: undefined }, { stage: "rcpt" })
  })

  it("show both sides where it is not", () => {
    const wrong = mismatch(() =>
      MilterTest.assertAccepted(accepted, {
        headers: { "X-Tag": "one", "X-None": "yes" },
        body: "Hello\n",
        sender: "",
        quarantined: "spam"
      })
    )
    assert.deepStrictEqual(wrong.expected, {
      sender: "",
      "X-Tag": "one",
      "X-None": "yes",
      body: "Hello␊\n",
      quarantined: "spam"
    })
    assert.deepStrictEqual(wrong.actual, {
      sender: "alice@example.org",
      "X-Tag": ["one", "two"],
      "X-None": null,
      body: "Hello␊\nBob␊\n",
      quarantined: null
    })
    assert.include(
      wrong.message,
      "but with Postfix 3.7.11 the message was accepted at endOfMessage\nfrom <alice@example.org>"
    )
  })

  it("tell what became of the message instead", () => {
    const message = "550-5.1.1 no such user\n550 5.1.1 really"
    assert.strictEqual(
      mismatch(() => MilterTest.assertAccepted(rejected)).message,
      `expected a message that passes, but with Postfix 3.7.11 the message was rejected at rcpt: ${message}`
    )
    assert.strictEqual(
      mismatch(() => MilterTest.assertDiscarded(rejected)).message,
      `expected that it is discarded, but with Postfix 3.7.11 the message was rejected at rcpt: ${message}`
    )
    assert.include(mismatch(() => MilterTest.assertTempFailed(rejected)).message, "expected that it is put off")
    const stage = mismatch(() => MilterTest.assertRejected(rejected, { stage: "mail" }))
    assert.deepStrictEqual([stage.expected, stage.actual], ["mail", "rcpt"])
    const reply = mismatch(() => MilterTest.assertRejected(rejected, { reply: "550 5.1.1 no" }))
    assert.deepStrictEqual([reply.expected, reply.actual], ["550 5.1.1 no", message])
    assert.throws(() => MilterTest.assertRejected({ ...rejected, reply: undefined }, { reply: /./ }))
  })

  it("show line ends", () => {
    const bytes = (body: string) => ({ ...accepted, delivered: { ...delivered, body: ByteString.toBytes(text(body)) } })
    const end = mismatch(() => MilterTest.assertAccepted(bytes("Hello"), { body: "Hello\n" }))
    assert.deepStrictEqual([end.expected, end.actual], [{ body: "Hello␊\n" }, { body: "Hello" }])
    const cr = mismatch(() => MilterTest.assertAccepted(bytes("Hello\rBob\r\n"), { body: "Hello\nBob\n" }))
    assert.deepStrictEqual(cr.actual, { body: "Hello␍Bob␊\n" })
    assert.include(cr.message, "Hello␍Bob␊\n")
  })

  it("refuse a key that they would ignore", () => {
    assert.throws(
      () => MilterTest.assertAccepted(accepted, { header: { "X-Tag": "no" } } as MilterTest.ExpectedMessage),
      /Invalid key of an expected message "header": did you mean headers\?/
    )
    assert.throws(
      () => MilterTest.assertRejected(rejected, { replyText: "no" } as MilterTest.ExpectedRefusal),
      /did you mean reply\?/
    )
  })
})

describe("applyTo", () => {
  const message: MilterClient.Message = {
    from: "<alice@example.org>",
    to: ["bob@example.net", { address: "nobody@example.net", refused: { enhanced: "5.1.1", text: "no such user" } }],
    headers: [["X-Tag", "one"], ["Subject", "hello"]],
    body: "Hello\n"
  }
  const add = { _tag: "AddHeader", name: text("X-Tag"), value: text("two") } as const

  const headersOf = (result: ReturnType<typeof MilterClient.applyTo>) =>
    Result.getOrThrow(result).headers.map(({ name, value }) => `${name}:${value}`)

  it("builds what either MTA would", () => {
    assert.deepStrictEqual(headersOf(MilterClient.applyTo(message, [add])), [
      "X-Tag: one",
      "Subject: hello",
      "X-Tag: two"
    ])
    assert.deepStrictEqual(headersOf(MilterClient.applyTo(message, [add], { as: MilterClient.sendmail })), [
      "X-Tag: two",
      "X-Tag: one",
      "Subject: hello"
    ])
    const { recipients, sender } = Result.getOrThrow(MilterClient.applyTo(message, []))
    assert.deepStrictEqual(recipients, [{ address: text("bob@example.net"), parameters: undefined }])
    assert.strictEqual(sender, "alice@example.org")
  })

  it("takes values as they were agreed on", () => {
    const agreed = { version: 6, actions: Action.addHeader, steps: Step.leadingSpace, macros: [] }
    assert.deepStrictEqual(headersOf(MilterClient.applyTo(message, [add], { agreed })).at(-1), "X-Tag:two")
  })

  it("tells what Postfix would not do", () => {
    const piece = { _tag: "ReplaceBody", bytes: new Uint8Array(1) } as const
    const result = MilterClient.applyTo(message, [piece, add, piece])
    assert.isTrue(Result.isFailure(result) && result.failure instanceof Delivery.DeliveryError)
    const nameless = { _tag: "ChangeHeader", index: 1, name: text(""), value: text("x") } as const
    assert.isTrue(Result.isFailure(MilterClient.applyTo(message, [nameless])))
    assert.isTrue(
      Result.isSuccess(MilterClient.applyTo(message, [piece, nameless, piece], { as: MilterClient.sendmail }))
    )
  })
})

describe("Sendmail's own fields", () => {
  const message: MilterClient.Message = {
    from: "alice@example.org",
    to: ["bob@example.net", "Carol@example.net"],
    headers: [["Received", "from elsewhere"], ["Subject", "hello"], ["Date", "today"]]
  }
  const apply = (...modifications: ReadonlyArray<MilterClient.ModificationPacket>) =>
    Result.getOrThrow(MilterClient.applyTo(message, modifications, { as: MilterClient.sendmail }))
  const names = ({ headers }: Delivery.Message) => headers.map(({ name, value }) => `${name}:${value}`)

  it("take what a filter adds under their names", () => {
    const field = (name: string) => ({ _tag: "AddHeader", name: text(name), value: text("x") }) as const
    assert.deepStrictEqual(names(apply(field("Message-Id"), field("Date"), field("Received"), field("Date"))), [
      // Above its own Received field, which a filter cannot take.
      "Received: x",
      "Date: x",
      "Date: x",
      "Message-Id: x",
      "Received: from elsewhere",
      "Subject: hello",
      "Date: today"
    ])
    const change = { _tag: "ChangeHeader", index: 1, name: text("message-id"), value: text("y") } as const
    assert.deepStrictEqual(names(apply(change))[0], "Message-Id: y")
  })

  it("count when positions are counted", () => {
    const insert = (index: number) =>
      ({ _tag: "InsertHeader", index, name: text(String(index)), value: text("x") }) as const
    assert.deepStrictEqual(names(apply(insert(9), insert(0xffffffff), insert(100))), [
      "4294967295: x",
      "Received: from elsewhere",
      "9: x",
      "Subject: hello",
      "Date: today",
      "100: x"
    ])
  })

  it("recipients are compared as it does", () => {
    const { recipients, sender } = apply(
      { _tag: "AddRecipient", recipient: text("<BOB@example.net>") },
      { _tag: "AddRecipient", recipient: text("dave@example.net, eve@example.net") },
      { _tag: "AddRecipient", recipient: text("\"x,y\"@example.net") },
      {
        _tag: "AddRecipientWithParameters",
        recipient: text("erin@example.net"),
        parameters: text("NOTIFY=FAILURE,DELAY")
      },
      { _tag: "AddRecipientWithParameters", recipient: text("frank@example.net"), parameters: text("SIZE=1") },
      { _tag: "DeleteRecipient", recipient: text("carol@EXAMPLE.net") },
      { _tag: "ChangeSender", sender: text("") },
      { _tag: "Quarantine", reason: text("two\nlines") }
    )
    assert.strictEqual(sender, "alice@example.org")
    assert.includeMembers(recipients.map(({ address }) => String(address)), [
      "bob@example.net",
      "dave@example.net",
      "eve@example.net",
      "\"x,y\"@example.net",
      "erin@example.net"
    ])
    assert.notIncludeMembers(recipients.map(({ address }) => String(address)), [
      "Carol@example.net",
      "frank@example.net",
      "BOB@example.net"
    ])
  })
})
