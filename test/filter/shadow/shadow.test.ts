/** Filters that see real mail and have no effect on it. */
import { assert, describe, it } from "@effect/vitest"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { signing } from "../../../src/internal/filter/signing.ts"
import { answering, describeExit, Failure, goOn, recorder } from "../../support/filters.ts"
import { order } from "../../support/names.ts"
import * as Mta from "../../support/rawMta.ts"

/** The lines of the shadow, without what all of them have. */
const shadowLines = (
  server: Mta.Server
): ReadonlyArray<{
  readonly text: string
  readonly [fact: string]: unknown
}> =>
  server.infos.filter(({ text }) => text.startsWith("shadow")).map(({ annotations, text }) => {
    const { client, filter, heloName, hostname, sender, session, ...facts } = annotations
    assert.deepStrictEqual([typeof session, sender === undefined, filter === undefined], ["string", false, false])
    assert.include(["192.0.2.1", "unknown"], client)
    assert.include(["client.example", undefined], hostname)
    assert.isTrue(heloName === undefined || typeof heloName === "string")
    return { text, ...facts }
  })

const whole = [Mta.connect(), Mta.helo(), ...Mta.message]
const silence = ["", "", "Continue", "", "", "", "", "", "Continue"]
const no = Verdict.reject({ text: "no" })

/** A stage that was not asked for is answered all the same if it comes. */
const assertSilent = (replies: ReadonlyArray<string>) =>
  assert.deepStrictEqual(replies.filter((reply) => !["", "Continue", "Skip"].includes(reply)), [])

describe("a verdict", () => {
  it.effect("of any stage has no effect and is logged", () =>
    Effect.gen(function*() {
      for (const stage of order) {
        if (stage === "rcpt") continue
        const server = yield* Mta.serve(Milter.shadow(answering({ [stage]: no })))
        const mta = yield* server.open()
        assert.deepStrictEqual(yield* mta.each(...whole), silence, stage)
        assert.deepStrictEqual(shadowLines(server), [{
          text: "shadow rejected",
          recipients: order.indexOf(stage) < 3 ? [] : ["bob@example.org"],
          recipientCount: order.indexOf(stage) < 3 ? 0 : 1,
          outcome: "rejected",
          verdict: "reject",
          stage,
          reply: "550 5.7.1 no"
        }])
        assert.deepStrictEqual(server.logs, [])
      }
    }))

  it.effect("of each kind has its line", () =>
    Effect.gen(function*() {
      const cases = [
        [{}, "accepted", "continue", "endOfMessage"],
        [{ connect: Verdict.acceptConnection }, "accepted", "acceptConnection", "connect"],
        [{ helo: Verdict.tempFail() }, "tempFailed", "tempFail", "helo"],
        [{ mail: Verdict.acceptMessage }, "accepted", "acceptMessage", "mail"],
        [{ rcpt: Verdict.discardMessage }, "discarded", "discardMessage", "rcpt"],
        [{ body: Verdict.skipBody }, "accepted", "continue", "endOfMessage"],
        [{ endOfMessage: Verdict.tempFail() }, "tempFailed", "tempFail", "endOfMessage"]
      ] as const
      for (const [verdicts, outcome, verdict, stage] of cases) {
        const server = yield* Mta.serve(Milter.shadow(answering(verdicts)))
        const mta = yield* server.open()
        assert.deepStrictEqual(yield* mta.each(...whole), silence)
        const [line, ...rest] = shadowLines(server)
        assert.deepStrictEqual(rest, [])
        assert.deepStrictEqual({ ...line, recipients: 0, recipientCount: 0 }, {
          text: `shadow ${outcome}`,
          recipients: 0,
          recipientCount: 0,
          outcome,
          verdict,
          stage
        })
      }
    }))

  it.effect("on the session counts for its messages, that of helo until the next", () =>
    Effect.gen(function*() {
      let helos = 0
      const seen: Array<string> = []
      const filter = Milter.make("test").on({
        helo: () => Effect.sync(() => helos++ === 0 ? no : Verdict.continue),
        mail: () => Effect.sync(() => (seen.push("mail"), Verdict.continue))
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.helo(), ...Mta.message, ...Mta.message, Mta.helo(), ...Mta.message)
      assert.deepStrictEqual(
        shadowLines(server).map(({ text }) => text),
        ["shadow rejected", "shadow rejected", "shadow accepted"]
      )
      assert.deepStrictEqual(seen, ["mail"])
    }))

  it.effect("on recipients is about them", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const filter = Milter.make("test").on({
        rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "bob" ? Verdict.continue : no),
        endOfMessage: (_, { envelope }) =>
          Effect.sync(() => {
            seen.push(envelope.recipients.map(({ recipient }) => recipient.localPart))
            return Verdict.continue
          })
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      const eve = Mta.rcpt("<eve@example.org>")
      const rest = [Mta.header(), Mta.endOfMessage()]
      assertSilent(
        yield* mta.each(Mta.mail(), eve, Mta.rcpt(), Mta.rcpt("<joe@x>"), ...rest, Mta.mail(), eve, ...rest)
      )
      assert.deepStrictEqual(shadowLines(server), [{
        text: "shadow accepted",
        recipients: ["bob@example.org"],
        recipientCount: 1,
        refused: ["eve@example.org: 550 5.7.1 no", "joe@x: 550 5.7.1 no"],
        outcome: "accepted",
        verdict: "continue",
        stage: "endOfMessage"
      }, {
        // Alone it would have kept the message from coming.
        text: "shadow rejected",
        recipients: [],
        recipientCount: 0,
        refused: ["eve@example.org: 550 5.7.1 no"],
        outcome: "rejected",
        verdict: "reject",
        stage: "rcpt",
        reply: "550 5.7.1 no"
      }])
      assert.deepStrictEqual(seen, [["bob"]])
    }))
})

