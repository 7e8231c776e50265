/** Another milter as a filter: what it is dialled for, offered and shown, and what becomes of its answers. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import type * as Packet from "../../../src/Packet.ts"
import { stages } from "../../support/names.ts"
import * as Mta from "../../support/rawMta.ts"
import {
  Action,
  agreeing,
  answering,
  declare,
  explained,
  failed,
  serve,
  Step,
  to
} from "../../support/remoteFilters.ts"

const text = ByteString.fromText

const session = [Mta.connect(), Mta.helo()] as const

describe("the connection", () => {
  it.effect("is one for the SMTP session, with abort after each message and quit at the end", () =>
    Effect.gen(function*() {
      const { child, dials, seen, server } = yield* serve(agreeing(), explained(declare()))
      const mta = yield* server.open()
      yield* mta.each(...session, ...Mta.message, ...Mta.message, Mta.quit)
      assert.strictEqual(dials(), 1)
      const message = ["Mail", "Rcpt", "Data", "Header", "EndOfHeaders", "Body", "EndOfMessage", "Abort"]
      assert.deepStrictEqual(child().packets.map(({ _tag }) => _tag), [
        "Negotiate",
        "Connect",
        "Helo",
        ...message,
        ...message,
        // Of HELO.
        "Abort",
        "Quit"
      ])
      assert.isTrue(child().closed)
      assert.deepStrictEqual(seen().slice(1, 4), [
        "Connect hostname=\"client.example\" address=IPv4(\"192.0.2.1\", port 40000)",
        "Helo name=\"client.example\"",
        "Mail sender=\"<alice@example.com>\" parameters=[]"
      ])
    }))

  it.effect("is one for each place of the filter: two conditions, or a shadow beside it", () =>
    Effect.gen(function*() {
      const filter = explained(declare())
      const places = [Milter.when(filter, { mail: () => true }), Milter.shadow(filter), filter]
      const { dials, seen, server } = yield* serve(agreeing(), Milter.sequence(places))
      const mta = yield* server.open()
      yield* mta.each(...session, ...Mta.message, Mta.quit)
      assert.strictEqual(dials(), 3)
      assert.strictEqual(seen().filter((packet) => packet.startsWith("Mail")).length, 1)
    }))

  it.effect("is not opened before the filter takes part", () =>
    Effect.gen(function*() {
      const filter = Milter.when(explained(declare()), { mail: ({ sender }) => sender.domain === "example.com" })
      const { child, dials, server } = yield* serve(agreeing(), filter)
      const mta = yield* server.open()
      yield* mta.each(...session, Mta.mail("<alice@example.net>"), Mta.abort)
      assert.strictEqual(dials(), 0)
      yield* mta.each(Mta.mail(), Mta.rcpt())
      assert.strictEqual(dials(), 1)
      assert.deepStrictEqual(child().packets.map(({ _tag }) => _tag), ["Negotiate", "Connect", "Helo", "Mail", "Rcpt"])
    }))

  it.effect("is not opened before a recipient matches, and shows the milter what was held", () =>
    Effect.gen(function*() {
      const filter = Milter.when(explained(declare()), {
        rcpt: ({ recipient }) => recipient.domain === "example.org",
        recipients: "each"
      })
      const { child, dials, server } = yield* serve(agreeing(), filter)
      const mta = yield* server.open()
      yield* mta.each(...session, Mta.mail(), Mta.rcpt("<bob@example.net>"), Mta.data, Mta.endOfMessage(), Mta.abort)
      assert.strictEqual(dials(), 0)
      yield* mta.each(Mta.mail(), Mta.rcpt("<bob@example.net>"), Mta.rcpt(), Mta.data, Mta.endOfMessage())
      assert.strictEqual(dials(), 1)
      assert.deepStrictEqual(child().packets.map(({ _tag }) => _tag), [
        "Negotiate",
        "Connect",
        "Helo",
        "Mail",
        "Rcpt",
        "Data",
        "EndOfMessage",
        "Abort"
      ])
    }))

  it.effect("is not opened again in an SMTP session that has lost it, also under a condition", () =>
    Effect.gen(function*() {
      const script = answering("Connect", [{ _tag: "Shutdown" }])
      for (const filter of [declare(), Milter.when(declare(), { mail: () => true })]) {
        const { dials, server } = yield* serve(script, explained(filter))
        const mta = yield* server.open()
        yield* mta.each(...session)
        const answers = yield* mta.each(Mta.mail(), Mta.abort, Mta.mail(), Mta.abort)
        assert.deepStrictEqual(answers, [failed("protocol"), "", failed("protocol"), ""])
        assert.strictEqual(dials(), 1)
        yield* mta.end
        const next = yield* server.open()
        yield* next.each(...session, Mta.mail())
        assert.strictEqual(dials(), 2)
      }
    }))

  it.effect("fails the messages of a session if nobody listens, and is tried in the next", () =>
    Effect.gen(function*() {
      const { server } = yield* serve(agreeing(), explained(declare({ to: "memory:nobody" })))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(...session, Mta.mail(), Mta.abort, Mta.mail()), [
        "Continue",
        "Continue",
        failed("unreachable"),
        "",
        failed("unreachable")
      ])
      assert.deepStrictEqual(server.logs.map(({ text }) => text), [
        "RemoteError: child: memory:nobody: Invalid address \"memory:nobody\": nobody listens there"
      ])
    }))
})

describe("a declaration", () => {
  it("with a name that would be ignored, or break a packet, throws where it is written", () => {
    assert.throws(() => declare({ macros: { mail: ["i\0"] } }), "Invalid")
    // @ts-expect-error -- JavaScript does not read the types
    assert.throws(() => declare({ modify: ["addHeaders"] }), "Invalid")
  })
})

describe("the negotiation", () => {
  const negotiated = (options: Parameters<typeof declare>[0], offer?: Partial<typeof Mta.modern>) =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(agreeing(), explained(declare(options)))
      const mta = yield* server.open(offer)
      yield* mta.each(...session)
      const [first] = child().packets
      return first as Packet.Negotiate
    })

  it.effect("offers what is declared and the MTA has given", () =>
    Effect.gen(function*() {
      const plain = yield* negotiated({})
      assert.deepStrictEqual(plain, {
        _tag: "Negotiate",
        version: 6,
        actions: 0,
        steps: 0x1fffff & ~Step.rejectedRecipients
      })
      const more = yield* negotiated({
        modify: ["addHeader", "insertHeader", "quarantine"],
        stages: ["mail", "rejectedRecipient"],
        macros: { mail: ["i"] }
      })
      assert.deepStrictEqual(more, {
        _tag: "Negotiate",
        version: 6,
        actions: Action.addHeader | Action.quarantine | Action.setMacroLists,
        steps: 0x1fffff
      })
    }))

  it.effect("offers an old MTA's part of it", () =>
    Effect.gen(function*() {
      const old = yield* negotiated({ macros: { mail: ["i"] } }, { version: 2, actions: 0x3f, steps: 0x7f })
      assert.deepStrictEqual(old, { _tag: "Negotiate", version: 2, actions: 0, steps: 0x7f })
    }))

  const refusals: ReadonlyArray<
    readonly [what: string, options: Parameters<typeof declare>[0], wanted: Partial<Packet.Negotiated>, missing: string]
  > = [
    ["an action", { modify: ["addHeader"] }, { actions: Action.addHeader | Action.replaceBody }, "replaceBody"],
    ["a stage", { stages: ["mail", "rcpt"] }, {
      steps: Step.noConnect | Step.noHelo | Step.noData | Step.noHeaders | Step.noEndOfHeaders | Step.noBody
    }, "stage unknown"],
    ["refused recipients", {}, { steps: Step.rejectedRecipients }, "rejectedRecipients"],
    ["a macro", { macros: { mail: ["i"] } }, {
      actions: Action.setMacroLists,
      macros: [{ stage: 2, names: text("i {auth_type}") }]
    }, "macro {auth_type} at mail"],
    ["a macro of another stage", { macros: { mail: ["i"] } }, {
      actions: Action.setMacroLists,
      macros: [{ stage: 3, names: text("i") }]
    }, "macro i at rcpt"],
    ["macro lists", {}, { actions: Action.setMacroLists }, "setMacroLists"]
  ]
  for (const [what, options, wanted, missing] of refusals) {
    it.effect(`fails a milter that wants ${what} beyond the declaration`, () =>
      Effect.gen(function*() {
        const { server } = yield* serve(agreeing(undefined, wanted), explained(declare(options)))
        const mta = yield* server.open()
        const answers = yield* mta.each(...session, Mta.mail())
        assert.strictEqual(answers[2], failed("negotiation"))
        assert.deepStrictEqual(server.logs.map(({ text }) => text), [
          `RemoteError: child: ${to}, at Negotiate: the filter wants what was not offered: ${missing}; ` +
          `effect-milter probe ${to} prints the declaration for Milter.remote`
        ])
      }))
  }

  it.effect("keeps the milter's own flags: it is not waited for where it does not answer", () =>
    Effect.gen(function*() {
      const steps = Step.noReplyConnect | Step.noReplyMail | Step.noReplyHeader | Step.noData
      const silent = new Set(["Connect", "Mail", "Header"])
      const { child, server } = yield* serve(
        agreeing((packet) => silent.has(packet._tag) ? [] : undefined, { steps }),
        explained(declare())
      )
      const mta = yield* server.open()
      const answers = yield* mta.each(...session, ...Mta.message)
      assert.deepStrictEqual(answers, answers.map(() => "Continue"))
      assert.deepStrictEqual(child().packets.map(({ _tag }) => _tag), [
        "Negotiate",
        "Connect",
        "Helo",
        "Mail",
        "Rcpt",
        "Header",
        "EndOfHeaders",
        "Body",
        "EndOfMessage",
        "Abort"
      ])
    }))

  it.effect("asks the MTA for the declared stages only", () =>
    Effect.gen(function*() {
      const wanted = {
        steps: Step.noConnect | Step.noHelo | Step.noRcpt | Step.noData | Step.noHeaders | Step.noEndOfHeaders |
          Step.noUnknown
      }
      const { server } = yield* serve(agreeing(undefined, wanted), explained(declare({ stages: ["mail", "body"] })))
      const mta = yield* server.open()
      assert.strictEqual(
        mta.agreed.steps & (Step.noHeaders | Step.noData | Step.noUnknown | Step.noBody),
        0x20 | 0x200 | 0x100
      )
      assert.deepStrictEqual(yield* mta.each(...session, Mta.mail(), Mta.body(), Mta.endOfMessage()), [
        "",
        "",
        "Continue",
        "Continue",
        "Continue"
      ])
    }))
})

describe("macros", () => {
  const macros = (mta: Mta.Mta) =>
    mta.each(
      Mta.macros("C", { j: "mx.example.org", "{daemon_name}": "smtpd" }),
      Mta.connect(),
      Mta.macros("M", { i: "4711", "{mail_addr}": "alice@example.com", "{auth_type}": "PLAIN" }),
      Mta.mail()
    )

  it.effect("are those that the MTA has sent for the stage", () =>
    Effect.gen(function*() {
      const { seen, server } = yield* serve(agreeing(), explained(declare()))
      yield* macros(yield* server.open())
      assert.deepStrictEqual(seen().slice(1), [
        "Macro stage=\"C\" macros=[\"j\"=\"mx.example.org\", \"{daemon_name}\"=\"smtpd\"]",
        "Connect hostname=\"client.example\" address=IPv4(\"192.0.2.1\", port 40000)",
        "Macro stage=\"M\" macros=[\"i\"=\"4711\", \"{mail_addr}\"=\"alice@example.com\", \"{auth_type}\"=\"PLAIN\"]",
        "Mail sender=\"<alice@example.com>\" parameters=[]"
      ])
    }))

  it.effect("are cut to the list of the milter, and never come from another stage", () =>
    Effect.gen(function*() {
      const lists = [{ stage: 0, names: text("j") }, { stage: 2, names: text("{auth_type} {daemon_name} i") }]
      const { seen, server } = yield* serve(
        agreeing(undefined, { actions: Action.setMacroLists, macros: lists }),
        explained(declare({ macros: { connect: ["j", "daemon_name"], mail: ["i", "auth_type", "daemon_name"] } }))
      )
      yield* macros(yield* server.open())
      assert.deepStrictEqual(seen().filter((line) => line.startsWith("Macro")), [
        "Macro stage=\"C\" macros=[\"j\"=\"mx.example.org\"]",
        "Macro stage=\"M\" macros=[\"{auth_type}\"=\"PLAIN\", \"i\"=\"4711\"]"
      ])
    }))

  it.effect("keep their bytes", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(agreeing(), explained(declare()))
      const mta = yield* server.open()
      const value = ByteString.make("\u00e4\u00ff")
      yield* mta.each({ _tag: "Macro", stage: text("C"), macros: [{ name: text("j"), value }] }, Mta.connect())
      const found = child().packets.find((packet) => packet._tag === "Macro")
      assert.strictEqual(found?.macros[0]?.value, value)
    }))

  it.effect("of a sequence are those that this filter would see alone", () =>
    Effect.gen(function*() {
      const other = Milter.make("other", { macros: { connect: ["daemon_name"] } }).on({})
      const { seen, server } = yield* serve(
        agreeing(),
        Milter.sequence([other, explained(declare({ macros: { connect: ["j"] } }))])
      )
      yield* macros(yield* server.open())
      assert.include(seen(), "Macro stage=\"C\" macros=[\"j\"=\"mx.example.org\"]")
    }))
})

describe("recipients that the MTA has refused", () => {
  const refused = [
    Mta.macros("R", { "{rcpt_mailer}": "error", "{rcpt_host}": "5.1.1", "{rcpt_addr}": "User unknown" }),
    Mta.rcpt("<nobody@example.org>")
  ]
  const macro =
    "Macro stage=\"R\" macros=[\"{rcpt_mailer}\"=\"error\", \"{rcpt_host}\"=\"5.1.1\", \"{rcpt_addr}\"=\"User unknown\"]"

  it.effect("are shown to a milter if they are declared, and its answer has no effect", () =>
    Effect.gen(function*() {
      const declared = declare({ stages: [...stages, "rejectedRecipient"] })
      const wanted = { steps: Step.rejectedRecipients }
      const { seen, server } = yield* serve(answering("Rcpt", [{ _tag: "Reject" }], wanted), explained(declared))
      const mta = yield* server.open()
      yield* mta.each(...session, Mta.mail())
      assert.deepStrictEqual(yield* mta.say(...refused), ["Continue"])
      assert.deepStrictEqual(seen().slice(-2), [macro, "Rcpt recipient=\"<nobody@example.org>\" parameters=[]"])
    }))

  it.effect("are not shown otherwise, also to a milter that has not asked", () =>
    Effect.gen(function*() {
      for (const filter of [declare(), declare({ stages: [...stages, "rejectedRecipient"] })]) {
        const { child, server } = yield* serve(agreeing(), explained(filter))
        const mta = yield* server.open()
        yield* mta.each(...session, Mta.mail(), ...refused)
        const shown = child().packets.filter(({ _tag }) => _tag === "Rcpt")
        // Without the step in the negotiation an MTA does not show them; this one does all the same.
        assert.lengthOf(shown, (mta.agreed.steps & Step.rejectedRecipients) === 0 ? 1 : 0)
      }
    }))
})

describe("replies", () => {
  const reply = (wire: string): Packet.FilterPacket => ({ _tag: "ReplyCode", text: ByteString.make(wire) })
  const passed = [
    "550 5.7.1 no",
    "421 4.3.2 later",
    "521 5.3.2 never",
    "550-5.7.1 one\r\n550-two\r\n550 5.7.1 three",
    "550 5.7.1 100%% sure",
    "599 odd code",
    "450 no status"
  ]
  for (const wire of passed) {
    it.effect(`pass as they are: ${JSON.stringify(wire)}`, () =>
      Effect.gen(function*() {
        const { server } = yield* serve(answering("Mail", [reply(wire)]), explained(declare()))
        const mta = yield* server.open()
        yield* mta.write(...session, Mta.mail())
        const answer = (yield* mta.packets).at(-1)
        assert.deepStrictEqual(answer, reply(wire))
      }))
  }

  it.effect("have no other bytes than ASCII", () =>
    Effect.gen(function*() {
      const { server } = yield* serve(answering("Mail", [reply("550 5.7.1 n\u00e3o")]), explained(declare()))
      const mta = yield* server.open()
      yield* mta.write(...session, Mta.mail())
      assert.deepStrictEqual((yield* mta.packets).at(-1), reply("550 5.7.1 n?o"))
    }))

  const refused: ReadonlyArray<Packet.FilterPacket> = [
    { _tag: "Shutdown" },
    { _tag: "ConnectionFail" },
    reply("250 2.0.0 fine"),
    reply("550 100% sure"),
    reply("550-5.7.1 one\r\n551 two"),
    reply("550 4.7.1 mixed"),
    reply("55 short"),
    reply("550 5.7.1 one\ntwo")
  ]
  for (const packet of refused) {
    it.effect(`that an MTA would not take are a failure: ${JSON.stringify(packet)}`, () =>
      Effect.gen(function*() {
        const { child, server } = yield* serve(answering("Mail", [packet]), explained(declare()))
        const mta = yield* server.open()
        const answers = yield* mta.each(...session, Mta.mail())
        assert.strictEqual(answers[2], failed("protocol"))
        assert.isTrue(child().closed)
      }))
  }
})

describe("verdicts", () => {
  const ways = [
    ["Connect", [Mta.connect()]],
    ["Helo", session],
    ["Mail", [...session, Mta.mail()]],
    ["Rcpt", [...session, Mta.mail(), Mta.rcpt()]],
    ["Data", [...session, Mta.mail(), Mta.rcpt(), Mta.data]],
    ["Header", [...session, Mta.mail(), Mta.rcpt(), Mta.data, Mta.header()]],
    ["EndOfHeaders", [...session, Mta.mail(), Mta.rcpt(), Mta.data, Mta.header(), Mta.endOfHeaders]],
    ["Body", [...session, ...Mta.content]],
    ["EndOfMessage", [...session, ...Mta.message]],
    ["Unknown", [...session, Mta.unknown()]]
  ] as const
  const continued = "Continue"
  const protocol = failed("protocol")
  const verdicts = {
    Reject: () => "Reject",
    TempFail: () => "TempFail",
    Accept: (stage: string) => stage === "Unknown" ? protocol : "Accept",
    // At connect and helo a failure is answered at MAIL.
    Discard: (stage: string) =>
      ["Connect", "Helo"].includes(stage) ? continued : stage === "Unknown" ? protocol : "Discard",
    Skip: (stage: string) =>
      ["Header", "EndOfHeaders"].includes(stage)
        ? continued
        : stage === "Body"
        ? "Skip"
        : ["Connect", "Helo"].includes(stage)
        ? continued
        : protocol
  } as const
  for (const [stage, packets] of ways) {
    for (const [tag, expected] of Object.entries(verdicts)) {
      it.effect(`${tag} at ${stage}`, () =>
        Effect.gen(function*() {
          const verdict = { _tag: tag as keyof typeof verdicts }
          const { server } = yield* serve(answering(stage, [verdict]), explained(declare()))
          const mta = yield* server.open()
          const answers = yield* mta.each(...packets)
          const given = answers.at(-1)
          // The failure at an unknown command is answered there.
          assert.strictEqual(given, expected(stage))
        }))
    }
  }

  for (const [stage, packets] of ways) {
    it.effect(`progress at ${stage} is no answer yet`, () =>
      Effect.gen(function*() {
        const progress: Packet.FilterPacket = { _tag: "Progress" }
        const { server } = yield* serve(
          answering(stage, [progress, progress, { _tag: "Reject" }]),
          explained(declare())
        )
        const mta = yield* server.open()
        assert.strictEqual((yield* mta.each(...packets)).at(-1), "Reject")
      }))
  }

  it.effect("of acceptance concern this milter only", () =>
    Effect.gen(function*() {
      for (const command of ["Connect", "Helo", "Mail", "Rcpt", "Data", "Header", "Body"] as const) {
        const refusing = Milter.make("refusing").on({ endOfMessage: () => Effect.succeed(Verdict.reject()) })
        const { child, server } = yield* serve(
          answering(command, [{ _tag: "Accept" }]),
          Milter.sequence([explained(declare()), refusing])
        )
        const mta = yield* server.open()
        const answers = yield* mta.each(...session, ...Mta.message)
        assert.strictEqual(answers.at(-1), "Reject", command)
        assert.notInclude(child().packets.map(({ _tag }) => _tag), "EndOfMessage", command)
      }
    }))

  it.effect("a skip at a header field leaves out the other fields", () =>
    Effect.gen(function*() {
      const { child, server } = yield* serve(answering("Header", [{ _tag: "Skip" }]), explained(declare()))
      const mta = yield* server.open()
      yield* mta.each(
        ...session,
        Mta.mail(),
        Mta.rcpt(),
        Mta.data,
        Mta.header(),
        Mta.header("To"),
        Mta.endOfHeaders,
        Mta.body()
      )
      assert.deepStrictEqual(child().packets.slice(6).map(({ _tag }) => _tag), ["Header", "EndOfHeaders", "Body"])
    }))
})
