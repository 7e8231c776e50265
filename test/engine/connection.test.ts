/** What happens to hooks when the MTA goes away or gives up, and to connections when it breaks the rules. */
import { assert, describe, it } from "@effect/vitest"
import * as Frame from "effect-milter/Frame"
import * as Milter from "effect-milter/Milter"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { type Answered, answering, before, commands, describeExit, goOn, recorder } from "../support/filters.ts"
import { order, stages } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"
import { fromHex } from "../support/wire.ts"
import { effect, quiet } from "../support/yielding.ts"

/** A filter whose hook at one stage sleeps for two seconds and writes down how that ended. */
const sleepy = (stage: Answered, options: { readonly stubborn?: boolean } = {}) => {
  const record = recorder()
  const sleep = Effect.sleep("2 seconds").pipe(
    Effect.onExit((exit) => record.log(`hook ${describeExit(exit)}`)),
    Effect.as(Verdict.continue),
    options.stubborn === true ? Effect.uninterruptible : (effect) => effect
  )
  const filter = Milter.make("test", { ...record.options, modify: ["addHeader"] }).on({
    connect: () => goOn,
    helo: () => goOn,
    mail: () => goOn,
    rcpt: () => goOn,
    data: () => goOn,
    header: () => goOn,
    endOfHeaders: () => goOn,
    body: () => goOn,
    endOfMessage: (_, { edit }) => Effect.andThen(edit.addHeader("A", "b"), goOn),
    unknown: () => goOn,
    [stage]: () => sleep
  })
  return { filter, take: record.take }
}

/** The answer to a command whose hook was given up: a tempfail, worded or not. */
const putOff = /^(TempFail|ReplyCode text="4[^"]*")$/