describe("local mail", () => {
  it.effect("would be refused as a whole", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(Milter.shadow(answering({ rcpt: no })))
      const mta = yield* server.open()
      assertSilent(yield* mta.each(Mta.connect("localhost", "127.0.0.1", 0), ...Mta.message))
      assert.deepStrictEqual(
        server.infos.filter(({ text }) => text.startsWith("shadow")).map(({ annotations, text }) => [
          text,
          annotations["stage"]
        ]),
        [["shadow rejected", "rcpt"]]
      )
    }))
})

describe("edits", () => {
  it.effect("are checked and logged, and the MTA is not asked for them", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", {
        modify: ["addHeader", "deleteRecipient"],
        modifyIfOffered: ["quarantine", "replaceBody"]
      }).on({
        endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
          yield* edit.addHeader("X-A", "ü")
          yield* edit.deleteRecipient(envelope.recipients[0]!.recipient)
          yield* Option.getOrThrow(edit.quarantine)("odd")
          yield* Option.getOrThrow(edit.replaceBody)(Stream.make(new Uint8Array(3), new Uint8Array(4)))
          return Verdict.continue
        })
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open({ actions: 0 })
      assert.strictEqual(mta.agreed.actions, 0)
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.endOfMessage()), ["Continue", "", "Continue"])
      assert.deepStrictEqual(shadowLines(server).map(({ modifications }) => modifications), [[
        "AddHeader name=\"X-A\" value=\" =?UTF-8?Q?=C3=BC?=\"",
        "DeleteRecipient recipient=\"<bob@example.org>\"",
        "Quarantine reason=\"odd\"",
        "ReplaceBody bytes=7"
      ]])
    }))

  it.effect("that are impossible are defects, and those of a refused message are none", () =>
    Effect.gen(function*() {
      for (const name of ["X-A", "X:A"]) {
        const filter = Milter.make("test", { modify: ["addHeader", "replaceBody"] }).on({
          endOfMessage: (_, { edit }) =>
            Effect.as(Effect.andThen(edit.replaceBody(new Uint8Array(1)), edit.addHeader(name, "x")), no)
        })
        const server = yield* Mta.serve(Milter.shadow(filter))
        const mta = yield* server.open()
        yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.endOfMessage())
        const [line] = shadowLines(server)
        assert.strictEqual(line?.["modifications"], undefined)
        assert.strictEqual(line?.text, name === "X-A" ? "shadow rejected" : "shadow failed")
      }
    }))
})

