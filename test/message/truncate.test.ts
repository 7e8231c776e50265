/** Message: `tooLarge: "truncate"`, where a filter sees the beginning of a body and the mail goes on whole. */
import { assert, describe, it } from "@effect/vitest"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Mta from "../support/rawMta.ts"

const header = "Subject: hello\r\n"
/** Room for ten bytes of the body. */
const maxBytes = header.length + 10

const short: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "hello"]],
  body: "Hello\n"
}

interface Seen {
  readonly body: string
  readonly size: number
  readonly isTruncated: boolean
  readonly source: string
}

/** A filter that truncates, and what it has seen. */
const cutting = () => {
  const seen: Array<Seen> = []
  const filter = Message.make("cutting", { maxBytes, tooLarge: "truncate", modify: ["headers"] }).on({
    document: Effect.fnUntraced(function*({ body, headers, isTruncated, source }) {
      const text = yield* Stream.mkString(Stream.decodeText(source))
      seen.push({ body: yield* body.text, size: body.size, isTruncated, source: text })
      yield* headers.append("X-Seen", `${body.size}`)
      return Verdict.continue
    })
  })
  return { seen, filter }
}

const saw = (body: string, isTruncated: boolean): Seen => ({
  body,
  size: body.length,
  isTruncated,
  source: `${header}\r\n${body}`
})

describe("a body in pieces", () => {
  for (
    const [name, pieces, expected, at] of [
      ["below the limit", ["12345678"], saw("12345678", false), undefined],
      ["at the limit", ["12345", "67890"], saw("1234567890", false), undefined],
      ["a byte over the limit", ["12345678901"], saw("1234567890", true), 0],
      ["over the limit in a later piece", ["12345", "6789", "0123", "456"], saw("1234567890", true), 2],
      ["over the limit between two pieces", ["1234567890", "12", "34"], saw("1234567890", true), 1],
      ["without a byte", [], saw("", false), undefined]
    ] as const
  ) {
    for (const steps of [Mta.modern.steps, Mta.modern.steps & ~Step.skip]) {
      const skips = (steps & Step.skip) !== 0
      it.effect(`${name}, from an MTA that ${skips ? "can" : "cannot"} skip the rest`, () =>
        Effect.gen(function*() {
          const { filter, seen } = cutting()
          const server = yield* Mta.serve(filter)
          const mta = yield* server.open({ steps })
          yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.data, Mta.header(), Mta.endOfHeaders)
          const answers = yield* mta.each(...pieces.map(Mta.body))
          // The first piece with a byte too many is answered skip; an MTA that cannot skip gets continue for each piece.
          assert.deepStrictEqual(
            answers.slice(0, at === undefined ? undefined : at + 1),
            pieces.slice(0, at === undefined ? undefined : at + 1).map((_, index) =>
              index === at && skips ? "Skip" : "Continue"
            )
          )
          const last = yield* mta.say(Mta.endOfMessage())
          assert.deepStrictEqual(seen, [expected])
          assert.strictEqual(last.at(-1), "Continue")
          assert.strictEqual(last.length, 2, last.join())
        }))
    }
  }

  it.effect("is cut where its last piece comes with the end of the message", () =>
    Effect.gen(function*() {
      const { filter, seen } = cutting()
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header(), Mta.endOfHeaders, Mta.body("12345"))
      assert.strictEqual((yield* mta.say(Mta.endOfMessage("6789012"))).at(-1), "Continue")
      assert.deepStrictEqual(seen, [saw("1234567890", true)])
    }))

  it.effect("goes on to another filter", () =>
    Effect.gen(function*() {
      let bytes = 0
      const counting = Milter.make("counting").on({}, {
        body: (body) =>
          Effect.sync(() => {
            bytes += body.bytes.length
          })
      })
      const { filter, seen } = cutting()
      const server = yield* Mta.serve(Milter.sequence([filter, counting]))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header(), Mta.endOfHeaders)
      const answers = yield* mta.each(...["x".repeat(20), "y".repeat(20), "z".repeat(20)].map(Mta.body))
      assert.deepStrictEqual(answers, ["Continue", "Continue", "Continue"])
      yield* mta.say(Mta.endOfMessage())
      assert.deepStrictEqual(seen, [saw("x".repeat(10), true)])
      assert.strictEqual(bytes, 60)
    }))

  it.effect("is not counted by the server after the limit of the filter", () =>
    Effect.gen(function*() {
      for (const steps of [Mta.modern.steps, Mta.modern.steps & ~Step.skip]) {
        const { filter, seen } = cutting()
        const server = yield* Mta.serve(filter, { maxBodyBytes: 30 })
        const mta = yield* server.open({ steps })
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header(), Mta.endOfHeaders)
        yield* mta.each(...["x".repeat(20), "y".repeat(20), "z".repeat(20)].map(Mta.body))
        assert.strictEqual((yield* mta.say(Mta.endOfMessage())).at(-1), "Continue")
        assert.lengthOf(seen, 1)
      }
    }))
})