describe("a hook that is running", () => {
  for (const stage of stages) {
    const inMessage = stage !== "unknown" && order.indexOf(stage) >= 2

    for (const how of ["end", "reset", "quit", "stop"] as const) {
      effect(`at ${stage} is interrupted by ${how}, and nothing is written`, () =>
        Effect.gen(function*() {
          const { filter, take } = sleepy(stage)
          const server = yield* Mta.serve(filter)
          const mta = yield* server.open()
          yield* mta.each(...before(stage))
          assert.deepStrictEqual(yield* mta.say(commands[stage]), [])
          take()
          yield* how === "end"
            ? mta.end
            : how === "reset"
            ? mta.reset
            : how === "quit"
            ? mta.write(Mta.quit)
            : server.stop
          // When the server stops, the MTA that waits is told to come back.
          if (how === "stop") assert.match((yield* mta.replies).join(), putOff)
          else assert.deepStrictEqual(yield* mta.replies, [])
          assert.deepStrictEqual(take(), [
            "hook interrupted",
            ...inMessage ? ["message 1 closes: interrupted"] : [],
            `connection 1 closes: ${how === "quit" ? "success" : "interrupted"}`
          ])
          if (how !== "end") assert.isTrue(yield* mta.closed)
          assert.deepStrictEqual(server.logs, [])
        }))
    }

    effect(
      `at ${stage}${
        inMessage ? " is interrupted by an abort; the command is answered once" : " is left alone by an abort"
      }`,
      () =>
        Effect.gen(function*() {
          const { filter, take } = sleepy(stage)
          const server = yield* Mta.serve(filter)
          const mta = yield* server.open()
          yield* mta.each(...before(stage))
          yield* mta.write(commands[stage])
          assert.deepStrictEqual(yield* mta.replies, [])
          take()
          const replies = yield* mta.say(Mta.abort)
          if (inMessage) {
            assert.match(replies.join(), putOff)
            assert.deepStrictEqual(take(), ["hook interrupted", "message 1 closes: interrupted"])
            // The next message is a new one, which closes by itself.
            yield* mta.write(Mta.mail("<next@x>"))
            yield* TestClock.adjust("2 seconds")
            assert.deepStrictEqual(yield* mta.replies, ["Continue"])
            assert.deepStrictEqual(take().filter((event) => event.startsWith("message")), ["message 2 opens"])
            yield* mta.say(Mta.abort, Mta.abort)
            assert.deepStrictEqual(take(), ["message 2 closes: interrupted"])
          } else {
            assert.deepStrictEqual(replies, [])
            yield* TestClock.adjust("2 seconds")
            assert.deepStrictEqual(yield* mta.replies, ["Continue"])
            assert.deepStrictEqual(take(), ["hook success"])
          }
          assert.deepStrictEqual(server.logs, [])
        })
    )

    // With a hook that begins, or ends, in the read that brought its command.
    it.effect(`at ${stage} sees an abort and a quit that came in the same read`, () =>
      Effect.gen(function*() {
        for (const end of [[Mta.abort, Mta.quit], [Mta.quit], [Mta.abort, Mta.abort, Mta.quit]]) {
          const { filter, take } = sleepy(stage)
          const mta = yield* (yield* Mta.serve(filter)).open()
          yield* mta.each(...before(stage))
          take()
          yield* mta.write(commands[stage], ...end)
          assert.isTrue(yield* mta.closed)
          const events = take().filter((event) => !event.endsWith("opens"))
          assert.deepStrictEqual(events, [
            "hook interrupted",
            ...inMessage ? ["message 1 closes: interrupted"] : [],
            "connection 1 closes: success"
          ])
        }
      }))
  }

  effect("and does not heed interruption is waited for", () =>
    Effect.gen(function*() {
      const { filter, take } = sleepy("endOfMessage", { stubborn: true })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), ...Mta.content)
      take()
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage(), Mta.abort), [])
      assert.deepStrictEqual(take(), [])
      yield* TestClock.adjust("2 seconds")
      assert.match((yield* mta.replies).join(), putOff)
      assert.deepStrictEqual(take(), ["hook success", "message 1 closes: interrupted"])
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["Continue"])
      const other = sleepy("rcpt", { stubborn: true })
      const end = yield* (yield* Mta.serve(other.filter)).open()
      yield* end.each(Mta.connect(), Mta.mail())
      yield* end.write(Mta.rcpt())
      yield* end.end
      other.take()
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(other.take(), [
        "hook success",
        "message 1 closes: interrupted",
        "connection 1 closes: interrupted"
      ])
      assert.deepStrictEqual(yield* end.replies, [])
    }))

  effect("holds back what follows, which is answered in order", () =>
    Effect.gen(function*() {
      const { filter } = sleepy("mail")
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(
        yield* mta.say(Mta.connect(), Mta.mail(), Mta.rcpt(), Mta.unknown(), Mta.data),
        ["Continue"]
      )
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(yield* mta.replies, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* mta.replies, ["Continue", "Continue", "Continue", "Continue"])
    }))

  effect("that only watches: an abort behind it ends the message without a word", () =>
    Effect.gen(function*() {
      const { log, options, take } = recorder()
      const filter = Milter.make("test", options).on({}, {
        header: () => Effect.onExit(Effect.sleep("2 seconds"), (exit) => log(`hook ${describeExit(exit)}`))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      take()
      assert.deepStrictEqual(yield* mta.say(Mta.header(), Mta.header(), Mta.abort, Mta.mail()), ["Continue"])
      assert.deepStrictEqual(take(), ["hook interrupted", "message 1 closes: interrupted", "message 2 opens"])
      // With the whole message queued after it, end of message is the command that is answered.
      const replies = yield* mta.say(Mta.header(), Mta.header(), Mta.endOfMessage(), Mta.abort, Mta.mail())
      assert.strictEqual(replies.length, 2)
      assert.match(replies[0]!, putOff)
      assert.strictEqual(replies[1], "Continue")
      assert.deepStrictEqual(take(), ["hook interrupted", "message 2 closes: interrupted", "message 3 opens"])
    }))

  // With a hook that begins, or ends, in the read that brought its command.
  it.effect("a state builder too", () =>
    Effect.gen(function*() {
      for (const state of ["connection", "message"] as const) {
        const { log, resource, take } = recorder()
        const build = () =>
          Effect.andThen(
            resource(state),
            Effect.onExit(Effect.sleep("2 seconds"), (exit) => log(`builder ${describeExit(exit)}`))
          )
        const filter = Milter.make("test", { [state]: build }).on({})
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.say(Mta.connect(), Mta.mail())
        yield* mta.end
        assert.deepStrictEqual(take(), [`${state} opens`, "builder interrupted", `${state} closes: interrupted`])
        // An abort reaches that of a message.
        const other = yield* (yield* Mta.serve(filter)).open()
        const replies = yield* other.say(Mta.connect(), Mta.mail(), Mta.abort)
        if (state === "message") {
          assert.match(replies.join(), putOff)
          assert.deepStrictEqual(take(), [`${state} opens`, "builder interrupted", `${state} closes: interrupted`])
        } else {
          assert.deepStrictEqual(replies, [])
          yield* TestClock.adjust("2 seconds")
          assert.deepStrictEqual(yield* other.replies, ["Continue"])
        }
      }
    }))

  effect("behind finalizers that take time: an end of stream keeps it from starting", () =>
    Effect.gen(function*() {
      const { log, take } = recorder()
      const filter = Milter.make("test", {
        message: () => Effect.addFinalizer(() => Effect.andThen(Effect.sleep("1 second"), log("finalizer")))
      }).on({ mail: ({ sender }) => sender.localPart === "b" ? Effect.as(log("hook"), Verdict.continue) : goOn })
      for (const end of [Mta.endOfMessage(), Mta.abort]) {
        const mta = yield* (yield* Mta.serve(filter)).open()
        // An abort in the same read could come before the finalizer has been added.
        yield* mta.say(Mta.connect(), Mta.mail("<a@x>"))
        yield* quiet
        yield* mta.say(end, Mta.mail("<b@x>"))
        yield* mta.end
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* mta.replies, [])
        assert.deepStrictEqual(take(), ["finalizer"])
        assert.isTrue(yield* mta.closed)
      }
    }))

  effect("finalizers are not cut short by an end of stream, and run once", () =>
    Effect.gen(function*() {
      for (const how of ["end", "reset", "stop"] as const) {
        const { log, options, take } = recorder()
        const filter = Milter.make("test", {
          connection: options.connection,
          message: () => Effect.addFinalizer(() => Effect.andThen(Effect.sleep("1 second"), log("finalizer")))
        }).on({})
        const server = yield* Mta.serve(filter)
        const mta = yield* server.open()
        yield* mta.say(Mta.connect(), Mta.mail(), Mta.endOfMessage())
        take()
        const ending = yield* Effect.forkChild(how === "end" ? mta.end : how === "reset" ? mta.reset : server.stop)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(take(), [
          "finalizer",
          `connection 1 closes: ${how === "end" ? "success" : "interrupted"}`
        ], how)
        yield* Effect.andThen(Mta.settle, Effect.sync(() => assert.isDefined(ending.pollUnsafe())))
      }
    }))
})