describe("documents", () => {
  it.effect("are edited in the shadow, too, where a condition holds", () =>
    Effect.gen(function*() {
      const marking = Message.make("marking", { modify: ["headers", "body"] }).on({
        document: Effect.fnUntraced(function*(document) {
          const { headers } = document
          yield* headers.set("Subject", `[new] ${headers.get("Subject") ?? ""}`)
          yield* document.replaceBody("other\n")
          return Verdict.continue
        })
      })
      const server = yield* Mta.serve(
        Milter.shadow(Milter.when(marking, { mail: ({ sender }) => !sender.isNull }))
      )
      const mta = yield* server.open()
      assertSilent(yield* mta.each(...whole, Mta.mail("<>"), Mta.rcpt(), Mta.endOfMessage()))
      assert.deepStrictEqual(shadowLines(server).map(({ modifications }) => modifications), [[
        "ChangeHeader index=1 name=\"Subject\" value=\" [new] hello\"",
        "ReplaceBody bytes=7"
      ], undefined])
    }))
})

describe("the MTA", () => {
  it.effect("is asked for the stages that are looked at and answered at none", () =>
    Effect.gen(function*() {
      const hooks = { rcpt: () => goOn, header: () => goOn }
      const options = { macros: { mail: ["i"] }, rejectedRecipients: true }
      const answered = Milter.make("test", {
        ...options,
        modify: ["addHeader"],
        modifyIfOffered: ["quarantine"]
      }).on(hooks, { body: () => Effect.void })
      const watched = Milter.make("test", options).on({}, {
        rcpt: () => Effect.void,
        header: () => Effect.void,
        body: () => Effect.void
      })
      const negotiated = Effect.fnUntraced(function*(filter: Milter.Filter<never, never>) {
        const mta = yield* (yield* Mta.serve(filter)).dial
        return yield* mta.say(Mta.negotiate())
      })
      assert.deepStrictEqual(yield* negotiated(Milter.shadow(answered)), yield* negotiated(watched))
      assert.deepStrictEqual(
        yield* negotiated(Milter.shadow(Milter.make("none", { refuseConnection: true }).on({}))),
        yield* negotiated(Milter.make("none").on({}))
      )
    }))

  it.effect("waits for nothing", () =>
    Effect.gen(function*() {
      for (const stage of order) {
        const server = yield* Mta.serve(Milter.shadow(answering({ [stage]: Effect.never })))
        // One that waits for an answer to everything.
        const mta = yield* server.open({ steps: 0 })
        assert.deepStrictEqual(
          yield* mta.each(...whole, Mta.mail()),
          [...whole, Mta.mail()].map(() => "Continue"),
          stage
        )
      }
    }))

  it.effect("sends mail in many ways", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const outcome = yield* MilterTest.message(Milter.shadow(answering({ rcpt: no })), {
          from: "alice@example.org",
          to: ["bob@example.net"],
          body: "hi"
        }, { as })
        MilterTest.assertAccepted(outcome, { recipients: ["bob@example.net"] })
      }
    }))
})

