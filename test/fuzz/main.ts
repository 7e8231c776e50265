/**
 * Fuzzes the decoders, the server, the client and the readers of recordings and parts of messages.
 *
 * npm run fuzz -- --seconds 60 [--target frames|packets|session|client|recording|mime] [--seed 1]
 *
 * An input that breaks a promise is written to test-results/fuzz; moved to test/fuzz/corpus/TARGET it is tried first in
 * every later run.
 */
import { parseArgs } from "node:util"
import { run } from "./run.ts"
import { type Name, targets } from "./targets.ts"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    target: { type: "string" },
    seed: { type: "string" }
  }
})

const names = Object.keys(targets) as ReadonlyArray<Name>
const chosen = values.target === undefined ? names : names.filter((name) => name === values.target)
const seconds = Number(values.seconds)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))

if (chosen.length === 0 || !(seconds > 0) || !Number.isInteger(seed)) {
  process.stderr.write(
    `fuzz: --seconds takes a number above 0, --seed an integer, --target one of ${names.join(", ")}\n`
  )
  process.exit(1)
}

let total = 0
for (const name of chosen) {
  const { fault, heap, inputs, outcomes, slowest } = await run(name, seconds / chosen.length, seed)
  total += inputs
  const line = `${name}: ${inputs.toLocaleString("en")} inputs, ${outcomes.toLocaleString("en")} outcomes, ` +
    `the slowest ${slowest.toFixed(0)} ms, heap ${heap >= 0 ? "+" : ""}${heap.toFixed(1)} MB`
  process.stdout.write(`${line}\n`)
  if (fault !== undefined) {
    process.stderr.write(`seed ${seed}\n${fault}\n`)
    process.exitCode = 1
  }
}
process.stdout.write(`${total.toLocaleString("en")} inputs\n`)
