/** Conditions on recipients over several messages: what is reset, asked again, counted, and what is refused at start. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { answering, describeExit, goOn, recorder } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"

const isVip: Milter.ConditionAt<"rcpt", never> = ({ recipient }) => recipient.localPart.startsWith("vip")
const each = { rcpt: isVip, recipients: "each" } as const
const any = { rcpt: isVip, recipients: "any" } as const
const atData: { readonly data: Milter.ConditionAt<"data", never> } = {
  data: (_, { envelope }) => envelope.recipients.some(({ recipient }) => recipient.localPart.startsWith("vip"))
}

const vip = Mta.rcpt("<vip@example.org>")
const vip2 = Mta.rcpt("<vip2@example.org>")
const bob = Mta.rcpt("<bob@example.org>")

/** Writes down its hooks. */
const talkative = (answersRcpt = true) => {
  const recording = recorder()
  const { log, options } = recording
  const said = (what: string) => Effect.as(log(what), Verdict.continue)
  const rcpt = ({ recipient }: { readonly recipient: { readonly localPart: string } }) => `rcpt ${recipient.localPart}`
  const filter = Milter.make("test", { ...options, rejectedRecipients: true }).on({
    connect: (_, { connection }) => said(`connect ${connection}`),
    helo: ({ name }) => said(`helo ${name}`),
    mail: ({ sender }, { message }) => said(`mail ${sender.localPart} ${message}`),
    ...(answersRcpt ? { rcpt: (event: Parameters<typeof rcpt>[0]) => said(rcpt(event)) } : {}),
    endOfMessage: (_, { envelope, message }) => said(`end ${envelope.recipients.length} ${message}`),
    unknown: ({ line }) => said(`unknown ${line}`)
  }, {
    ...(answersRcpt ? {} : { rcpt: (event: Parameters<typeof rcpt>[0]) => log(rcpt(event)) }),
    rejectedRecipient: ({ recipient }) => log(`rejected ${recipient.localPart}`)
  })
  return { ...recording, filter }
}

/** What a talkative filter has seen once it has joined a first message. */
const first = [
  "connection 1 opens",
  "connect connection 1",
  "helo client.example",
  "message 1 opens",
  "mail alice message 1"
]

const content = [Mta.data, Mta.header(), Mta.endOfHeaders, Mta.body(), Mta.endOfMessage()]

describe("several messages", () => {
  for (const [name, condition, shown] of [["each", each, ["rcpt vip"]], ["any", any, ["rcpt vip"]]] as const) {
    it.effect(`${name}: RSET, HELO and the next message begin anew`, () =>
      Effect.gen(function*() {
        const { filter, take } = talkative()
        const mta = yield* (yield* Mta.serve(Milter.when(filter, condition))).open()
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.unknown("ONE"), Mta.mail(), bob, Mta.unknown("TWO"))
        assert.deepStrictEqual(take(), [])
        yield* mta.each(vip, Mta.unknown("THREE"))
        assert.deepStrictEqual(take(), [...first, ...shown, "unknown THREE"])
        // RSET: the filter is out until a recipient matches again.
        yield* mta.each(Mta.abort, Mta.unknown("FOUR"), Mta.mail(), bob)
        assert.deepStrictEqual(take(), ["message 1 closes: interrupted"])
        yield* mta.each(...content)
        assert.deepStrictEqual(take(), [])
        // The connection has been shown already; HELO is new.
        yield* mta.each(Mta.helo("tls.example"), Mta.mail(), vip, ...content)
        assert.deepStrictEqual(take(), [
          "helo tls.example",
          "message 2 opens",
          "mail alice message 2",
          "rcpt vip",
          "end 1 message 2",
          "message 2 closes: Accepted"
        ])
        // HELO in the middle of a message.
        yield* mta.each(Mta.mail(), vip, Mta.abort, Mta.helo("again.example"), Mta.mail(), bob, Mta.quit)
        assert.deepStrictEqual(take(), [
          "message 3 opens",
          "mail alice message 3",
          "rcpt vip",
          "message 3 closes: interrupted",
          "connection 1 closes: success"
        ])
      }))
  }

  it.effect("data: RSET and the next message begin anew", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative(false)
      const mta = yield* (yield* Mta.serve(Milter.when(filter, atData))).open()
      yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), vip, Mta.abort, Mta.mail(), bob, ...content)
      assert.deepStrictEqual(take(), [])
      yield* mta.each(Mta.mail(), bob, vip, ...content)
      assert.deepStrictEqual(take(), [
        ...first,
        "rcpt bob",
        "rcpt vip",
        "end 2 message 1",
        "message 1 closes: Accepted"
      ])
    }))

  it.effect("a held refusal of connect is for the matching recipients of each message, and the hook runs once", () =>
    Effect.gen(function*() {
      let called = 0
      const filter = Milter.make("test").on({ connect: () => Effect.sync(() => (called++, Verdict.reject())) })
      const mta = yield* (yield* Mta.serve(Milter.when(filter, each))).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), bob, vip, Mta.abort, Mta.mail(), vip, bob, vip2),
        ["", "", "Continue", "Continue", "Reject", "", "Continue", "Reject", "Continue", "Reject"]
      )
      assert.strictEqual(called, 1)
    }))

  it.effect("a held hook that accepts the connection takes the filter out of all messages", () =>
    Effect.gen(function*() {
      for (const condition of [each, any, atData]) {
        let asked = 0
        const filter = Milter.make("test").on({
          helo: () => Effect.sync(() => (asked++, Verdict.acceptConnection)),
          endOfMessage: () => Effect.succeed(Verdict.reject())
        })
        const server = yield* Mta.serve(Milter.when(filter, condition))
        const mta = yield* server.open()
        for (let message = 0; message < 2; message++) {
          const replies = yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), vip, ...content)
          assert.notInclude(replies, "Reject")
          assert.include(replies, "Accept")
        }
        assert.strictEqual(asked, 1)
      }
    }))

  it.effect("an MTA that goes on after a held refusal of all recipients gets it again", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({ mail: () => Effect.succeed(Verdict.reject()) })
      for (const condition of [each, any]) {
        const mta = yield* (yield* Mta.serve(Milter.when(filter, condition))).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.mail(), vip, Mta.endOfMessage()),
          ["", "Continue", "Reject", "Reject"]
        )
      }
    }))
})

