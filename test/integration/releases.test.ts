/** Releases of MTAs that are not available: skipped, or an error, and nothing half is left. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { findProgram } from "../../testbed/mta.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { directory } from "../support/listeners.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

const missing = ["apt-get", "dpkg-deb", "patchelf"].filter((name) => findProgram(name) === undefined)

describeWith(missing.length === 0 ? undefined : `${missing.join(" and ")} not found`, "a release", () => {
  it.live("that nobody knows is skipped, and said so", () =>
    Effect.gen(function*() {
      const mtas = yield* directory
      const { status, stdout } = ChildProcess.spawnSync(process.execPath, ["scripts/testMtas.ts", "postfix-9.9"], {
        cwd: root,
        encoding: "utf8",
        env: { ...process.env, EFFECT_MILTER_MTAS: mtas }
      })
      assert.strictEqual(stdout, "skipped: postfix-9.9 is not available\n")
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(Fs.readdirSync(mtas), [])
    }))

  it.live("that cannot be downloaded is an error, and leaves nothing", () =>
    Effect.gen(function*() {
      const place = yield* directory
      const mtas = Path.join(place, "mtas")
      // It knows of a mirror, and gets nothing from there.
      Fs.writeFileSync(
        Path.join(place, "apt-get"),
        "#!/bin/sh\n[ \"$1\" = indextargets ] && echo http://mirror.invalid\n",
        {
          mode: 0o755
        }
      )
      const { status } = ChildProcess.spawnSync("scripts/fetchMta.sh", ["postfix-3.10"], {
        cwd: root,
        env: { ...process.env, PATH: `${place}:${process.env["PATH"]}`, EFFECT_MILTER_MTAS: mtas }
      })
      assert.notStrictEqual(status, 0)
      assert.deepStrictEqual(Fs.readdirSync(mtas), [])
    }))
})
