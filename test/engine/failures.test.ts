/** Hooks that fail, die, throw or give up: what the MTA is told, and when. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type { Stage } from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Answered, before, commands, Failure, goOn, isSent, recorder } from "../support/filters.ts"
import { order, stages } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"

const policies = [
  [Verdict.reject({ text: "no" }), "ReplyCode text=\"550 5.7.1 no\""],
  [Verdict.tempFail(), "TempFail"],
  ["pass", "Accept"]
] as const

/** A filter that answers every stage with continue, except for one hook. */
const answers = <E>(stage: Answered, hook: () => Effect.Effect<never, E>) => {
  // Whatever hooks it holds, this is what they need and how they fail.
  const hooks: { readonly mail?: () => Effect.Effect<Verdict.Continue, E> } = {
    ...Object.fromEntries(stages.map((stage) => [stage, () => goOn])),
    [stage]: hook
  }
  return Milter.make("test").on(hooks)
}

const fails = (stage: Stage) => () => Effect.fail(new Failure({ at: stage }))

const label = (policy: Milter.FailurePolicy) => policy === "pass" ? policy : policy._tag

/** The replies to a whole message up to the first that is not continue, and to the MAIL of another. */
const conversation = Effect.fnUntraced(function*(mta: Mta.Mta) {
  const replies: Array<string> = []
  for (const stage of order.filter((stage) => isSent(mta, stage))) {
    const reply = (yield* mta.say(commands[stage])).join(", ")
    replies.push(`${stage} ${reply}`)
    if (reply !== "Continue" && reply !== "") break
  }
  yield* mta.say(Mta.abort)
  replies.push(`again ${(yield* mta.say(Mta.mail())).join(", ")}`)
  return replies.filter((reply) => !reply.endsWith("Continue"))
})

