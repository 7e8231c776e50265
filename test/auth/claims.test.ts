/** Fields from outside that claim to be our results. */
import { assert, describe, it } from "@effect/vitest"
import { fold, withPlainComments } from "../../src/auth/internal/authserv.ts"
import { claims } from "../../src/auth/internal/claims.ts"
import * as spellings from "./support/spellings.ts"

const ids = new Set([spellings.id])

describe("the name in front of results", () => {
  for (const spelling of [...spellings.valid, ...spellings.forgiven]) {
    it(`is ours: ${JSON.stringify(spelling)}`, () => {
      for (const rest of ["; dkim=pass", ";dkim=pass (of; other.example)", " ; none", ""]) {
        assert.isTrue(claims(`${spelling}${rest}`, ids))
      }
    })
  }

  for (const spelling of spellings.foreign) {
    it(`is another's: ${JSON.stringify(spelling)}`, () => {
      assert.isFalse(claims(`${spelling}; dkim=pass header.d=mx.example.net`, ids))
    })
  }

  it("is any of ours", () => {
    const several = new Set(["mx.example.net", "xn--exmple-cua.net"])
    for (const name of ["mx.example.net", "exämple.net", "EXÄMPLE.net", "\"exämple\".net", "xn--exmple-cua.net"]) {
      assert.isTrue(claims(`${name}; none`, several))
    }
    assert.isFalse(claims("exampel.net; none", several))
  })
})

describe("text of strangers in our field", () => {
  it("is folded outside quotes", () => {
    const long = "x".repeat(74)
    assert.strictEqual(fold(`${long} "a b" c`, 1), `${long}\n  "a b" c`)
    assert.strictEqual(fold(`${long} "a ${long} b" c`, 1), `${long}\n  "a ${long} b"\n  c`)
    assert.strictEqual(fold("a  \"b\\\" c\"  \" d", 1), "a \"b\\\" c\" \" d")
  })

  it("has no quotes in comments", () => {
    assert.strictEqual(
      withPlainComments("a (b \"c\" (d \") \\\" \\) e) \"f (g\" h"),
      "a (b 'c' (d ') \\\" \\) e) \"f (g\" h"
    )
  })

  it("takes time by its length", () => {
    // Quadratic, each would take minutes.
    for (const unit of ["\\\"", "\"", "(", "(\"", "\" "]) {
      const text = unit.repeat(200_000)
      assert.isAbove(fold(text, 1).length, 0)
      assert.strictEqual(withPlainComments(text).length, text.length)
    }
  })
})
