/** The machine of a run: what it is, and what it has. */
import { execFileSync } from "node:child_process"
import * as Os from "node:os"
import type { Machine } from "./results.ts"

const output = (program: string, ...parameters: ReadonlyArray<string>): string | undefined => {
  try {
    return execFileSync(program, parameters, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"]
    }).trim()
  } catch {
    return undefined
  }
}

/** Where and when this process runs. */
export const thisMachine = (): Machine => ({
  date: new Date().toISOString().slice(0, 10),
  cpu: Os.cpus()[0]!.model,
  cpus: Os.availableParallelism(),
  memory: Os.totalmem(),
  system: `${Os.type()} ${Os.release()}`,
  commit: `${output("git", "rev-parse", "--short", "HEAD") ?? "unknown"}${
    output("git", "status", "--porcelain", "-uno") === "" ? "" : "+"
  }`
})

/** The last CPU, since interrupts tend to be handled by the first; `undefined` if processes cannot be put on one. */
export const lastCpu = (): number | undefined =>
  output("taskset", "--version") === undefined ? undefined : Os.availableParallelism() - 1
