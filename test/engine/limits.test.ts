/** Limits, each with its answer. */
import { assert, describe, it } from "@effect/vitest"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { listenerOf } from "../../src/internal/net/listener.ts"
import { answering } from "../support/filters.ts"
import * as Mta from "../support/rawMta.ts"

describe("limits", () => {
  it.effect("on connections: one more is answered 421 at connect, without a hook", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { connection: () => Effect.die("not for the third") }).on({
        rcpt: () => Effect.succeed(Verdict.continue)
      })
      const server = yield* Mta.serve(filter, { maxConnections: 2 })
      const first = yield* server.open()
      yield* server.open()
      const third = yield* server.open()
      // The filter answers nothing at connect, but the refusal has to.
      assert.strictEqual(first.agreed.steps & Step.noReplyConnect, Step.noReplyConnect)
      assert.strictEqual(third.agreed.steps & Step.noReplyConnect, 0)
      const [connect, mail] = yield* third.each(Mta.connect(), Mta.mail())
      assert.match(connect!, /^ReplyCode text="421 4\.3\.2 Too many connections \(session .*\)"$/)
      assert.strictEqual(mail, connect)
      yield* first.end
      yield* third.end
      const fourth = yield* server.open()
      assert.strictEqual(fourth.agreed.steps & Step.noReplyConnect, Step.noReplyConnect)
    }))

  it.effect("on connections: those that say nothing take no room from an MTA", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxConnections: 2 })
      yield* Effect.replicateEffect(server.dial, 5)
      const refusal = /^ReplyCode text="421 /
      for (const expected of [/^Continue$/, /^Continue$/, refusal]) {
        assert.match((yield* (yield* server.open()).say(Mta.connect())).join(), expected)
      }
    }))

  it.effect("on connections that say nothing: one more ends the oldest, and no MTA's", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxSilentConnections: 2 })
      const mta = yield* server.open()
      const [first, second, third, fourth] = yield* Effect.replicateEffect(server.dial, 4)
      yield* Mta.settle
      const closed = yield* Effect.all([mta, first!, second!, third!, fourth!].map(({ closed }) => closed))
      assert.deepStrictEqual(closed, [false, true, true, false, false])
      assert.strictEqual((yield* third!.say(Mta.negotiate(), Mta.connect())).at(-1), "Continue")
      assert.match(server.logs.map(({ text }) => text).join("\n"), /^TooManySilent: .*\nTooManySilent: .*$/m)
    }))

  it.effect("on connections: those that are refused and stay count among those that say nothing", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxConnections: 1, maxSilentConnections: 2 })
      const mta = yield* server.open()
      const refused = yield* Effect.replicateEffect(server.open(), 3)
      const closed = yield* Effect.all([mta, ...refused].map(({ closed }) => closed))
      assert.deepStrictEqual(closed, [false, true, false, false])
      assert.match((yield* refused[1]!.say(Mta.connect())).join(), /^ReplyCode text="421 /)
      assert.match(server.logs.map(({ text }) => text).join("\n"), /^TooManySilent: .* that were refused;/m)
    }))

  it.effect("on recipients: the one too many is put off, the others stay", () =>
    Effect.gen(function*() {
      let recipients: ReadonlyArray<string> = []
      const filter = Milter.make("test").on({
        endOfMessage: (_, { envelope }) =>
          Effect.sync(() => {
            recipients = envelope.recipients.map(({ recipient }) => recipient.address)
            return Verdict.continue
          })
      })
      const server = yield* Mta.serve(filter, { maxRecipients: 2 })
      const mta = yield* server.open()
      const replies = yield* mta.each(
        Mta.connect(),
        Mta.mail(),
        Mta.rcpt("<a@x>"),
        Mta.rcpt("<b@x>"),
        Mta.rcpt("<c@x>"),
        Mta.endOfMessage()
      )
      assert.deepStrictEqual(replies.slice(2, 4), ["Continue", "Continue"])
      assert.match(replies[4]!, /^ReplyCode text="452 4\.5\.3 Too many recipients/)
      assert.deepStrictEqual(recipients, ["a@x", "b@x"])
    }))

  const large = [Mta.header("A", " 1"), Mta.header("B", " 2"), Mta.header("C", " 3")]
  const tooLarge = /^ReplyCode text="552 5\.3\.4 The (header|message) is too large/

  for (
    const [what, options] of [
      ["header fields", { maxHeaders: 2 }],
      ["bytes of the header", { maxHeaderBytes: 7 }],
      ["bytes of the body", { maxBodyBytes: 5 }]
    ] as const
  ) {
    const several = Milter.sequence([answering({}, "one"), answering({}, "two")])
    it.effect.each([["one", answering({})], ["several", several]] as const)(
      `on ${what}: 552, or on without the filter (%s)`,
      ([, filter]) =>
        Effect.gen(function*() {
          const send = Effect.fnUntraced(function*(options: MilterServer.Options) {
            const server = yield* Mta.serve(filter, options)
            const mta = yield* server.open()
            const replies = yield* mta.each(
              Mta.connect(),
              Mta.mail(),
              Mta.rcpt(),
              ...large,
              Mta.body("123"),
              Mta.body("456"),
              Mta.endOfMessage()
            )
            const first = replies.findIndex((reply) => reply !== "Continue")
            return { at: first, reply: replies[first]! }
          })
          const rejected = yield* send(options)
          assert.match(rejected.reply, tooLarge)
          assert.strictEqual(rejected.at, what === "bytes of the body" ? 7 : 5)
          assert.deepStrictEqual(yield* send({ ...options, tooLarge: "pass" }), { at: rejected.at, reply: "Accept" })
        })
    )
  }

  it.effect("are answered at the next stage that is, if the filter only watches", () =>
    Effect.gen(function*() {
      const filter = Milter.make("watch").on({}, { header: () => Effect.void, body: () => Effect.void })
      const server = yield* Mta.serve(filter, { maxHeaders: 2 })
      const mta = yield* server.open()
      const replies = yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt(), ...large, Mta.body(), Mta.endOfMessage())
      assert.deepStrictEqual(replies.slice(2, -1), ["", "", "", "", ""])
      assert.match(replies.at(-1)!, tooLarge)
    }))

  describe("on modifications", () => {
    const deleting = (name: string, count: number) =>
      Milter.make(name, { modify: ["deleteHeader", "addRecipient"] }).on({
        endOfMessage: (_, { edit }) =>
          Effect.as(
            Effect.forEach(Array.from({ length: count }, (_, index) => count - index), (occurrence) =>
              edit.deleteHeader("X-Forged", occurrence)),
            Verdict.continue
          )
      })
    const finish = Effect.fnUntraced(function*(filter: Milter.Filter<never, never>, options?: MilterServer.Options) {
      const server = yield* Mta.serve(filter, options)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.each(...Array.from({ length: 1100 }, () => Mta.header("X-Forged", " 1")))
      return { replies: yield* mta.say(Mta.endOfHeaders, Mta.endOfMessage()), logs: server.logs }
    })
    const refused = /^ReplyCode text="550 5\.7\.1 The message needs too many changes \(session /

    it.effect("a message passes with all of them, or not at all", () =>
      Effect.gen(function*() {
        const most = yield* finish(deleting("one", 500))
        assert.lengthOf(most.replies.filter((reply) => reply.startsWith("ChangeHeader")), 500)
        assert.strictEqual(most.replies.at(-1), "Continue")
        assert.deepStrictEqual(most.logs, [])
        const more = yield* finish(deleting("one", 501))
        assert.lengthOf(more.replies.filter((reply) => reply !== "Continue"), 1)
        assert.match(more.replies.at(-1)!, refused)
        assert.deepStrictEqual(more.logs.map(({ level, text }) => ({ level, text })), [
          { level: "Warn", text: "the message is refused: it needs more than 500 modifications, see maxModifications" }
        ])
        const allowed = yield* finish(deleting("one", 501), { maxModifications: 501 })
        assert.strictEqual(allowed.replies.at(-1), "Continue")
      }))

    it.effect("those of all filters count together", () =>
      Effect.gen(function*() {
        const most = yield* finish(Milter.sequence([deleting("one", 250), deleting("two", 250)]))
        assert.lengthOf(most.replies.filter((reply) => reply.startsWith("ChangeHeader")), 500)
        assert.strictEqual(most.replies.at(-1), "Continue")
        for (const [one, two] of [[250, 251], [501, 0], [0, 501]] as const) {
          const more = yield* finish(Milter.sequence([deleting("one", one), deleting("two", two)]))
          assert.match(more.replies.at(-1)!, refused)
          assert.lengthOf(more.replies.filter((reply) => reply.startsWith("ChangeHeader")), 0)
        }
      }))

    it.effect("those of a document count, too", () =>
      Effect.gen(function*() {
        const filter = Message.make("document", { modify: ["headers"] }).on({
          document: ({ headers }) => Effect.as(headers.remove("X-Forged"), Verdict.continue)
        })
        assert.match((yield* finish(filter)).replies.at(-1)!, refused)
        assert.strictEqual((yield* finish(filter, { maxModifications: 1100 })).replies.at(-1), "Continue")
      }))

    it.effect("a refusal needs none", () =>
      Effect.gen(function*() {
        const filter = Milter.make("refuses", { modify: ["addHeader"] }).on({
          endOfMessage: (_, { edit }) =>
            Effect.as(
              Effect.forEach(Array.from({ length: 600 }), () => edit.addHeader("X", "1")),
              Verdict.tempFail()
            )
        })
        assert.strictEqual((yield* finish(filter)).replies.at(-1), "TempFail")
      }))
  })

  it.effect("on macros: the surplus is dropped, with one warning a session", () =>
    Effect.gen(function*() {
      let seen: ReadonlyArray<readonly [string, string]> = []
      const filter = Milter.make("test").on({
        mail: (_, { session }) =>
          Effect.sync(() => {
            seen = session.macros.entries()
            return Verdict.continue
          })
      })
      const server = yield* Mta.serve(filter, { maxMacros: 3 })
      const mta = yield* server.open()
      yield* mta.say(Mta.macros("C", { j: "mx", v: "1" }), Mta.connect())
      yield* mta.say(Mta.macros("H", { a: "1", b: "2" }), Mta.macros("M", { "{mail_addr}": "x", i: "y" }), Mta.mail())
      assert.lengthOf(seen, 3)
      assert.lengthOf(server.logs.filter(({ text }) => text.includes("truncated")), 1)
    }))

  it.effect("on frames: the connection is closed", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxFrameLength: 100 })
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.say(Mta.helo("x".repeat(98))), ["Continue"])
      assert.deepStrictEqual(yield* mta.say(Mta.helo("x".repeat(99))), [])
      assert.isTrue(yield* mta.closed)
      assert.match(server.logs.map(({ text }) => text).join(), /FrameError: .* 101 .*cap/)
    }))

  it.effect("on queued packets: reading pauses while a hook runs", () =>
    Effect.gen(function*() {
      let seen = 0
      const filter = Milter.make("watch").on({}, {
        header: () => Effect.andThen(Effect.sync(() => seen++), Effect.never)
      })
      const server = yield* Mta.serve(filter, { maxQueuedPackets: 8 })
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      for (let index = 0; index < 100; index++) yield* mta.write(Mta.header())
      yield* Mta.settle
      assert.strictEqual(seen, 1)
      // The abort waits in the peer's buffer: nobody reads it, and nothing grows here.
      yield* mta.say(Mta.abort)
      assert.strictEqual(seen, 1)
    }))
})