describe("the condition", () => {
  it.effect("is asked once for each recipient, whatever filters there are, with the envelope so far", () =>
    Effect.gen(function*() {
      for (const recipients of ["each", "any"] as const) {
        const asked: Array<string> = []
        const both = Milter.when(Milter.sequence([answering({}, "one"), answering({}, "two")]), {
          rcpt: ({ recipient }, { envelope, session }) => {
            asked.push(`${recipient.localPart} of ${envelope.recipients.length} from ${session.heloName}`)
            return recipient.localPart === "vip"
          },
          recipients
        })
        const mta = yield* (yield* Mta.serve(both)).open()
        yield* mta.each(Mta.connect(), Mta.helo("c"), Mta.mail(), bob, vip, vip2, ...content)
        assert.deepStrictEqual(asked, ["bob of 1 from c", "vip of 2 from c", "vip2 of 3 from c"])
      }
    }))

  it.effect("of data is asked once for all filters, and again with more recipients after a DATA that was refused", () =>
    Effect.gen(function*() {
      const asked: Array<number> = []
      const { filter, take } = talkative(false)
      const both = Milter.sequence([
        Milter.when(Milter.sequence([filter, answering2]), {
          data: (_, { envelope }) => (asked.push(envelope.recipients.length), envelope.recipients.length > 1)
        }),
        // Refuses the first DATA.
        Milter.make("fussy", { connection: () => Effect.sync(() => ({ count: 0 })) }).on({
          data: (_, { connection }) =>
            Effect.sync(() => connection.count++ === 0 ? Verdict.tempFail() : Verdict.continue)
        })
      ])
      const mta = yield* (yield* Mta.serve(both)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), bob, Mta.data),
        ["Continue", "Continue", "Continue", "Continue", "TempFail"].with(0, "").with(1, "").with(3, "")
      )
      assert.deepStrictEqual(take(), [])
      yield* mta.each(vip, ...content)
      assert.deepStrictEqual(asked, [1, 2])
      assert.deepStrictEqual(take(), [
        ...first,
        "rcpt bob",
        "rcpt vip",
        "end 2 message 1",
        "message 1 closes: Accepted"
      ])
    }))

  it.effect("of data with skip is asked about each recipient alone, until one does not match", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const filter = Milter.when(answering2, {
        data: (_, { envelope }) => {
          asked.push(envelope.recipients.map(({ recipient }) => recipient.localPart).join())
          return Effect.succeed(envelope.recipients.every(({ recipient }) => recipient.localPart.startsWith("vip")))
        },
        mixed: "skip"
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), vip, bob, vip2, ...content)
      assert.deepStrictEqual(asked, ["vip", "bob"])
    }))

  it.effect("that dies is a defect of the filter: for the recipient, or for the message", () =>
    Effect.gen(function*() {
      const dies = () => Effect.die("boom")
      const onDefect = Verdict.reject()
      const filter = Milter.make("test", { onDefect }).on({ rcpt: () => goOn })
      const server = yield* Mta.serve(Milter.when(filter, { rcpt: dies, recipients: "any" }))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail(), bob), ["", "Continue", "Reject"])
      assert.strictEqual(server.logs.length, 1)
      const late = Milter.make("test", { onDefect }).on({ data: () => goOn })
      const other = yield* (yield* Mta.serve(Milter.when(late, { data: dies }))).open()
      assert.deepStrictEqual(yield* other.each(Mta.connect(), Mta.mail(), bob, Mta.data), [
        "",
        "Continue",
        "",
        "Reject"
      ])
    }))

  it.effect("may be given up while it is asked", () =>
    Effect.gen(function*() {
      const { filter, take } = talkative()
      let isSlow = true
      const slow = Milter.when(filter, { rcpt: () => isSlow ? Effect.never : true, recipients: "each" })
      const mta = yield* (yield* Mta.serve(slow)).open()
      yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), vip, Mta.abort)
      assert.deepStrictEqual(take(), [])
      isSlow = false
      yield* mta.each(Mta.mail(), vip)
      assert.deepStrictEqual(take(), [...first, "rcpt vip"])
    }))
})

