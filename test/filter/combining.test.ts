/** What `when`, `shadow` and `delayReject` promise, with whatever sessions and filters. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type { Outcome } from "effect-milter/MilterClient"
import * as MilterTest from "effect-milter/MilterTest"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Mta from "../support/rawMta.ts"

const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))

/** From 0 to 99, the same for the same. */
const dice = (...about: ReadonlyArray<string | number>): number => {
  let hash = 0x811c9dc5
  for (const character of about.join("|")) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0
  return (hash >>> 8) % 100
}

/** Decides by the seed and by what it is shown, now and then not at once; most of the time it lets mail pass. */
const picky = (seed: number, name = `picky${seed}`) => {
  const decide = (stage: string, about: string): Effect.Effect<Verdict.OfMessage> => {
    const thrown = dice(seed, stage, about)
    const verdict = thrown < 6
      ? Verdict.reject({ text: `${stage} ${seed}` })
      : thrown < 10
      ? Verdict.tempFail({ text: `${stage} ${seed}` })
      : thrown < 12
      ? Verdict.discardMessage
      : thrown < 14
      ? Verdict.acceptMessage
      : Verdict.continue
    return thrown % 3 === 0 ? Effect.as(Effect.yieldNow, verdict) : Effect.succeed(verdict)
  }
  return Milter.make(name, { modify: ["addHeader", "changeHeader"], modifyIfOffered: ["replaceBody"] }).on({
    mail: ({ sender }) => decide("mail", sender.address),
    rcpt: ({ recipient }) => decide("rcpt", recipient.address),
    header: ({ name, value }) => decide("header", `${name} ${value}`),
    body: ({ bytes }) => decide("body", String(bytes.length)),
    endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
      const about = envelope.recipients.map(({ recipient }) => recipient.address).join()
      const thrown = dice(seed, "edit", about)
      if (thrown < 50) yield* edit.addHeader(`X-${name}`, about)
      if (thrown < 20) yield* edit.changeHeader("Subject", 1, name)
      if (thrown > 80 && Option.isSome(edit.replaceBody)) {
        yield* edit.replaceBody.value(new TextEncoder().encode(`${name}\r\n`))
      }
      return yield* decide("endOfMessage", about)
    })
  })
}

/** An accept of one filter, the MTA learns later if others have not accepted yet. */
const told = (outcome: Outcome | undefined): string =>
  outcome === undefined ? "given up" : MilterTest.format(outcome).replace(/^accepted at \w+/, "accepted")

const play = (filter: Milter.Filter<never, never>, script: MilterTest.SessionScript) =>
  // One that vanishes would do so earlier or later.
  Effect.map(MilterTest.session(filter, { ...script, end: "quit" }), (messages) =>
    messages.map(({ outcome }) => told(outcome)))

const input = { script: MilterTest.SessionScript, seed: Seed }

describe("a shadow", () => {
  it.effect.prop(
    "has no effect, ahead of another filter or behind it",
    input,
    ({ script, seed }) =>
      Effect.gen(function*() {
        const alone = yield* play(picky(seed), script)
        for (const other of [picky(seed + 1), picky(seed)]) {
          const shadow = Milter.shadow(other)
          assert.deepStrictEqual(yield* play(Milter.sequence([shadow, picky(seed)]), script), alone)
          assert.deepStrictEqual(yield* play(Milter.sequence([picky(seed), shadow]), script), alone)
        }
      })
  )

  const tags: { readonly [text: string]: string } = {
    "shadow accepted": "Accepted",
    "shadow rejected": "Rejected",
    "shadow tempFailed": "TempFailed",
    "shadow discarded": "Discarded"
  }

  it.effect.prop("says what would have come of each message", input, ({ script, seed }) =>
    Effect.gen(function*() {
      // What is given up is given up elsewhere if the filter does not refuse what comes before.
      const whole = { ...script, messages: script.messages.map(Struct.omit(["givesUpAfter"])) }
      const outcomes = yield* MilterTest.session(picky(seed), whole)
      // Postfix 2.3 sends the last piece of the body with the end, and has one answer to both; a recipient of a local
      // submission is refused somewhere later.
      const at = (what: string, stage: string): string =>
        script.client.hostname === "localhost" ? what : `${what} at ${stage === "body" ? "endOfMessage" : stage}`
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        const text = String(message)
        const { stage } = fiber.getRef(References.CurrentLogAnnotations)
        if (text.startsWith("shadow")) lines.push(at(tags[text] ?? text, String(stage)))
      })
      yield* Effect.provide(MilterTest.session(Milter.shadow(picky(seed)), whole), Logger.layer([logger]))
      const expected = outcomes.map(({ outcome }) =>
        outcome === undefined ? "shadow aborted" : at(outcome._tag, outcome.stage)
      )
      // An MTA that vanishes takes what nobody has answered with it.
      if (script.end === "vanishes") assert.deepStrictEqual(lines.slice(0, -1), expected.slice(0, -1))
      else assert.deepStrictEqual(lines, expected)
    }))
})