describe("configuration", () => {
  it.effect("has a name for every option", () =>
    Effect.gen(function*() {
      const environment = {
        MILTER_MAX_CONNECTIONS: "10",
        MILTER_MAX_FRAME_LENGTH: "70000",
        MILTER_MAX_SILENT_CONNECTIONS: "19",
        MILTER_MAX_HEADERS: "11",
        MILTER_MAX_HEADER_BYTES: "12",
        MILTER_MAX_RECIPIENTS: "13",
        MILTER_MAX_BODY_BYTES: "14",
        MILTER_MAX_MODIFICATIONS: "18",
        MILTER_MAX_MACROS: "15",
        MILTER_MAX_MACRO_BYTES: "16",
        MILTER_MAX_QUEUED_PACKETS: "17",
        MILTER_TOO_LARGE: "pass",
        MILTER_PEERS: "192.0.2.0/24, ::1",
        MILTER_COMMAND_TIMEOUT: "1 second",
        MILTER_END_OF_MESSAGE_TIMEOUT: "2 seconds",
        MILTER_PROGRESS_INTERVAL: "3 seconds",
        MILTER_IDLE_TIMEOUT: "4 seconds",
        MILTER_FRAME_TIMEOUT: "5 seconds",
        MILTER_WRITE_TIMEOUT: "6 seconds",
        MILTER_STOP_TIMEOUT: "7 seconds",
        MILTER_DRAIN_TIMEOUT: "8 seconds",
        MILTER_NEGOTIATION_TIMEOUT: "9 seconds"
      }
      const options = yield* MilterServer.config.parse(ConfigProvider.fromEnvRecord(environment))
      const {
        commandTimeout,
        drainTimeout,
        endOfMessageTimeout,
        frameTimeout,
        idleTimeout,
        negotiationTimeout,
        progressInterval,
        stopTimeout,
        writeTimeout,
        ...rest
      } = options
      assert.deepStrictEqual(rest, {
        maxConnections: 10,
        maxSilentConnections: 19,
        maxFrameLength: 70_000,
        maxHeaders: 11,
        maxHeaderBytes: 12,
        maxRecipients: 13,
        maxBodyBytes: 14,
        maxModifications: 18,
        maxMacros: 15,
        maxMacroBytes: 16,
        maxQueuedPackets: 17,
        tooLarge: "pass",
        peers: ["192.0.2.0/24", "::1"]
      })
      const durations = [
        commandTimeout,
        endOfMessageTimeout,
        progressInterval,
        idleTimeout,
        frameTimeout,
        writeTimeout,
        stopTimeout,
        drainTimeout,
        negotiationTimeout
      ]
      assert.deepStrictEqual(durations.map((input) => Duration.toSeconds(input!)), [1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.deepStrictEqual(yield* MilterServer.config.parse(ConfigProvider.fromEnvRecord({})), {})
    }))

  for (
    const [name, value, problem] of [
      ["MAX_CONNECTIONS", "many", /MAX_CONNECTIONS/],
      ["MAX_CONNECTIONS", "0", /MAX_CONNECTIONS/],
      ["MAX_RECIPIENTS", "-1", /MAX_RECIPIENTS/],
      ["MAX_FRAME_LENGTH", "1000", /65536.*MAX_FRAME_LENGTH/s],
      ["PEERS", "10.0.0.0/33", /network.*10\.0\.0\.0\/33.*PEERS/s],
      ["PEERS", ", ", /at least one network.*PEERS/s],
      ["IDLE_TIMEOUT", "soon", /IDLE_TIMEOUT/]
    ] as const
  ) {
    it.effect(`says what is wrong with MILTER_${name}=${value}`, () =>
      Effect.gen(function*() {
        const provider = ConfigProvider.fromEnvRecord({ [`MILTER_${name}`]: value })
        const error = yield* Effect.flip(MilterServer.config.parse(provider))
        assert.match(String(error), problem)
      }))
  }

  it.effect("does not take an empty list of peers for a missing one", () =>
    Effect.gen(function*() {
      const configured = (environment: Record<string, string>) =>
        Effect.result(Effect.gen(function*() {
          return yield* MilterServer.config
        })).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(environment)))
      assert.match(
        String(yield* Effect.flip(Effect.fromResult(yield* configured({ MILTER_PEERS: "" })))),
        /MILTER_PEERS is empty/
      )
      assert.deepStrictEqual(yield* configured({ MILTER_MAX_HEADERS: "" }), Result.succeed({}))
    }))

  it.effect("does not take an empty list of peers for a missing one, whoever reads it and wherever it stands", () =>
    Effect.gen(function*() {
      const { config } = MilterServer
      const environment = { APP_MILTER_PEERS: "", MILTER_PEERS: "" }
      const provider = ConfigProvider.fromEnvRecord(environment)
      const check = <A>(read: Config.Config<A>, name: string) =>
        Effect.gen(function*() {
          assert.match(String(yield* Effect.flip(read.parse(provider))), new RegExp(` ${name} is empty`))
          yield* read.parse(ConfigProvider.fromEnvRecord({}))
        })
      yield* check(config, "MILTER_PEERS")
      yield* check(Config.all({ milter: config }), "MILTER_PEERS")
      yield* check(Config.nested(config, "APP"), "APP_MILTER_PEERS")
      assert.deepStrictEqual(
        yield* Config.nested(config, "APP").parse(
          ConfigProvider.fromEnvRecord({ ...environment, APP_MILTER_PEERS: "::1" })
        ),
        { peers: ["::1"] }
      )
    }))

  it.effect("is read by layerConfig", () =>
    Effect.gen(function*() {
      const error = yield* MilterServer.layerConfig(answering({})).pipe(
        Layer.provide(Layer.succeed(
          MilterServer.Listener,
          listenerOf({ addresses: [], accept: () => Effect.void, stop: Effect.void })
        )),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({ MILTER_TOO_LARGE: "maybe" }))),
        Layer.build,
        Effect.scoped,
        Effect.flip
      )
      assert.strictEqual(error._tag, "ConfigError")
    }))
})

describe("a large body", () => {
  it.effect("goes out in pieces as fast as the MTA takes them, with nothing between them", () =>
    Effect.gen(function*() {
      const chunk = new Uint8Array(100_000).fill(120)
      const filter = Milter.make("large", { modify: ["replaceBody", "addHeader"] }).on({
        endOfMessage: (_, { edit }) =>
          edit.replaceBody(Stream.range(1, 20).pipe(Stream.map(() => chunk))).pipe(
            Effect.andThen(edit.addHeader("X-First", "yes")),
            Effect.as(Verdict.continue)
          )
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      yield* mta.pause
      yield* mta.say(Mta.endOfMessage())
      yield* mta.resume
      let length = 0
      const tags: Array<string> = []
      for (let turn = 0; turn < 100 && tags.at(-1) !== "Continue"; turn++) {
        for (const packet of yield* mta.packets) {
          if (packet._tag === "ReplaceBody") length += packet.bytes.length
          if (tags.at(-1) !== packet._tag) tags.push(packet._tag)
        }
      }
      assert.strictEqual(length, 2_000_000)
      assert.deepStrictEqual(tags, ["AddHeader", "ReplaceBody", "Continue"])
    }))
})
