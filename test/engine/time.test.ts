/** Deadlines and signs of life, on TestClock. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/testing/TestClock"
import { answering, commands } from "../support/filters.ts"
import { order } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"

const never = Effect.never as Effect.Effect<Verdict.Verdict>

/** Packets up to the command of a stage. */
const upTo = (stage: typeof order[number]) => order.slice(0, order.indexOf(stage)).map((earlier) => commands[earlier])

describe("the budget of an answer", () => {
  for (const stage of order.filter((stage) => stage !== "endOfMessage")) {
    it.effect(`ends after 8 seconds at ${stage}`, () =>
      Effect.gen(function*() {
        const server = yield* Mta.serve(answering({ [stage]: never }))
        const mta = yield* server.open()
        yield* mta.each(...upTo(stage))
        assert.deepStrictEqual(yield* mta.say(commands[stage]), [])
        yield* TestClock.adjust("7 seconds")
        assert.deepStrictEqual(yield* mta.replies, [])
        yield* TestClock.adjust("1 second")
        const [reply, ...more] = yield* mta.replies
        // At connect and helo the policy is for the messages.
        if (stage === "connect" || stage === "helo") assert.strictEqual(reply, "Continue")
        else assert.match(reply ?? "", /^(TempFail$|ReplyCode text="451 )/)
        assert.deepStrictEqual(more, [])
        assert.isFalse(yield* mta.closed)
        assert.match(
          server.logs.map(({ text }) => text).join(),
          new RegExp(`CommandTimeout: test did not answer ${stage} in time`)
        )
      }))
  }

  it.effect("gives the policy of a filter that was late at connect at each MAIL", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({ connect: never }))
      const mta = yield* server.open()
      yield* mta.say(Mta.connect())
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["Continue"])
      const replies = yield* mta.each(Mta.mail(), Mta.abort, Mta.mail())
      assert.match(replies[0]!, /^(TempFail|ReplyCode text="451 .*)$/)
      assert.strictEqual(replies[2], replies[0])
    }))

  it.effect("can be set, and counts from the arrival of the command for all that runs for it", () =>
    Effect.gen(function*() {
      const filter = Milter.make("two", { message: () => Effect.sleep("3 seconds") }).on({
        mail: () => Effect.as(Effect.sleep("3 seconds"), Verdict.acceptMessage)
      })
      const server = yield* Mta.serve(filter, { commandTimeout: "5 seconds" })
      const mta = yield* server.open()
      yield* mta.say(Mta.connect(), Mta.mail())
      yield* TestClock.adjust("4900 millis")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("200 millis")
      assert.lengthOf(yield* mta.replies, 1)
    }))

  it.effect("sends the answer though the hook does not stop, and waits with the next command until it has", () =>
    Effect.gen(function*() {
      const events = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (event: string) => Ref.update(events, (all) => [...all, event])
      const filter = Milter.make("stubborn", {
        message: () => Effect.addFinalizer(() => note("finalizer"))
      }).on({
        mail: ({ sender }) =>
          sender.localPart === "slow"
            ? Effect.uninterruptible(
              Effect.sleep("12 seconds").pipe(
                Effect.andThen(note("hook")),
                Effect.as(Verdict.continue)
              )
            )
            : Effect.succeed(Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.say(Mta.connect(), Mta.mail("<slow@example.org>"))
      yield* TestClock.adjust("8 seconds")
      assert.lengthOf(yield* mta.replies, 1)
      yield* mta.say(Mta.mail("<quick@example.org>"))
      assert.deepStrictEqual(yield* mta.replies, [])
      assert.deepStrictEqual(yield* Ref.get(events), [])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["Continue"])
      assert.deepStrictEqual(yield* Ref.get(events), ["hook", "finalizer"])
    }))

  it.effect("closes the connection of a hook that never stops", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({ mail: Effect.uninterruptible(never) }))
      const mta = yield* server.open()
      yield* mta.say(Mta.connect(), Mta.mail())
      yield* TestClock.adjust("17 seconds")
      assert.isFalse(yield* mta.closed)
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* mta.closed)
      assert.match(server.logs.map(({ text }) => text).join(), /StopTimeout: a hook at mail does not stop/)
      // The scopes get their turn in the end, hook or no hook.
      yield* TestClock.adjust("10 seconds")
    }))
})

describe("finalizers", () => {
  it.effect("that keep the next command waiting for more than its budget cost the connection, not the answer", () =>
    Effect.gen(function*() {
      const filter = Milter.make("slow", { message: () => Effect.addFinalizer(() => Effect.sleep("20 seconds")) }).on({
        mail: () => Effect.succeed(Verdict.reject())
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail()), ["", "Reject"])
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), [])
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      assert.isTrue(yield* mta.closed)
      assert.match(server.logs.map(({ text }) => text).join(), /FinalizerTimeout: a command waits for finalizers/)
      yield* TestClock.adjust("20 seconds")
    }))
})

