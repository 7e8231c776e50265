/** The differences of messages, carried out by the models of the MTAs. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Delivery from "../../src/Delivery.ts"
import { diffHeaders, type Mta } from "../../src/internal/delivery/diffHeaders.ts"
import { ByteString } from "../../src/Wire.ts"

const bytes = ByteString.fromText

const models = { postfix: Delivery.postfix, sendmail: Delivery.sendmail }

type Model = keyof typeof models

const field = (name: string, value: string): Delivery.HeaderField => ({ name: bytes(name), value: bytes(value) })

const fields = (lines: ReadonlyArray<string>): ReadonlyArray<Delivery.HeaderField> =>
  lines.map((line) => field(line.split(":", 1)[0]!, line.slice(line.indexOf(":") + 1)))

const linesOf = ({ headers }: Pick<Delivery.Message, "headers">): ReadonlyArray<string> =>
  headers.map(({ name, value }) => `${name}:${value}`)

const envelope = { sender: bytes("alice@example.org"), recipients: [], body: new Uint8Array(0) }

const applied = (
  model: Model,
  message: Delivery.Message,
  modifications: Delivery.Difference["modifications"],
  leadingSpace: boolean
): Delivery.Delivered => Result.getOrThrow(models[model](message, modifications, { leadingSpace }))

const through = (
  model: Model,
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>,
  { leadingSpace = true, mta = model }: { readonly leadingSpace?: boolean; readonly mta?: Mta } = {}
) => {
  const { inexact, modifications } = diffHeaders(fields(before), fields(after), mta, leadingSpace)
  const result = linesOf(applied(model, { ...envelope, headers: fields(before) }, modifications, leadingSpace))
  return { inexact, modifications, result }
}

const Line = Schema.Literals([
  "X-A: 1",
  "X-A: 2",
  "x-a: 1",
  "X-B: 1",
  "X-B: one\n two",
  "X-B:tight",
  "X-C:",
  "X-C: ",
  "Subject: hello",
  "Date: Sat",
  "From: alice",
  "To: bob",
  "To: carol",
  "Received: by"
])

const Lines = Schema.Array(Line).check(Schema.isMaxLength(9))

/** What somebody does to a header, one step after the other. */
const Edit = Schema.Struct({
  _tag: Schema.Literals(["insert", "prepend", "append", "delete", "change"]),
  at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })),
  line: Line
})

const edited = (before: ReadonlyArray<string>, edits: ReadonlyArray<typeof Edit.Type>): ReadonlyArray<string> => {
  const lines = [...before]
  for (const { _tag, at, line } of edits) {
    const place = at % (lines.length + 1)
    const name = lines[place]?.split(":", 1)[0]
    if (_tag === "insert") lines.splice(place, 0, line)
    else if (_tag === "prepend") lines.unshift(line)
    else if (_tag === "append") lines.push(line)
    else if (name !== undefined) lines.splice(place, 1, ...(_tag === "delete" ? [] : [`${name}: new ${at}`]))
  }
  return lines
}

const Edits = Schema.Array(Edit).check(Schema.isMaxLength(5))

/** The same number the slow way. A change to nothing would delete. */
const fewest = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): number => {
  const nameOf = (line: string) => line.split(":", 1)[0]!.toLowerCase()
  const costs = Array.from({ length: before.length + 1 }, (_, left) => [left])
  for (let right = 1; right <= after.length; right++) costs[0]![right] = right
  for (let left = 1; left <= before.length; left++) {
    for (let right = 1; right <= after.length; right++) {
      const [from, to] = [before[left - 1]!, after[right - 1]!]
      const across = costs[left - 1]![right - 1]!
      costs[left]![right] = Math.min(
        costs[left - 1]![right]! + 1,
        costs[left]![right - 1]! + 1,
        from === to ? across : nameOf(from) === nameOf(to) && !to.endsWith(":") ? across + 1 : Infinity
      )
    }
  }
  return costs[before.length]![after.length]!
}

const runs = { arbitrary: { runs: 1000 } }

