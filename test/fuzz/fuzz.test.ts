/** A minute of fuzzing in continuous integration, a moment elsewhere; inputs that once found a fault come first. */
import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"
import { type Name, targets } from "./targets.ts"

const names = Object.keys(targets) as ReadonlyArray<Name>

const seconds = Number(process.env["EFFECT_MILTER_FUZZ_SECONDS"] ?? (process.env["CI"] === undefined ? 6 : 60))

// Another one each time, which a failure shows.
const seed = Number(process.env["EFFECT_MILTER_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

describe("any bytes", () => {
  for (const name of names) {
    it(`break no promise of ${name}`, async () => {
      const { fault, inputs } = await run(name, seconds / names.length, seed)
      assert.isUndefined(fault, `EFFECT_MILTER_SEED=${seed}`)
      assert.isAbove(inputs, 0)
    })
  }
})