describe("a typed failure becomes the filter's policy", () => {
  for (const [policy, reply] of policies) {
    for (const stage of order) {
      it.effect(`${label(policy)} at ${stage}`, () =>
        Effect.gen(function*() {
          const asked: Array<string> = []
          const filter = Milter.onFailure(answers(stage, fails(stage)), (error, at) => {
            asked.push(`${error.at} ${at.stage}`)
            return Effect.succeed(policy)
          })
          const server = yield* Mta.serve(filter)
          const replies = yield* conversation(yield* server.open())
          if (stage === "connect" || stage === "helo") {
            // Held for the messages, each of them.
            assert.deepStrictEqual(replies, [`mail ${reply}`, `again ${reply}`])
            assert.deepStrictEqual(asked, [`${stage} ${stage}`])
          } else {
            assert.deepStrictEqual(replies, [`${stage} ${reply}`, ...stage === "mail" ? [`again ${reply}`] : []])
            assert.deepStrictEqual(asked, stage === "mail" ? ["mail mail", "mail mail"] : [`${stage} ${stage}`])
          }
          // It was handled: that is no news.
          assert.deepStrictEqual(server.logs, [])
        }))
    }

    it.effect(`${label(policy)} at unknown`, () =>
      Effect.gen(function*() {
        const filter = Milter.onFailure(answers("unknown", fails("unknown")), () => Effect.succeed(policy))
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.unknown(), Mta.mail(), Mta.unknown()),
          // Accept there would crash Postfix's smtpd.
          ["Continue", reply, "Continue", reply].map((reply) => reply === "Accept" ? "Continue" : reply)
        )
      }))

    it.effect(`${label(policy)} when the state of a message cannot be built`, () =>
      Effect.gen(function*() {
        const filter = Milter.make("test", { message: fails("mail") }).on({
          mail: () => Effect.die("no hook without its state"),
          rcpt: () => Effect.die("no hook without its state")
        })
        const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(policy)))
        const mta = yield* server.open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.abort, Mta.mail()),
          ["", reply, reply, "", reply]
        )
        assert.deepStrictEqual(server.logs, [])
      }))

    it.effect(`${label(policy)} when the state of the connection cannot be built`, () =>
      Effect.gen(function*() {
        let builds = 0
        const broken = {
          connection: () => Effect.suspend(() => (builds++, Effect.fail(new Failure({ at: "connect" }))))
        }
        const hook = () => Effect.die("no hook without its state")
        for (const refuseConnection of [false, true]) {
          const filter = Milter.make("test", { ...broken, refuseConnection }).on({
            connect: hook,
            helo: hook,
            mail: hook,
            rcpt: hook,
            unknown: hook
          })
          const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(policy)))
          const mta = yield* server.open()
          const early = refuseConnection && policy !== "pass" ? reply : "Continue"
          assert.deepStrictEqual(
            yield* mta.each(Mta.connect(), Mta.helo(), Mta.unknown(), Mta.mail(), Mta.rcpt(), Mta.abort, Mta.mail()),
            [early, early, "Continue", reply, reply, "", reply]
          )
          assert.deepStrictEqual(server.logs, [])
        }
        assert.strictEqual(builds, 2)
      }))

    it.effect(`${label(policy)} at connect and helo, with refuseConnection`, () =>
      Effect.gen(function*() {
        for (const stage of ["connect", "helo"] as const) {
          const filter = Milter.make("test", { refuseConnection: true }).on({
            connect: () => goOn,
            helo: () => goOn,
            [stage]: fails(stage)
          })
          const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(policy)))
          const mta = yield* server.open()
          const early = policy === "pass" ? "Continue" : reply
          assert.deepStrictEqual(
            yield* mta.each(...before("mail"), Mta.mail(), Mta.abort, Mta.mail()),
            [stage === "connect" ? early : "Continue", stage === "helo" ? early : "Continue", reply, "", reply],
            stage
          )
        }
      }))
  }

  it.effect("the cause goes to the finalizers of what was cut short", () =>
    Effect.gen(function*() {
      const { options, resource, take } = recorder()
      const filter = Milter.make("test", {
        connection: options.connection,
        message: () => Effect.andThen(resource("half"), Effect.fail(new Failure({ at: "mail" })))
      }).on({})
      const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(Verdict.tempFail())))
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.quit)
      assert.deepStrictEqual(take(), [
        "connection 1 opens",
        "half opens",
        "half closes: failed with Failure",
        "connection 1 closes: success"
      ])
      const other = Milter.make("test", {
        connection: () => Effect.andThen(resource("half"), Effect.fail(new Failure({ at: "connect" })))
      }).on({})
      const second = yield* Mta.serve(Milter.onFailure(other, () => Effect.succeed("pass")))
      for (const end of ["quit", "end", "new"]) {
        const mta = yield* second.open()
        yield* mta.each(Mta.connect(), Mta.mail())
        yield* end === "end" ? mta.end : mta.say(end === "new" ? Mta.quitNewConnection : Mta.quit)
        assert.deepStrictEqual(take(), ["half opens", "half closes: failed with Failure"])
      }
    }))

  it.effect("a policy may take time and services, and may die itself", () =>
    Effect.gen(function*() {
      const slow = Milter.onFailure(answers("mail", fails("mail")), () =>
        Effect.as(Effect.yieldNow, Verdict.reject({ text: "no" })))
      const mta = yield* (yield* Mta.serve(slow)).open()
      assert.deepStrictEqual((yield* mta.each(...before("mail"), Mta.mail())).at(-1), "ReplyCode text=\"550 5.7.1 no\"")
      for (
        const dying of [() =>
          Effect.die("policy"), () => {
          throw new Error("policy")
        }]
      ) {
        const server = yield* Mta.serve(Milter.onFailure(answers("mail", fails("mail")), dying))
        const other = yield* server.open()
        assert.deepStrictEqual((yield* other.each(...before("mail"), Mta.mail())).at(-1), "TempFail")
        assert.strictEqual(server.logs.length, 1)
      }
    }))

  it.effect("one filter's failure touches no other connection", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: ({ sender }) => sender.localPart === "bad" ? Effect.die("bad") : goOn
      })
      const server = yield* Mta.serve(filter)
      const one = yield* server.open()
      const two = yield* server.open()
      yield* two.each(Mta.connect(), Mta.mail())
      assert.deepStrictEqual(yield* one.each(Mta.connect(), Mta.mail("<bad@x>"), Mta.abort, Mta.mail()), [
        "",
        "TempFail",
        "",
        "Continue"
      ])
      assert.deepStrictEqual(yield* two.each(Mta.rcpt(), Mta.endOfMessage()), ["", "Continue"])
    }))
})