describe("differences of headers", () => {
  it.prop("on Postfix, between any two headers", [Lines, Lines], ([before, after]) => {
    const { inexact, modifications, result } = through("postfix", before, after)
    assert.deepStrictEqual(result, after)
    assert.isEmpty(inexact)
    assert.strictEqual(modifications.length, fewest(before, after))
  }, runs)

  it.prop("on Postfix, after edits", [Lines, Edits], ([before, edits]) => {
    const after = edited(before, edits)
    const { modifications, result } = through("postfix", before, after)
    assert.deepStrictEqual(result, after)
    assert.isAtMost(modifications.length, edits.length)
  }, runs)

  it.prop("on Sendmail, with the usual sendmail.cf", [Lines, Edits], ([before, edits]) => {
    const after = edited(before, edits)
    const { inexact, result } = through("sendmail", before, after)
    const names = new Set(inexact.flatMap((found) => found._tag === "Name" ? [found.index] : []))
    assert.deepStrictEqual(
      result.map((line, index) => names.has(index) ? line.toLowerCase() : line),
      after.map((line, index) => names.has(index) ? line.toLowerCase() : line)
    )
  }, runs)

  it.prop("the same on both, and as wanted but for what is said", [Lines, Edits, Schema.Boolean], ([
    before,
    edits,
    leadingSpace
  ]) => {
    const after = edited(before, edits)
    const options = { leadingSpace, mta: "both" } as const
    const { inexact, result } = through("postfix", before, after, options)
    const there = through("sendmail", before, after, options).result
    if (inexact.some(({ _tag }) => _tag === "Name")) {
      assert.deepStrictEqual(there.map((line) => line.toLowerCase()), result.map((line) => line.toLowerCase()))
    } else assert.deepStrictEqual(there, result)
    if (inexact.length === 0) assert.deepStrictEqual(result, after)
    else if (inexact.every(({ _tag }) => _tag === "Place")) assert.sameMembers([...result], [...after])
  }, runs)

  it("above the first of its name, on Sendmail", () => {
    const { inexact, modifications } = through("sendmail", ["A: 1", "B: 1", "C: 1"], ["A: 1", "B: 2", "B: 1", "C: 1"])
    assert.deepStrictEqual(modifications.map(({ _tag }) => _tag), ["AddHeader"])
    assert.isEmpty(inexact)
  })

  it("nothing where nothing is new", () => {
    const before = ["A: 1", "B: 1", "A: 1"]
    assert.isEmpty(through("postfix", before, before).modifications)
  })

  it("changes, deletes from the highest down, inserts at the top and beyond the end", () => {
    const { modifications } = through(
      "postfix",
      ["A: 1", "A: 2", "B: 1", "A: 3"],
      ["Top: 1", "Top: 2", "A: 1", "B: new", "End: 1"],
      { mta: "both" }
    )
    assert.deepStrictEqual(modifications, [
      { _tag: "ChangeHeader", index: 3, name: bytes("A"), value: bytes("") },
      { _tag: "ChangeHeader", index: 1, name: bytes("B"), value: bytes(" new") },
      { _tag: "ChangeHeader", index: 2, name: bytes("A"), value: bytes("") },
      { _tag: "InsertHeader", index: 1, name: bytes("Top"), value: bytes(" 2") },
      { _tag: "InsertHeader", index: 1, name: bytes("Top"), value: bytes(" 1") },
      { _tag: "InsertHeader", index: 0x3fffffff, name: bytes("End"), value: bytes(" 1") }
    ])
  })

  it("one more of the same comes to an end of the header", () => {
    for (const after of [["A: 1", "A: 1", "B: 1"], ["A: 1", "B: 1", "B: 1"]]) {
      assert.isEmpty(through("postfix", ["A: 1", "B: 1"], after, { mta: "both" }).inexact)
    }
  })

  it("long headers", () => {
    const before = Array.from({ length: 10_000 }, (_, index) => `X-${index % 97}: ${index}`)
    const few = before.filter((_, index) => index % 2500 !== 3)
    few.splice(4000, 1, "X-New: 1", "X-New: 2")
    few.unshift("Top: 1")
    few.push("End: 1")
    const { modifications } = diffHeaders(fields(before), fields(few), "postfix", true)
    assert.isAtMost(modifications.length, 9)
  })

  it("nothing stays of a long header", () => {
    const before = Array.from({ length: 2000 }, (_, index) => `X-${index % 97}: ${index}`)
    const after = before.map((line) => `${line} changed`).toReversed()
    const { modifications, result } = through("postfix", before, after)
    assert.deepStrictEqual(result, after)
    assert.isAtMost(modifications.length, 4000)
  })
})

const Address = Schema.Literals(["bob@example.net", "Bob@example.net", "carol@example.net", "dave@example.net"])

const Recipient = Schema.Struct({
  address: Address,
  parameters: Schema.Literals(["", "NOTIFY=NEVER", "X=1"])
})

const Message = Schema.Struct({
  sender: Schema.Literals(["", "alice@example.org", "eve@example.org"]),
  recipients: Schema.Array(Recipient).check(Schema.isMaxLength(4)),
  headers: Lines,
  body: Schema.Literals(["", "Hello\r\n", "Bye\r\n"])
})

const messageOf = ({ body, headers, recipients, sender }: typeof Message.Type): Delivery.Message => ({
  sender: bytes(sender),
  // Nobody is there twice.
  recipients: [...new Map(recipients.map((recipient) => [recipient.address, recipient])).values()]
    .map(({ address, parameters }) => ({
      address: bytes(address),
      parameters: parameters === "" ? undefined : bytes(parameters)
    })),
  headers: fields(headers),
  body: new TextEncoder().encode(body)
})

const envelopeOf = ({ recipients, sender }: Delivery.Message) => ({
  sender,
  recipients: recipients.map(({ address, parameters }) => `${address} ${parameters ?? ""}`).toSorted()
})

const message: Delivery.Message = {
  ...envelope,
  recipients: [{ address: bytes("bob@example.net"), parameters: undefined }],
  headers: fields(["Subject: hello"]),
  body: new TextEncoder().encode("Hello\r\n")
}