describe("a condition", () => {
  it.effect.prop("that holds is as none", input, ({ script, seed }) =>
    Effect.gen(function*() {
      const alone = yield* play(picky(seed), script)
      for (const condition of [{ connect: () => true }, { helo: () => true }, { mail: () => Effect.succeed(true) }]) {
        assert.deepStrictEqual(yield* play(Milter.when(picky(seed), condition), script), alone)
      }
    }))

  it.effect.prop(
    "that does not hold is as no filter, message by message",
    input,
    ({ script, seed }) =>
      Effect.gen(function*() {
        const holds = (sender: string): boolean => dice(seed, "condition", sender) < 50
        const alone = yield* play(picky(seed), script)
        const none = yield* play(Milter.make("none").on({}), script)
        const conditional = Milter.when(picky(seed), {
          mail: ({ sender }) => holds(ByteString.toText(sender.raw).slice(1, -1))
        })
        const expected = script.messages.map(({ from }, index) => (holds(from) ? alone : none)[index])
        assert.deepStrictEqual(yield* play(conditional, script), expected.slice(0, alone.length))
      })
  )
})

describe("a refusal that is delayed", () => {
  it.effect.prop(
    "comes at each recipient, and nothing else changes",
    input,
    ({ script, seed }) =>
      Effect.gen(function*() {
        const plain = yield* MilterTest.session(picky(seed), script)
        const delayed = yield* MilterTest.session(Milter.delayReject(picky(seed), { at: "rcpt" }), script)
        assert.strictEqual(delayed.length, plain.length)
        for (const [index, { outcome, script: { givesUpAfter } }] of plain.entries()) {
          const later = delayed[index]!.outcome
          const isRefused = outcome?._tag === "Rejected" || outcome?._tag === "TempFailed"
          if (!isRefused || outcome.stage !== "mail") {
            assert.strictEqual(told(later), told(outcome))
          } else if (givesUpAfter === undefined && later !== undefined) {
            assert.strictEqual(later._tag, outcome._tag)
            // Of local submissions the message is refused, wherever that is possible.
            if (script.client.hostname !== "localhost") assert.strictEqual(later.stage, "rcpt")
            assert.include(told(later), `mail ${seed}`)
          }
        }
      })
  )

  it.effect.prop("and that all are exempt from is as none", input, ({ script, seed }) =>
    Effect.gen(function*() {
      const early = Milter.make("early").on({
        connect: () => Effect.succeed(Verdict.reject()),
        mail: () => Effect.succeed(Verdict.reject())
      })
      const exempt = Milter.delayReject(early, { at: "rcpt", except: () => true })
      const alone = yield* play(picky(seed), script)
      assert.deepStrictEqual(yield* play(Milter.sequence([exempt, picky(seed)]), script), alone)
    }))
})

it.effect("the filters of these tests do decide", () =>
  Effect.gen(function*() {
    const replies = new Set<string>()
    for (let seed = 0; seed < 150; seed++) {
      const mta = yield* (yield* Mta.serve(picky(seed))).open()
      for (const reply of yield* mta.each(Mta.connect(), ...Mta.message)) replies.add(reply.split(" ")[0]!)
    }
    assert.includeMembers([...replies], ["Continue", "ReplyCode", "Discard", "Accept", "AddHeader", "ReplaceBody"])
  }))
