/** Sequences of filters when something goes wrong: time is over, connections drop, disks are full. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { describeExit, goOn } from "./support/filters.ts"
import * as Mta from "./support/rawMta.ts"

/** A filter that writes down how its messages and SMTP sessions end, and takes a second for that. */
const ending = (name: string, log: Array<string>) => {
  const end = (what: string) =>
    Effect.addFinalizer((exit) =>
      Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void log.push(`${name} ${what} ${describeExit(exit)}`)))
    )
  return Milter.make(name, { connection: () => end("session"), message: () => end("message") }).on({
    endOfMessage: () => goOn
  })
}

const counting = (name: string, log: Array<string>) =>
  Milter.make(name).on({
    connect: () => Effect.sync(() => (log.push(`${name} connect`), Verdict.continue)),
    helo: () => Effect.sync(() => (log.push(`${name} helo`), Verdict.continue)),
    mail: () => Effect.sync(() => (log.push(`${name} mail`), Verdict.continue))
  })

describe("the scopes of a sequence", () => {
  it.effect("all close, though the client leaves while the first one does", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* Mta.serve(Milter.sequence([ending("a", log), ending("b", log), ending("c", log)]))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.endOfMessage()), [
        "",
        "Continue",
        "",
        "Continue"
      ])
      yield* mta.reset
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(log, [
        "c message Accepted",
        "b message Accepted",
        "a message Accepted",
        "c session interrupted",
        "b session interrupted",
        "a session interrupted"
      ])
    }))
})

describe("a filter whose time is over", () => {
  it.effect("takes nothing from one behind it that has settled the session before", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = Milter.make("slow", { onDefect: "pass" }).on({ helo: () => Effect.never })
      const content = Milter.make("content").on({
        connect: () => Effect.succeed(Verdict.acceptConnection),
        helo: () => Effect.sync(() => (log.push("helo"), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(Milter.sequence([slow, content]))).open()
      assert.deepStrictEqual(yield* mta.say(Mta.connect()), ["Continue"])
      for (let count = 0; count < 2; count++) {
        yield* mta.write(Mta.helo())
        yield* TestClock.adjust("9 seconds")
        yield* mta.replies
        assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["Accept"])
      }
      assert.deepStrictEqual(log, [])
    }))

  for (const [what, command] of [["MAIL", Mta.mail()], ["an unknown command", Mta.unknown()]] as const) {
    it.effect(`while its state is built at ${what} runs alone`, () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const slow = Milter.make("slow", {
          onDefect: "pass",
          connection: () => Effect.uninterruptible(Effect.sleep("12 seconds"))
        }).on({ unknown: () => goOn })
        const behind = Milter.make("behind", { connection: () => Effect.sync(() => void log.push("behind")) }).on({
          unknown: () => goOn
        })
        const mta = yield* (yield* Mta.serve(Milter.sequence([slow, behind]))).open()
        yield* mta.write(command)
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(yield* mta.replies, [command._tag === "Mail" ? "TempFail" : "Continue"])
        assert.deepStrictEqual(log, [])
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["Continue"])
        assert.deepStrictEqual(log, ["behind"])
      }))
  }
})

describe("an abort", () => {
  it.effect("while the state of the session is built has it built again", () =>
    Effect.gen(function*() {
      let builds = 0
      const seen: Array<unknown> = []
      const filter = Milter.make("test", {
        connection: () => Effect.suspend(() => ++builds === 1 ? Effect.never : Effect.succeed(builds))
      }).on({ mail: (_, { connection }) => Effect.sync(() => (seen.push(connection), Verdict.continue)) })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), [])
      assert.deepStrictEqual(yield* mta.say(Mta.abort, Mta.mail()), ["TempFail", "Continue"])
      assert.deepStrictEqual(seen, [2])
    }))
})

describe("filters that look at no body", () => {
  it.effect("do not keep the MTA from skipping it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const reading = Milter.make("reading").on({ body: () => Effect.succeed(Verdict.skipBody) })
      const mta = yield* (yield* Mta.serve(Milter.sequence([counting("other", log), reading]))).open()
      yield* mta.say(Mta.connect(), Mta.mail(), Mta.rcpt())
      assert.deepStrictEqual(yield* mta.say(Mta.body()), ["Skip"])
      const old = yield* (yield* Mta.serve(Milter.sequence([counting("other", log), reading]))).open({
        steps: Step.noReplyRcpt
      })
      yield* old.say(Mta.connect(), Mta.mail(), Mta.rcpt())
      assert.deepStrictEqual(yield* old.each(Mta.body(), Mta.body()), ["Continue", "Continue"])
    }))
})