describe("finalizers of a message that the next command ends", () => {
  it.effect("keep that command waiting no longer than its budget either", () =>
    Effect.gen(function*() {
      const filter = Milter.make("slow", { message: () => Effect.addFinalizer(() => Effect.sleep("60 seconds")) }).on({
        mail: () => Effect.succeed(Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail())
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), [])
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      assert.isTrue(yield* mta.closed)
      yield* TestClock.adjust("60 seconds")
    }))

  it.effect("do not hide a quit", () =>
    Effect.gen(function*() {
      const filter = Milter.make("slow", { message: () => Effect.addFinalizer(() => Effect.sleep("60 seconds")) }).on({
        mail: () => Effect.succeed(Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.abort, Mta.helo(), Mta.mail(), Mta.quit)
      yield* TestClock.adjust("8 seconds")
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(yield* mta.replies, [])
      assert.deepStrictEqual(server.logs.filter(({ level }) => level === "Warn"), [])
      yield* TestClock.adjust("60 seconds")
    }))
})

describe("end of message", () => {
  it.effect("shows signs of life every 5 seconds and takes 4 minutes", () =>
    Effect.gen(function*() {
      const filter = Milter.make("slow").on({
        endOfMessage: () => Effect.as(Effect.sleep("239 seconds"), Verdict.acceptMessage)
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.say(Mta.endOfMessage())
      yield* TestClock.adjust("4900 millis")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(yield* mta.replies, ["Progress"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["Progress", "Progress"])
      yield* TestClock.adjust("225 seconds")
      const replies = yield* mta.replies
      assert.strictEqual(replies.at(-1), "Accept")
      assert.strictEqual(replies.filter((reply) => reply === "Progress").length, replies.length - 1)
    }))

  it.effect("never takes longer than 9 minutes, and drops the edits of a hook that was cut off", () =>
    Effect.gen(function*() {
      const filter = Milter.make("endless", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.andThen(edit.addHeader("X-Late", "yes"), Effect.never)
      })
      const server = yield* Mta.serve(filter, { endOfMessageTimeout: "1 hour", progressInterval: "1 minute" })
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.say(Mta.endOfMessage())
      yield* TestClock.adjust("539 seconds")
      assert.deepStrictEqual(yield* mta.replies, Array.from({ length: 8 }, () => "Progress"))
      yield* TestClock.adjust("1 second")
      const replies = yield* mta.replies
      assert.lengthOf(replies, 1)
      assert.match(replies[0]!, /^(TempFail$|ReplyCode text="451 )/)
    }))
})

describe("connections that do nothing", () => {
  it.effect("are closed after 10 seconds before their negotiation, even if half of it has come", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}))
      const silent = yield* server.dial
      const slow = yield* server.dial
      const mta = yield* server.open()
      yield* slow.raw(Mta.encode(Mta.negotiate()).subarray(0, 7))
      yield* TestClock.adjust("9 seconds")
      assert.isFalse(yield* silent.closed)
      yield* slow.raw(Mta.encode(Mta.negotiate()).subarray(7, 8))
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* silent.closed)
      assert.isTrue(yield* slow.closed)
      assert.isFalse(yield* mta.closed)
      const texts = server.logs.map(({ text }) => text).filter((text) => text.includes("Timeout"))
      assert.lengthOf(texts, 2)
      for (const text of texts) assert.match(text, /^NegotiationTimeout: it did not negotiate; closing/)
    }))

  it.effect("are closed before their negotiation after the time that is set", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { negotiationTimeout: "3 seconds" })
      const silent = yield* server.dial
      yield* TestClock.adjust("2 seconds")
      assert.isFalse(yield* silent.closed)
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* silent.closed)
    }))

  it.effect("are closed 10 seconds after their negotiation if there are too many of them, though they say more", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxConnections: 1 })
      const mta = yield* server.open()
      const surplus = yield* server.open()
      const told = (yield* surplus.say(Mta.connect())).join()
      assert.match(told, /^ReplyCode text="421 4\.3\.2 Too many connections/)
      yield* TestClock.adjust("9 seconds")
      assert.match((yield* surplus.say(Mta.mail())).join(), /^ReplyCode text="421 4\.3\.2/)
      assert.isFalse(yield* surplus.closed)
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* surplus.closed)
      assert.isFalse(yield* mta.closed)
      assert.strictEqual((yield* mta.say(Mta.connect())).at(-1), "Continue")
      assert.match(server.logs.map(({ text }) => text).join("\n"), /^RefusedTimeout: it stayed after 421/m)
    }))

  it.effect("are closed after 2 hours", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}))
      const mta = yield* server.open()
      yield* mta.say(Mta.connect())
      yield* TestClock.adjust("119 minutes")
      assert.isFalse(yield* mta.closed)
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(yield* mta.closed)
    }))

  it.effect("are closed when a frame is not completed within a minute, however slowly it comes", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}))
      const mta = yield* server.open()
      const frame = Mta.encode(Mta.helo("x".repeat(100)))
      for (let index = 0; index < 6; index++) {
        yield* mta.raw(frame.subarray(index, index + 1))
        assert.isFalse(yield* mta.closed)
        yield* TestClock.adjust("11 seconds")
      }
      assert.isTrue(yield* mta.closed)
      assert.match(server.logs.map(({ text }) => text).join(), /FrameTimeout/)
    }))

  it.effect("are cut when they do not take an answer within 30 seconds", () =>
    Effect.gen(function*() {
      const filter = Milter.make("large", { modify: ["replaceBody"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(new Uint8Array(1_000_000)), Verdict.continue)
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.pause
      yield* mta.say(Mta.endOfMessage())
      yield* TestClock.adjust("29 seconds")
      assert.isFalse(yield* mta.closed)
      yield* TestClock.adjust("2 seconds")
      yield* mta.resume
      assert.isTrue(yield* mta.closed)
      assert.match(server.logs.map(({ text }) => text).join(), /WriteTimeout/)
    }))
})
