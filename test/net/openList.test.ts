/** The list of what is open, beside a Set. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { OpenList, type Place } from "../../src/internal/net/openList.ts"

describe("OpenList", () => {
  // A number below the count of the open ones closes one of them, any other opens one.
  it.prop(
    "holds what a Set would, in the same order",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })))],
    ([steps]) => {
      const list = new OpenList<number>()
      const set = new Set<number>()
      const places: Array<Place<number>> = []
      for (const [index, step] of steps.entries()) {
        const [closed] = step < places.length ? places.splice(step, 1) : []
        if (closed === undefined) {
          places.push(list.add(index))
          set.add(index)
        } else {
          list.remove(closed)
          set.delete(closed.value)
        }
        assert.deepStrictEqual(list.values, [...set])
        assert.strictEqual(list.size, set.size)
        assert.strictEqual(list.oldest, [...set][0])
      }
    }
  )

  it("leaves no way from what has closed to what opened later", () => {
    const list = new OpenList<string>()
    const first = list.add("first")
    list.add("second")
    list.remove(first)
    assert.isUndefined(first.before)
    assert.isUndefined(first.after)
  })
})
