/** Fields from outside that claim to be our results. */
import { assert, describe, it } from "@effect/vitest"
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
