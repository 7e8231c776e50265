/** Sequences of filters when something goes wrong: time is over, connections drop, disks are full. */
import { assert, describe } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { TemporaryFile } from "../../src/internal/bytes/spool.ts"
import { describeExit, goOn } from "../support/filters.ts"
import * as Ledger from "../support/ledger.ts"
import * as Mta from "../support/rawMta.ts"
import { effect } from "../support/yielding.ts"

/** A filter that writes down how its messages and SMTP sessions end, and takes a second for that. */
const ending = (name: string, log: Array<string>) => {
  const end = (what: string) =>
    Effect.addFinalizer((exit) =>
      Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => void log.push(`${name} ${what} ${describeExit(exit)}`))
      )
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
  effect("all close, though the client leaves while the first one does", () =>
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
  effect("takes nothing from one behind it that has settled the session before", () =>
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
    effect(`while its state is built at ${what} runs alone`, () =>
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
  effect("while the state of the session is built has it built again", () =>
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
  effect("do not keep the MTA from skipping it", () =>
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

describe("the content that is kept for later filters", () => {
  const tagging = Milter.make("tagging", { modify: ["addHeader"] }).on({
    endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
  })
  const reading = Milter.make("reading").on({ body: () => goOn })
  const filter = Milter.sequence([tagging, reading])
  const large = "x".repeat(200_000)

  /** A disk on which something is not as it should be, and how many files have been left open. */
  const disk = (change: (file: TemporaryFile) => Partial<TemporaryFile>) => {
    const { counts, openFile, wrong } = Ledger.make(() => undefined)
    return {
      openFile: Effect.map(openFile, (file) => ({ ...file, ...change(file) })),
      left: Effect.sync(() => ({ opened: counts.filesOpened, left: counts.filesOpened - counts.filesClosed, wrong }))
    }
  }
  const oneClosed = { opened: 1, left: 0, wrong: [] }
  const full = Effect.die("no space left on device")
  const toldToComeLater = /^ReplyCode text="452 4\.3\.1 Temporary failure/

  const beforeBody = Effect.fnUntraced(function*(openFile: Effect.Effect<TemporaryFile>, steps = Mta.modern.steps) {
    const server = yield* Mta.serve(filter, {}, openFile)
    const mta = yield* server.open({ steps })
    yield* mta.say(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header(), Mta.body(large))
    return { server, mta }
  })

  for (
    const [what, change] of [
      ["cannot be written", () => ({ append: () => full })],
      ["cannot be read", () => ({ read: () => full })]
    ] as const
  ) {
    effect(`puts the message off if it ${what}`, () =>
      Effect.gen(function*() {
        const { left, openFile } = disk(change)
        const { mta, server } = yield* beforeBody(openFile)
        assert.deepStrictEqual(yield* mta.say(Mta.body(large)), [])
        const [reply] = yield* mta.say(Mta.endOfMessage())
        assert.match(reply!, toldToComeLater)
        assert.deepStrictEqual(yield* left, oneClosed)
        assert.match(server.logs.at(-1)!.text, /could not be kept.*no space left/s)
        // Nothing of that concerns the next message.
        const replies = yield* mta.say(...Mta.content, Mta.endOfMessage())
        assert.deepStrictEqual(replies.slice(-2), [
          `AddHeader name="X-Tag" value=" yes"`,
          "Continue"
        ])
      }))
  }

  effect(
    "puts it off where the body is answered, and where the last of it comes with the end",
    () =>
      Effect.gen(function*() {
        const { openFile } = disk(() => ({ append: () => full }))
        const answered = yield* beforeBody(openFile, 0)
        const [answer] = yield* answered.mta.say(Mta.body(large))
        assert.match(answer!, toldToComeLater)
        const last = yield* beforeBody(openFile)
        const [atEnd] = yield* last.mta.say(Mta.endOfMessage(large))
        assert.match(atEnd!, toldToComeLater)
      })
  )

  effect(
    "is not waited for longer than the answer may take, with signs of life until then",
    () =>
      Effect.gen(function*() {
        const { left, openFile } = disk(() => ({ read: () => Effect.never }))
        const { mta } = yield* beforeBody(openFile)
        yield* mta.write(Mta.body(large), Mta.endOfMessage())
        yield* TestClock.adjust("12 seconds")
        assert.deepStrictEqual(yield* mta.replies, ["Progress", "Progress"])
        yield* TestClock.adjust("5 minutes")
        const replies = yield* mta.replies
        assert.match(replies.at(-1)!, toldToComeLater)
        assert.isTrue(replies.slice(0, -1).every((reply) => reply === "Progress"))
        assert.deepStrictEqual(yield* left, oneClosed)
      })
  )

  effect("is put off if the server stops while it is written", () =>
    Effect.gen(function*() {
      const { left, openFile } = disk(() => ({ append: () => Effect.never }))
      const { mta, server } = yield* beforeBody(openFile, 0)
      yield* mta.replies
      yield* mta.write(Mta.body(large))
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* server.stop
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      assert.deepStrictEqual(yield* left, oneClosed)
    }))

  for (const how of ["end", "reset"] as const) {
    effect(`is gone when the connection is, by ${how}, at any moment`, () =>
      Effect.gen(function*() {
        for (const change of [() => ({ append: () => Effect.never }), () => ({ read: () => Effect.never })]) {
          const { left, openFile } = disk(change)
          const { mta } = yield* beforeBody(openFile)
          yield* mta.write(Mta.body(large), Mta.endOfMessage())
          yield* Mta.settle
          yield* mta[how]
          assert.deepStrictEqual(yield* left, oneClosed)
        }
      }))
  }
})

describe("a file that opens when nobody waits for it any more", () => {
  effect("is closed at once", () =>
    Effect.gen(function*() {
      const { counts, openFile } = Ledger.make(() => undefined)
      const reading = Milter.make("reading").on({ body: () => goOn })
      const editing = Milter.make("editing", { modify: ["replaceBody"] }).on({ endOfMessage: () => goOn })
      const server = yield* Mta.serve(Milter.sequence([editing, reading]), {}, Effect.delay(openFile, "1 minute"))
      const mta = yield* server.open()
      yield* mta.say(Mta.mail(), Mta.rcpt(), Mta.body("x".repeat(300_000)))
      yield* mta.reset
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([counts.filesOpened, counts.filesClosed], [1, 1])
    }))
})

describe("limits of a sequence", () => {
  effect("hold for content that is kept: 552, or on with what came so far unseen by all", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const tagging = Milter.make("tagging", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
      })
      const reading = Milter.make("reading").on({ body: () => Effect.sync(() => (log.push("body"), Verdict.continue)) })
      const send = Effect.fnUntraced(function*(tooLarge: "reject" | "pass") {
        const server = yield* Mta.serve(Milter.sequence([tagging, reading]), { maxBodyBytes: 10, tooLarge })
        const mta = yield* server.open()
        return (yield* mta.say(...Mta.content, Mta.body("more"), Mta.body("and more"), Mta.endOfMessage())).at(-1)
      })
      assert.match((yield* send("reject"))!, /^ReplyCode text="552 5\.3\.4 The message is too large/)
      assert.strictEqual(yield* send("pass"), "Accept")
      assert.deepStrictEqual(log, [])
    }))
})

describe("MTAs that say things in another way", () => {
  effect("the last of the body with its end, as Postfix 2.3 does", () =>
    Effect.gen(function*() {
      const pieces: Array<string> = []
      const editing = Milter.make("editing", { modify: ["changeHeader"] }).on({
        body: ({ bytes }) => Effect.sync(() => (pieces.push(`1 ${new TextDecoder().decode(bytes)}`), Verdict.continue)),
        endOfMessage: (_, { edit }) => Effect.as(edit.changeHeader("Subject", 1, "changed"), Verdict.continue)
      })
      const reading = Milter.make("reading").on({
        header: ({ name, raw }) => Effect.sync(() => (pieces.push(`2 ${name}:${raw}`), Verdict.continue)),
        body: ({ bytes }) => Effect.sync(() => (pieces.push(`2 ${new TextDecoder().decode(bytes)}`), Verdict.continue))
      })
      // It takes away the space in front of values, too.
      const mta = yield* (yield* Mta.serve(Milter.sequence([editing, reading]))).open({ version: 2, steps: 0x7f })
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header("Subject", "hello"), Mta.body("one "))
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage("two")), [
        `ChangeHeader index=1 name="Subject" value="changed"`,
        "Continue"
      ])
      assert.deepStrictEqual(pieces, ["1 one ", "1 two", "2 Subject:changed", "2 one two"])
    }))

  effect("local mail, of which no recipient can be refused", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const first = Milter.make("first").on({
        data: (_, { envelope }) =>
          Effect.sync(() => {
            seen.push(...envelope.recipients.map(({ recipient }) => recipient.address))
            return Verdict.continue
          })
      })
      const second = Milter.make("second").on({
        rcpt: ({ recipient }) =>
          Effect.succeed(recipient.localPart === "bad" ? Verdict.reject({ text: "not him" }) : Verdict.continue)
      })
      const submit = Effect.fnUntraced(function*(hostname: string) {
        const mta = yield* (yield* Mta.serve(Milter.sequence([first, second]))).open()
        const replies = yield* mta.each(
          Mta.connect(hostname, "127.0.0.1", 0),
          Mta.mail(),
          Mta.rcpt("<good@example.org>"),
          Mta.rcpt("<bad@example.org>"),
          Mta.data
        )
        return replies.slice(2)
      })
      const refused = `ReplyCode text="550 5.7.1 not him"`
      assert.deepStrictEqual(yield* submit("localhost"), ["Continue", "Continue", refused])
      assert.deepStrictEqual(seen.splice(0), ["good@example.org"])
      assert.deepStrictEqual(yield* submit("client.example.org"), ["Continue", refused, "Continue"])
      assert.deepStrictEqual(seen, ["good@example.org"])
    }))

  effect("another DATA after one that a later filter refused", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let count = 0
      const mta = yield* (yield* Mta.serve(Milter.sequence([
        Milter.make("first", {
          message: () => Effect.addFinalizer((exit) => Effect.sync(() => void log.push(describeExit(exit))))
        }).on({ rcpt: () => goOn }),
        Milter.make("second").on({
          data: () => Effect.sync(() => ++count === 1 ? Verdict.tempFail({ text: "later" }) : Verdict.continue)
        })
      ]))).open()
      yield* mta.say(Mta.connect(), Mta.mail())
      assert.deepStrictEqual(yield* mta.each(Mta.rcpt(), Mta.data, Mta.rcpt(), Mta.data, Mta.endOfMessage()), [
        "Continue",
        `ReplyCode text="451 4.7.1 later"`,
        "Continue",
        "Continue",
        "Continue"
      ])
      assert.deepStrictEqual(log, ["Accepted"])
    }))

  effect("several SMTP sessions on a connection", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* Mta.serve(Milter.sequence([ending("a", log), ending("b", log)]))
      const mta = yield* server.open()
      yield* mta.say(Mta.connect(), Mta.mail(), Mta.quitNewConnection, Mta.connect())
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["Continue"])
      assert.deepStrictEqual(log.splice(0), [
        "b message interrupted",
        "a message interrupted",
        "b session success",
        "a session success"
      ])
      yield* mta.say(Mta.quit)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(log, [
        "b message interrupted",
        "a message interrupted",
        "b session success",
        "a session success"
      ])
    }))
})

describe("a server without room for a sequence", () => {
  effect("says so at connect and to each message, and asks no filter", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const filter = Milter.sequence([counting("a", log), counting("b", log)])
      const server = yield* Mta.serve(filter, { maxConnections: 1 })
      yield* server.open()
      const mta = yield* server.open()
      const replies = yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail())
      assert.isTrue(replies.every((reply) => reply.startsWith(`ReplyCode text="421 4.3.2 Too many connections`)))
      assert.deepStrictEqual(log, [])
    }))
})

describe("a server that stops", () => {
  effect("puts off what waits behind finalizers", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const server = yield* Mta.serve(Milter.sequence([ending("a", log), ending("b", log)]))
      const mta = yield* server.open()
      yield* mta.say(Mta.mail(), Mta.endOfMessage(), Mta.mail())
      const stopping = yield* Effect.forkChild(server.stop)
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(stopping)
      assert.lengthOf(log, 4)
    }))
})