/** Hooks at data and at the end only. */
const answering2 = Milter.make("late").on({ data: () => goOn, endOfMessage: () => goOn })

describe("what goes wrong", () => {
  it.effect("a filter that cannot join refuses that recipient, and tries again at the next one", () =>
    Effect.gen(function*() {
      const tries: Array<string> = []
      const failing = (what: string) =>
        Effect.suspend(() => {
          tries.push(what)
          return tries.filter((tried) => tried === what).length === 1 ? Effect.fail(what) : Effect.void
        })
      const filter = Milter.make("test", {
        connection: () => failing("connection"),
        message: () =>
          Effect.andThen(
            Effect.addFinalizer((exit) => Effect.sync(() => tries.push(`closed ${describeExit(exit)}`))),
            failing("message")
          )
      }).on({ mail: () => Effect.as(failing("mail"), Verdict.continue), endOfMessage: () => goOn })
      const served = filter.pipe(
        Milter.when(each),
        Milter.onFailure((error, { stage }) => Effect.succeed(Verdict.tempFail({ text: `${error} at ${stage}` })))
      )
      const mta = yield* (yield* Mta.serve(served)).open()
      const down = (what: string) => `ReplyCode text="451 4.7.1 ${what} at rcpt"`
      assert.deepStrictEqual(
        yield* mta.each(Mta.connect(), Mta.mail(), bob, vip, vip, vip, vip, Mta.endOfMessage(), Mta.quit),
        ["", "Continue", "Continue", down("connection"), down("message"), down("mail"), "Continue", "Continue", ""]
      )
      assert.deepStrictEqual(tries, [
        "connection",
        "connection",
        "message",
        "closed failed with message",
        "message",
        "mail",
        "closed failed with mail",
        "message",
        "mail",
        "closed Accepted"
      ])
    }))

  it.effect("a breaker and a policy count only what the filter takes part in", () =>
    Effect.gen(function*() {
      const broken = Milter.make("broken").on({ rcpt: () => Effect.fail("down"), data: () => goOn })
      let failures = 0
      const breaker = Milter.circuitBreaker({
        failures: 2,
        openFor: "1 hour",
        whileOpen: Verdict.reject({ text: "open" })
      })
      const policy = Milter.onFailure(() => Effect.sync(() => (failures++, Verdict.tempFail())))
      for (
        const filter of [
          broken.pipe(breaker, policy, Milter.when(each)),
          broken.pipe(Milter.when(each), breaker, policy),
          broken.pipe(Milter.when(each), policy, breaker)
        ]
      ) {
        failures = 0
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.mail(), vip, bob, vip, bob, vip, bob),
          ["", "Continue", "TempFail", "Continue", "TempFail", "Continue"].concat(
            "ReplyCode text=\"550 5.7.1 open\"",
            "Continue"
          )
        )
        assert.strictEqual(failures, 2)
      }
    }))

  it.effect("a filter that answers rcpt is refused at start under a condition of data", () =>
    Effect.gen(function*() {
      class Key extends Milter.Service<Key>()("test/Key") {}
      const answers = answering({}, "greylist")
      for (
        const filter of [
          Milter.when(answers, atData),
          Milter.when(Milter.sequence([answering2, answers]), atData),
          Milter.when(Milter.delayReject(answering2, { at: "rcpt" }), atData),
          Milter.when(Milter.when(answers, each), atData),
          Milter.when(Key, atData)
        ]
      ) {
        const exit = yield* Mta.serve(filter).pipe(Effect.provide(Milter.layer(Key, answers)), Effect.exit)
        assert(Exit.isFailure(exit))
        assert.match(
          Cause.pretty(exit.cause),
          /Invalid filter "(greylist|late)": expected a condition of rcpt, since the filter answers rcpt/
        )
      }
      yield* Mta.serve(Milter.when(answering2, atData))
    }))

  it("a condition that is none is an error", () => {
    const conditions: ReadonlyArray<readonly [object, RegExp]> = [
      [{}, /expected one of connect, helo, mail, rcpt, data/],
      [{ mail: undefined }, /expected one of/],
      [{ mail: () => true, data: () => true }, /"mail, data": expected one of/],
      [
        { recipient: () => true, recipients: "any" },
        /key of a condition "recipient": did you mean rcpt\? \(expected connect, /
      ],
      [{ rcpt: true, recipients: "any" }, /expected a function at rcpt/],
      [{ rcpt: () => true }, /expected recipients with rcpt to be "any" or "each"/],
      [{ rcpt: () => true, recipients: "all" }, /expected recipients with rcpt to be "any" or "each"/],
      [{ rcpt: () => true, recipients: "any", mixed: "skip" }, /expected mixed with rcpt to be "apply" or "separate"/],
      [{ data: () => true, mixed: "separate" }, /expected mixed with data to be "apply" or "skip"/],
      [{ data: () => true, recipients: "any" }, /expected no recipients with data/],
      [{ mail: () => true, mixed: "apply" }, /expected no mixed with mail/]
    ]
    for (const [condition, error] of conditions) {
      assert.throws(() => Milter.when(answering2, condition as Milter.Condition), error)
    }
  })
})