describe("a failure at helo", () => {
  it.effect("is forgotten when the client says HELO again, as it does after STARTTLS", () =>
    Effect.gen(function*() {
      let works = false
      const filter = Milter.make("test").on({
        helo: () => works ? Effect.succeed(Verdict.continue) : Effect.die("hiccup")
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      const [, , refused] = yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail())
      assert.strictEqual(refused, "TempFail")
      works = true
      assert.deepStrictEqual(yield* mta.each(Mta.abort, Mta.helo(), Mta.mail()), ["", "Continue", "Continue"])
    }))
})

describe("DATA that was refused", () => {
  it.effect("and is tried again, is not how the message ends if that is given up", () =>
    Effect.gen(function*() {
      let tries = 0
      const exits: Array<string> = []
      const filter = Milter.make("test", {
        message: () => Effect.addFinalizer((exit) => Effect.sync(() => exits.push(exit._tag)))
      }).on({ data: () => tries++ === 0 ? Effect.succeed(Verdict.reject()) : Effect.never })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data, Mta.data, Mta.abort),
        ["Continue", "", "Reject", "", "TempFail"]
      )
      assert.deepStrictEqual(exits, ["Failure"])
    }))

  it.effect("is over once the content comes all the same, and a body with its end is not looked at", () =>
    Effect.gen(function*() {
      const exits: Array<string> = []
      const noted = (what: string) =>
        Effect.addFinalizer((exit) => Effect.sync(() => exits.push(`${what} ${exit._tag}`)))
      const filter = Milter.make("test", { connection: () => noted("connection"), message: () => noted("message") }).on(
        {
          data: () => Effect.succeed(Verdict.reject()),
          header: () => Effect.die("not reached"),
          body: () => Effect.die("not reached"),
          endOfMessage: () => Effect.die("not reached")
        }
      )
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.data)
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage("body")), ["Reject"])
      yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data)
      assert.deepStrictEqual(yield* mta.say(Mta.header()), ["Reject"])
      yield* mta.end
      assert.deepStrictEqual(exits, ["message Success", "message Success", "connection Success"])
    }))

  it.effect("stays refused if the MTA sends the content all the same", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        data: () => Effect.succeed(Verdict.reject()),
        header: () => Effect.die("not reached"),
        endOfMessage: () => Effect.die("not reached")
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      const replies = yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.data, Mta.header(), Mta.endOfMessage(), Mta.mail())
      assert.deepStrictEqual(replies, ["Continue", "", "Reject", "Reject", "Reject", "Continue"])
    }))
})

describe("without a policy of its own", () => {
  it.effect("a filter that fails is answered in words that name the session", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({ mail: () => Effect.die("broken") })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.write(Mta.mail())
      const [packet] = yield* mta.packets
      assert.match(packet?._tag === "ReplyCode" ? packet.text : "", Mta.ownWords)
      const session = server.logs.at(-1)?.session
      assert.include(packet?._tag === "ReplyCode" ? packet.text : "", `(session ${String(session)})`)
    }))
})

describe("a defect", () => {
  const deaths: ReadonlyArray<readonly [string, () => Effect.Effect<never>]> = [
    ["Effect.die", () => Effect.die(new Error("boom"))],
    ["a throw in the hook", () => {
      throw new Error("boom")
    }],
    [
      "a throw in a generator",
      Effect.fnUntraced(function*() {
        yield* Effect.void
        throw new Error("boom")
      })
    ],
    ["a promise that rejects", () => Effect.promise(() => Promise.reject(new Error("boom")))],
    ["a hook that interrupts itself", () => Effect.interrupt],
    // What plain JavaScript can do.
    ["a hook that returns no effect", () => undefined as never],
    ["a hook that returns null", () => null as never],
    ["a hook that returns a promise", () => Promise.resolve(Verdict.continue) as never]
  ]
  for (const [name, death] of deaths) {
    it.effect(`${name}: tempfail at every stage, with a log line`, () =>
      Effect.gen(function*() {
        for (const stage of order) {
          const filter = answers(stage, death)
          for (const made of [filter, Milter.onFailure(filter, () => Effect.die("not for defects"))]) {
            const server = yield* Mta.serve(made)
            const replies = yield* conversation(yield* server.open())
            const early = stage === "connect" || stage === "helo"
            assert.deepStrictEqual(
              replies.slice(0, 1),
              [`${early ? "mail" : stage} TempFail`],
              stage
            )
            assert.strictEqual(server.logs.length, stage === "mail" ? 2 : 1, stage)
            const [{ level, session, text } = { level: "", session: "", text: "" }] = server.logs
            assert.strictEqual(level, "Error")
            assert.include(text, `test failed at ${stage}`)
            assert.isString(session)
          }
        }
      }))
  }

  for (const [policy, reply] of policies) {
    it.effect(`gets ${label(policy)} if onDefect says so`, () =>
      Effect.gen(function*() {
        for (const stage of order.slice(2)) {
          const filter = Milter.make("test", { onDefect: policy }).on({ [stage]: () => Effect.die("boom") })
          const mta = yield* (yield* Mta.serve(filter)).open({ steps: 0 })
          yield* mta.each(...before(stage))
          assert.deepStrictEqual(yield* mta.say(commands[stage]), [reply], stage)
        }
      }))
  }

  it.effect("in a state builder too", () =>
    Effect.gen(function*() {
      for (const state of ["connection", "message"] as const) {
        for (
          const die of [() => Effect.die("boom"), () => {
            throw new Error("boom")
          }, () => undefined]
        ) {
          const server = yield* Mta.serve(Milter.make("test", { [state]: die }).on({}))
          const mta = yield* server.open()
          assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail()), ["", "", "TempFail"], state)
          assert.strictEqual(server.logs.length, 1)
        }
      }
    }))
})