describe("the mail", () => {
  for (const mta of [MilterClient.postfix, MilterClient.sendmail]) {
    it.effect(`stays whole with ${mta.name}`, () =>
      Effect.gen(function*() {
        const body = `${"x".repeat(200_000)}\n`
        const { filter, seen } = cutting()
        const outcome = yield* MilterTest.message(filter, { ...short, body }, { as: mta })
        assert.deepStrictEqual(seen, [saw("x".repeat(10), true)])
        MilterTest.assertAccepted(outcome, { headers: { "X-Seen": "10" }, body })
      }))
  }

  it.effect("is not refused at MAIL for its size", () =>
    Effect.gen(function*() {
      const { filter, seen } = cutting()
      const outcome = yield* MilterTest.message(filter, { ...short, parameters: ["SIZE=1000000"] })
      MilterTest.assertAccepted(outcome, { body: "Hello\n" })
      assert.deepStrictEqual(seen, [saw("Hello\r\n", false)])
    }))

  it.effect("is refused for a header over the limit", () =>
    Effect.gen(function*() {
      for (const body of ["", "Hello\n"]) {
        const { filter, seen } = cutting()
        const headers = [["X-Long", "x".repeat(2000)]] as const
        const outcome = yield* MilterTest.message(filter, { ...short, headers, body })
        MilterTest.assertRejected(outcome, { reply: "552 5.3.4 The message is too large" })
        assert.isEmpty(seen)
      }
    }))

  it.effect("is cut for a filter after one that edits it, and for no other", () =>
    Effect.gen(function*() {
      let whole = 0
      const { filter, seen } = cutting()
      const rewriting = Message.make("rewriting", { modify: ["body"] }).on({
        document: ({ replaceBody }) => Effect.as(replaceBody("y".repeat(200_000)), Verdict.continue)
      })
      const reading = Message.make("reading").on({
        document: ({ body, isTruncated }) =>
          Effect.sync(() => {
            whole = isTruncated ? -1 : body.size
            return Verdict.continue
          })
      })
      const outcome = yield* MilterTest.message(Milter.sequence([rewriting, filter, reading]), short)
      assert.deepStrictEqual(seen, [saw("y".repeat(10), true)])
      assert.strictEqual(whole, 200_002)
      MilterTest.assertAccepted(outcome, { headers: { "X-Seen": "10" } })
      assert.strictEqual(outcome.delivered?.body.length, 200_002)
    }))
})

describe("a filter is refused", () => {
  for (
    const [name, options, reason] of [
      [
        "that edits the body",
        { maxBytes, modify: ["headers", "body"] },
        /expected no "body" in modify: an edit of a truncated body would lose the rest of it \(tooLarge is "truncate"\)/
      ],
      ["that edits parts", { maxBytes, modify: ["mime"] }, /expected no "mime" in modify/],
      ["without the body", { maxBytes, body: false }, /expected a body \(/],
      ["without a limit", {}, /expected maxBytes \(/],
      ["with no real limit", { maxBytes: Infinity }, /expected maxBytes \(/]
    ] as const
  ) {
    it(name, () => {
      // Types refuse the first three of them where the record is written in place.
      const given: {} = { ...options, tooLarge: "truncate" }
      const document = () => Effect.succeed(Verdict.continue)
      assert.throws(() => Message.make("cutting", given).on({ document }), reason)
    })
  }
})
