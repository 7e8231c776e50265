/** The queue files against plain models of them, and what they cost when a sender and a filter mean harm. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { HeaderField, Message } from "effect-milter/Delivery"
import type { ModificationPacket } from "effect-milter/MilterClient"
import { ByteString } from "effect-milter/Wire"
import { diffHeaders } from "../../src/internal/delivery/diffHeaders.ts"
import { OrderedList, type Place } from "../../src/internal/delivery/orderedList.ts"
import * as postfixQueue from "../../src/internal/delivery/postfixQueue.ts"
import { normalizeLines } from "../../src/internal/delivery/queueFile.ts"
import * as sendmailQueue from "../../src/internal/delivery/sendmailQueue.ts"
import { assertLinear } from "../support/growth.ts"
import * as plain from "../support/plainQueues.ts"

const text = ByteString.fromText

const queues = { postfix: postfixQueue.make, sendmail: sendmailQueue.make, sendmail818: sendmailQueue.make818 }
const models = { postfix: plain.postfix, sendmail: plain.sendmail, sendmail818: plain.sendmail818 }
const mtas = ["postfix", "sendmail", "sendmail818"] as const

const messageOf = (headers: ReadonlyArray<HeaderField>, body = new Uint8Array(0)): Message => ({
  sender: text("a@x.example"),
  recipients: [],
  headers,
  body
})

const packetOf = (edit: plain.Edit): ModificationPacket => {
  const name = text(edit.name)
  const value = text(edit.value)
  switch (edit.do) {
    case "add":
      return { _tag: "AddHeader", name, value }
    case "insert":
      return { _tag: "InsertHeader", index: edit.index, name, value }
    case "change":
      return { _tag: "ChangeHeader", index: edit.index, name, value }
  }
}

// Names that sendmail.cf has an H line for, or not, in two spellings each, and lists of recipients.
const Name = Schema.Literals(["Received", "RECEIVED", "Date", "date", "X-A", "x-a", "X-B", "To", "TO", "Bcc"])
const Value = Schema.Literals([" 1", " 2", " 3", " "])
const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 24 }))
const Change = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
const Edits = Schema.Array(Schema.Union([
  Schema.Struct({ do: Schema.Literal("add"), name: Name, value: Value }),
  Schema.Struct({ do: Schema.Literal("insert"), index: Index, name: Name, value: Value }),
  Schema.Struct({
    do: Schema.Literal("change"),
    index: Change,
    name: Name,
    value: Schema.Literals([" 1", " 2", "", ""])
  })
])).check(Schema.isMaxLength(12))
const Headers = Schema.Array(Schema.Struct({ name: Name, value: Value })).check(Schema.isMaxLength(10))

describe("a queue file", () => {
  for (const mta of mtas) {
    it.effect.prop(
      `${mta}: holds what the plain model holds, filter after filter`,
      { headers: Headers, filters: Schema.Array(Edits).check(Schema.isMaxLength(4)) },
      ({ filters, headers }) =>
        Effect.sync(() => {
          const fields = headers.map(({ name, value }) => ({ name: text(name), value: text(value) }))
          const file = queues[mta](messageOf(fields))
          const model = models[mta](fields)
          for (const edits of filters) {
            assert.strictEqual(file.apply(edits.map(packetOf), true) === undefined, model.apply(edits))
            assert.deepStrictEqual(file.shown().headers.map(({ name, value }) => `${name}:${value}`), model.shown())
            assert.strictEqual(file.above(), model.above())
          }
        }),
      { arbitrary: { runs: 1000 } }
    )
  }
})

describe("OrderedList", () => {
  it.effect.prop(
    "is an array",
    { steps: Schema.Array(Schema.Struct({ removes: Schema.Boolean, at: Index })).check(Schema.isMaxLength(60)) },
    ({ steps }) =>
      Effect.sync(() => {
        const list = new OrderedList<number>()
        const array: Array<Place<number>> = []
        for (const [number, { at, removes }] of steps.entries()) {
          if (removes) {
            const found = list.at(at)
            assert.strictEqual(found, array[at])
            if (found !== undefined) list.remove(found)
            array.splice(at, 1)
          } else array.splice(at, 0, list.insert(at, number))
          assert.strictEqual(list.size, array.length)
          assert.deepStrictEqual(Array.from(list), array)
          assert.deepStrictEqual(array.map(({ index }) => index), Array.from(array.keys()))
        }
      }),
    { arbitrary: { runs: 300 } }
  )
})

const many = (count: number, name: (index: number) => string): ReadonlyArray<HeaderField> =>
  Array.from({ length: count }, (_, index) => ({ name: text(name(index)), value: text(` value ${index}`) }))

const edits: { readonly [name: string]: (count: number) => ReadonlyArray<ModificationPacket> } = {
  "changes the last of one name": (count) =>
    Array.from(
      { length: count },
      (_, index) => packetOf({ do: "change", index: count - index, name: "X", value: " 1" })
    ),
  "deletes the first of one name": (count) =>
    Array.from({ length: count }, () => packetOf({ do: "change", index: 1, name: "X", value: "" })),
  "deletes from the last to the first": (count) =>
    Array.from({ length: count }, (_, index) => packetOf({ do: "change", index: count - index, name: "X", value: "" })),
  "inserts at the top": (count) =>
    Array.from({ length: count }, () => packetOf({ do: "insert", index: 0, name: "X", value: " 1" })),
  "inserts in the middle": (count) =>
    Array.from(
      { length: count },
      (_, index) => packetOf({ do: "insert", index: count >> 1, name: `Y${index}`, value: " 1" })
    ),
  "adds": (count) => Array.from({ length: count }, () => packetOf({ do: "add", name: "X", value: " 1" })),
  "adds to a list of recipients": (count) =>
    Array.from({ length: count }, () => packetOf({ do: "add", name: "To", value: " 1" })),
  "adds recipients": (count) =>
    Array.from({ length: count }, (_, index) => ({ _tag: "AddRecipient", recipient: text(`<${index}@x.example>`) })),
  "adds and deletes recipients": (count) =>
    Array.from({ length: count }, (_, index) => ({
      _tag: index < count >> 1 ? "AddRecipient" : "DeleteRecipient",
      recipient: text(`<${index % (count >> 1)}@x.example>`)
    }))
}

describe("what a queue file costs", () => {
  for (const mta of mtas) {
    for (const [name, make] of Object.entries(edits)) {
      it(`${mta}: grows with the message, for a filter that ${name}`, () => {
        assertLinear(
          400,
          (size) => ({ message: messageOf(many(size, () => "X")), modifications: make(size) }),
          ({ message, modifications }) => {
            const file = queues[mta](message)
            file.apply(modifications, true)
            file.apply(modifications, true)
            file.delivered()
          }
        )
      })
    }
  }

  it("grows with the headers that are compared", () => {
    const headers = (size: number, every: number): ReadonlyArray<HeaderField> =>
      many(size, (index) => `X-${index % 7}`).filter((_, index) => index % every !== 0)
    for (const mta of ["postfix", "sendmail"] as const) {
      assertLinear(
        500,
        (size) => [headers(size, 3), headers(size, 5)] as const,
        ([before, after]) => void diffHeaders(before, after, mta, true)
      )
    }
  })

  it("grows with the body, whatever its lines", () => {
    for (const line of ["\n", "\r\n", "a\n", "\r", "a"]) {
      assertLinear(
        100_000,
        (size) => new TextEncoder().encode(line.repeat(size)),
        (body) => void normalizeLines(body, true)
      )
    }
  })
})

describe("normalizeLines", () => {
  const normalized = (body: string, complete: boolean): string =>
    new TextDecoder().decode(normalizeLines(new TextEncoder().encode(body), complete))

  it("ends lines with CR LF, and the last if wanted", () => {
    for (
      const [body, whole, cut] of [
        ["", "", ""],
        ["\n", "\r\n", "\r\n"],
        ["a\nb", "a\r\nb\r\n", "a\r\nb"],
        ["a\r\nb\r\n", "a\r\nb\r\n", "a\r\nb\r\n"],
        ["a\rb\r", "a\rb\r\r\n", "a\rb\r"],
        ["\r\r\n\n\r\n", "\r\r\n\r\n\r\n", "\r\r\n\r\n\r\n"]
      ] as const
    ) {
      assert.strictEqual(normalized(body, true), whole)
      assert.strictEqual(normalized(body, false), cut)
    }
  })

  it("needs little more memory than the result, for lines without anything", () => {
    const body = new Uint8Array(10_000_000).fill(10)
    const before = process.memoryUsage.rss()
    const { length } = normalizeLines(body, true)
    assert.strictEqual(length, 20_000_000)
    assert.isBelow(process.memoryUsage.rss() - before, 120_000_000)
  })
})
