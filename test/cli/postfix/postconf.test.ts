/** What postconf(1) is asked, and what is assumed if it gives no answer. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as postconf from "../../../src/cli/postfix/postconf.ts"
import { realTime } from "../../../testbed/realTime.ts"
import { fakeProgram } from "../../support/fakeProgram.ts"

const names = ["mail_version", "queue_directory"]

/** What a postconf that is this script says. */
const said = (script: string, options: "-h" | "-dh" = "-h") =>
  Effect.flatMap(
    fakeProgram("postconf", script),
    (directory) => postconf.values(options, names, Path.join(directory, "postconf"))
  ).pipe(Effect.scoped)

describe("postconf", () => {
  it.live("gives the values in order", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said("echo 3.7.11; echo /srv/queue"), ["3.7.11", "/srv/queue"])
      assert.deepStrictEqual(yield* said("echo \"$1\"; echo \"$2 $3\"", "-dh"), ["-dh", names.join(" ")])
      // A value may be empty.
      assert.deepStrictEqual(yield* said("echo; echo /srv/queue"), ["", "/srv/queue"])
    }))

  it.live("gives nothing if it fails, is absent, or says something else", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* said("echo 3.7.11; echo /srv/queue; exit 1"))
      assert.isUndefined(yield* said("echo 3.7.11"))
      assert.isUndefined(yield* said("echo a; echo b; echo c"))
      assert.isUndefined(yield* said("yes"))
      assert.isUndefined(yield* postconf.values("-h", names, "/nonexistent/postconf"))
    }))

  it.effect("is not waited for longer than 2 seconds, and killed then", () =>
    Effect.gen(function*() {
      const directory = yield* fakeProgram(
        "postconf",
        "echo $$ > \"${0%/*}/pid.new\"; mv \"${0%/*}/pid.new\" \"${0%/*}/pid\"; exec sleep 1000"
      )
      const asked = yield* Effect.forkChild(postconf.values("-h", names, Path.join(directory, "postconf")))
      const pidFile = Path.join(directory, "pid")
      yield* realTime(Effect.gen(function*() {
        while (!Fs.existsSync(pidFile)) yield* Effect.sleep("10 millis")
      }))
      const pid = Number(Fs.readFileSync(pidFile, "utf8"))
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(asked.pollUnsafe())
      assert.isTrue(process.kill(pid, 0))
      yield* TestClock.adjust("1 millis")
      assert.isUndefined(yield* Fiber.join(asked))
      yield* realTime(Effect.gen(function*() {
        while (isAlive(pid)) yield* Effect.sleep("10 millis")
      }))
    }))
})

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
