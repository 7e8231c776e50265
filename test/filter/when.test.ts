/** Filters that take part only where a condition holds. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { answering, commands, describeExit, goOn, recorder } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"

/** Writes down its hooks, and what they see. */
const talkative = () => {
  const recording = recorder()
  const { log, options } = recording
  const said = (what: string) => Effect.as(log(what), Verdict.continue)
  const filter = Milter.make("test", options).on({
    connect: ({ hostname }, { connection }) => said(`connect ${hostname} ${connection}`),
    helo: ({ name }, { connection }) => said(`helo ${name} ${connection}`),
    mail: ({ sender }, { connection, message }) => said(`mail ${sender.address} ${connection} ${message}`),
    rcpt: ({ recipient }, { message }) => said(`rcpt ${recipient.address} ${message}`),
    endOfMessage: (_, { connection, envelope, message }) =>
      said(`end ${envelope.recipients.length} ${connection} ${message}`),
    unknown: ({ line }, { connection }) => said(`unknown ${line} ${connection}`)
  })
  return { ...recording, filter }
}

const whole = [Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.endOfMessage()]

describe("a condition at connect", () => {
  it.effect("is asked once, with what is known then", () =>
    Effect.gen(function*() {
      const { filter, log, take } = talkative()
      const conditional = Milter.when(filter, {
        connect: ({ client, hostname }, { session }) =>
          Effect.as(
            log(`asked ${hostname} ${String(client)} ${session.macros.get("j")}`),
            client.isWithin("192.0.2.0/24")
          )
      })
      const server = yield* Mta.serve(conditional)
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.macros("C", { j: "mx" }), ...whole, Mta.mail(), Mta.quit),
        ["", "Continue", "Continue", "Continue", "Continue", "Continue", "Continue", ""]
      )
      assert.deepStrictEqual(take(), [
        "asked client.example 192.0.2.1 mx",
        "connection 1 opens",
        "connect client.example connection 1",
        "helo client.example connection 1",
        "message 1 opens",
        "mail alice@example.com connection 1 message 1",
        "rcpt bob@example.org message 1",
        "end 1 connection 1 message 1",
        "message 1 closes: Accepted",
        "message 2 opens",
        "mail alice@example.com connection 1 message 2",
        "message 2 closes: interrupted",
        "connection 1 closes: success"
      ])
      const other = yield* server.open()
      assert.deepStrictEqual(
        yield* other.each(
          Mta.connect("other.example", "198.51.100.1"),
          Mta.helo(),
          Mta.unknown(),
          Mta.mail(),
          Mta.mail()
        ),
        ["Continue", "Continue", "Continue", "Accept", "Accept"]
      )
      assert.deepStrictEqual(take(), ["asked other.example 198.51.100.1 undefined"])
    }))

  it.effect("may be a plain boolean, and is asked even if the MTA sends no connect", () =>
    Effect.gen(function*() {
      for (const takesPart of [true, false]) {
        const filter = answering({ mail: Verdict.reject() }).pipe(Milter.when({ connect: () => takesPart }))
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(yield* mta.say(Mta.mail()), [takesPart ? "Reject" : "Accept"])
      }
    }))

  it.effect("lets verdicts and failures of connect be what they are", () =>
    Effect.gen(function*() {
      const yes = { connect: () => true }
      const cases = [
        [answering({ connect: Verdict.acceptConnection }), ["Accept", "Continue", "Accept"]],
        [answering({ connect: Verdict.reject() }), ["Reject", "Continue", "Reject"]],
        [answering({ connect: Effect.die("boom") }), ["Continue", "Continue", "TempFail"]],
        [
          Milter.make("test", { refuseConnection: true }).on({ connect: () => Effect.die("boom") }),
          ["TempFail", "", "TempFail"]
        ]
      ] as const
      for (const [filter, expected] of cases) {
        const mta = yield* (yield* Mta.serve(Milter.when(filter, yes))).open()
        assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail()), expected)
      }
    }))
})