describe("differences of messages", () => {
  it.prop(
    "give the message wanted, wherever they say so",
    [Message, Message, Schema.Literals(["postfix", "sendmail"])],
    ([
      from,
      to,
      mta
    ]) => {
      const [before, after] = [messageOf(from), messageOf(to)]
      for (const known of [mta, undefined]) {
        const { inexact, modifications } = Delivery.diff(before, after, { mta: known, leadingSpace: true })
        const result = applied(mta, before, modifications, true)
        const failed = new Set(inexact.map(({ _tag }) => _tag))
        assert.strictEqual(result.sender, after.sender)
        assert.deepStrictEqual(result.body, after.body)
        assert.strictEqual(result.headers.length, after.headers.length)
        if (!failed.has("Recipient") && !hasTwoSpellings(before) && !hasTwoSpellings(after)) {
          assert.deepStrictEqual(envelopeOf(result), envelopeOf(after))
        }
        if (!failed.has("Place") && !failed.has("Name")) assert.deepStrictEqual(linesOf(result), linesOf(after))
      }
    },
    runs
  )

  it.prop("are the same message on both MTAs where it is not known which it is", [Message, Message, Schema.Boolean], ([
    from,
    to,
    leadingSpace
  ]) => {
    const [before, after] = [messageOf(from), messageOf(to)]
    const { inexact, modifications } = Delivery.diff(before, after, { leadingSpace })
    const [postfix, sendmail] = [
      applied("postfix", before, modifications, leadingSpace),
      applied("sendmail", before, modifications, leadingSpace)
    ]
    assert.strictEqual(postfix.sender, sendmail.sender)
    assert.deepStrictEqual(postfix.body, sendmail.body)
    // In whose case a name is written is what they may differ in, and who is one recipient.
    const written = (message: Delivery.Message) =>
      inexact.some(({ _tag }) => _tag === "Name")
        ? linesOf(message).map((line) => line.toLowerCase())
        : linesOf(message)
    assert.deepStrictEqual(written(postfix), written(sendmail))
    if (!hasTwoSpellings(before) && !hasTwoSpellings(after) && inexact.every(({ _tag }) => _tag !== "Recipient")) {
      assert.deepStrictEqual(envelopeOf(postfix), envelopeOf(sendmail))
    }
  }, runs)

  it("says nothing of what did not change", () => {
    const { inexact, modifications } = Delivery.diff(
      message,
      { ...message, body: message.body.slice(), headers: [...message.headers] },
      { leadingSpace: false }
    )
    assert.isEmpty(modifications)
    assert.isEmpty(inexact)
    assert.isEmpty(Delivery.diff(message, { ...message, body: undefined }, { leadingSpace: false }).modifications)
  })

  it("changes the sender without parameters, deletes recipients by their bytes, adds none that is there", () => {
    const recipients = ["carol@example.net", "carol@example.net"]
      .map((address) => ({ address: bytes(address), parameters: undefined }))
    const { modifications } = Delivery.diff(message, { ...message, sender: bytes(""), recipients }, {
      mta: "sendmail",
      leadingSpace: true
    })
    assert.deepStrictEqual(modifications, [
      { _tag: "ChangeSender", sender: bytes("<>") },
      { _tag: "DeleteRecipient", recipient: bytes("<bob@example.net>") },
      { _tag: "AddRecipient", recipient: bytes("<carol@example.net>") }
    ])
  })

  it("does not delete what Sendmail takes for the recipient that stays", () => {
    const spelled = (address: string) => ({ address: bytes(address), parameters: undefined })
    const before = { ...message, recipients: [spelled("bob@example.net"), spelled("BOB@example.net")] }
    const { modifications } = Delivery.diff(before, message, { mta: "sendmail", leadingSpace: true })
    assert.isEmpty(modifications)
  })

  it("sends a body last and in pieces, an empty one as an empty piece", () => {
    const large = new Uint8Array(140_000).fill(120)
    const { modifications } = Delivery.diff(
      message,
      { ...message, headers: [], body: large },
      { leadingSpace: true }
    )
    assert.deepStrictEqual(
      modifications.map((packet) => packet._tag === "ReplaceBody" ? packet.bytes.length : packet._tag),
      ["ChangeHeader", 65_535, 65_535, 8930]
    )
    assert.deepStrictEqual(
      Delivery.diff(message, { ...message, body: new Uint8Array(0) }, { leadingSpace: true }).modifications,
      [{ _tag: "ReplaceBody", bytes: new Uint8Array(0) }]
    )
  })

  it("tells of values that cannot be written without the leading-space step", () => {
    const after = { ...message, headers: fields(["Subject: hello", "X-Tight:1", "X-Loose: 1"]) }
    assert.deepStrictEqual(Delivery.diff(message, after, { leadingSpace: false }).inexact, [
      { _tag: "Space", index: 1, field: field("X-Tight", "1") }
    ])
    assert.isEmpty(Delivery.diff(message, after, { leadingSpace: true }).inexact)
  })
})

const hasTwoSpellings = ({ recipients }: Delivery.Message): boolean =>
  new Set(recipients.map(({ address }) => address.toLowerCase())).size < recipients.length
