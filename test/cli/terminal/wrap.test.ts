/** Long lines of help, broken for a terminal. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { wrap } from "../../../src/cli/terminal/wrap.ts"

describe("a line that is too long", () => {
  it("goes on below itself", () => {
    assert.strictEqual(wrap("  one two three", 9), "  one two\n  three")
    assert.strictEqual(wrap("short", 9), "short")
    assert.strictEqual(wrap("averylongword and more", 6), "averylongword\nand\nmore")
  })

  it("of a table goes on in its column", () => {
    assert.strictEqual(
      wrap("  --to SPEC  Where it is", 20),
      "  --to SPEC  Where\n             it is".replace("\n             ", "\n      ")
    )
    assert.strictEqual(wrap("  --to S  Where the filter is", 20), "  --to S  Where the\n          filter is")
  })

  it("is as long as it looks, whatever its colours", () => {
    assert.strictEqual(wrap("\u001b[1mone\u001b[0m two", 7), "\u001b[1mone\u001b[0m two")
    assert.strictEqual(wrap("\u001b[1mone\u001b[0m two", 6), "\u001b[1mone\u001b[0m\ntwo")
  })

  it.prop("keeps its words", [Schema.Array(Schema.Literals(["a", "bb", "ccc ccc", "  ", "--x Y    z"]))], ([words]) => {
    const text = words.join(" ")
    const wordsOf = (text: string) => text.split(/\s+/).filter((word) => word !== "")
    assert.deepStrictEqual(wordsOf(wrap(text, 12)), wordsOf(text))
  })
})
