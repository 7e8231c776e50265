/** What importing an entry loads: every module costs time at each start. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChildProcess from "node:child_process"
import { root } from "../scripts/repository.ts"

/** Prints the modules that importing an entry loads, one a line. */
const program = `
import { registerHooks } from "node:module"
const urls = []
registerHooks({
  load: (url, context, next) => {
    urls.push(url)
    return next(url, context)
  }
})
await import(process.argv[1])
console.log(urls.join("\\n"))
`

const modulesOf = (entry: string) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const child = ChildProcess.execFile(
      process.execPath,
      ["-C", "effect-milter-source", "--input-type=module", "--eval", program, entry],
      { cwd: root, encoding: "utf8" },
      (error, stdout) => resume(error === null ? Effect.succeed(stdout.trim().split("\n")) : Effect.die(error))
    )
    return Effect.sync(() => void child.kill())
  })

const isSchema = (url: string): boolean => url.endsWith("/effect/dist/Schema.js")

describe("an import loads only what it needs", () => {
  it.live.each(["Verdict", "Stage", "Reply", "InvalidValue", "Header", "Envelope", "ClientAddress"])(
    "effect-milter/%s has no Schema",
    (name) =>
      Effect.gen(function*() {
        const modules = yield* modulesOf(`effect-milter/${name}`)
        assert.isTrue(modules.some((url) => url.endsWith(`/src/${name}.ts`)), modules.join("\n"))
        assert.isFalse(modules.some(isSchema))
        assert.isAtMost(modules.length, 120)
      })
  )

  it.live("a server without pages has no HTTP", () =>
    Effect.gen(function*() {
      const modules = yield* modulesOf("effect-milter/node")
      assert.isTrue(modules.some((url) => url.endsWith("/src/node/NodeMilterServer.ts")))
      // Proves that built-in modules are seen.
      assert.include(modules, "node:net")
      assert.notInclude(modules, "node:http")
    }))
})