describe("hooks run later", () => {
  it.effect("and see what was there when they would have run", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const seen: Array<string> = []
      const filter = Milter.make("test").on({
        connect: () => Effect.as(gate.await, Verdict.continue),
        helo: ({ name }, { session }) =>
          Effect.sync(() => (seen.push(`helo ${name} ${session.heloName}`), Verdict.continue)),
        mail: (_, { session }) =>
          Effect.sync(() => (seen.push(`mail ${session.macros.get("i")} ${session.heloName}`), Verdict.continue)),
        rcpt: (_, { envelope, session }) =>
          Effect.sync(() => {
            seen.push(`rcpt ${session.macros.get("rcpt_addr")} of ${envelope.recipients.length}`)
            return Verdict.continue
          }),
        header: ({ name, value }) => Effect.sync(() => (seen.push(`${name}: ${value}`), Verdict.continue)),
        body: ({ bytes }) => Effect.sync(() => (seen.push(new TextDecoder().decode(bytes)), Verdict.continue)),
        unknown: ({ line }, { session }) =>
          Effect.sync(() => (seen.push(`unknown ${line} ${session.macros.get("x")}`), Verdict.continue))
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      // As sockets give it, whose slices are views.
      const bytes = Buffer.from(Mta.encode(
        Mta.connect(),
        Mta.helo("one"),
        Mta.helo("two"),
        Mta.macros("M", { i: "Q1" }),
        Mta.mail(),
        Mta.macros("R", { "{rcpt_addr}": "bob" }),
        Mta.rcpt(),
        Mta.macros("R", { "{rcpt_addr}": "eve" }),
        Mta.rcpt("<eve@x>"),
        Mta.header(),
        Mta.body("body"),
        Mta.endOfMessage(),
        Mta.macros("U", { x: "y" }),
        Mta.unknown("FOO"),
        Mta.macros("M", { i: "Q2" }),
        Mta.mail(),
        Mta.endOfMessage()
      ))
      yield* mta.raw(bytes)
      bytes.fill(0x21)
      assert.deepStrictEqual(seen, [])
      yield* gate.open
      yield* Mta.settle
      assert.deepStrictEqual(seen, [
        "helo one one",
        "helo two two",
        "mail Q1 two",
        "rcpt bob of 1",
        "rcpt eve of 2",
        "Subject: hello",
        "body",
        "unknown FOO y",
        "mail Q2 two"
      ])
      assert.deepStrictEqual(shadowLines(server).map(({ queueId }) => queueId), ["Q1", "Q2"])
    }))

  it.effect("with state of their own, which closes with what they decided", () =>
    Effect.gen(function*() {
      const cases = [
        [{}, "Accepted"],
        [{ rcpt: Verdict.discardMessage }, "Discarded by test"],
        [{ mail: no }, "Rejected by test"],
        [{ endOfMessage: Verdict.tempFail() }, "TempFailed by test"],
        [{ header: Effect.die("boom") }, "failed with boom"]
      ] as const
      for (const [verdicts, outcome] of cases) {
        const { options, take } = recorder()
        const filter = Milter.make("test", options).on({
          mail: () => "mail" in verdicts ? Effect.succeed(verdicts.mail) : goOn,
          rcpt: () => "rcpt" in verdicts ? Effect.succeed(verdicts.rcpt) : goOn,
          header: () => "header" in verdicts ? verdicts.header : goOn,
          endOfMessage: () => "endOfMessage" in verdicts ? Effect.succeed(verdicts.endOfMessage) : goOn
        })
        const mta = yield* (yield* Mta.serve(Milter.shadow(filter))).open()
        yield* mta.each(...whole, Mta.quit)
        yield* Mta.settle
        assert.deepStrictEqual(take(), [
          "connection 1 opens",
          "message 1 opens",
          `message 1 closes: ${outcome}`,
          "connection 1 closes: success"
        ])
      }
    }))

  it.effect("and go on for a message that is through while the client goes", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({
        endOfMessage: () => Effect.as(Effect.sleep("10 seconds"), Verdict.continue)
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      yield* mta.each(...whole, Mta.quit)
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(take(), ["connection 1 opens", "message 1 opens"])
      yield* TestClock.adjust("10 seconds")
      yield* Mta.settle
      assert.deepStrictEqual(take(), ["message 1 closes: Accepted", "connection 1 closes: success"])
      assert.strictEqual(shadowLines(server).length, 1)
    }))

  it.effect("one after the other, over several sessions of a connection", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({ mail: () => Effect.as(Effect.yieldNow, Verdict.continue) })
      const mta = yield* (yield* Mta.serve(Milter.shadow(filter))).open()
      yield* mta.each(Mta.connect(), ...Mta.message, ...Mta.message, Mta.quitNewConnection, Mta.connect(), Mta.mail())
      yield* Mta.settle
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "message 1 opens",
        "message 1 closes: Accepted",
        "message 2 opens",
        "message 2 closes: Accepted",
        "connection 1 closes: success",
        "connection 2 opens",
        "message 3 opens"
      ])
    }))
})