describe("a hook whose time is over", () => {
  effect(
    "and that takes time to stop: its message is closed once, also if the MTA goes away meanwhile",
    () =>
      Effect.gen(function*() {
        for (const how of ["end", "reset", "quit", "nothing"] as const) {
          const { log, options, take } = recorder()
          const filter = Milter.make("test", options).on({
            mail: () =>
              Effect.uninterruptible(
                Effect.as(Effect.andThen(Effect.sleep("12 seconds"), log("hook")), Verdict.continue)
              )
          })
          const mta = yield* (yield* Mta.serve(filter)).open()
          yield* mta.each(Mta.connect(), Mta.mail())
          take()
          yield* TestClock.adjust("9 seconds")
          assert.match((yield* mta.replies).join(), putOff)
          assert.deepStrictEqual(take(), [])
          yield* how === "quit" ? mta.write(Mta.quit) : how === "nothing" ? Effect.void : mta[how]
          yield* TestClock.adjust("4 seconds")
          const events = take()
          assert.deepStrictEqual(events.slice(0, 2), ["hook", "message 1 closes: interrupted"], how)
          assert.strictEqual(events.length, how === "nothing" ? 2 : 3, how)
        }
      })
  )

  effect(
    "counts from its own start where no answer is awaited, and signs of life come all the same",
    () =>
      Effect.gen(function*() {
        let pieces = 0
        const filter = Milter.make("test").on({}, {
          body: () => Effect.andThen(Effect.sleep("3 seconds"), Effect.sync(() => void pieces++))
        })
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
        yield* mta.write(...Array.from({ length: 6 }, () => Mta.body()), Mta.endOfMessage())
        // Sendmail waits 10 seconds for the first sign, while the body is still looked at.
        yield* TestClock.adjust("18 seconds")
        assert.deepStrictEqual(yield* mta.replies, ["Progress", "Progress", "Progress", "Continue"])
        assert.strictEqual(pieces, 6)
      })
  )
})

