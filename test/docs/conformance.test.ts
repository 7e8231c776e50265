/** The conformance table: a rule without a test is found, and so is one whose tests fail. */
import { assert, describe, it } from "@effect/vitest"
import { columns, outcomes, problems, readResults, render, rules } from "../../scripts/docs/conformance.ts"

describe("the conformance table", () => {
  const results = readResults()

  it("has a test for each rule of the protocol page", () => {
    assert.isAbove(rules().size, 50)
    assert.deepStrictEqual(problems(results), [])
  })

  it("says so where there is none", () => {
    const known = new Map([...rules(), ["reply-in-time", "a reply comes in time"]])
    assert.deepStrictEqual(problems(results, known), [
      "docs/reference/protocol.md: the rule reply-in-time has no test in scripts/docs/conformanceTests.ts"
    ])
    assert.match(render(results, known), /`reply-in-time`.*\| \*\*no test\*\* \|/)
  })

  it("finds tests of rules that are gone, that fail or that have not run", () => {
    const [first = "", ...others] = rules().keys()
    assert.include(
      problems(results, new Map(others.map((name) => [name, ""]))).join(),
      `${first} is no rule of docs/reference/protocol.md`
    )
    assert.match(problems({ ...results, here: {} }).join(), /no test of the rule .* has passed/)
    const libmilter = { "state-order": { passed: 3, failed: 1 } }
    assert.match(problems({ ...results, libmilter }).join(), /a test of the rule state-order has failed with libmilter/)
    assert.match(render({ ...results, libmilter }), /\*\*1 failed\*\*/)
  })

  it("counts the tests that have a title's words", () => {
    const [here] = columns
    const file = "test/protocol/commandOrder.test.ts"
    const counted = outcomes(here!, [
      { file, title: "transitions go from these phases", status: "passed" },
      { file, title: "transitions are none for bytes that are no command", status: "failed" },
      { file: "test/Frame.test.ts", title: "transitions", status: "pending" }
    ])
    assert.deepStrictEqual(counted, { "state-order": { passed: 1, failed: 1 } })
  })
})
