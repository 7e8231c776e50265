/** Several filters as one. */
import { assert, describe } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type { ModificationPacket } from "effect-milter/MilterClient"
import { Action, Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import type { TemporaryFile } from "../../src/internal/bytes/spool.ts"
import { signing as signed } from "../../src/internal/filter/signing.ts"
import * as Random from "../support/random.ts"
import * as Mta from "../support/rawMta.ts"
import { asMessage, delivered, filterOf, Model, type Script, script, type Sent } from "../support/sequenceModel.ts"
import { effect } from "../support/yielding.ts"

const sent: Sent = {
  sender: "alice@example.com",
  recipients: ["bob@example.org", "ben@example.org", "bill@example.org"],
  headers: [["X-One", "first"], ["Subject", "hello"], ["X-One", "second"], ["X-Two", "third"]],
  pieces: ["one\r\n", "two\r\n", "three\r\n"]
}

const isFinal = (reply: string): boolean =>
  reply === "Reject" || reply === "TempFail" || reply === "Discard" || reply === "Accept"

const modified = (packets: ReadonlyArray<Packet.FilterPacket>): ReadonlyArray<ModificationPacket> =>
  packets.slice(0, -1) as ReadonlyArray<ModificationPacket> // progress is not sent without a clock

const play = Effect.fnUntraced(function*(mta: "postfix" | "sendmail", scripts: ReadonlyArray<Script>, seed: number) {
  const log: Array<string> = []
  // Each filter has the space after the colon, or none has.
  const leadingSpace = seed % 3 > 0
  const space = leadingSpace ? " " : ""
  const model = new Model(mta, scripts, leadingSpace)
  const server = yield* Mta.serve(Milter.sequence(scripts.map((script) => filterOf(script, log))))
  // Nothing but these: all commands come, and all are answered.
  const peer = yield* server.open({ steps: Step.skip | (leadingSpace ? Step.leadingSpace : 0) })
  const say = Effect.fnUntraced(function*(packet: Packet.MtaPacket) {
    const reply = yield* peer.each(packet)
    return reply[0]!
  })
  const told = `seed ${seed}, ${mta}: ${
    JSON.stringify(scripts.map((script) => ({ ...script, sees: [...script.sees], verdicts: [...script.verdicts] })))
  }`
  yield* peer.say(Mta.macros("C", mta === "postfix" ? { v: "Postfix 3.7.11" } : { v: "8.17.1.9" }))
  const opening = model.session()
  const replies: Array<string> = []
  for (const packet of [Mta.connect(), Mta.helo()]) {
    replies.push(yield* say(packet))
    if (replies.at(-1) === "Accept") break
  }
  assert.deepStrictEqual({ replies, log: log.splice(0) }, opening, told)
  if (replies.includes("Accept")) return
  for (let message = 0; message < 3; message++) {
    const expected = model.message(sent)
    const replies: Array<string> = []
    let result: ReadonlyArray<ModificationPacket> | undefined
    const accepted: Array<string> = []
    const converse = Effect.gen(function*() {
      replies.push(yield* say(Mta.mail(`<${sent.sender}>`)))
      if (isFinal(replies.at(-1)!)) return
      for (const recipient of sent.recipients) {
        const reply = yield* say(Mta.rcpt(`<${recipient}>`))
        replies.push(reply)
        if (reply === "Discard" || reply === "Accept") return
        if (reply === "Continue") accepted.push(recipient)
      }
      if (accepted.length === 0) return
      for (
        const packet of [
          Mta.data,
          ...sent.headers.map(([name, value]) => Mta.header(name, `${space}${value}`)),
          Mta.endOfHeaders
        ]
      ) {
        replies.push(yield* say(packet))
        if (isFinal(replies.at(-1)!)) return
      }
      for (const piece of sent.pieces) {
        replies.push(yield* say(Mta.body(piece)))
        if (isFinal(replies.at(-1)!)) return
        if (replies.at(-1) === "Skip") break
      }
      yield* peer.write(Mta.endOfMessage())
      const packets = yield* peer.packets
      const last = packets.at(-1)!._tag
      replies.push(last)
      if (last === "Continue" || last === "Accept") result = modified(packets)
    })
    yield* converse
    yield* peer.say(Mta.abort)
    assert.deepStrictEqual({ replies, log: log.splice(0) }, { replies: expected.replies, log: expected.log }, told)
    const got = result === undefined ? undefined : delivered(mta, asMessage(sent, accepted), result, leadingSpace)
    const headersOf = (message: typeof got | typeof expected.message) =>
      message?.headers.map(({ name, value }) => `${name}:${value}`)
    assert.deepStrictEqual(headersOf(got), headersOf(expected.message), told)
    assert.deepStrictEqual(got?.body, expected.message?.body, told)
    assert.deepStrictEqual(got?.sender, expected.message?.sender, told)
  }
})

const sequences = Number(process.env["EFFECT_MILTER_SEQUENCES"] ?? "400")

describe("a sequence", () => {
  for (const mta of ["postfix", "sendmail"] as const) {
    effect(
      `does what its filters would do one behind the other: ${sequences} of them, by the rules of ${mta}`,
      () =>
        Effect.gen(function*() {
          for (let seed = 1; seed <= sequences; seed++) {
            const random = Random.make(seed)
            const scripts = Array.from({ length: random.between(2, 4) }, (_, index) => script(random, `f${index}`, mta))
            yield* Effect.scoped(play(mta, scripts, seed))
          }
        }),
      120_000
    )
  }
})

/** A filter that answers at these stages, and writes down its name there. */
const noting = (
  name: string,
  log: Array<string>,
  ...stages: ReadonlyArray<"connect" | "mail" | "rcpt" | "header" | "body">
) => {
  const note = (stage: string) => () =>
    Effect.sync(() => {
      log.push(`${name} ${stage}`)
      return Verdict.continue
    })
  return Milter.make(name).on(Object.fromEntries(stages.map((stage) => [stage, note(stage)])))
}

const tagging = Milter.make("tagging", { modify: ["addHeader"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
})

describe("the negotiation of a sequence", () => {
  const stepsOf = Effect.fnUntraced(function*(...filters: ReadonlyArray<Milter.Filter<never, never>>) {
    const mta = yield* (yield* Mta.serve(Milter.sequence(filters))).open()
    const { actions, steps } = mta.agreed
    return {
      actions,
      steps: Object.entries(Step).filter(([, bit]) => (steps & bit) !== 0).map(([name]) => name)
    }
  })
  const log: Array<string> = []

  effect("asks for what any of them needs", () =>
    Effect.gen(function*() {
      const { actions, steps } = yield* stepsOf(
        noting("a", log, "header"),
        Milter.make("b", { modify: ["quarantine"] }).on({}, { body: () => Effect.void }),
        Milter.make("c", { modifyIfOffered: ["replaceBody"], rejectedRecipients: true }).on({})
      )
      assert.strictEqual(actions, Action.quarantine | Action.replaceBody)
      assert.isTrue(steps.includes("rejectedRecipients"))
      assert.isTrue(steps.includes("noReplyBody") && !steps.includes("noHeaders") && !steps.includes("noBody"))
    }))

  effect("has the content sent, unanswered, for a filter that sees it later", () =>
    Effect.gen(function*() {
      const { steps } = yield* stepsOf(tagging, noting("later", log, "header", "body"))
      assert.isTrue(steps.includes("noReplyHeader") && steps.includes("noReplyBody"))
      const { steps: none } = yield* stepsOf(tagging, noting("no content", log, "rcpt"))
      assert.isTrue(none.includes("noHeaders") && none.includes("noBody"))
    }))

  effect("streams the content where the MTA does not let the filter before it edit", () =>
    Effect.gen(function*() {
      const maybe = Milter.make("maybe", { modifyIfOffered: ["replaceBody"] }).on({})
      const server = yield* Mta.serve(Milter.sequence([maybe, noting("later", log, "body")]))
      for (const [actions, isKept] of [[0x1ff, true], [0x1ff & ~Action.replaceBody, false]] as const) {
        const mta = yield* server.open({ actions })
        assert.strictEqual((mta.agreed.steps & Step.noReplyBody) !== 0, isKept)
      }
    }))

  effect("asks for the macros of one without taking those of another away", () =>
    Effect.gen(function*() {
      const seen: Array<ReadonlyArray<string>> = []
      const look = (name: string, macros?: { readonly mail: ReadonlyArray<string> }) =>
        Milter.make(name, macros === undefined ? {} : { macros }).on({}, {
          mail: (_, { session }) =>
            Effect.sync(() => {
              seen.push(session.macros.entries().map(([name]) => name))
              assert.strictEqual(session.macros.get("j"), "mx")
            })
        })
      const server = yield* Mta.serve(Milter.sequence([look("a", { mail: ["client_ptr"] }), look("b")]))
      const mta = yield* server.dial
      const [answer] = yield* mta.say(Mta.negotiate())
      assert.include(answer, "{client_ptr} i {auth_type}")
      yield* mta.say(
        Mta.macros("C", { j: "mx" }),
        Mta.connect(),
        Mta.macros("M", { i: "Q", "{client_ptr}": "client.example" }),
        Mta.mail()
      )
      assert.deepStrictEqual(seen, [["j", "client_ptr"], ["j", "i", "client_ptr"]])
    }))
})

/** A file that cannot be written or read. */
const memoryFile = Effect.sync((): TemporaryFile => {
  let contents = new Uint8Array(0)
  return {
    append: (bytes) =>
      Effect.sync(() => {
        const longer = new Uint8Array(contents.length + bytes.length)
        longer.set(contents)
        longer.set(bytes, contents.length)
        contents = longer
      }),
    read: (position, length) => Effect.sync(() => contents.slice(position, position + length)),
    close: Effect.void
  }
})

describe("filters in a sequence", () => {
  effect("have their own services, state and failures", () =>
    Effect.gen(function*() {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      class First extends Milter.Service<First>()("test/First") {}
      const log: Array<string> = []
      const greeting = (name: string, connection: number) =>
        Milter.make(name, {
          connection: () => Effect.succeed(connection),
          message: () => Effect.map(Effect.service(Greeting), (text) => `${text} of ${name}`)
        }).on({
          rcpt: (_, { connection, message }) =>
            Effect.gen(function*() {
              log.push(`${name} ${connection} ${message} ${yield* Greeting}`)
              return Verdict.continue
            })
        })
      const layer = Milter.layer(First, greeting("first", 1)).pipe(Layer.provide(Layer.succeed(Greeting, "its own")))
      const failing = Milter.onFailure(
        Milter.make("failing").on({ rcpt: () => Effect.fail("down") }),
        () => Effect.succeed("pass" as const)
      )
      const all = Milter.sequence([First, failing, greeting("second", 2)])
      const mta = yield* Effect.flatMap(Mta.serve(all), (server) => server.open()).pipe(
        Effect.provide(Layer.merge(layer, Layer.succeed(Greeting, "everybody's")))
      )
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.rcpt()), ["Continue", "Continue", "Continue"])
      assert.deepStrictEqual(log.slice(0, 2), [
        "first 1 its own of first its own",
        "second 2 everybody's of second everybody's"
      ])
    }))

  effect("share the time for an answer, and nothing passes those who were not asked", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = Milter.make("slow", { onDefect: "pass" }).on({ mail: () => Effect.never })
      const mta = yield* (yield* Mta.serve(Milter.sequence([slow, noting("behind", log, "mail")]))).open()
      yield* mta.write(Mta.mail())
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["TempFail"])
      assert.deepStrictEqual(log, [])
    }))

  effect("that are slow to watch put the message off, if others behind them missed it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = Milter.make("slow").on({}, { header: () => Effect.never })
      const behind = Milter.make("behind").on({}, { header: () => Effect.sync(() => void log.push("header")) })
      const mta = yield* (yield* Mta.serve(Milter.sequence([slow, behind]))).open()
      yield* mta.say(Mta.mail(), Mta.rcpt())
      yield* mta.write(Mta.header())
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* mta.say(Mta.endOfMessage()), ["TempFail"])
      assert.deepStrictEqual(log, [])
    }))

  effect("that are slow at connect leave the client to nobody unasked", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = Milter.make("slow", { onDefect: "pass" }).on({ connect: () => Effect.never })
      const mta = yield* (yield* Mta.serve(Milter.sequence([slow, noting("behind", log, "connect")]))).open()
      yield* mta.write(Mta.connect())
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* mta.replies, ["Continue"])
      assert.deepStrictEqual(yield* mta.say(Mta.mail()), ["TempFail"])
      assert.deepStrictEqual(log, [])
    }))

  effect("are interrupted while they see the content again, and learn of the abort", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const later = Milter.make("later", {
        message: () => Effect.addFinalizer((exit) => Effect.sync(() => void log.push(exit._tag)))
      }).on({ body: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("interrupted"))) })
      const mta = yield* (yield* Mta.serve(Milter.sequence([tagging, later]))).open()
      yield* mta.say(...Mta.content)
      yield* mta.write(Mta.endOfMessage())
      assert.deepStrictEqual(yield* mta.replies, [])
      assert.deepStrictEqual(yield* mta.say(Mta.abort, Mta.mail()), ["TempFail", "Continue"])
      assert.deepStrictEqual(log, ["interrupted", "Failure"])
    }))

  effect("see a large body again piece by piece, with the MTA's line ends", () =>
    Effect.gen(function*() {
      const pieces: Array<Uint8Array> = []
      const text = `${"a line that ends like one on UNIX\n".repeat(20_000)}the last line`
      const replacing = Milter.make("replacing", { modify: ["replaceBody"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(new TextEncoder().encode(text)), Verdict.continue)
      })
      const reading = Milter.make("reading").on({
        body: ({ bytes }) => Effect.sync(() => (pieces.push(bytes.slice()), Verdict.continue))
      })
      const server = yield* Mta.serve(Milter.sequence([replacing, reading]), {}, memoryFile)
      const mta = yield* server.open()
      yield* mta.say(Mta.macros("C", { v: "Postfix 3.7.11" }), Mta.connect(), ...Mta.content)
      yield* mta.write(Mta.endOfMessage())
      const packets = yield* mta.packets
      assert.strictEqual(packets.at(-1)!._tag, "Continue")
      assert.isTrue(pieces.every(({ length }) => length <= 65535))
      const seen = pieces.map((piece) => new TextDecoder().decode(piece)).join("")
      assert.isTrue(seen === `${text.replaceAll("\n", "\r\n")}\r\n`)
    }))

  effect("are named in the log and in metrics", () =>
    Effect.gen(function*() {
      const refusing = Milter.make("refusing").on({ rcpt: () => Effect.succeed(Verdict.discardMessage) })
      const mta = yield* Effect.flatMap(
        Mta.serve(Milter.sequence([tagging, refusing])),
        (server) => server.open()
      )
      yield* mta.say(Mta.mail(), Mta.rcpt())
      const verdicts = (yield* Metric.snapshot).filter(({ id }) => id === "milter_verdicts_total")
        .map(({ attributes }) => attributes)
      assert.isTrue(
        verdicts.some((attributes) =>
          attributes?.["filter"] === "refusing" && attributes["verdict"] === "discardMessage"
        )
      )
    }))

  effect(
    "that edit behind one that signs, or seal in front of one that signs, are refused at the start",
    () =>
      Effect.gen(function*() {
        const signing = (name: string, by: "dkim" | "arc") =>
          signed(
            by,
            Milter.make(name, { modify: ["insertHeader"] }).on({ endOfMessage: () => Effect.succeed(Verdict.continue) })
          )
        const dkim = signing("dkim", "dkim")
        const arc = signing("arc", "arc")
        const started = (...filters: ReadonlyArray<Milter.Filter<never, never>>) =>
          Effect.exit(Mta.serve(Milter.sequence(filters)))
        for (const fine of [[tagging, dkim, arc], [dkim, dkim], [dkim, noting("reader", [], "body"), arc]]) {
          assert.isTrue(Exit.isSuccess(yield* started(...fine)))
        }
        for (
          const [filters, late, early] of [[[dkim, tagging], "tagging", "dkim"], [[arc, dkim], "dkim", "arc"]] as const
        ) {
          const exit = yield* started(...filters)
          assert.isTrue(Exit.isFailure(exit))
          assert.include(String(Exit.isFailure(exit) && exit.cause), `expected ${late} in front of ${early}`)
        }
        assert.isTrue(Exit.isFailure(yield* started()))
      })
  )
})
