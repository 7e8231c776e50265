/** InvalidValue: how a bad value is shown. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result, Schema } from "effect"
import { InvalidValue, show } from "../src/InvalidValue.ts"

describe("InvalidValue", () => {
  it("says what, shows the value with everything invisible escaped, and says what was expected", () => {
    const error = new InvalidValue({ what: "header name", value: "X\r\nBcc: \"a\"\0", reason: "expected no colon" })
    assert.strictEqual(error._tag, "InvalidValue")
    assert.strictEqual(error.name, "InvalidValue")
    assert.strictEqual(error.message, String.raw`Invalid header name "X\r\nBcc: \"a\"\0": expected no colon`)
    assert.instanceOf(error, Error)
  })

  it("keeps the fields and the message when it becomes a defect", () => {
    const error = new InvalidValue({ what: "reply text", value: "a", reason: "b" })
    const exit = Effect.runSyncExit(Effect.sync(() => Result.getOrThrow(Result.fail(error))))
    assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === error)
  })

  it("escapes what turns text around or hides it", () => {
    assert.strictEqual(
      show("a\u202eb\u00a0c\u200dd\u001be\ud800"),
      String.raw`"a\u{202e}b\u{a0}c\u{200d}d\u{1b}e\u{d800}"`
    )
    assert.strictEqual(show("größe 😀"), "\"größe 😀\"")
  })

  it("cuts long values and says how long they were", () => {
    const shown = show("x".repeat(100_000))
    assert.isBelow(shown.length, 300)
    assert.match(shown, /\(100000 characters\)$/)
  })

  it.prop("is one printable line whatever the value", [Schema.String], ([value]) => {
    assert.notMatch(show(value), /[\p{Cc}\p{Cs}\u2028\u2029]/u)
  })
})