describe("recipients that the MTA has refused", () => {
  it.effect("do not count, and are shown once the filter has joined", () =>
    Effect.gen(function*() {
      const refused = (name: string) => [
        Mta.macros("R", { rcpt_mailer: "error", rcpt_host: "5.1.1", rcpt_addr: "unknown" }),
        Mta.rcpt(`<${name}@example.org>`)
      ]
      const accepted = (name: string) => [
        Mta.macros("R", { rcpt_mailer: "smtp", rcpt_host: "h", rcpt_addr: "a" }),
        Mta.rcpt(`<${name}@example.org>`)
      ]
      for (const condition of [each, any, atData]) {
        const { filter, take } = talkative(false)
        const mta = yield* (yield* Mta.serve(Milter.when(filter, condition))).open()
        yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), ...refused("vip1"), ...refused("x"), ...accepted("bob"))
        assert.deepStrictEqual(take(), [])
        yield* mta.each(...accepted("vip2"), ...refused("y"), ...content)
        const seen = take().slice(first.length)
        assert.deepStrictEqual(seen.filter((line) => line.startsWith("rejected")), [
          "rejected vip1",
          "rejected x",
          "rejected y"
        ])
        assert.include(seen, "end 2 message 1")
      }
    }))
})

describe("what the MTA is asked for", () => {
  it.effect("does not depend on the condition, and content alone needs no answer at rcpt", () =>
    Effect.gen(function*() {
      const filters = [
        answering2,
        Milter.make("content", { modify: ["addHeader"], message: () => Effect.void }).on({}, {
          header: () => Effect.void
        })
      ]
      for (const filter of filters) {
        const agreed = yield* Effect.forEach([true, false], (matches) =>
          Effect.gen(function*() {
            const served = Milter.when(filter, { rcpt: () => matches, recipients: "any" })
            const mta = yield* (yield* Mta.serve(served)).dial
            yield* mta.say(Mta.negotiate())
            return mta.agreed
          }))
        assert.deepStrictEqual(agreed[0], agreed[1])
        assert.notStrictEqual(agreed[0]!.steps & Step.noReplyRcpt, 0)
        const plain = yield* (yield* Mta.serve(filter)).dial
        yield* plain.say(Mta.negotiate())
        assert.deepStrictEqual(agreed[0], plain.agreed)
      }
    }))

  it.effect("a condition of data needs DATA", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({ endOfMessage: () => goOn })
      const mta = yield* (yield* Mta.serve(Milter.when(filter, atData))).dial
      yield* mta.say(Mta.negotiate())
      assert.strictEqual(mta.agreed.steps & Step.noData, 0)
      assert.notStrictEqual(mta.agreed.steps & Step.noReplyData, 0)
    }))

  it.effect("a filter after one that edits gets the edited content under a condition, too", () =>
    Effect.gen(function*() {
      const { log, take } = recorder()
      const editor = Milter.make("editor", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
      })
      const reader = Milter.make("reader").on({}, { header: ({ name, value }) => log(`${name} ${value}`) })
      for (const condition of [each, any, atData]) {
        const filter = Milter.sequence([Milter.when(editor, condition), Milter.when(reader, condition)])
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.each(Mta.connect(), Mta.mail(), bob, ...content)
        assert.deepStrictEqual(take(), [])
        yield* mta.each(Mta.mail(), bob, vip, ...content)
        assert.deepStrictEqual(take(), ["Subject hello", "X-Tag yes"])
      }
    }))
})