describe("a condition at helo", () => {
  it.effect("holds connect, and is asked again after STARTTLS", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      const conditional = Milter.when(filter, { helo: ({ name }) => name !== "known.example" })
      const mta = yield* (yield* Mta.serve(conditional)).open()
      yield* mta.each(Mta.connect(), Mta.helo("known.example"), Mta.unknown("FOO"))
      assert.deepStrictEqual(take(), [])
      yield* mta.each(Mta.helo("one.example"))
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect client.example connection 1",
        "helo one.example connection 1"
      ])
      yield* mta.each(Mta.helo("two.example"), Mta.unknown("FOO"))
      assert.deepStrictEqual(take(), ["helo two.example connection 1", "unknown FOO connection 1"])
      assert.deepStrictEqual(yield* mta.each(Mta.helo("known.example"), Mta.mail(), Mta.abort), [
        "Continue",
        "Accept",
        ""
      ])
      assert.deepStrictEqual(take(), [])
      yield* mta.each(Mta.helo("three.example"), Mta.mail(), Mta.quit)
      assert.deepStrictEqual(take(), [
        "helo three.example connection 1",
        "message 1 opens",
        "mail alice@example.com connection 1 message 1",
        "message 1 closes: interrupted",
        "connection 1 closes: success"
      ])
    }))

  it.effect("gets an empty name where nobody said HELO", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      let names = ""
      const conditional = Milter.when(filter, { helo: ({ name, raw }) => (names += `<${name}${raw}>`, true) })
      const mta = yield* (yield* Mta.serve(conditional)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.abort, Mta.mail())
      assert.strictEqual(names, "<>")
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect client.example connection 1",
        "message 1 opens",
        "mail alice@example.com connection 1 message 1",
        "message 1 closes: interrupted",
        "message 2 opens",
        "mail alice@example.com connection 1 message 2"
      ])
    }))

  it.effect("gives at helo what connect decided, at each", () =>
    Effect.gen(function*() {
      const cases = [
        [Verdict.reject(), "Reject", "Reject"],
        [
          Verdict.tempFail({ text: "later" }),
          "ReplyCode text=\"451 4.7.1 later\"",
          "ReplyCode text=\"451 4.7.1 later\""
        ],
        [Verdict.acceptConnection, "Accept", "Continue"]
      ] as const
      for (const [verdict, reply, again] of cases) {
        let asked = 0
        const filter = Milter.make("test").on({ connect: () => Effect.sync(() => (asked++, verdict)) })
        const mta = yield* (yield* Mta.serve(Milter.when(filter, { helo: () => true }))).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.abort, Mta.helo()),
          ["", reply, reply, "", again]
        )
        assert.strictEqual(asked, 1)
      }
    }))

  it.effect("does as ever with failures: the policy at each MAIL, until the next HELO", () =>
    Effect.gen(function*() {
      let works = false
      const { filter: inner, take } = (() => {
        const { options, take } = recorder()
        const filter = Milter.make("test", {
          connection: () => Effect.tap(options.connection(), () => works ? Effect.void : Effect.fail("down" as const))
        }).on({ connect: () => goOn })
        return { filter, take }
      })()
      const filter = inner.pipe(
        Milter.onFailure((error, { stage }) => Effect.succeed(Verdict.tempFail({ text: `${error} at ${stage}` }))),
        Milter.when({ helo: () => true })
      )
      const mta = yield* (yield* Mta.serve(filter)).open()
      const down = "ReplyCode text=\"451 4.7.1 down at helo\""
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.abort, Mta.mail(), Mta.abort),
        ["", "Continue", down, "", down, ""]
      )
      assert.deepStrictEqual(take(), ["connection 1 opens", "connection 1 closes: failed with down"])
      works = true
      assert.deepStrictEqual(yield* mta.each(Mta.helo(), Mta.mail(), Mta.quit), ["Continue", "Continue", ""])
      assert.deepStrictEqual(take(), ["connection 2 opens", "connection 2 closes: success"])
    }))

  it.effect("answers failures at helo where connections are to be refused", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { refuseConnection: true, connection: () => Effect.die("boom") }).on({})
      const mta = yield* (yield* Mta.serve(Milter.when(filter, { helo: () => true }))).open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.helo()), ["Continue", "TempFail"])
    }))
})

