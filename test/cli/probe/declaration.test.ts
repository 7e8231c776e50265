/** The declaration that `effect-milter probe` prints. */
import { assert, describe, it } from "@effect/vitest"
import * as Negotiation from "effect-milter/Negotiation"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { declarationOf, declared } from "../../../src/cli/probe/declaration.ts"
import { checkAnswer, offerOf } from "../../../src/internal/filter/remote/childOffer.ts"
import { agree, everything } from "../../../src/internal/mta/checkAgreement.ts"
import type { Session } from "../../../src/Stage.ts"

const { Action, Step } = Negotiation

const agreement = (wanted: Partial<Negotiation.Agreement>): Negotiation.Agreement => ({
  version: 6,
  actions: 0,
  steps: 0,
  macros: [],
  ...wanted
})

describe("the declaration of a milter", () => {
  it("says no more than what it has asked for", () => {
    assert.strictEqual(
      declarationOf("inet:8891@127.0.0.1", agreement({ version: 2 })),
      `// version 2
Milter.remote("milter", {
  to: "inet:8891@127.0.0.1",
  modify: [],
  stages: ["connect", "helo", "mail", "rcpt", "header", "endOfHeaders", "body", "endOfMessage"]
})
`
    )
    assert.strictEqual(
      declarationOf("unix:/run/opendkim/opendkim.sock", agreement({})),
      `// version 6
Milter.remote("opendkim", {
  to: "unix:/run/opendkim/opendkim.sock",
  modify: []
})
`
    )
  })

  it("shows nothing of the milter that a terminal obeys", () => {
    const macros = [{ stage: 0, names: ByteString.fromText("{a\u001b[2J\u009b1m\u202e}") }]
    const text = declarationOf("inet:8891@127.0.0.1", agreement({ macros }))
    assert.include(text, "connect: [\"a\\u001b[2J\\u009B1m\\u202E\"]")
    assert.match(text, /^[\n -~]*$/)
  })

  it("has stages, macros and silences", () => {
    assert.strictEqual(
      declarationOf(
        "local:/run/x.y/spam.filter",
        agreement({
          actions: Action.addHeader | Action.quarantine | Action.setMacroLists,
          steps: Step.noHelo | Step.noReplyHelo | Step.noUnknown | Step.noBody | Step.noReplyMail |
            Step.rejectedRecipients,
          macros: [
            { stage: 2, names: ByteString.fromText("i {auth_type}") },
            { stage: 5, names: ByteString.fromText("") }
          ]
        })
      ),
      `// version 6; no answer at mail
Milter.remote("spam", {
  to: "local:/run/x.y/spam.filter",
  modify: ["addHeader", "insertHeader", "quarantine"],
  stages: [
    "connect",
    "mail",
    "rcpt",
    "data",
    "header",
    "endOfHeaders",
    "endOfMessage",
    "rejectedRecipient"
  ],
  macros: {
    mail: ["i", "auth_type"]
  },
  signs: false // true if it signs mail
})
`
    )
  })

  const bits = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: most }))
  const asked = Schema.Struct({
    version: Schema.Literals([2, 3, 4, 6]),
    actions: bits(0x1ff),
    steps: bits(0x1fffff),
    macros: Schema.Array(Schema.Struct({ stage: bits(6), names: Schema.Literals(["i", "i {auth_type}", "", "{a},b"]) }))
  })

  it.effect.prop("is enough for the same milter", [asked], ([sample]) =>
    Effect.sync(() => {
      // A milter gets lists only if it has asked to choose macros, and one list for a stage.
      const lists = new Map(
        sample.macros.map(({ names, stage }) => [stage, { stage, names: ByteString.fromText(names) }])
      )
      const isChoosing = (sample.actions & Action.setMacroLists) !== 0 &&
        Array.from(lists.values()).some(({ names }) => names !== "")
      const wanted = agreement({
        version: sample.version,
        actions: isChoosing ? sample.actions : sample.actions & ~Action.setMacroLists,
        steps: sample.steps,
        macros: isChoosing ? Array.from(lists.values()) : []
      })
      const options = declared("inet:1", wanted)
      // An offer needs nothing else of a session.
      const session = { agreed: everything } as unknown as Session
      const offer = offerOf(options, session)
      const answer = agree(offer, { _tag: "Negotiated", ...wanted }, { steps: "refused", macroLists: "ignored" })
      const checked = Result.flatMap(answer, (agreed) => checkAnswer(options, offer, agreed))
      assert.isTrue(Result.isSuccess(checked), JSON.stringify(wanted))
    }))
})