describe("mail that is not from SMTP", () => {
  const local = { hostname: "localhost", address: "127.0.0.1", port: 0 }

  it.effect("cannot be separated: the filter takes part, and the log says so once for each message", () =>
    Effect.gen(function*() {
      for (const recipients of ["each", "any"] as const) {
        const { filter, take } = talkative()
        const server = yield* Mta.serve(Milter.when(filter, { rcpt: isVip, recipients, mixed: "separate" }))
        const mta = yield* server.open()
        const replies = yield* mta.each(
          Mta.connect(local.hostname, local.address, local.port),
          Mta.helo(),
          Mta.mail(),
          bob,
          vip,
          vip2,
          bob,
          ...content
        )
        assert.notMatch(replies.join(), /ReplyCode/)
        assert.include(take(), "end 4 message 1")
        assert.deepStrictEqual(server.logs.map(({ level, text }) => `${level} ${text}`), [
          "Warn test takes part in a message for recipients of both kinds: local mail cannot be separated"
        ])
      }
    }))
})

describe("in the shadow", () => {
  it.effect("a condition on recipients decides what is logged", () =>
    Effect.gen(function*() {
      const strict = Milter.make("strict", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
      })
      for (const condition of [each, any, atData]) {
        const server = yield* Mta.serve(Milter.shadow(Milter.when(strict, condition)))
        const mta = yield* server.open()
        for (const to of [[bob], [bob, vip]]) yield* mta.each(Mta.connect(), Mta.mail(), ...to, ...content)
        const lines = server.infos.filter(({ text }) => text.startsWith("shadow"))
        assert.deepStrictEqual(
          lines.map(({ annotations, text }) => `${text} ${JSON.stringify(annotations["modifications"] ?? null)}`),
          ["shadow accepted null", `shadow accepted ["AddHeader name=\\"X-Tag\\" value=\\" yes\\""]`]
        )
      }
    }))
})

describe("the next message", () => {
  it.effect("takes what separate has put off", () =>
    MilterTest.run(
      Milter.when(
        Milter.make("tag", { modify: ["addHeader"] }).on({
          endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
        }),
        { ...any, mixed: "separate" }
      ),
      Effect.fnUntraced(function*(mta) {
        const send = (to: ReadonlyArray<string>) => mta.sendMessage({ from: "a@example.org", to, body: "hi" })
        const one = yield* send(["bob@x.example", "vip@x.example"])
        MilterTest.assertAccepted(one, { recipients: ["bob@x.example"], headers: { "X-Tag": undefined } })
        const two = yield* send(["vip@x.example"])
        MilterTest.assertAccepted(two, { recipients: ["vip@x.example"], headers: { "X-Tag": "yes" } })
      })
    ))
})