describe("a condition at mail", () => {
  const authenticated = Milter.when({ mail: (_, { session }) => session.macros.get("auth_authen") !== undefined })

  it.effect("is asked for each message; what came before is shown once it holds", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      const mta = yield* (yield* Mta.serve(authenticated(filter))).open()
      assert.deepStrictEqual(yield* mta.each(...whole), ["", "", "Accept", "Accept", "Accept"])
      yield* mta.say(Mta.unknown("FOO"))
      assert.deepStrictEqual(take(), [])
      const user = Mta.macros("M", { "{auth_authen}": "alice" })
      yield* mta.each(user, Mta.mail(), Mta.rcpt(), Mta.unknown("BAR"), Mta.endOfMessage(), Mta.unknown("FOO"))
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect client.example connection 1",
        "helo client.example connection 1",
        "message 1 opens",
        "mail alice@example.com connection 1 message 1",
        "rcpt bob@example.org message 1",
        "unknown BAR connection 1",
        "end 1 connection 1 message 1",
        "message 1 closes: Accepted"
      ])
      yield* mta.each(Mta.mail(), Mta.abort, Mta.helo("again.example"), Mta.helo("tls.example"), user, Mta.mail())
      assert.deepStrictEqual(take(), [
        "helo tls.example connection 1",
        "message 2 opens",
        "mail alice@example.com connection 1 message 2"
      ])
      yield* mta.each(Mta.abort, Mta.quit)
      assert.deepStrictEqual(take(), ["message 2 closes: interrupted", "connection 1 closes: success"])
    }))

  it.effect("gives what held hooks decided in the form of a message, as long as it counts", () =>
    Effect.gen(function*() {
      const yes = Milter.when({ mail: ({ sender }) => sender.localPart === "alice" })
      const messages = [
        Mta.connect(),
        Mta.helo(),
        Mta.mail(),
        Mta.abort,
        Mta.mail("<eve@x>"),
        Mta.abort,
        Mta.mail(),
        Mta.abort,
        Mta.helo(),
        Mta.mail()
      ]
      const cases = [
        ["connect", Verdict.acceptConnection, "Accept", 1],
        ["connect", Verdict.reject(), "Reject", 1],
        ["helo", Verdict.acceptConnection, "Accept", 1],
        ["helo", Verdict.tempFail({ text: "x" }), "ReplyCode text=\"451 4.7.1 x\"", 2]
      ] as const
      for (const [stage, verdict, reply, calls] of cases) {
        let called = 0
        let mails = 0
        const hook = () => Effect.sync(() => (called++, verdict))
        const filter = Milter.make("test").on({
          ...(stage === "connect" ? { connect: hook } : { helo: hook }),
          mail: () => Effect.sync(() => (mails++, Verdict.continue))
        })
        const mta = yield* (yield* Mta.serve(yes(filter))).open()
        assert.deepStrictEqual(
          yield* mta.each(...messages),
          ["", "", reply, "", "Accept", "", reply, "", "", reply],
          stage
        )
        assert.strictEqual(called, calls)
        assert.strictEqual(mails, 0)
      }
    }))

  it.effect("tries again for the next message what failed", () =>
    Effect.gen(function*() {
      const tries: Array<string> = []
      const failing = (what: string) =>
        Effect.suspend(() => {
          tries.push(what)
          return tries.filter((tried) => tried === what).length === 1 ? Effect.fail(what) : Effect.void
        })
      const filter = Milter.make("test", {
        connection: () =>
          Effect.andThen(
            Effect.addFinalizer((exit) => Effect.sync(() => tries.push(`closed ${describeExit(exit)}`))),
            failing("state")
          )
      }).on({
        connect: () => Effect.as(failing("connect"), Verdict.continue),
        helo: () => Effect.as(failing("helo"), Verdict.continue)
      })
      const policies: Array<string> = []
      const served = filter.pipe(
        Milter.when({ mail: () => true }),
        Milter.onFailure((error, { stage }) =>
          Effect.sync(() => (policies.push(`${error} ${stage}`), Verdict.tempFail()))
        )
      )
      const mta = yield* (yield* Mta.serve(served)).open()
      const message = [Mta.mail(), Mta.abort]
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), ...message, ...message, ...message, ...message, Mta.quit),
        ["", "", "TempFail", "", "TempFail", "", "TempFail", "", "Continue", "", ""]
      )
      assert.deepStrictEqual(policies, ["state mail", "connect mail", "helo mail"])
      assert.deepStrictEqual(tries, [
        "state",
        "closed failed with state",
        "state",
        "connect",
        "closed failed with connect",
        "state",
        "connect",
        "helo",
        "helo",
        "closed success"
      ])
    }))

  it.effect("that is given up while it is asked leaves nothing behind", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      let isSlow = true
      const slow = Milter.when(filter, { mail: () => isSlow ? Effect.never : true })
      const mta = yield* (yield* Mta.serve(slow)).open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail(), Mta.abort), ["", "", "TempFail"])
      assert.deepStrictEqual(take(), [])
      isSlow = false
      yield* mta.say(Mta.mail())
      assert.deepStrictEqual(take().slice(0, 2), ["connection 1 opens", "connect client.example connection 1"])
    }))

  it.effect("leaves nothing to refuse at connect", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { refuseConnection: true, connection: () => Effect.die("boom") }).on({
        helo: () => goOn
      }, { connect: () => Effect.void })
      const mta = yield* (yield* Mta.serve(Milter.when(filter, { mail: () => true }))).open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail()), ["", "", "TempFail"])
    }))

  it.effect("is asked once for all filters of a sequence", () =>
    Effect.gen(function*() {
      let asked = 0
      const both = Milter.when(
        Milter.sequence([answering({}, "one"), answering({ rcpt: Verdict.reject() }, "two")]),
        { mail: () => (asked++, asked === 1) }
      )
      const mta = yield* (yield* Mta.serve(both)).open()
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt()), ["Continue", "Reject"])
      assert.strictEqual(asked, 1)
      assert.deepStrictEqual(yield* mta.each(Mta.mail()), ["Accept"])
    }))

  it.effect("is asked once for a session, too, if the filters see different macros", () =>
    Effect.gen(function*() {
      let asked = 0
      const count = () => (asked++, true)
      const choosy = Milter.make("choosy", { macros: { mail: ["client_ptr"] } }).on({ rcpt: () => goOn })
      for (const condition of [{ connect: count }, { helo: count }]) {
        const both = Milter.when(Milter.sequence([choosy, answering({}, "other")]), condition)
        for (const filter of [both, Milter.shadow(both)]) {
          asked = 0
          const mta = yield* (yield* Mta.serve(filter)).open()
          yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
          assert.strictEqual(asked, 1)
        }
      }
    }))
})

