#!/usr/bin/env node
/** The program `effect-milter`. It loads nothing before it knows that this Node can run it. */
import { tooOld } from "./nodeVersion.ts"

const advice = tooOld(process.versions.node)
if (advice === undefined) {
  await import("./run.ts")
} else {
  process.stderr.write(`effect-milter: ${advice}\n`)
  process.exitCode = 1
}