describe("a message that is given up", () => {
  const slow = () => {
    const { log, options, take } = recorder()
    const filter = Milter.make("test", options).on({
      rcpt: () => Effect.onInterrupt(Effect.never, () => log("interrupted")),
      endOfMessage: () => Effect.as(log("end"), Verdict.continue)
    })
    return { filter: Milter.shadow(filter), take }
  }

  it.effect("by RSET interrupts its hook, and what waits is dropped", () =>
    Effect.gen(function*() {
      for (const end of [[Mta.abort], []]) {
        const { filter, take } = slow()
        const server = yield* Mta.serve(filter)
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.rcpt(), ...end, Mta.mail(), Mta.endOfMessage())
        assert.deepStrictEqual(take(), [
          "connection 1 opens",
          "message 1 opens",
          "interrupted",
          "message 1 closes: interrupted",
          "message 2 opens",
          "end",
          "message 2 closes: Accepted"
        ])
        assert.deepStrictEqual(shadowLines(server).map(({ text }) => text), ["shadow aborted", "shadow accepted"])
        assert.deepStrictEqual(server.logs, [])
      }
    }))

  it.effect("by the end of the connection, too", () =>
    Effect.gen(function*() {
      for (const end of ["quit", "end", "reset"] as const) {
        const { filter, take } = slow()
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        yield* end === "quit" ? mta.say(Mta.quit) : mta[end]
        assert.deepStrictEqual(take(), [
          "connection 1 opens",
          "message 1 opens",
          "interrupted",
          "message 1 closes: interrupted",
          `connection 1 closes: ${end === "quit" ? "success" : "interrupted"}`
        ])
      }
    }))

  it.effect("while a hook runs that cannot be interrupted: the next message waits for that", () =>
    Effect.gen(function*() {
      const { log, options, take } = recorder()
      const filter = Milter.make("test", options).on({
        rcpt: () =>
          Effect.as(Effect.uninterruptible(Effect.andThen(Effect.sleep("1 second"), log("done"))), Verdict.continue)
      })
      const mta = yield* (yield* Mta.serve(Milter.shadow(filter))).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.abort, Mta.mail(), Mta.quit)
      assert.deepStrictEqual(take(), ["connection 1 opens", "message 1 opens"])
      yield* TestClock.adjust("1 second")
      yield* Mta.settle
      assert.deepStrictEqual(take(), ["done", "message 1 closes: interrupted", "connection 1 closes: success"])
    }))

  it.effect("before its hooks have begun shows nothing to them", () =>
    Effect.gen(function*() {
      const { filter, take } = slow()
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.raw(Mta.encode(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.abort, Mta.quit))
      yield* Mta.settle
      assert.deepStrictEqual(take(), ["connection 1 opens", "connection 1 closes: success"])
    }))

  it.effect("and the server that stops interrupts them", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({ endOfMessage: () => Effect.never })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      yield* mta.each(...whole, Mta.quit)
      take()
      yield* server.stop
      assert.deepStrictEqual(take(), ["message 1 closes: interrupted", "connection 1 closes: interrupted"])
      assert.deepStrictEqual(shadowLines(server).map(({ text }) => text), ["shadow aborted"])
    }))

  it.effect("by another filter of the sequence is not looked at any more", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const watching = Milter.make("watching", options).on({ endOfMessage: () => goOn })
      const server = yield* Mta.serve(
        Milter.sequence([
          Milter.shadow(watching),
          answering({ data: no }),
          answering({ header: Verdict.discardMessage })
        ])
      )
      const mta = yield* server.open()
      yield* mta.each(...whole.slice(0, 4), Mta.header())
      yield* Mta.settle
      assert.deepStrictEqual(take(), ["connection 1 opens", "message 1 opens", "message 1 closes: interrupted"])
      assert.deepStrictEqual(shadowLines(server).map(({ text }) => text), ["shadow aborted"])
    }))
})

