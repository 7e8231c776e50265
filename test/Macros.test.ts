/** Macros: names of macros, and the macros of a session. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Macros from "../src/Macros.ts"

describe("names", () => {
  it("are the same with and without braces", () => {
    assert.strictEqual(Macros.normalize("{client_addr}"), "client_addr")
    assert.strictEqual(Macros.normalize("{i}"), "i")
    assert.strictEqual(Macros.normalize("i"), "i")
    assert.strictEqual(Macros.normalize("{}"), "{}")
    assert.strictEqual(Macros.render("client_addr"), "{client_addr}")
    assert.strictEqual(Macros.render("{client_addr}"), "{client_addr}")
    assert.strictEqual(Macros.render("{i}"), "i")
    assert.strictEqual(Macros.render("_"), "_")
  })

  it("are checked before they go into a list", () => {
    assert.strictEqual(Result.getOrThrow(Macros.checkName("auth_type")) as string, "{auth_type}")
    assert.strictEqual(Result.getOrThrow(Macros.checkName("{i}")) as string, "i")
    for (const name of ["", "a b", "a,b", "a\0b", "a\nb", "ä", "{a", "a}b"]) {
      assert.isTrue(Result.isFailure(Macros.checkName(name)), name)
    }
  })

  it("have the numbers and letters of the protocol", () => {
    assert.deepStrictEqual(Macros.stages.map((stage) => Macros.stageNumber[stage]), [0, 1, 2, 3, 4, 6, 5])
    assert.strictEqual(Macros.stages.map((stage) => Macros.stageLetter[stage]).join(""), "CHMRTNE")
  })
})

describe("no macros", () => {
  it("are an empty view", () => {
    assert.isUndefined(Macros.empty.get("i"))
    assert.isUndefined(Macros.empty.raw("i"))
    assert.deepStrictEqual(Macros.empty.entries(), [])
  })
})
