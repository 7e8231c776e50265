/** Another milter as a filter: its edits. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { capabilities } from "../../support/names.ts"
import * as Mta from "../../support/rawMta.ts"
import { Action, answering, declare, explained, serve, Step } from "../../support/remoteFilters.ts"

const text = ByteString.fromText
const session = [Mta.connect(), Mta.helo()] as const
const every = Object.values(Action).reduce((all, action) => all | action, 0) & ~Action.setMacroLists
const edits: ReadonlyArray<Packet.FilterPacket> = [
  { _tag: "AddHeader", name: text("X-Added"), value: text(" one\n two") },
  { _tag: "InsertHeader", index: 1, name: text("X-Inserted"), value: text(" \u00e9") },
  { _tag: "ChangeHeader", index: 1, name: text("Subject"), value: text(" other") },
  { _tag: "ChangeHeader", index: 2, name: text("Subject"), value: text("") },
  { _tag: "AddRecipient", recipient: text("<carol@example.org>") },
  { _tag: "AddRecipientWithParameters", recipient: text("<dave@example.org>"), parameters: text("NOTIFY=NEVER") },
  { _tag: "DeleteRecipient", recipient: text("<bob@example.org>") },
  { _tag: "ChangeSender", sender: text("<other@example.com>") },
  { _tag: "Quarantine", reason: text("odd") },
  { _tag: "ReplaceBody", bytes: new TextEncoder().encode("new ") },
  { _tag: "ReplaceBody", bytes: new TextEncoder().encode("body\r\n") }
]

const answersTo = (
  replies: ReadonlyArray<Packet.FilterPacket>,
  wanted: Partial<Packet.Negotiated>,
  filter = explained(declare({ modify: capabilities }))
) =>
  Effect.gen(function*() {
    const { server } = yield* serve(answering("EndOfMessage", replies, wanted), filter)
    const mta = yield* server.open()
    yield* mta.each(...session, ...Mta.content)
    yield* mta.write(Mta.endOfMessage())
    return yield* mta.packets
  })

describe("edits of a remote milter", () => {
  it.effect("reach the MTA as they came, the pieces of a body in one run", () =>
    Effect.gen(function*() {
      const wanted = { actions: every, steps: Step.leadingSpace }
      assert.deepStrictEqual(yield* answersTo([...edits, { _tag: "Continue" }], wanted), [
        ...edits.slice(0, -2),
        { _tag: "ReplaceBody", bytes: new TextEncoder().encode("new body\r\n") },
        { _tag: "Continue" }
      ])
    }))

  it.effect("count with an accept", () =>
    Effect.gen(function*() {
      const wanted = { actions: every, steps: Step.leadingSpace }
      assert.deepStrictEqual(yield* answersTo([edits[0]!, { _tag: "Accept" }], wanted), [edits[0]!, { _tag: "Accept" }])
    }))

  it.effect("get the space after the colon that a milter without the step leaves to its MTA", () =>
    Effect.gen(function*() {
      const added: Packet.FilterPacket = { _tag: "AddHeader", name: text("X-Added"), value: text("one") }
      const removed: Packet.FilterPacket = { _tag: "ChangeHeader", index: 1, name: text("Subject"), value: text("") }
      assert.deepStrictEqual(yield* answersTo([added, removed, { _tag: "Continue" }], { actions: every }), [
        { ...added, value: text(" one") },
        removed,
        { _tag: "Continue" }
      ])
    }))

  it.effect("show a milter without the step values without the space", () =>
    Effect.gen(function*() {
      for (const [steps, expected] of [[0, "hello"], [Step.leadingSpace, " hello"]] as const) {
        const { child, server } = yield* serve(answering("Quit", [], { steps }), explained(declare()))
        const mta = yield* server.open()
        yield* mta.each(...session, ...Mta.message)
        const header = child().packets.find((packet) => packet._tag === "Header")
        assert.strictEqual(header?.value, text(expected))
      }
      // An MTA that keeps the space to itself.
      const { child, server } = yield* serve(answering("Quit", []), explained(declare()))
      const mta = yield* server.open({ steps: 0x1fffff & ~Step.leadingSpace })
      yield* mta.each(...session, Mta.mail(), Mta.rcpt(), Mta.data, Mta.header("Subject", " two spaces"))
      const header = child().packets.find((packet) => packet._tag === "Header")
      assert.strictEqual(header?.value, text(" two spaces"))
    }))

  it.effect("do not count with a refusal or a discard", () =>
    Effect.gen(function*() {
      for (const verdict of ["Reject", "TempFail", "Discard"] as const) {
        assert.deepStrictEqual(yield* answersTo([edits[0]!, { _tag: verdict }], { actions: every }), [{
          _tag: verdict
        }])
      }
    }))

  const refused: ReadonlyArray<readonly [string, ReadonlyArray<Packet.FilterPacket>]> = [
    ["an edit without its action", [{ _tag: "AddRecipient", recipient: text("<eve@example.org>") }]],
    ["an edit that shares the action of a declared one", [{
      _tag: "InsertHeader",
      index: 1,
      name: text("X-Two"),
      value: text("two")
    }]],
    ["a field without a name", [{ _tag: "ChangeHeader", index: 1, name: text(""), value: text("two") }]],
    ["an illegal verdict", [{ _tag: "Skip" }]]
  ]
  for (const [what, packets] of refused) {
    it.effect(`none of them counts after ${what}, and the policy answers`, () =>
      Effect.gen(function*() {
        const first: Packet.FilterPacket = { _tag: "AddHeader", name: text("X-One"), value: text("one") }
        const replies = [first, ...packets, { _tag: "Continue" } as const]
        const wanted = { actions: Action.addHeader | Action.changeHeader }
        const filter = declare({ modify: ["addHeader", "changeHeader"] })
        const answers = yield* answersTo(replies, wanted, explained(filter))
        assert.deepStrictEqual(answers, [{ _tag: "ReplyCode", text: text("451 4.7.1 protocol") }])
        const passing = Milter.onFailure(filter, () => Effect.succeed("pass"))
        assert.deepStrictEqual(yield* answersTo(replies, wanted, passing), [{ _tag: "Accept" }])
      }))
  }

  it.effect("an edit in the middle of a body is a failure, as with Postfix", () =>
    Effect.gen(function*() {
      const [added] = edits
      const [one, two] = edits.slice(-2)
      const answers = yield* answersTo([one!, added!, two!, { _tag: "Continue" }], { actions: every })
      assert.deepStrictEqual(answers, [{ _tag: "ReplyCode", text: text("451 4.7.1 protocol") }])
    }))

  it.effect("a filter of this library as the milter: the same message as without the detour", () =>
    Effect.gen(function*() {
      const tagged = Milter.make("tagged", { modify: ["insertHeader", "replaceBody", "deleteHeader"] }).on({
        endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
          yield* edit.insertHeader(1, "X-Tagged", "yes")
          yield* edit.deleteHeader("X-Old", 1)
          yield* edit.replaceBody(new Uint8Array(300_000).fill(0x61))
          return Verdict.continue
        })
      })
      const after = Milter.make("after", { modify: ["addHeader"] }).on({
        endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-After", "yes"), Verdict.continue)
      })
      const remote = Milter.remote("tagged", {
        to: MilterTest.address,
        modify: ["insertHeader", "replaceBody", "deleteHeader"]
      }).pipe(Milter.onFailure(() => Effect.succeed(Verdict.tempFail())))
      const message: MilterClient.Message = {
        from: "alice@example.org",
        to: ["bob@example.net", "carol@example.net"],
        headers: [["Subject", "hello"], ["X-Old", "yes"]],
        body: "hello\n"
      }
      const child = MilterServer.layer(tagged).pipe(Layer.provideMerge(MilterTest.layer))
      for (const as of MilterTest.mtas.filter(({ offer }) => offer.version === 6)) {
        const alone = yield* MilterTest.message(Milter.sequence([tagged, after]), message, { as })
        const detour = yield* MilterTest.message(Milter.sequence([remote, after]), message, { as }).pipe(
          Effect.provide(child)
        )
        MilterTest.assertAccepted(detour, { headers: { "X-Tagged": "yes", "X-After": "yes" } })
        assert.deepStrictEqual(detour.delivered, alone.delivered, as.name)
      }
    }))
})