describe("a filter that fails", () => {
  it.effect("touches no mail, whether it says how or not", () =>
    Effect.gen(function*() {
      const failures: ReadonlyArray<readonly [string, () => Effect.Effect<never, Failure>]> = [
        ["typed", () => Effect.fail(new Failure({ at: "typed" }))],
        ["defect", () => Effect.die(new Error("defect"))],
        ["throw", () => {
          throw new Error("throw")
        }],
        ["no effect", () => undefined as never],
        ["interrupt", () => Effect.interrupt]
      ]
      for (const stage of order) {
        for (const [name, failure] of failures) {
          if (stage === "rcpt" && name !== "typed") continue
          const hook: { readonly mail?: () => Effect.Effect<never, Failure> } = { [stage]: failure }
          const server = yield* Mta.serve(Milter.shadow(Milter.make("test").on(hook)))
          const mta = yield* server.open({ steps: 0 })
          assert.deepStrictEqual(yield* mta.each(...whole), whole.map(() => "Continue"), `${stage} ${name}`)
          const [line, ...rest] = shadowLines(server)
          assert.deepStrictEqual(rest, [])
          assert.deepStrictEqual([line?.text, line?.["stage"]], ["shadow failed", stage], name)
          assert.strictEqual(line?.["verdict"], name === "typed" ? undefined : "tempFail")
          assert.strictEqual(server.logs.length, 1)
          assert.deepStrictEqual(
            [server.logs[0]?.level, server.logs[0]?.text.split(":")[0]],
            ["Warn", `the shadow of test failed at ${stage}`]
          )
        }
      }
    }))

  it.effect("has the policies that it would have", () =>
    Effect.gen(function*() {
      const failing = Milter.make("test", { onDefect: "pass" }).on({
        mail: ({ sender }) => sender.isNull ? Effect.die("boom") : Effect.fail("down")
      })
      const handler = Milter.onFailure((error: string) => Effect.succeed(Verdict.tempFail({ text: error })))
      const server = yield* Mta.serve(failing.pipe(handler, Milter.shadow))
      const mta = yield* server.open()
      yield* mta.each(Mta.mail(), Mta.endOfMessage(), Mta.mail("<>"), Mta.endOfMessage())
      assert.deepStrictEqual(
        shadowLines(server).map(({ error, reply, text, verdict }) => [text, verdict, reply, error]),
        [
          ["shadow failed", "tempFail", "451 4.7.1 down", "down"],
          ["shadow failed", "acceptMessage", undefined, "boom"]
        ]
      )
    }))

  it.effect("in its state, of a message or of the connection", () =>
    Effect.gen(function*() {
      for (const state of ["connection", "message"] as const) {
        const filter = Milter.make("test", { [state]: () => Effect.fail("down") }).on({})
        const server = yield* Mta.serve(Milter.shadow(filter))
        const mta = yield* server.open()
        assertSilent(yield* mta.each(...whole, ...Mta.message))
        assert.deepStrictEqual(
          shadowLines(server).map(({ stage, text }) => [text, stage]),
          [1, 2].map(() => ["shadow failed", state === "connection" ? "connect" : "mail"])
        )
      }
    }))

  it.effect("in a finalizer, which is logged", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { message: () => Effect.addFinalizer(() => Effect.die("boom")) }).on({})
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      assertSilent(yield* mta.each(...whole))
      assert.match(server.logs[0]?.text ?? "", /a finalizer of the shadow of test failed/)
    }))

  it.effect("and its circuit breaker, which works for it alone", () =>
    Effect.gen(function*() {
      let tries = 0
      const broken = Milter.make("broken").on({ mail: () => Effect.suspend(() => (tries++, Effect.fail("down"))) })
      const breaker = Milter.circuitBreaker({ failures: 2, openFor: "1 hour", whileOpen: "pass" })
      const handled = Milter.onFailure(broken, () => Effect.succeed(Verdict.reject()))
      for (
        const filter of [
          broken.pipe(breaker, Milter.shadow),
          broken.pipe(Milter.shadow, breaker),
          // What handles a failure must not hide it from the breaker.
          handled.pipe(breaker, Milter.shadow)
        ]
      ) {
        tries = 0
        const server = yield* Mta.serve(filter)
        const mta = yield* server.open()
        const messages = [1, 2, 3, 4].flatMap(() => [Mta.mail(), Mta.endOfMessage()])
        assert.deepStrictEqual(yield* mta.each(...messages), messages.map(() => "Continue"))
        assert.strictEqual(tries, 2)
      }
    }))
})

