/** The part of a limit that each of several processes has. */
import { assert, describe, it } from "@effect/vitest"
import { shareOf } from "../../src/internal/server/serve.ts"

const shares = (connections: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => shareOf(connections, { index, count }))

describe("connections of workers", () => {
  it("are those of one process, divided", () => {
    assert.strictEqual(shareOf(1000, undefined), 1000)
    assert.deepStrictEqual(shares(1000, 4), [250, 250, 250, 250])
    assert.deepStrictEqual(shares(10, 3), [4, 3, 3])
    assert.deepStrictEqual(shares(1, 1), [1])
  })

  it("are at least one each", () => {
    assert.deepStrictEqual(shares(2, 4), [1, 1, 1, 1])
  })
})
