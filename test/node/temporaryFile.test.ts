/** Where Node keeps large bodies. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { open } from "../../src/node/internal/temporaryFile.ts"

/** Longest path on Linux, with its end. */
const longest = 4096

it.live("leaves nothing in the file system, whether or not it can be opened", () =>
  Effect.gen(function*() {
    const root = yield* Effect.acquireRelease(
      Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "effect-milter-test-"))),
      (root) => Effect.promise(() => Fs.rm(root, { recursive: true }))
    )
    const usual = process.env["TMPDIR"]
    const openIn = (directory: string) =>
      Effect.suspend(() => {
        process.env["TMPDIR"] = directory
        return Effect.exit(open)
      }).pipe(Effect.ensuring(Effect.sync(() => {
        if (usual === undefined) delete process.env["TMPDIR"]
        else process.env["TMPDIR"] = usual
      })))
    const left = (directory: string) => Effect.promise(() => Fs.readdir(directory))

    const opened = yield* openIn(root)
    assert.isTrue(Exit.isSuccess(opened))
    assert.deepStrictEqual(yield* left(root), [])
    if (Exit.isSuccess(opened)) yield* opened.value.close

    // There is room for the name of its directory, and none for that of a file in it.
    let deep = root
    while (deep.length < longest - 300) deep = Path.join(deep, "d".repeat(200))
    deep = Path.join(deep, "d".repeat(longest - deep.length - 1 - "/effect-milter-XXXXXX".length - 2))
    yield* Effect.promise(() => Fs.mkdir(deep, { recursive: true }))
    assert.isTrue(Exit.isFailure(yield* openIn(deep)))
    assert.deepStrictEqual(yield* left(deep), [])
  }))