describe("a filter that is slow", () => {
  it.effect("gives up on a message that is more than it can hold, with a warning", () =>
    Effect.gen(function*() {
      const { log, options, take } = recorder()
      const gate = yield* Deferred.make<void>()
      const filter = Milter.make("test", options).on({
        header: () => Effect.as(Deferred.await(gate), Verdict.continue),
        body: () => goOn,
        endOfMessage: () => Effect.as(log("end"), Verdict.continue)
      })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.header())
      const piece = Mta.body("x".repeat(65_000))
      for (let sent = 0; sent < 20; sent++) yield* mta.write(piece)
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage()), ["Continue"])
      assert.deepStrictEqual(take(), ["connection 1 opens", "message 1 opens", "message 1 closes: interrupted"])
      assert.deepStrictEqual(server.logs.map(({ level, text }) => [level, text]), [
        ["Warn", "the shadow of test cannot keep up and gives up"]
      ])
      assert.deepStrictEqual(shadowLines(server), [])
      // The next one finds room.
      yield* Deferred.succeed(gate, undefined)
      yield* mta.each(...Mta.message)
      assert.deepStrictEqual(take(), ["message 2 opens", "end", "message 2 closes: Accepted"])
    }))

  it.effect("has room again when what waited is given up", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({ header: () => Effect.never, body: () => goOn })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      const pieces = Array.from({ length: 14 }, () => Mta.body("x".repeat(65_000)))
      for (let message = 0; message < 3; message++) {
        yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.header())
        for (const piece of pieces) yield* mta.say(piece)
        yield* mta.say(Mta.abort)
      }
      assert.deepStrictEqual(server.logs, [])
      assert.strictEqual(shadowLines(server).length, 3)
    }))

  it.effect("gives up on a session whose commands are more than that", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({ connect: () => Effect.never, unknown: () => goOn })
      const server = yield* Mta.serve(Milter.shadow(filter))
      const mta = yield* server.open()
      yield* mta.write(Mta.connect(), Mta.mail())
      for (let count = 0; count < 50; count++) {
        yield* mta.write(...Array.from({ length: 100 }, () => Mta.unknown()))
        yield* mta.replies
      }
      assert.deepStrictEqual(
        yield* mta.each(Mta.endOfMessage(), ...Mta.message).pipe(Effect.map((all) => all.at(-1))),
        "Continue"
      )
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "the shadow of test cannot keep up and gives up on this session"
      ])
      yield* mta.say(Mta.quit)
      assert.deepStrictEqual(take(), ["connection 1 opens"])
    }))

  it.effect("is interrupted after four minutes", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(Milter.shadow(answering({ endOfMessage: Effect.never })))
      const mta = yield* server.open()
      yield* mta.each(...whole, Mta.quit)
      yield* TestClock.adjust("4 minutes")
      yield* Mta.settle
      assert.deepStrictEqual(shadowLines(server).map(({ error, text }) => [text, error]), [
        ["shadow failed", "no answer within 4 minutes"]
      ])
    }))
})

