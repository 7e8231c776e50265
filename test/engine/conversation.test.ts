/** What a session answers: verdicts, macros, state and failures at each stage. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Answered, answering, before, commands, Failure, goOn, recorder } from "../support/filters.ts"
import { order, stages } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"

const basic: ReadonlyArray<readonly [Verdict.Verdict, string]> = [
  [Verdict.continue, "Continue"],
  [Verdict.reject(), "Reject"],
  [Verdict.tempFail(), "TempFail"],
  [Verdict.reject({ text: "100% spam" }), "ReplyCode text=\"550 5.7.1 100%% spam\""],
  [Verdict.reject({ code: "554", enhanced: "5.6.0", text: "no" }), "ReplyCode text=\"554 5.6.0 no\""],
  [Verdict.tempFail({ code: "421", enhanced: "4.3.2", text: "later" }), "ReplyCode text=\"421 4.3.2 later\""],
  [
    Verdict.tempFail({ code: "450", enhanced: "4.7.1", text: ["a", "b"] }),
    "ReplyCode text=\"450-4.7.1 a\\r\\n450 4.7.1 b\""
  ]
]
const ofConnection = [...basic, [Verdict.acceptConnection, "Accept"]] as const
const ofMessage = [...basic, [Verdict.acceptMessage, "Accept"], [Verdict.discardMessage, "Discard"]] as const
const legal: { readonly [K in Answered]: ReadonlyArray<readonly [Verdict.Verdict, string]> } = {
  connect: ofConnection,
  helo: ofConnection,
  mail: ofMessage,
  rcpt: ofMessage,
  data: ofMessage,
  header: ofMessage,
  endOfHeaders: ofMessage,
  body: [...ofMessage, [Verdict.skipBody, "Skip"]],
  endOfMessage: ofMessage,
  unknown: basic
}

const label = (verdict: Verdict.Verdict): string =>
  "wire" in verdict && verdict.wire !== undefined ? `${verdict._tag} ${verdict.wire.slice(0, 5)}` : verdict._tag

describe("verdicts", () => {
  for (const stage of stages) {
    for (const [verdict, expected] of legal[stage]) {
      it.effect(`${label(verdict)} at ${stage}`, () =>
        Effect.gen(function*() {
          const server = yield* Mta.serve(answering({ [stage]: verdict }))
          const mta = yield* server.open()
          const prefix = before(stage)
          assert.deepStrictEqual(yield* mta.each(...prefix), prefix.map(() => "Continue"))
          assert.deepStrictEqual(yield* mta.say(commands[stage]), [expected])
          // The same from an asynchronous hook, where the answer is not known when the command has been read.
          const slow = yield* Mta.serve(answering({ [stage]: Effect.as(Effect.yieldNow, verdict) }))
          const other = yield* slow.open()
          yield* other.each(...prefix)
          assert.deepStrictEqual(yield* other.say(commands[stage]), [expected])
          assert.deepStrictEqual(server.logs, [])
        }))
    }
  }

  it.effect("illegal ones that JavaScript lets through are never sent", () =>
    Effect.gen(function*() {
      const illegal = [
        ["connect", Verdict.discardMessage, "Continue"],
        ["connect", Verdict.skipBody, "Continue"],
        ["helo", Verdict.discardMessage, "Continue"],
        ["mail", Verdict.skipBody, "Continue"],
        ["rcpt", Verdict.skipBody, "Continue"],
        ["header", Verdict.skipBody, "Continue"],
        ["endOfMessage", Verdict.skipBody, "Continue"],
        ["mail", Verdict.acceptConnection, "Accept"],
        ["unknown", Verdict.acceptMessage, "Continue"],
        ["unknown", Verdict.discardMessage, "Continue"],
        ["mail", undefined, "TempFail"],
        ["rcpt", "reject", "TempFail"],
        ["endOfMessage", {}, "TempFail"],
        ["endOfMessage", Object.create(null), "TempFail"],
        ["mail", { _tag: "toString" }, "TempFail"]
      ] as const
      for (const [stage, verdict, expected] of illegal) {
        const server = yield* Mta.serve(answering({ [stage]: Effect.succeed(verdict as Verdict.Verdict) }))
        const mta = yield* server.open()
        yield* mta.each(...before(stage))
        assert.deepStrictEqual(yield* mta.say(commands[stage]), [expected], `${stage} ${expected}`)
        // What comes after it still gets its answer.
        assert.deepStrictEqual(yield* mta.each(Mta.abort, Mta.mail("<next@example.com>")), [
          "",
          stage === "mail" ? expected : "Continue"
        ])
      }
    }))

  it.effect("refusing one recipient refuses no other, and takes it out of the envelope", () =>
    Effect.gen(function*() {
      const seen: Array<ReadonlyArray<string>> = []
      const filter = Milter.make("test").on({
        rcpt: ({ recipient }) =>
          Effect.succeed(recipient.localPart.startsWith("bad") ? Verdict.reject() : Verdict.continue),
        data: (_, { envelope }) =>
          Effect.sync(() => {
            seen.push(envelope.recipients.map(({ recipient }) => recipient.address))
            return Verdict.continue
          })
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail())
      assert.deepStrictEqual(
        yield* mta.each(Mta.rcpt("<a@x>"), Mta.rcpt("<bad@x>"), Mta.rcpt("<b@x>"), Mta.rcpt("<bad2@x>"), Mta.data),
        ["Continue", "Reject", "Continue", "Reject", "Continue"]
      )
      assert.deepStrictEqual(seen, [["a@x", "b@x"]])
    }))

  it.effect("a settled message gets its verdict again if the MTA goes on all the same, and no more hooks", () =>
    Effect.gen(function*() {
      for (const [verdict, expected] of ofMessage.slice(1)) {
        let hooks = 0
        const filter = answering({
          mail: verdict,
          rcpt: Effect.sync(() => (hooks++, Verdict.continue)),
          endOfMessage: Effect.sync(() => (hooks++, Verdict.continue))
        })
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.each(Mta.connect(), Mta.helo())
        assert.deepStrictEqual(yield* mta.each(...Mta.message), Mta.message.map(() => expected), label(verdict))
        assert.strictEqual(hooks, 0)
        // And the next message is another one.
        assert.deepStrictEqual(yield* mta.each(Mta.abort, Mta.mail()), ["", expected])
      }
    }))

  it.effect("skip at body goes out where it was offered, and the rest of the body is kept from the filter elsewhere", () =>
    Effect.gen(function*() {
      let chunks = 0
      const filter = Milter.make("test").on({
        body: () => Effect.sync(() => (chunks++, Verdict.skipBody))
      })
      const server = yield* Mta.serve(filter)
      const modern = yield* server.open()
      yield* modern.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      assert.deepStrictEqual(yield* modern.each(Mta.body("a"), Mta.endOfMessage()), ["Skip", "Continue"])
      const old = yield* server.open({ steps: Mta.modern.steps & ~Step.skip })
      yield* old.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      assert.deepStrictEqual(
        yield* old.each(Mta.body("a"), Mta.body("b"), Mta.body("c"), Mta.endOfMessage("d")),
        ["Continue", "Continue", "Continue", "Continue"]
      )
      assert.strictEqual(chunks, 2)
      // What the filter does not want to see is not too large for it.
      const limited = yield* (yield* Mta.serve(filter, { maxBodyBytes: 10 })).open({ steps: 0 })
      yield* limited.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      assert.deepStrictEqual(
        yield* limited.each(Mta.body("a"), Mta.body("b".repeat(20)), Mta.endOfMessage("c".repeat(20))),
        ["Continue", "Continue", "Continue"]
      )
    }))
})

describe("replies that are left out", () => {
  const silent = Milter.make("silent").on({})
  const lookers = { data: 0, header: 0, endOfHeaders: 0, body: 0, unknown: 0 }
  const looking = Milter.make("looking").on({}, {
    connect: () => Effect.void,
    helo: () => Effect.void,
    mail: () => Effect.void,
    rcpt: () => Effect.void,
    data: () => Effect.sync(() => void lookers.data++),
    header: () => Effect.sync(() => void lookers.header++),
    endOfHeaders: () => Effect.sync(() => void lookers.endOfHeaders++),
    body: () => Effect.sync(() => void lookers.body++),
    endOfMessage: () => Effect.void,
    unknown: () => Effect.sync(() => void lookers.unknown++)
  })

  it.effect("are left out where the MTA offered that", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(looking)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), ...Mta.message, Mta.unknown()),
        ["", "", "Continue", "", "", "", "", "", "Continue", ""]
      )
      assert.deepStrictEqual(lookers, { data: 1, header: 1, endOfHeaders: 1, body: 1, unknown: 1 })
    }))

  it.effect("are given where it did not, each one by itself", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(looking)
      const all = yield* server.open({ steps: 0 })
      assert.deepStrictEqual(
        yield* all.each(Mta.connect(), Mta.helo(), ...Mta.message, Mta.unknown()),
        order.map(() => "Continue").concat("Continue")
      )
      const steps = [
        ["connect", Step.noReplyConnect],
        ["helo", Step.noReplyHelo],
        ["rcpt", Step.noReplyRcpt],
        ["data", Step.noReplyData],
        ["header", Step.noReplyHeader],
        ["endOfHeaders", Step.noReplyEndOfHeaders],
        ["body", Step.noReplyBody],
        ["unknown", Step.noReplyUnknown]
      ] as const
      for (const [stage, step] of steps) {
        const mta = yield* server.open({ steps: step })
        const every = [...order.slice(0, -1), "unknown", "endOfMessage"] as const
        assert.deepStrictEqual(
          yield* mta.each(...every.map((stage) => commands[stage])),
          every.map((other) => other === stage ? "" : "Continue"),
          stage
        )
      }
    }))

  it.effect("MAIL is answered even if nobody looks, and end of message too", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(silent)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.endOfMessage()),
        ["", "", "Continue", "", "Continue"]
      )
    }))

  it.effect("a run of commands without answers may come in one read", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(looking)).open()
      assert.deepStrictEqual(
        yield* mta.say(Mta.connect(), Mta.helo(), ...Mta.message, Mta.abort, ...Mta.message, Mta.abort, Mta.quit),
        ["Continue", "Continue", "Continue", "Continue"]
      )
      assert.isTrue(yield* mta.closed)
    }))
})

describe("sessions", () => {
  it.effect("carry several messages, each with a scope of its own", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({
        endOfMessage: (_, { connection, message }) =>
          Effect.sync(() => {
            assert.strictEqual(connection, "connection 1")
            assert.match(message, /^message \d$/)
            return message === "message 2" ? Verdict.reject() : Verdict.continue
          })
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(take(), [])
      yield* mta.each(Mta.connect(), Mta.helo())
      assert.deepStrictEqual(take(), ["connection 1 opens"])
      yield* mta.each(...Mta.message, Mta.abort)
      assert.deepStrictEqual(take(), ["message 1 opens", "message 1 closes: Accepted"])
      yield* mta.each(...Mta.message, Mta.abort, Mta.abort)
      assert.deepStrictEqual(take(), ["message 2 opens", "message 2 closes: Rejected by test"])
      yield* mta.each(...Mta.message, Mta.quit)
      assert.deepStrictEqual(take(), ["message 3 opens", "message 3 closes: Accepted", "connection 1 closes: success"])
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(server.logs, [])
    }))

  it.effect("abort (RSET) gives up the open message, once; again it does nothing; it is never answered", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const mta = yield* (yield* Mta.serve(Milter.make("test", options).on({}))).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      take()
      assert.deepStrictEqual(yield* mta.each(Mta.abort, Mta.abort), ["", ""])
      assert.deepStrictEqual(take(), ["message 1 closes: interrupted"])
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.endOfMessage()), ["Continue", "", "Continue"])
      assert.deepStrictEqual(take(), ["message 2 opens", "message 2 closes: Accepted"])
      assert.deepStrictEqual(yield* mta.each(Mta.abort, Mta.abort), ["", ""])
      assert.deepStrictEqual(take(), [])
    }))

  it.effect("MAIL and HELO while a message is open end it as aborted", () =>
    Effect.gen(function*() {
      for (const command of [Mta.mail("<other@x>"), Mta.helo()]) {
        const { options, take } = recorder()
        const mta = yield* (yield* Mta.serve(Milter.make("test", options).on({ helo: () => goOn }))).open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        take()
        assert.deepStrictEqual(yield* mta.say(command), ["Continue"])
        assert.strictEqual(take()[0], "message 1 closes: interrupted")
        // Postfix sends the abort after the EHLO.
        assert.deepStrictEqual(yield* mta.say(Mta.abort), [])
        assert.deepStrictEqual(take(), command._tag === "Mail" ? ["message 2 closes: interrupted"] : [])
      }
    }))

  it.effect("a message that is given up with finalizers that take time is over before the next begins", () =>
    Effect.gen(function*() {
      const { log, take } = recorder()
      const filter = Milter.make("test", {
        message: (mail) =>
          Effect.acquireRelease(
            log(`${mail.sender.localPart} opens`),
            () => Effect.andThen(Effect.yieldNow, log(`${mail.sender.localPart} closed`))
          )
      }).on({ mail: ({ sender }) => Effect.as(log(`mail ${sender.localPart}`), Verdict.continue) })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(
        yield* mta.say(
          Mta.connect(),
          Mta.mail("<a@x>"),
          Mta.mail("<b@x>"),
          Mta.endOfMessage(),
          Mta.mail("<c@x>"),
          Mta.abort,
          Mta.quit
        ),
        ["Continue", "Continue", "Continue", "Continue"]
      )
      assert.deepStrictEqual(take(), [
        "a opens",
        "mail a",
        "a closed",
        "b opens",
        "mail b",
        "b closed",
        "c opens",
        "mail c",
        "c closed"
      ])
    }))

  it.effect("DATA that was refused may come again", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      let tries = 0
      const filter = Milter.make("test", options).on({
        data: () => Effect.sync(() => ++tries === 1 ? Verdict.tempFail() : Verdict.continue),
        endOfMessage: () => goOn
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      take()
      assert.deepStrictEqual(
        yield* mta.each(Mta.data, Mta.rcpt("<more@x>"), Mta.data, Mta.endOfMessage()),
        ["TempFail", "", "Continue", "Continue"]
      )
      assert.deepStrictEqual(take(), ["message 1 closes: Accepted"])
      tries = 0
      // Otherwise the refusal is how the message ended.
      yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data)
      take()
      yield* mta.each(Mta.abort)
      assert.deepStrictEqual(take(), ["message 2 closes: TempFailed by test"])
      tries = 0
      // Unless it was taken back before the message was given up.
      yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data, Mta.data)
      take()
      yield* mta.each(Mta.abort)
      assert.deepStrictEqual(take(), ["message 3 closes: interrupted"])
      tries = 0
      yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data)
      take()
      yield* mta.end
      assert.deepStrictEqual(take(), ["message 4 closes: TempFailed by test", "connection 1 closes: interrupted"])
    }))

  it.effect("QUIT_NC begins another SMTP session on the same connection", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const sessions: Array<string> = []
      const filter = Milter.make("test", options).on({
        connect: ({ hostname }, { session }) =>
          Effect.sync(() => {
            sessions.push(session.id)
            assert.isUndefined(session.heloName)
            assert.deepStrictEqual(session.macros.entries(), hostname === "one" ? [["j", "mx"]] : [])
            assert.strictEqual(session.agreed.version, 6)
            return hostname === "one" ? Verdict.acceptConnection : Verdict.continue
          }),
        mail: () => goOn
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(
          Mta.macros("C", { j: "mx" }),
          Mta.connect("one"),
          Mta.helo("first"),
          Mta.mail(),
          Mta.quitNewConnection,
          Mta.connect("two"),
          Mta.mail()
        ),
        ["", "Accept", "", "Accept", "", "Continue", "Continue"]
      )
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connection 1 closes: success",
        "connection 2 opens",
        "message 1 opens"
      ])
      assert.strictEqual(new Set(sessions).size, 2)
      yield* mta.each(Mta.quitNewConnection)
      assert.deepStrictEqual(take(), ["message 1 closes: interrupted", "connection 2 closes: success"])
      yield* mta.each(Mta.quit)
      assert.deepStrictEqual(take(), [])
      assert.deepStrictEqual(server.logs, [])
    }))

  it.effect("HELO may be missing, or come again", () =>
    Effect.gen(function*() {
      const names: Array<string | undefined> = []
      const filter = Milter.make("test").on({
        helo: ({ name }) => Effect.succeed(name === "spam" ? Verdict.reject() : Verdict.continue),
        mail: (_, { session }) => Effect.sync(() => (names.push(session.heloName), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(
        yield* mta.each(
          Mta.connect(),
          Mta.mail(),
          Mta.abort,
          Mta.helo("spam"),
          Mta.mail(),
          Mta.abort,
          Mta.helo("ham"),
          Mta.mail()
        ),
        ["", "Continue", "", "Reject", "Reject", "", "Continue", "Continue"]
      )
      assert.deepStrictEqual(names, [undefined, "ham"])
    }))

  it.effect("an MTA may send no connect at all", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({
        mail: (_, { connection }) => {
          assert.strictEqual(connection, "connection 1")
          return goOn
        }
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(yield* mta.each(...Mta.message.slice(0, 2)), ["Continue", ""])
      assert.deepStrictEqual(take(), ["connection 1 opens", "message 1 opens"])
    }))

  it.effect("body bytes in end of message are one more piece, with one answer for both", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test", { modify: ["addHeader"] }).on({
        body: ({ bytes }) =>
          Effect.sync(() => {
            const text = new TextDecoder().decode(bytes)
            seen.push(text)
            return text === "reject"
              ? Verdict.reject({ text: "body" })
              : text === "accept"
              ? Verdict.acceptMessage
              : text === "discard"
              ? Verdict.discardMessage
              : text === "skip"
              ? Verdict.skipBody
              : Verdict.continue
          }),
        endOfMessage: (_, { edit }) =>
          Effect.as(
            Effect.andThen(Effect.sync(() => void seen.push("end")), edit.addHeader("A", "b")),
            Verdict.continue
          )
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect())
      const last = Effect.fnUntraced(function*(text: string) {
        yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.body("first"))
        const replies = yield* mta.say(Mta.endOfMessage(text))
        return [replies, seen.splice(0)]
      })
      assert.deepStrictEqual(yield* last("more"), [
        ["AddHeader name=\"A\" value=\" b\"", "Continue"],
        ["first", "more", "end"]
      ])
      assert.deepStrictEqual(yield* last("skip"), [
        ["AddHeader name=\"A\" value=\" b\"", "Continue"],
        ["first", "skip", "end"]
      ])
      assert.deepStrictEqual(yield* last("reject"), [["ReplyCode text=\"550 5.7.1 body\""], ["first", "reject"]])
      assert.deepStrictEqual(yield* last("accept"), [["Accept"], ["first", "accept"]])
      assert.deepStrictEqual(yield* last("discard"), [["Discard"], ["first", "discard"]])
      assert.deepStrictEqual(yield* last(""), [["AddHeader name=\"A\" value=\" b\"", "Continue"], ["first", "end"]])
    }))

  it.effect("hooks see client, HELO name, envelope and headers", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const note = (value: unknown) => Effect.sync(() => (seen.push(value), Verdict.continue))
      const filter = Milter.make("test").on({
        connect: ({ client, hostname }) => note([hostname, String(client)]),
        helo: ({ name }) => note(name),
        mail: ({ parameters, sender }) => note([sender.domain, parameters.size]),
        rcpt: ({ recipient }, { envelope }) => note([recipient.address, envelope.recipients.length]),
        header: ({ name, raw, value }) => note([name, value, raw]),
        endOfMessage: (_, { envelope, session }) =>
          note([session.hostname, session.heloName, envelope.sender.address, envelope.recipients.length]),
        unknown: ({ line }) => note(line)
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(
        Mta.connect("mail.example", "IPv6:2001:DB8:0::1"),
        Mta.helo("ehlo.example"),
        Mta.mail("<Alice@Example.COM>", "SIZE=1000"),
        Mta.rcpt("<bob@example.org>"),
        Mta.header("Subject", " folded\n\tvalue"),
        Mta.endOfMessage(),
        Mta.unknown("XYZZY now")
      )
      assert.deepStrictEqual(seen, [
        ["mail.example", "2001:db8::1"],
        "ehlo.example",
        ["example.com", 1000],
        ["bob@example.org", 1],
        ["Subject", "folded\n\tvalue", " folded\n\tvalue"],
        ["mail.example", "ehlo.example", "Alice@Example.COM", 1],
        "XYZZY now"
      ])
    }))
})

describe("scopes", () => {
  const outcomes = [
    [Verdict.continue, "Accepted"],
    [Verdict.acceptMessage, "Accepted"],
    [Verdict.reject(), "Rejected by test"],
    [Verdict.tempFail(), "TempFailed by test"],
    [Verdict.discardMessage, "Discarded by test"]
  ] as const

  it.effect("of messages close with how they ended, at each stage", () =>
    Effect.gen(function*() {
      for (const stage of order.slice(2)) {
        for (const [verdict, outcome] of outcomes) {
          if (verdict._tag === "Continue" && stage !== "endOfMessage") continue
          const { options, take } = recorder()
          const filter = Milter.make("test", options).on({
            // Each is legal at all the stages of a message.
            [stage]: () => Effect.succeed(verdict)
          })
          const mta = yield* (yield* Mta.serve(filter)).open({ steps: 0 })
          yield* mta.each(...before(stage), commands[stage])
          const events = take().slice(2)
          const goesOn = (stage === "rcpt" || stage === "data") &&
            (verdict._tag === "Reject" || verdict._tag === "TempFail")
          assert.deepStrictEqual(events, goesOn ? [] : [`message 1 closes: ${outcome}`], `${stage} ${verdict._tag}`)
          yield* mta.each(Mta.abort)
          assert.deepStrictEqual(
            take(),
            goesOn ? [`message 1 closes: ${stage === "data" ? outcome : "interrupted"}`] : [],
            `${stage} ${verdict._tag} aborted`
          )
          yield* mta.each(Mta.quit)
          assert.deepStrictEqual(take(), ["connection 1 closes: success"])
        }
      }
    }))

  it.effect("hold what hooks acquire, and close in the opposite order", () =>
    Effect.gen(function*() {
      const { options, resource, take } = recorder()
      const filter = Milter.make("test", options).on({
        connect: () => Effect.as(resource("connect"), Verdict.continue),
        helo: () => Effect.as(resource("helo"), Verdict.continue),
        mail: () => Effect.as(resource("mail"), Verdict.continue),
        endOfMessage: () => Effect.as(resource("end"), Verdict.discardMessage),
        unknown: () => Effect.as(resource("unknown"), Verdict.continue)
      }, {
        header: () => Effect.asVoid(resource("header"))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(
        Mta.connect(),
        Mta.helo(),
        Mta.mail(),
        Mta.rcpt(),
        Mta.unknown(),
        Mta.header(),
        Mta.endOfMessage()
      )
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect opens",
        "helo opens",
        "message 1 opens",
        "mail opens",
        "unknown opens",
        "header opens",
        "end opens",
        "end closes: Discarded by test",
        "header closes: Discarded by test",
        "mail closes: Discarded by test",
        "message 1 closes: Discarded by test"
      ])
      yield* mta.each(Mta.quit)
      assert.deepStrictEqual(take(), [
        "unknown closes: success",
        "helo closes: success",
        "connect closes: success",
        "connection 1 closes: success"
      ])
    }))

  it.effect("of a connection: success after QUIT or an end between messages", () =>
    Effect.gen(function*() {
      for (const how of ["quit", "end"] as const) {
        const { options, take } = recorder()
        const mta = yield* (yield* Mta.serve(Milter.make("test", options).on({}))).open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.endOfMessage())
        take()
        yield* how === "quit" ? mta.say(Mta.quit) : mta.end
        assert.deepStrictEqual(take(), ["connection 1 closes: success"], how)
      }
    }))

  it.effect("of a connection: interruption after a reset, or an end inside a message; QUIT there is a success", () =>
    Effect.gen(function*() {
      const cases = [
        ["end", true, "interrupted"],
        ["reset", true, "interrupted"],
        ["reset", false, "interrupted"],
        ["quit", true, "success"]
      ] as const
      for (const [how, open, expected] of cases) {
        const { options, take } = recorder()
        const server = yield* Mta.serve(Milter.make("test", options).on({}))
        const mta = yield* server.open()
        yield* mta.each(Mta.connect(), ...open ? [Mta.mail(), Mta.rcpt()] : [])
        take()
        yield* how === "end" ? mta.end : how === "reset" ? mta.reset : mta.say(Mta.quit)
        assert.deepStrictEqual(
          take(),
          [...open ? ["message 1 closes: interrupted"] : [], `connection 1 closes: ${expected}`],
          how
        )
        // Nothing that MTAs do every day is worth a log line.
        assert.deepStrictEqual(server.logs, [])
      }
    }))

  it.effect("close when the server stops", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const server = yield* Mta.serve(Milter.make("test", options).on({}))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      take()
      yield* server.stop
      assert.deepStrictEqual(take(), ["message 1 closes: interrupted", "connection 1 closes: interrupted"])
      assert.isTrue(yield* mta.closed)
    }))

  it.effect("with the cause of a hook that failed", () =>
    Effect.gen(function*() {
      for (const stage of order.slice(2)) {
        const { options, take } = recorder()
        const filter = Milter.onFailure(
          Milter.make("test", options).on({
            [stage]: () => Effect.fail(new Failure({ at: stage }))
          }),
          () => Effect.succeed(Verdict.tempFail())
        )
        const mta = yield* (yield* Mta.serve(filter)).open({ steps: 0 })
        yield* mta.each(...before(stage), commands[stage])
        const events = take()
        if (stage === "rcpt") {
          // Of a recipient the failure concerns this recipient only.
          assert.deepStrictEqual(events, ["connection 1 opens", "message 1 opens"])
          continue
        }
        if (stage === "data") {
          assert.deepStrictEqual(events, ["connection 1 opens", "message 1 opens"])
          yield* mta.each(Mta.abort)
        }
        assert.deepStrictEqual(
          stage === "data" ? take() : events.slice(2),
          ["message 1 closes: failed with Failure"],
          stage
        )
      }
    }))

  it.effect("a finalizer that dies harms nobody and is logged", () =>
    Effect.gen(function*() {
      const { events, log } = recorder()
      const filter = Milter.make("test", {
        connection: () => Effect.addFinalizer(() => Effect.die("connection finalizer")),
        message: () =>
          Effect.andThen(
            Effect.addFinalizer(() => log("the other")),
            Effect.addFinalizer(() => Effect.die("message finalizer"))
          )
      }).on({})
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.endOfMessage(), Mta.mail(), Mta.quit),
        ["", "Continue", "Continue", "Continue", ""]
      )
      assert.deepStrictEqual(events, ["the other", "the other"])
      assert.strictEqual(server.logs.length, 3)
      for (const { level, session } of server.logs) {
        assert.strictEqual(level, "Error")
        assert.isString(session)
      }
    }))

  it.effect("services of a layer reach hooks without the layer's scope", () =>
    Effect.gen(function*() {
      const { resource, take } = recorder()
      class Names extends Context.Service<Names, { readonly name: string }>()("test/Names") {}
      class Key extends Milter.Service<Key>()("test/Key") {}
      const filter = Milter.make("test").on({
        mail: () => Effect.flatMap(Names, ({ name }) => Effect.as(resource(name), Verdict.continue))
      })
      const layer = Milter.layer(Key, filter).pipe(Layer.provide(Layer.succeed(Names, { name: "inner" })))
      const server = yield* Effect.provide(Mta.serve(Key), layer)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.abort)
      assert.deepStrictEqual(take(), ["inner opens", "inner closes: interrupted"])
    }))
})
