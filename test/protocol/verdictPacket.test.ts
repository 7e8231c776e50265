/** Verdicts that were made by hand, past the types. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import { encode, isVerdict } from "../../src/internal/protocol/verdictPacket.ts"
import * as Mta from "../support/rawMta.ts"

/** Past the types. */
const made = (tag: string, wire: unknown): Verdict.Reject => ({ _tag: tag, reply: undefined, wire }) as Verdict.Reject

const invalid: ReadonlyArray<readonly [tag: "Reject" | "TempFail", wire: unknown]> = [
  ["Reject", "250 ok\r\nfoo"],
  ["Reject", "250 ok"],
  ["Reject", "451 4.7.1 later"],
  ["TempFail", "550 5.7.1 no"],
  ["Reject", "550 no\r\n250 ok"],
  ["Reject", "550-no"],
  ["Reject", "550 5.7.1 no\n"],
  ["Reject", "550 100%"],
  ["Reject", "550 n\u00f6"],
  ["Reject", "550 no\0"],
  ["Reject", ""],
  ["Reject", 550],
  ["Reject", null]
]

describe("a verdict made by hand", () => {
  for (const [tag, wire] of invalid) {
    it.effect(`is none with ${JSON.stringify(wire)} for ${tag}`, () =>
      Effect.gen(function*() {
        const verdict = made(tag, wire)
        assert.isFalse(isVerdict(verdict))
        assert.deepStrictEqual(encode(verdict), Packet.encode({ _tag: tag }))
        const server = yield* Mta.serve(Milter.make("made").on({ mail: () => Effect.succeed(verdict) }))
        const mta = yield* server.open()
        assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail()), ["", "TempFail"])
        assert.match(server.logs[0]!.text, /verdict/)
      }))
  }

  it("is one with a reply of its class", () => {
    for (
      const verdict of [
        Verdict.reject(),
        Verdict.reject({ text: ["Not today.", "100 % sure"] }),
        Verdict.tempFail({ code: "421", text: "later" }),
        made("Reject", ByteString.fromText("550 5.7.1 no")),
        { _tag: "Reject" },
        Verdict.continue
      ]
    ) assert.isTrue(isVerdict(verdict))
    for (const other of [undefined, null, 1, "Reject", {}, { _tag: "toString" }, { _tag: 1 }]) {
      assert.isFalse(isVerdict(other))
    }
  })

  it.effect("is worded by the MTA where it is a policy", () =>
    Effect.gen(function*() {
      const filter = Milter.make("policy", { onDefect: made("Reject", "250 ok") }).on({ mail: () => Effect.die("!") })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(Mta.connect(), Mta.mail()), ["", "Reject"])
    }))
})
