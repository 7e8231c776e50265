/** Packages that MIME editing needs, where one is missing. */
import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { load } from "../../src/internal/message/mime/peers.ts"

it.effect("a package that is not installed is a defect that says how to install it", () =>
  Effect.gen(function*() {
    const name = "effect-milter-no-such-package"
    const exit = yield* Effect.exit(load(name, () => import(name), () => undefined))
    assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    assert.include(String(exit.cause), `the package ${name}: install it (npm install ${name})`)
  }))
