/** Which effects have ended already. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { isExit } from "../../src/internal/engine/isExit.ts"

describe("isExit", () => {
  const ended: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
    ["Effect.succeed", Effect.succeed(1)],
    ["Effect.void", Effect.void],
    ["Effect.fail", Effect.fail("no")],
    ["Effect.die", Effect.die("boom")],
    ["Effect.failCause", Effect.failCause(Cause.fail("no"))],
    ["Effect.fromOption", Effect.fromOption(Option.some(1))],
    ["Exit.succeed", Exit.succeed(1)],
    ["Exit.interrupt", Exit.interrupt(1)]
  ]
  const open: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
    ["Effect.sync", Effect.sync(() => 1)],
    ["Effect.suspend", Effect.suspend(() => Effect.void)],
    ["Effect.map", Effect.map(Effect.void, () => 1)],
    ["Effect.never", Effect.never],
    ["Effect.interrupt", Effect.interrupt],
    ["Effect.gen", Effect.gen(function*() {})],
    // What plain JavaScript can give.
    ["an object with the tag of an exit", { _tag: "Success", value: 1 } as never]
  ]

  it("says the same as Exit.isExit", () => {
    for (const [name, effect] of [...ended, ...open]) assert.strictEqual(isExit(effect), Exit.isExit(effect), name)
  })

  it("spares a fiber for those that have ended", () => {
    assert.deepStrictEqual(ended.filter(([, effect]) => !isExit(effect)), [])
    assert.deepStrictEqual(open.filter(([, effect]) => isExit(effect)), [])
  })
})