describe("backpressure", () => {
  effect("a slow hook loses nothing of what piles up behind it", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test").on({}, {
        body: ({ bytes }) =>
          Effect.andThen(Effect.sync(() => void seen.push(new TextDecoder().decode(bytes))), Effect.sleep("1 second"))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      // More than is read ahead, each in a read of its own.
      for (let index = 0; index < 600; index++) yield* mta.write(Mta.body(String(index)))
      yield* mta.write(Mta.endOfMessage())
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual((yield* mta.replies).filter((reply) => reply !== "Progress"), ["Continue"])
      assert.deepStrictEqual(seen, Array.from({ length: 600 }, (_, index) => String(index)))
    }))

  effect("a slow hook stops the reading, again and again", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({}, { body: () => Effect.sleep("1 second") })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt())
      const chunk = Mta.body("x".repeat(8000))
      for (let round = 0; round < 3; round++) {
        let chunks = 0
        while (yield* mta.room) {
          yield* mta.write(chunk)
          assert.isBelow(++chunks, 200)
        }
        yield* TestClock.adjust("3 minutes")
        assert.isTrue(yield* mta.room)
      }
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage()), ["Continue"])
    }))

  // With a hook that begins, or ends, in the read that brought its command.
  it.effect("a peer that does not read stops the work, and gets the rest in order when it does", () =>
    Effect.gen(function*() {
      let messages = 0
      const filter = Milter.make("test", { modify: ["replaceBody"] }).on({
        mail: () => Effect.sync(() => (messages++, Verdict.continue)),
        endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(new Uint8Array(100_000)), Verdict.continue)
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect())
      yield* mta.pause
      const whole = [Mta.mail(), Mta.rcpt(), Mta.endOfMessage(), Mta.abort]
      yield* mta.write(...whole, ...whole, ...whole)
      assert.deepStrictEqual(yield* mta.replies, [])
      assert.strictEqual(messages, 1)
      yield* mta.resume
      const packets = yield* mta.packets
      const one = ["Continue", "ReplaceBody", "ReplaceBody", "Continue"]
      assert.deepStrictEqual(packets.map(({ _tag }) => _tag), [...one, ...one, ...one])
    }))

  effect("so does one that does not read short answers, once enough of them wait for it", () =>
    Effect.gen(function*() {
      let hooks = 0
      const wordy = Verdict.reject({ text: Array.from({ length: 20 }, () => "x".repeat(400)) })
      const filter = Milter.make("test").on({ unknown: () => Effect.sync(() => (hooks++, wordy)) })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.pause
      yield* mta.write(...Array.from({ length: 100 }, () => Mta.unknown()))
      assert.deepStrictEqual(yield* mta.replies, [])
      assert.isBelow(hooks, 20)
      yield* mta.resume
      assert.strictEqual((yield* mta.replies).length, 100)
      assert.strictEqual(hooks, 100)
    }))

  effect("a peer that does not read and goes away leaves nothing behind", () =>
    Effect.gen(function*() {
      for (const how of ["end", "reset"] as const) {
        const { options, take } = recorder()
        const filter = Milter.make("test", { ...options, modify: ["replaceBody"] }).on({
          endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(new Uint8Array(100_000)), Verdict.continue)
        })
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.each(Mta.connect())
        yield* mta.pause
        yield* mta.write(Mta.mail(), Mta.endOfMessage(), Mta.mail(), Mta.endOfMessage())
        yield* mta[how]
        yield* Mta.settle
        const events = take()
        const opened = events.filter((event) => event.endsWith("opens")).length
        assert.strictEqual(events.length, 2 * opened, events.join("; "))
        assert.match(events.at(-1)!, /^connection 1 closes/)
      }
    }))
})

