/** Refusals from before RCPT that are given to each recipient. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import { answering, goOn, recorder } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"

const atRcpt = Milter.delayReject({ at: "rcpt" })
const sparing = Milter.delayReject({
  at: "rcpt",
  except: ({ recipient }) => recipient.localPart === "postmaster"
})
const postmaster = Mta.rcpt("<postmaster@example.org>")
const refused = "ReplyCode text=\"550 5.7.1 no\""
const no = Verdict.reject({ text: "no" })

const early = ["connect", "helo", "mail"] as const

describe("a refusal", () => {
  it.effect("of connect, helo or mail comes at each recipient of each message", () =>
    Effect.gen(function*() {
      for (const stage of early) {
        for (const [verdict, reply] of [[no, refused], [Verdict.tempFail(), "TempFail"]] as const) {
          const mta = yield* (yield* Mta.serve(atRcpt(answering({ [stage]: verdict })))).open()
          assert.deepStrictEqual(
            yield* mta.each(
              Mta.connect(),
              Mta.helo(),
              Mta.mail(),
              Mta.rcpt(),
              postmaster,
              Mta.abort,
              Mta.mail("<other@x>"),
              Mta.rcpt()
            ),
            ["Continue", "Continue", "Continue", reply, reply, "", "Continue", reply],
            stage
          )
        }
      }
    }))

  it.effect("of helo is forgotten with the next HELO, one of connect is not", () =>
    Effect.gen(function*() {
      let helos = 0
      const filter = Milter.make("test").on({ helo: () => Effect.sync(() => helos++ === 0 ? no : Verdict.continue) })
      const mta = yield* (yield* Mta.serve(atRcpt(filter))).open()
      const message = [Mta.mail(), Mta.rcpt(), Mta.abort]
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), ...message, Mta.helo(), ...message),
        ["", "Continue", "Continue", refused, "", "Continue", "Continue", "Continue", ""]
      )
      const other = yield* (yield* Mta.serve(atRcpt(answering({ connect: no })))).open()
      assert.deepStrictEqual(
        yield* other.each(Mta.connect(), Mta.helo(), Mta.helo(), ...message),
        ["Continue", "Continue", "Continue", "Continue", refused, ""]
      )
    }))

  it.effect("of the earliest stage counts, and ends the filter's part where nobody is exempt", () =>
    Effect.gen(function*() {
      const { log, options, take } = recorder()
      const said = (what: string, verdict: typeof no) => Effect.as(log(what), verdict)
      const filter = Milter.make("test", options).on({
        connect: () => said("connect", no),
        helo: () => said("helo", Verdict.reject({ text: "helo" })),
        mail: () => said("mail", Verdict.reject({ text: "mail" })),
        rcpt: () => said("rcpt", Verdict.reject({ text: "rcpt" })),
        unknown: () => said("unknown", Verdict.reject({ text: "unknown" }))
      })
      const message = [Mta.connect(), Mta.helo(), Mta.unknown(), Mta.mail(), postmaster]
      const mta = yield* (yield* Mta.serve(atRcpt(filter))).open()
      assert.deepStrictEqual(yield* mta.each(...message, Mta.abort, Mta.quit), [
        "Continue",
        "Continue",
        "Continue",
        "Continue",
        refused,
        "",
        ""
      ])
      assert.deepStrictEqual(take(), ["connection 1 opens", "connect", "connection 1 closes: success"])
      const other = yield* (yield* Mta.serve(sparing(filter))).open()
      assert.deepStrictEqual(yield* other.each(...message, Mta.rcpt()), [
        "Continue",
        "Continue",
        "ReplyCode text=\"550 5.7.1 unknown\"",
        "Continue",
        "ReplyCode text=\"550 5.7.1 rcpt\"",
        refused
      ])
      assert.deepStrictEqual(take(), [
        "connection 2 opens",
        "connect",
        "helo",
        "unknown",
        "message 1 opens",
        "mail",
        "rcpt"
      ])
    }))

  it.effect("is not given to recipients who are exempt; for them the filter goes on", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const filter = Milter.make("test").on({
        mail: () => Effect.succeed(no),
        rcpt: ({ recipient }) => recipient.domain === "bad.example" ? Effect.succeed(Verdict.tempFail()) : goOn,
        header: () => goOn,
        endOfMessage: (_, { envelope }) => Effect.sync(() => (seen.push(envelope.recipients.length), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(sparing(filter))).open()
      assert.deepStrictEqual(
        yield* mta.each(
          Mta.mail(),
          Mta.rcpt(),
          postmaster,
          Mta.rcpt("<postmaster@bad.example>"),
          Mta.rcpt(),
          Mta.header(),
          Mta.endOfMessage()
        ),
        ["Continue", refused, "Continue", "TempFail", refused, "Continue", "Continue"]
      )
      assert.deepStrictEqual(seen, [1])
    }))

  it.effect("asks an effect about exempt recipients, with the session and the envelope", () =>
    Effect.gen(function*() {
      const filter = Milter.delayReject(answering({ connect: no }), {
        at: "rcpt",
        except: Effect.fnUntraced(function*({ recipient }, { envelope, session }) {
          yield* Effect.yieldNow
          assert.strictEqual(recipient, envelope.recipients.at(-1)?.recipient)
          return session.heloName === "good" && envelope.sender.localPart === "alice"
        })
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo("good"), Mta.mail(), Mta.rcpt(), Mta.mail("<eve@x>"), Mta.rcpt()),
        ["Continue", "Continue", "Continue", "Continue", "Continue", refused]
      )
    }))

  it.effect("that finds no recipient is repeated to an MTA that goes on all the same", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({
        mail: () => Effect.succeed(no),
        data: () => Effect.die("not reached"),
        endOfMessage: () => Effect.die("not reached")
      })
      let messages = 0
      for (const delayed of [atRcpt(filter), sparing(filter)]) {
        const mta = yield* (yield* Mta.serve(delayed)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data, Mta.endOfMessage()),
          ["Continue", refused, refused, refused]
        )
        assert.deepStrictEqual(take().slice(1), [
          `message ${++messages} opens`,
          `message ${messages} closes: Rejected by test`
        ])
      }
    }))

  it.effect("of local mail is given for the message", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(atRcpt(answering({ mail: no })))).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect("localhost", "127.0.0.1", 0), Mta.mail(), Mta.rcpt(), Mta.data),
        ["Continue", "Continue", "Continue", refused]
      )
    }))
})

describe("everything else", () => {
  it.effect("passes through at once", () =>
    Effect.gen(function*() {
      const cases = [
        [{ connect: Verdict.acceptConnection }, ["Accept", "Continue", "Accept"]],
        [{ helo: Verdict.acceptConnection }, ["Continue", "Accept", "Accept"]],
        [{ mail: Verdict.acceptMessage }, ["Continue", "Continue", "Accept"]],
        [{ mail: Verdict.discardMessage }, ["Continue", "Continue", "Discard"]],
        [{ rcpt: no }, ["Continue", "Continue", "Continue", refused, "Continue"]],
        [{ rcpt: Verdict.discardMessage }, ["Continue", "Continue", "Continue", "Discard"]],
        [{ header: no }, ["Continue", "Continue", "Continue", "Continue", "Continue", refused]]
      ] as const
      for (const [verdicts, expected] of cases) {
        for (const delay of [atRcpt, sparing]) {
          const mta = yield* (yield* Mta.serve(delay(answering(verdicts)))).open()
          const replies = yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.data, Mta.header())
          assert.deepStrictEqual<ReadonlyArray<string>>(replies.slice(0, expected.length), expected)
        }
      }
    }))

  it.effect("but an accept or discard behind a refusal waits for the recipients", () =>
    Effect.gen(function*() {
      const cases = [
        [{ connect: no, helo: Verdict.acceptConnection }, "Accept"],
        [{ connect: no, mail: Verdict.acceptMessage }, "Accept"],
        [{ helo: no, mail: Verdict.discardMessage }, "Discard"],
        [{ mail: no, rcpt: Verdict.acceptMessage }, "Accept"],
        [{ connect: no, rcpt: Verdict.discardMessage }, "Discard"]
      ] as const
      for (const [verdicts, reply] of cases) {
        const filter = sparing(answering(verdicts))
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), postmaster, Mta.rcpt(), postmaster, Mta.data),
          ["Continue", "Continue", "Continue", "Continue", refused, "Continue", reply]
        )
      }
      // At the end where nothing before it is answered.
      const short = Milter.make("test").on({
        connect: () => Effect.succeed(no),
        mail: () => Effect.succeed(Verdict.discardMessage)
      })
      const mta = yield* (yield* Mta.serve(sparing(short))).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), postmaster, Mta.endOfMessage()),
        ["Continue", "Continue", "Continue", "Discard"]
      )
    }))

  it.effect("so do failures, whose policy is not delayed", () =>
    Effect.gen(function*() {
      for (const stage of early) {
        const filter = atRcpt(answering({ [stage]: Effect.die("boom") }))
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail()),
          ["Continue", "Continue", "TempFail"],
          stage
        )
      }
      const typed = Milter.make("test", { refuseConnection: true, connection: () => Effect.fail("down") }).on({})
      const handled = typed.pipe(atRcpt, Milter.onFailure((error) => Effect.succeed(Verdict.reject({ text: error }))))
      const mta = yield* (yield* Mta.serve(handled)).open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail()), [
        "ReplyCode text=\"550 5.7.1 down\"",
        "ReplyCode text=\"550 5.7.1 down\""
      ])
      const exempting = Milter.delayReject(answering({ mail: no }), { at: "rcpt", except: () => Effect.die("boom") })
      const other = yield* (yield* Mta.serve(exempting)).open()
      assert.deepStrictEqual(yield* other.each(Mta.mail(), Mta.rcpt(), Mta.rcpt()), [
        "Continue",
        "TempFail",
        "TempFail"
      ])
    }))

  it.effect("a circuit breaker that opens meanwhile does not change what was decided", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: ({ sender }) => sender.isNull ? Effect.die("boom") : Effect.succeed(no),
        rcpt: () => goOn
      }).pipe(atRcpt, Milter.circuitBreaker({ failures: 1, openFor: "1 hour", whileOpen: "pass" }))
      const server = yield* Mta.serve(filter)
      const one = yield* server.open()
      const two = yield* server.open()
      assert.deepStrictEqual(yield* one.each(Mta.mail()), ["Continue"])
      assert.deepStrictEqual(yield* two.each(Mta.mail("<>"), Mta.mail()), ["TempFail", "Accept"])
      assert.deepStrictEqual(yield* one.each(Mta.rcpt()), [refused])
    }))

  it.effect("observers and state are as they were", () =>
    Effect.gen(function*() {
      const { log, options, take } = recorder()
      const filter = Milter.make("test", { ...options, rejectedRecipients: true, modify: ["addHeader"] }).on({
        mail: ({ sender }) => Effect.succeed(sender.isNull ? no : Verdict.continue),
        endOfMessage: (_, { connection, edit, message }) =>
          Effect.as(edit.addHeader("X-State", `${connection} ${message}`), Verdict.continue)
      }, {
        connect: (_, { connection }) => log(`connect ${connection}`),
        rcpt: (_, { connection, message }) => log(`rcpt ${connection} ${message}`),
        rejectedRecipient: ({ recipient }) => log(`rejected ${recipient.address}`),
        header: () => log("header")
      })
      const mta = yield* (yield* Mta.serve(atRcpt(filter))).open()
      const rejected = Mta.macros("R", { "{rcpt_mailer}": "error" })
      const message = [Mta.rcpt(), Mta.header(), Mta.endOfMessage()]
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail(), ...message), [
        "",
        "Continue",
        "Continue",
        "",
        "AddHeader name=\"X-State\" value=\" connection 1 message 1\", Continue"
      ])
      yield* mta.each(Mta.mail(), rejected, Mta.rcpt("<gone@x>"))
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect connection 1",
        "message 1 opens",
        "rcpt connection 1 message 1",
        "header",
        "message 1 closes: Accepted",
        "message 2 opens",
        "rejected gone@x"
      ])
      yield* mta.each(Mta.mail("<>"), rejected, Mta.rcpt("<gone@x>"), Mta.rcpt())
      assert.deepStrictEqual(take(), ["message 2 closes: interrupted", "message 3 opens"])
    }))
})

describe("together with other combinators", () => {
  it.effect("a condition inside or outside", () =>
    Effect.gen(function*() {
      const condition = Milter.when({ mail: ({ sender }) => !sender.isNull })
      for (
        const filter of [
          answering({ connect: no }).pipe(atRcpt, condition),
          answering({ connect: no }).pipe(condition, atRcpt)
        ]
      ) {
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail("<>"), Mta.mail(), Mta.rcpt(), Mta.mail("<>")),
          ["", "", "Accept", "Continue", refused, "Accept"]
        )
      }
    }))

  it.effect("filters of a sequence, each with refusals of its own", () =>
    Effect.gen(function*() {
      const one = answering({ mail: Verdict.reject({ text: "one" }) }, "one")
      const two = answering({ connect: Verdict.tempFail({ text: "two" }) }, "two")
      const other = answering({ mail: no }, "other")
      const at = (text: string) => `ReplyCode text="550 5.7.1 ${text}"`
      const both = yield* (yield* Mta.serve(sparing(Milter.sequence([one, two])))).open()
      const message = [Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), postmaster]
      assert.deepStrictEqual(yield* both.each(...message), ["Continue", "Continue", "Continue", at("one"), "Continue"])
      const last = yield* (yield* Mta.serve(Milter.sequence([sparing(one), other]))).open()
      assert.deepStrictEqual(yield* last.each(...message.slice(0, 3)), ["Continue", "Continue", refused])
    }))

  it.effect("is what the sender and the log of the MTA see", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const outcome = yield* MilterTest.message(atRcpt(answering({ helo: no })), {
          from: "alice@example.org",
          to: ["bob@example.net", "carol@example.net"],
          body: "hi"
        }, { as })
        MilterTest.assertRejected(outcome, { stage: "rcpt", reply: /^550 5\.7\.1 .*no$/ })
      }
    }))
})