describe("together with other things", () => {
  it.effect("a filter ahead that edits and refuses, and one behind", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const editing = Milter.make("editing", { modify: ["changeHeader"] }).on({
        rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "eve" ? no : Verdict.continue),
        endOfMessage: (_, { edit }) => Effect.as(edit.changeHeader("Subject", 1, "edited"), Verdict.continue)
      })
      const watching = Milter.make("watching", { modify: ["addHeader"] }).on({
        rcpt: ({ recipient }) => Effect.sync(() => (seen.push(recipient.localPart), Verdict.continue)),
        header: ({ name, value }) => Effect.sync(() => (seen.push(`${name}: ${value}`), Verdict.continue)),
        endOfMessage: (_, { edit, envelope }) =>
          Effect.suspend(() => {
            seen.push(envelope.recipients.map(({ recipient }) => recipient.localPart).join())
            return Effect.as(edit.addHeader("X-Shadow", "yes"), Verdict.continue)
          })
      })
      const behind = Milter.make("behind").on({
        rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "joe" ? no : Verdict.continue),
        header: ({ name, value }) => Effect.sync(() => (seen.push(`behind ${name}: ${value}`), Verdict.continue))
      })
      const outcome = yield* MilterTest.message(Milter.sequence([editing, Milter.shadow(watching), behind]), {
        from: "alice@example.org",
        to: ["bob@example.net", "eve@example.net", "joe@example.net"],
        headers: [["Subject", "hello"]],
        body: "hi"
      })
      MilterTest.assertAccepted(outcome, {
        recipients: ["bob@example.net"],
        headers: { Subject: "edited", "X-Shadow": undefined }
      })
      assert.deepStrictEqual(seen.toSorted(), [
        "Subject: edited",
        "behind Subject: edited",
        "bob",
        "bob",
        "joe"
      ])
    }))

  it.effect("a filter that would sign, and one behind that edits", () =>
    Effect.gen(function*() {
      const signer = signing("dkim", answering({}, "signer"))
      const editing = Milter.make("editing", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-A", "b"), Verdict.continue)
      })
      const mta = yield* (yield* Mta.serve(Milter.sequence([Milter.shadow(signer), editing]))).open()
      assert.include((yield* mta.each(...whole)).at(-1), "AddHeader")
    }))

  it.effect("a sequence, of which each is a shadow of its own", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(
        Milter.shadow(Milter.sequence([answering({ mail: no }, "one"), answering({ body: no }, "two")]))
      )
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(...whole), silence)
      const lines = server.infos.filter(({ text }) => text.startsWith("shadow"))
      assert.deepStrictEqual(lines.map(({ annotations }) => [annotations["filter"], annotations["stage"]]), [
        ["one", "mail"],
        ["two", "body"]
      ])
    }))

  it.effect("conditions, inside and outside", () =>
    Effect.gen(function*() {
      const condition = Milter.when({ mail: ({ sender }) => !sender.isNull })
      const filter = answering({ connect: no })
      const cases = [[filter.pipe(condition, Milter.shadow), 2], [filter.pipe(Milter.shadow, condition), 1]] as const
      for (const [filter, lines] of cases) {
        const server = yield* Mta.serve(filter)
        const mta = yield* server.open({ steps: 0 })
        yield* mta.each(...whole, Mta.mail("<>"), Mta.endOfMessage())
        const logged = shadowLines(server).map(({ text }) => text)
        assert.deepStrictEqual(logged, ["shadow rejected", "shadow accepted"].slice(0, lines))
      }
    }))

  it.effect("services of a layer, and a layer of a shadow", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, { readonly name: string }>()("test/Db") {}
      class Key extends Milter.Service<Key>()("test/Key") {}
      const filter = Milter.make("test").on({
        mail: () => Effect.map(Db, ({ name }) => Verdict.reject({ text: name }))
      })
      const inner = Layer.provide(Milter.layer(Key, filter), Layer.succeed(Db, { name: "inner" }))
      const outer = Layer.provide(Milter.layer(Key, Milter.shadow(filter)), Layer.succeed(Db, { name: "outer" }))
      for (const [name, served, layer] of [["inner", Milter.shadow(Key), inner], ["outer", Key, outer]] as const) {
        const server = yield* Mta.serve(served).pipe(Effect.provide(layer))
        const mta = yield* server.open()
        assertSilent(yield* mta.each(...whole))
        // The layer of the second is gone with the effect that it was provided to.
        assert.deepStrictEqual(shadowLines(server).map(({ reply }) => reply), [`550 5.7.1 ${name}`])
      }
    }))

  it.effect("finalizers, which learn what the engine's do", () =>
    Effect.gen(function*() {
      const exits: Array<string> = []
      const filter = Milter.make("test", {
        message: () => Effect.addFinalizer((exit) => Effect.sync(() => exits.push(describeExit(exit))))
      }).on({ rcpt: () => Effect.succeed(no) })
      const mta = yield* (yield* Mta.serve(Milter.shadow(filter))).open()
      yield* mta.each(...whole)
      assert.deepStrictEqual(exits, ["Rejected by test"])
    }))
})