describe("bad input", () => {
  const frame = (letter: string, payload: string) =>
    Frame.encode(letter.charCodeAt(0), Uint8Array.from(payload, (character) => character.charCodeAt(0)))

  interface Case {
    readonly name: string
    readonly after: ReadonlyArray<Packet.MtaPacket>
    readonly bytes: Uint8Array
    /** The answer, where the command expects one. */
    readonly reply?: boolean
    readonly error: RegExp
  }
  const start = [Mta.negotiate()]
  const inMessage = [Mta.negotiate(), Mta.connect(), Mta.helo(), Mta.mail()]
  const cases: ReadonlyArray<Case> = [
    { name: "a length of 0", after: start, bytes: fromHex("00000000"), error: /^FrameError: .* 17\b.*length of 0/ },
    {
      name: "a length over the cap",
      after: start,
      bytes: fromHex("0010000142"),
      error: /^FrameError: .* 17\b.*1048577.*cap/
    },
    {
      name: "HTTP",
      after: [],
      bytes: new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      error: /^FrameError: .* 0\b/
    },
    { name: "TLS", after: [], bytes: fromHex("160301020001000001fc0303"), error: /^FrameError: .* 0\b/ },
    { name: "an unknown command", after: start, bytes: frame("Z", ""), error: /^PacketError: .*0x5a.* 21\b/ },
    { name: "a reply as a command", after: start, bytes: frame("c", ""), error: /^PacketError: .*0x63/ },
    { name: "an unknown command before the negotiation", after: [], bytes: frame("Z", ""), error: /^PacketError/ },
    ...["C", "H", "M", "R", "T", "L", "N", "B", "E", "U", "D", "A", "K"].map((letter): Case => ({
      name: `${letter} before the negotiation`,
      after: [],
      bytes: frame(letter, "x\0y\0"),
      error: /^ProtocolError: \w+ before the negotiation at byte 0/
    })),
    {
      name: "a second negotiation",
      after: inMessage,
      bytes: frame("O", "\0\0\0\x06\0\0\0\0\0\0\0\0"),
      error: /^ProtocolError: a second negotiation at byte \d+/
    },
    {
      name: "an offer that is too short",
      after: [],
      bytes: frame("O", "\0\0\0\x06\0\0"),
      error: /^PacketError: Negotiate/
    },
    {
      name: "a version below 2",
      after: [],
      bytes: frame("O", "\0\0\0\x01\0\0\0\x0f\0\0\0\x3f"),
      error: /^NegotiationError/
    },
    ...["R", "T", "L", "N", "B", "E"].map((letter): Case => ({
      name: `${letter} outside a message`,
      after: [Mta.negotiate(), Mta.connect()],
      bytes: frame(letter, letter === "R" || letter === "L" ? "a\0b\0" : ""),
      error: /^ProtocolError: \w+ out of order/
    })),
    {
      name: "connect inside a message",
      after: inMessage,
      bytes: frame("C", "h\0U"),
      error: /^ProtocolError: Connect out of order/
    },
    {
      name: "connect without NUL",
      after: start,
      bytes: frame("C", "host"),
      reply: true,
      error: /^PacketError: Connect/
    },
    {
      name: "connect without family",
      after: start,
      bytes: frame("C", "h\0"),
      reply: true,
      error: /^PacketError: Connect/
    },
    {
      name: "connect of an unknown family",
      after: start,
      bytes: frame("C", "h\0X\0\0a\0"),
      reply: true,
      error: /^PacketError: Connect/
    },
    {
      name: "connect with half a port",
      after: start,
      bytes: frame("C", "h\x004\0"),
      reply: true,
      error: /^PacketError: Connect/
    },
    {
      name: "connect with a port and no address",
      after: start,
      bytes: frame("C", "h\x004\0\x19"),
      reply: true,
      error: /^PacketError: Connect/
    },
    {
      name: "connect with an address that is none",
      after: start,
      bytes: frame("C", "h\x004\0\x19host\0"),
      reply: true,
      error: /./
    },
    {
      name: "connect with IPv6 in IPv4",
      after: start,
      bytes: frame("C", "h\x004\0\x19::1\0"),
      reply: true,
      error: /./
    },
    { name: "helo without NUL", after: start, bytes: frame("H", "host"), reply: true, error: /^PacketError: Helo/ },
    { name: "helo without anything", after: start, bytes: frame("H", ""), reply: true, error: /^PacketError: Helo/ },
    { name: "mail without NUL", after: start, bytes: frame("M", "<a@x>"), reply: true, error: /^PacketError: Mail/ },
    { name: "mail without anything", after: start, bytes: frame("M", ""), reply: true, error: /^PacketError: Mail/ },
    {
      name: "rcpt without NUL",
      after: inMessage,
      bytes: frame("R", "<a@x>"),
      reply: true,
      error: /^PacketError: Rcpt/
    },
    {
      name: "header without value",
      after: inMessage,
      bytes: frame("L", "Subject\0"),
      reply: true,
      error: /^PacketError: Header/
    },
    {
      name: "header without NUL",
      after: inMessage,
      bytes: frame("L", "Subject"),
      reply: true,
      error: /^PacketError: Header/
    },
    {
      name: "unknown without NUL",
      after: start,
      bytes: frame("U", "XYZZY"),
      reply: true,
      error: /^PacketError: Unknown/
    },
    { name: "macros without a stage", after: start, bytes: frame("D", ""), error: /^PacketError: Macro/ }
  ]

  for (const { after, bytes, error, name, reply } of cases) {
    effect(`${name}: ${reply === true ? "a tempfail, " : ""}one log line, and a close`, () =>
      Effect.gen(function*() {
        const { options, take } = recorder()
        // It answers everything, so that nothing is left out by negotiation.
        const server = yield* Mta.serve(
          Milter.make("test", options).on({
            connect: () => goOn,
            helo: () => goOn,
            mail: () => goOn,
            rcpt: () => goOn,
            header: () => goOn,
            unknown: () => goOn
          })
        )
        const other = yield* server.open()
        yield* other.each(Mta.connect(), Mta.mail())
        take()
        const mta = yield* server.dial
        yield* mta.say(...after)
        const replies = yield* mta.raw(bytes)
        if (reply === true) assert.match(replies.join(), putOff)
        else assert.deepStrictEqual(replies, [])
        assert.isTrue(yield* mta.closed)
        assert.strictEqual(server.logs.length, 1)
        const { level, session, text } = server.logs[0]!
        assert.strictEqual(level, "Warn")
        assert.match(text, error)
        assert.isString(session)
        const opened = take()
        assert.strictEqual(opened.filter((event) => event.endsWith("opens")).length * 2, opened.length)
        assert.isTrue(
          opened.filter((event) => event.includes("closes")).every((event) => event.endsWith("interrupted"))
        )
        // Nobody else has noticed.
        assert.deepStrictEqual(yield* other.each(Mta.rcpt(), Mta.endOfMessage()), ["Continue", "Continue"])
        assert.deepStrictEqual(yield* (yield* server.open()).say(Mta.connect()), ["Continue"])
        assert.strictEqual(server.logs.length, 1)
      }))
  }

  effect("what came before it in the same read still gets its answers", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}))
      const mta = yield* server.open()
      const good = Mta.encode(Mta.connect(), Mta.helo())
      const bytes = new Uint8Array(good.length + 4)
      bytes.set(good)
      assert.deepStrictEqual(yield* mta.raw(bytes), ["Continue", "Continue"])
      assert.isTrue(yield* mta.closed)
    }))

  effect("behind a running hook it interrupts that", () =>
    Effect.gen(function*() {
      const { filter, take } = sleepy("mail")
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail())
      take()
      yield* mta.raw(fromHex("00000000"))
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(take(), [
        "hook interrupted",
        "message 1 closes: interrupted",
        "connection 1 closes: interrupted"
      ])
      assert.strictEqual(server.logs.length, 1)
    }))

  effect("behind a running hook a bad payload is answered in its turn", () =>
    Effect.gen(function*() {
      const { filter } = sleepy("mail")
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.connect())
      yield* mta.write(Mta.mail())
      assert.deepStrictEqual(yield* mta.raw(frame("R", "no NUL")), [])
      yield* TestClock.adjust("2 seconds")
      const replies = yield* mta.replies
      assert.strictEqual(replies.length, 2)
      assert.strictEqual(replies[0], "Continue")
      assert.match(replies[1]!, putOff)
      assert.isTrue(yield* mta.closed)
    }))

  effect("a bad payload of a command that is not answered by agreement gets none", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(Milter.make("test").on({}))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.raw(frame("H", "no NUL")), [])
      assert.isTrue(yield* mta.closed)
      assert.strictEqual(server.logs.length, 1)
    }))

  effect("an odd macro list loses its last name, with a warning, and all goes on", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const filter = Milter.make("test").on({
        connect: (_, { session }) => Effect.sync(() => (seen.push(session.macros.entries()), Verdict.continue))
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.raw(frame("D", "Cj\0mx\0{odd}\0"))
      assert.deepStrictEqual(yield* mta.say(Mta.connect()), ["Continue"])
      assert.deepStrictEqual(seen, [[["j", "mx"]]])
      assert.strictEqual(server.logs.length, 1)
      assert.strictEqual(server.logs[0]!.level, "Warn")
      assert.match(server.logs[0]!.text, /^Macro: .*odd/)
      assert.isString(server.logs[0]!.session)
    }))

  effect("bytes behind the last field are ignored, with a warning", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.raw(frame("M", "<a@x>\0SIZE=1\0junk")), ["Continue"])
      assert.deepStrictEqual(yield* mta.raw(frame("N", "junk")), ["Continue"])
      assert.strictEqual(server.logs.length, 2)
      assert.isTrue(server.logs.every(({ level, text }) => level === "Warn" && text.includes("ignored")))
    }))

  effect("the cap can be set", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(answering({}), { maxFrameLength: 65536 })
      const mta = yield* server.open()
      yield* mta.each(Mta.mail())
      assert.deepStrictEqual(yield* mta.say(Mta.body("x".repeat(65535))), ["Continue"])
      assert.deepStrictEqual(yield* mta.say(Mta.body("x".repeat(65536))), [])
      assert.isTrue(yield* mta.closed)
    }))

  effect("one byte at a time is no bad input", () =>
    Effect.gen(function*() {
      const mta = yield* (yield* Mta.serve(answering({}))).dial
      const replies: Array<string> = []
      for (const byte of Mta.encode(Mta.negotiate(), Mta.connect(), ...Mta.message, Mta.quit)) {
        replies.push(...yield* mta.raw(Uint8Array.of(byte)))
      }
      assert.deepStrictEqual(replies.slice(1), order.slice(1).map(() => "Continue"))
      assert.isTrue(yield* mta.closed)
    }))
})
