/** The example migration: pairs of log lines, and what differs in them. */
import { assert, describe, it } from "@effect/vitest"
import { differences, type Line, Pairs } from "../../examples/migration/differences.ts"

const line = (outcome: string, more: Partial<Line> = {}): Line => ({
  outcome,
  stage: "mail",
  reply: undefined,
  modifications: [],
  queueId: undefined,
  sender: "alice@example.org",
  ...more
})

describe("the differences of two lines", () => {
  it("are in the outcome, the reply or the edits", () => {
    const edited = line("accepted", { modifications: ["AddHeader X: 1", "AddHeader Y: 2"] })
    assert.deepStrictEqual(differences(edited, edited), [])
    assert.deepStrictEqual(differences(edited, line("rejected")), ["live accepted, shadow rejected"])
    assert.deepStrictEqual(differences(line("rejected", { reply: "550 5.7.1 no" }), line("rejected")), [
      "live 550 5.7.1 no, shadow no reply"
    ])
    assert.deepStrictEqual(
      differences(edited, line("accepted", { modifications: ["AddHeader Y: 2", "AddHeader Z: 3"] })),
      ["only live: AddHeader X: 1", "only shadow: AddHeader Z: 3"]
    )
    // The order of fields that are added is no difference.
    assert.deepStrictEqual(differences(edited, { ...edited, modifications: edited.modifications.toReversed() }), [])
  })

  it("are a refusal to which the shadow had not come", () => {
    assert.deepStrictEqual(differences(line("rejected"), line("aborted")), [
      "live rejected at mail, shadow not by then"
    ])
  })

  it("are not known if the client gave the message up, or the shadow did", () => {
    assert.isUndefined(differences(line("aborted"), line("aborted")))
    assert.isUndefined(differences(line("aborted"), line("rejected")))
    assert.isUndefined(differences(line("accepted"), line("gaveUp")))
  })
})

describe("pairs of lines", () => {
  it("belong to one session, and are in order", () => {
    const pairs = new Pairs()
    const [first, second, third] = [line("accepted"), line("rejected"), line("discarded")]
    assert.isUndefined(pairs.add("a", "live", first))
    assert.isUndefined(pairs.add("b", "shadow", third))
    assert.isUndefined(pairs.add("a", "live", second))
    assert.deepStrictEqual(pairs.add("a", "shadow", third), [first, third])
    assert.deepStrictEqual(pairs.add("a", "shadow", first), [second, first])
    assert.deepStrictEqual(pairs.add("b", "live", first), [first, third])
  })

  it("of 10,000 sessions are waited for", () => {
    const pairs = new Pairs()
    for (let n = 0; n <= 10_000; n++) pairs.add(String(n), "live", line(`accepted ${n}`))
    assert.isUndefined(pairs.add("0", "shadow", line("accepted")))
    assert.strictEqual(pairs.add("10000", "shadow", line("accepted"))?.[0].outcome, "accepted 10000")
  })
})