describe("a failure where no answer is possible waits for the next one that is", () => {
  const refused = "ReplyCode text=\"550 5.7.1 no\""
  const observing = (stage: Stage, answered: Answered | undefined) => {
    const hooks: { readonly mail?: () => Effect.Effect<void, Failure> } = { [stage]: fails(stage) }
    const filter = Milter.make("test").on(answered === undefined ? {} : { [answered]: () => goOn }, hooks)
    return Milter.onFailure(filter, () => Effect.succeed(Verdict.reject({ text: "no" })))
  }

  it.effect("end of message at the latest", () =>
    Effect.gen(function*() {
      for (const stage of order) {
        const mta = yield* (yield* Mta.serve(observing(stage, undefined))).open()
        const early = stage === "connect" || stage === "helo" || stage === "mail"
        assert.deepStrictEqual(
          (yield* conversation(mta)).filter((reply) => reply.includes("Reply")),
          early ? [`mail ${refused}`, `again ${refused}`] : [`endOfMessage ${refused}`],
          stage
        )
      }
    }))

  it.effect("or a stage before it", () =>
    Effect.gen(function*() {
      const cases = [
        ["rcpt", "data"],
        ["rcpt", "header"],
        ["data", "header"],
        ["data", "body"],
        ["header", "endOfHeaders"],
        ["header", "body"],
        ["endOfHeaders", "body"]
      ] as const
      for (const [stage, answered] of cases) {
        const mta = yield* (yield* Mta.serve(observing(stage, answered))).open()
        const replies = (yield* conversation(mta)).filter((reply) => reply.includes("Reply"))
        assert.deepStrictEqual(replies, [`${answered} ${refused}`], stage)
      }
    }))

  it.effect("at once where the MTA waits for an answer all the same", () =>
    Effect.gen(function*() {
      for (const stage of order.slice(2)) {
        const mta = yield* (yield* Mta.serve(observing(stage, undefined))).open({ steps: 0 })
        const replies = (yield* conversation(mta)).filter((reply) => reply.includes("Reply"))
        assert.strictEqual(replies[0], `${stage} ${refused}`)
      }
    }))

  it.effect("the first failure counts, and later hooks of the message do not run", () =>
    Effect.gen(function*() {
      let hooks = 0
      const filter = Milter.make("test").on({ endOfMessage: () => Effect.sync(() => (hooks++, Verdict.continue)) }, {
        rcpt: ({ recipient }) => Effect.fail(recipient.localPart)
      })
      const served = Milter.onFailure(filter, (name) => Effect.succeed(Verdict.reject({ text: name })))
      const mta = yield* (yield* Mta.serve(served)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt("<a@x>"), Mta.rcpt("<b@x>"), Mta.endOfMessage()),
        ["", "Continue", "", "", "ReplyCode text=\"550 5.7.1 a\""]
      )
      assert.strictEqual(hooks, 0)
    }))

  it.effect("of an unknown command inside a message: with the message", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(observing("unknown", undefined))).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.unknown(), Mta.rcpt(), Mta.endOfMessage(), Mta.mail()),
        ["", "Continue", "", "", refused, "Continue"]
      )
    }))

  it.effect("of an unknown command between messages: with the next message", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(observing("unknown", undefined))).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.unknown(), Mta.mail(), Mta.abort, Mta.mail()),
        ["", "", refused, "", "Continue"]
      )
    }))

  it.effect("and closes the message with its cause", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("test", options).on({}, { header: () => Effect.fail(new Failure({ at: "header" })) })
      const served = Milter.onFailure(filter, () => Effect.succeed("pass"))
      const mta = yield* (yield* Mta.serve(served)).open()
      assert.strictEqual((yield* mta.each(Mta.connect(), ...Mta.message)).at(-1), "Accept")
      assert.deepStrictEqual(take().slice(2), ["message 1 closes: failed with Failure"])
    }))
})

describe("hooks that are already settled", () => {
  it.effect("an Exit is as good as any effect", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        mail: () => Exit.succeed(Verdict.continue),
        rcpt: ({ recipient }) => recipient.localPart === "a" ? Exit.fail("no") : Exit.die("boom")
      })
      const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(Verdict.reject())))
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt("<a@x>"), Mta.rcpt("<b@x>")),
        ["", "Continue", "Reject", "TempFail"]
      )
    }))
})
