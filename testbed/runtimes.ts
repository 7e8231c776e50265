/** Bun and Deno, which scripts/fetchRuntimes.sh downloads: how to start a program of this repository with them. */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const cache = process.env["XDG_CACHE_HOME"] || Path.join(Os.homedir(), ".cache")
const directory = process.env["EFFECT_MILTER_RUNTIMES"] || Path.join(cache, "effect-milter", "runtimes")

/** Programs themselves, not what npm puts in front of them: a process that gets sockets must know its own number. */
const programs = {
  Bun: { pattern: "bun/bin/bun*", args: ["--conditions=effect-milter-source"] },
  Deno: { pattern: "@deno/*/deno*", args: ["run", "--allow-all", "--conditions=effect-milter-source"] }
}

export type Runtime = keyof typeof programs

export const runtimes: ReadonlyArray<Runtime> = ["Bun", "Deno"]

const executable = (runtime: Runtime): string | undefined =>
  Fs.globSync(Path.join(directory, "node_modules", programs[runtime].pattern)).find((file) =>
    Fs.statSync(file).size > 10_000_000
  )

/** Why it cannot be used, or undefined. */
export const missingRuntime = (runtime: Runtime): string | undefined =>
  executable(runtime) === undefined ? `${runtime} is not in ${directory}: scripts/fetchRuntimes.sh` : undefined

/** What comes before the file of a program and its arguments. */
export const command = (runtime: Runtime): ReadonlyArray<string> => [executable(runtime)!, ...programs[runtime].args]