describe("a condition that fails", () => {
  it.effect("is a defect of the filter", () =>
    Effect.gen(function*() {
      const dies = () => Effect.die("boom")
      for (const condition of [{ connect: dies }, { helo: dies }, { mail: dies }]) {
        const filter = Milter.make("test", { onDefect: Verdict.reject() }).on({ rcpt: () => goOn })
        const server = yield* Mta.serve(Milter.when(filter, condition))
        const mta = yield* server.open()
        assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail()), ["", "", "Reject"])
        assert.strictEqual(server.logs.length, 1)
      }
    }))

  it("is not the same as one that is missing", () => {
    assert.throws(() => Milter.when(answering({}), {} as { readonly mail: () => boolean }), /connect, helo, mail/)
  })
})

describe("what goes with a filter", () => {
  it.effect("observers are no more than that", () =>
    Effect.gen(function*() {
      const { log, take } = recorder()
      const filter = Milter.make("test").on({}, {
        connect: () => log("connect"),
        helo: () => log("helo"),
        mail: () => log("mail"),
        header: () => log("header"),
        endOfMessage: () => log("end")
      })
      for (const condition of [{ connect: () => true }, { helo: () => true }, { mail: () => true }]) {
        const mta = yield* (yield* Mta.serve(Milter.when(filter, condition))).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.header(), Mta.endOfMessage()),
          ["", "", "Continue", "", "", "Continue"]
        )
        assert.deepStrictEqual(take(), ["connect", "helo", "mail", "header", "end"])
      }
    }))

  it.effect("negotiation is the same with and without", () =>
    Effect.gen(function*() {
      const filters = [
        answering({}),
        Milter.make("none").on({}),
        Milter.make("some", { modify: ["addHeader"], macros: { mail: ["i"] }, rejectedRecipients: true }).on({
          rcpt: () => goOn
        }, { body: () => Effect.void })
      ]
      for (const filter of filters) {
        const plain = yield* (yield* Mta.serve(filter)).dial
        const expected = yield* plain.say(Mta.negotiate())
        for (const takesPart of [true, false]) {
          const conditional = yield* (yield* Mta.serve(Milter.when(filter, { connect: () => takesPart }))).dial
          assert.deepStrictEqual(yield* conditional.say(Mta.negotiate()), expected)
        }
        // What is held is not answered where it comes, and mail always is.
        const agreed = []
        for (const condition of [{ helo: () => true }, { helo: () => false }]) {
          const conditional = yield* (yield* Mta.serve(Milter.when(filter, condition))).dial
          agreed.push(yield* conditional.say(Mta.negotiate()))
        }
        assert.deepStrictEqual(agreed[0], agreed[1])
      }
    }))

  it.effect("a circuit breaker has nothing to do with mail that the filter takes no part in", () =>
    Effect.gen(function*() {
      class Broken extends Milter.Service<Broken>()("test/Broken") {}
      const broken = Milter.make("broken").on({ mail: () => Effect.fail("down") })
      const breaker = Milter.circuitBreaker({
        failures: 2,
        openFor: "1 hour",
        whileOpen: Verdict.reject({ text: "open" })
      })
      const policy = Milter.onFailure(() => Effect.succeed(Verdict.tempFail()))
      const condition = Milter.when({ mail: ({ sender }) => sender.localPart === "alice" })
      for (
        const filter of [
          broken.pipe(breaker, policy, condition),
          broken.pipe(condition, breaker, policy),
          broken.pipe(condition, policy, breaker),
          broken.pipe(breaker, condition, policy),
          condition(Broken)
        ]
      ) {
        const served = Effect.provide(Mta.serve(filter), Milter.layer(Broken, broken.pipe(breaker, policy)))
        const mta = yield* (yield* served).open()
        const other = Mta.mail("<eve@x>")
        assert.deepStrictEqual(
          yield* mta.each(Mta.mail(), other, Mta.mail(), other, Mta.mail(), other),
          ["TempFail", "Accept", "TempFail", "Accept", "ReplyCode text=\"550 5.7.1 open\"", "Accept"]
        )
      }
    }))

  it.effect("its own services are not those of the condition", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, { readonly name: string }>()("test/Db") {}
      class Key extends Milter.Service<Key>()("test/Key") {}
      const { log, take } = recorder()
      const name = Effect.map(Db, (db) => db.name)
      const inner = Milter.make("test", { connection: () => name }).on({
        mail: (_, { connection }) =>
          Effect.flatMap(name, (name) => Effect.as(log(`${connection} ${name}`), Verdict.continue)),
        rcpt: () => Effect.fail("no")
      })
      const handled = Milter.onFailure(inner, () =>
        Effect.flatMap(name, (name) => Effect.as(log(`policy ${name}`), "pass" as const)))
      const filter = Milter.when(Key, {
        mail: () =>
          Effect.flatMap(name, (name) => Effect.as(log(`asked ${name}`), true))
      })
      const server = yield* Mta.serve(filter).pipe(
        Effect.provideService(Db, { name: "outer" }),
        Effect.provide(Milter.layer(Key, handled).pipe(Layer.provide(Layer.succeed(Db, { name: "inner" }))))
      )
      const mta = yield* server.open()
      yield* mta.each(commands.connect, commands.mail, commands.rcpt)
      assert.deepStrictEqual(take(), ["asked outer", "inner inner", "policy inner"])
      // The layer's are those of the condition as well where that is inside, whatever is put around the key later.
      const whole = Milter.when(handled, {
        mail: () => Effect.flatMap(name, (name) => Effect.as(log(`asked ${name}`), true))
      })
      const breaker = Milter.circuitBreaker(Key, { failures: 5, openFor: "1 minute", whileOpen: "pass" })
      const other = yield* Mta.serve(breaker).pipe(
        Effect.provide(Milter.layer(Key, whole).pipe(Layer.provide(Layer.succeed(Db, { name: "inner" }))))
      )
      yield* (yield* other.open()).each(commands.connect, commands.mail, commands.rcpt)
      assert.deepStrictEqual(take(), ["asked inner", "inner inner", "policy inner"])
    }))

  it.effect("the filters beside it in a sequence go on", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      const conditional = Milter.when(filter, { mail: ({ sender }) => !sender.isNull })
      const both = Milter.sequence([conditional, answering({ endOfMessage: Verdict.reject() }, "other")])
      const mta = yield* (yield* Mta.serve(both)).open()
      const message = [Mta.rcpt(), Mta.data, Mta.header(), Mta.endOfHeaders, Mta.body(), Mta.endOfMessage()]
      for (const sender of ["<>", "<a@x>"]) {
        const replies = yield* mta.each(Mta.connect(), Mta.mail(sender), ...message)
        assert.deepStrictEqual(replies, [...["", ...message].map(() => "Continue"), "Reject"])
      }
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "connect client.example connection 1",
        "message 1 opens",
        "mail a@x connection 1 message 1",
        "rcpt bob@example.org message 1",
        "end 1 connection 1 message 1",
        "message 1 closes: Rejected by other"
      ])
    }))

  it.effect("conditions may be nested", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      const nested = filter.pipe(
        Milter.when({ connect: ({ hostname }) => hostname !== "ours" }),
        Milter.when({ helo: ({ name }) => name !== "known" }),
        Milter.when({ mail: ({ sender }) => !sender.isNull })
      )
      const server = yield* Mta.serve(nested)
      const run = Effect.fnUntraced(function*(hostname: string, helo: string, sender: string) {
        const mta = yield* server.open()
        const [, , reply] = yield* mta.each(Mta.connect(hostname), Mta.helo(helo), Mta.mail(sender))
        return [reply, take().length]
      })
      assert.deepStrictEqual(yield* run("x", "x", "<a@x>"), ["Continue", 5])
      assert.deepStrictEqual(yield* run("ours", "x", "<a@x>"), ["Accept", 0])
      assert.deepStrictEqual(yield* run("x", "known", "<a@x>"), ["Accept", 0])
      assert.deepStrictEqual(yield* run("x", "x", "<>"), ["Accept", 0])
    }))
})
