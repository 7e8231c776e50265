/** The difference of two texts, line by line. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { edits, hunks } from "../../../src/cli/messages/lineDiff.ts"

const show = (before: string, after: string): string =>
  edits(before.split(""), after.split("")).map(({ kind, line }) => `${kind}${line}`).join(" ")

describe("edits", () => {
  it.each([
    ["", "", ""],
    ["abc", "abc", "=a =b =c"],
    ["abc", "axc", "=a -b +x =c"],
    ["abc", "ac", "=a -b =c"],
    ["ac", "abc", "=a +b =c"],
    ["abcd", "bcde", "-a =b =c =d +e"],
    ["aab", "ab", "=a -a =b"],
    ["ab", "", "-a -b"],
    ["", "ab", "+a +b"]
  ])("from %j to %j", (before, after, expected) => {
    assert.strictEqual(show(before, after), expected)
  })

  const Lines = Schema.Array(Schema.Literals(["a", "b", "c"]))

  it.prop("lead from one list to the other", [Lines, Lines], ([before, after]) => {
    const found = edits(before, after)
    assert.deepStrictEqual(found.flatMap(({ kind, line }) => kind === "+" ? [] : [line]), [...before])
    assert.deepStrictEqual(found.flatMap(({ kind, line }) => kind === "-" ? [] : [line]), [...after])
  })

  it("replace what is too long to compare", () => {
    const before = Array.from({ length: 2000 }, (_, index) => `a${index}`)
    const after = before.map((line) => line.replace("a", "b"))
    assert.lengthOf(edits(before, after), 4000)
  })
})

describe("hunks", () => {
  it("show changes with their surroundings, neighbours together", () => {
    const lines = "0123456789abcdef".split("")
    const changed = lines.with(3, "x").with(5, "y").with(14, "z")
    const found = hunks(edits(lines, changed), 2)
    assert.deepStrictEqual(
      found.map(({ at, edits }) => [at, edits.map(({ kind, line }) => kind + line).join(" ")]),
      [[2, "=1 =2 -3 +x =4 -5 +y =6 =7"], [13, "=c =d -e +z =f"]]
    )
    assert.deepStrictEqual(hunks(edits(lines, lines), 2), [])
  })
})
