/** Where things are in this repository, for the scripts beside this file. */
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import * as path from "node:path"

export const root = path.resolve(import.meta.dirname, "..")

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8")

export const exists = (file: string): boolean => existsSync(path.join(root, file))

/** Repository-relative paths with forward slashes, sorted. */
export const glob = (pattern: string): ReadonlyArray<string> =>
  globSync(pattern, { cwd: root }).map((file) => file.replaceAll("\\", "/")).toSorted()

interface Manifest {
  readonly name: string
  readonly version: string
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

// A cast: this is our own package.json, and checkExports.ts checks its shape.
export const manifest = JSON.parse(read("package.json")) as Manifest

/** The entries of package.json that are modules, such as `"."` and `"./Packet"`. */
export const entries: ReadonlyArray<string> = Object.keys(manifest.exports).filter((key) => key !== "./package.json")

const isPrivate = (file: string): boolean => /(^|\/)(internal|cli)\//.test(file)

/** Source files that users see: everything but `internal` and the command line program. */
export const publicSources = (): ReadonlyArray<string> => glob("src/**/*.ts").filter((file) => !isPrivate(file))

/**
 * Runs Effect's build of the TypeScript compiler: `tsc` plus Effect's diagnostics (floating effects, a missing
 * `yield*`, ...). Called where it lies, so that node_modules/typescript stays as installed; `effect-tsgo patch` would
 * replace its binary.
 */
export const effectTsc = (
  args: ReadonlyArray<string>,
  stdio: "inherit" | "pipe" = "pipe"
): { readonly status: number; readonly stdout: string } => {
  const compiler = execFileSync("effect-tsgo", ["get-exe-path"], { encoding: "utf8" }).trim()
  const { error, status, stdout } = spawnSync(compiler, args, { cwd: root, encoding: "utf8", stdio })
  if (error !== undefined) throw error
  return { status: status ?? 1, stdout }
}

/** Something to mend, at a place that a terminal or an editor can open. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

/** Prints the problems, or what was found in order, and sets the exit code. */
export const report = (problems: ReadonlyArray<Problem>, inOrder: string): void => {
  for (const { file, line, message } of problems) console.error(`${file}:${line} ${message}`)
  if (problems.length === 0) console.log(inOrder)
  else process.exitCode = 1
}
