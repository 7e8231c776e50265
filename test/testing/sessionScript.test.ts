/** Generated sessions before filters: what a filter author relies on holds with each MTA, whatever clients do. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Ref } from "effect"
import * as Milter from "../../src/Milter.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import * as Verdict from "../../src/Verdict.ts"

const Tagged = Milter.make("tagged", { modify: ["addHeader"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tagged", "yes"), Verdict.continue)
})

/** Refuses what nobody can answer. */
const NoBounces = Milter.make("no-bounces").on({
  mail: ({ sender }) => Effect.succeed(sender.isNull ? Verdict.reject({ text: "no bounces" }) : Verdict.continue)
})

const script: MilterTest.SessionScript = {
  mta: "postfix",
  client: { address: "192.0.2.1" },
  helo: "client.example.org",
  heloAgain: true,
  messages: [
    {
      from: "alice@example.org",
      to: ["bob@example.net"],
      parameters: [],
      headers: [["Subject", "hello"]],
      body: "Hi\n"
    },
    { from: "", to: ["bob@example.net"], parameters: [], headers: [], body: "", givesUpAfter: 2 },
    { from: "", to: ["bob@example.net", "carol@example.net"], parameters: ["SIZE=1000"], headers: [], body: "" }
  ],
  end: "quit"
}

describe("SessionScript", () => {
  it.effect("is played", () =>
    Effect.gen(function*() {
      const [first, second, third] = yield* MilterTest.session(Tagged, script)
      MilterTest.assertAccepted(first!.outcome!, { headers: { subject: "hello", "x-tagged": "yes" }, body: "Hi\n" })
      assert.isUndefined(second!.outcome)
      MilterTest.assertAccepted(third!.outcome!, { sender: "", recipients: ["carol@example.net", "bob@example.net"] })
      const [, , refused] = yield* NoBounces.pipe(MilterTest.session({ ...script, mta: "sendmail" }))
      MilterTest.assertRejected(refused!.outcome!, { stage: "mail", reply: "550 5.7.1 <>... no bounces" })
    }))

  it.effect.prop(
    "a filter that only adds lets everything pass",
    { script: MilterTest.SessionScript },
    ({ script }) =>
      Effect.gen(function*() {
        for (const { outcome, script: message } of yield* MilterTest.session(Tagged, script)) {
          if (outcome === undefined) continue
          const delivered = MilterTest.assertAccepted(outcome, { headers: { "X-Tagged": "yes" } })
          assert.strictEqual(delivered.headers.length, message.headers.length + 1)
        }
      })
  )

  it.effect.prop(
    "each message has one end",
    { script: MilterTest.SessionScript },
    ({ script }) =>
      Effect.gen(function*() {
        const log = yield* Ref.make<ReadonlyArray<string>>([])
        const note = (what: string) => Ref.update(log, (all) => [...all, what])
        const Audit = Milter.make("audit", {
          connection: () => Effect.addFinalizer((exit) => note(`connection ${exit._tag}`)),
          message: () =>
            Effect.addFinalizer((exit) =>
              note(Option.match(Milter.outcome(exit), { onNone: () => "given up", onSome: ({ _tag }) => _tag }))
            )
        }).on({ data: () => Effect.succeed(Verdict.continue) })
        const ends = (yield* MilterTest.session(Audit, script)).flatMap(({ outcome, script }) =>
          outcome !== undefined ? [outcome._tag] : script.givesUpAfter === 0 ? [] : ["given up"]
        )
        const all = yield* Ref.get(log)
        assert.deepStrictEqual(all.slice(0, -1), ends)
        assert.match(all[all.length - 1]!, /^connection/)
      })
  )

  for (const mta of MilterTest.mtas) {
    it.effect(`passes a message as ${mta.name}`, () =>
      Effect.gen(function*() {
        const outcome = yield* MilterTest.message(NoBounces, {
          from: "alice@example.org",
          to: "bob@example.net",
          headers: [["Subject", "hello"]],
          body: "Hello Bob\n"
        }, { as: mta })
        assert.strictEqual(
          MilterTest.format(outcome),
          "accepted at endOfMessage\nfrom <alice@example.org>\nto <bob@example.net>\n\nSubject: hello\n\nHello Bob\n"
        )
      }))
  }
})
