/** What each verdict does at each stage, as a table. */
import { assert, describe, it } from "@effect/vitest"
import * as Verdict from "effect-milter/Verdict"
import { type Consequence, consequenceOf, failureConsequence, verdictOf } from "../../src/internal/engine/decision.ts"
import { answeredStages, stages } from "../../src/internal/protocol/stageTable.ts"

const verdicts = [
  Verdict.continue,
  Verdict.reject(),
  Verdict.tempFail(),
  Verdict.acceptConnection,
  Verdict.acceptMessage,
  Verdict.discardMessage,
  Verdict.skipBody
]

// One letter a cell: what is illegal by type changes nothing, but that a filter which accepts the connection in the middle
// of a message has accepted the message.
const letters: { readonly [letter: string]: Consequence } = {
  ".": "goOn",
  s: "skipBody",
  m: "leaveMessage",
  c: "leaveSession",
  S: "refuseSession",
  U: "refuseCommand",
  R: "refuseRecipient",
  D: "refuseData",
  E: "endMessage"
}

/** Columns: continue, reject, tempFail, acceptConnection, acceptMessage, discardMessage, skipBody. */
const table = {
  connect: ".SSc...",
  helo: ".SSc...",
  mail: ".EEmmE.",
  rcpt: ".RRmmE.",
  data: ".DDmmE.",
  header: ".EEmmE.",
  endOfHeaders: ".EEmmE.",
  body: ".EEmmEs",
  endOfMessage: ".EEmmE.",
  unknown: ".UU...."
} as const

describe("a verdict", () => {
  for (const stage of answeredStages) {
    it(`at ${stage}`, () => {
      const found = verdicts.map((verdict) => consequenceOf(stages[stage], verdict))
      assert.deepStrictEqual(found, Array.from(table[stage], (letter) => letters[letter]!))
    })
  }
})

describe("a failure", () => {
  it("is answered by its policy where there is an answer, else later; with no time for later filters by all", () => {
    assert.strictEqual(failureConsequence(true, false), "decide")
    assert.strictEqual(failureConsequence(true, true), "decide")
    assert.strictEqual(failureConsequence(false, false), "postpone")
    assert.strictEqual(failureConsequence(false, true), "postponeForAll")
  })

  it("with the policy pass leaves the message alone", () => {
    assert.deepStrictEqual(verdictOf("pass"), Verdict.acceptMessage)
    assert.deepStrictEqual(verdictOf(Verdict.reject()), Verdict.reject())
    assert.deepStrictEqual(verdictOf(Verdict.tempFail()), Verdict.tempFail())
  })
})
