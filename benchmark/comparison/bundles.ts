/** Our servers as users run them: compiled to JavaScript as in the npm package, and bundled into one file. */
import { type BuildOptions, buildSync } from "esbuild"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Command } from "./servers.ts"

const root = Path.join(import.meta.dirname, "../..")

const options = (name: string): BuildOptions => ({
  entryPoints: [Path.join(import.meta.dirname, "../servers", name)],
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22",
  logLevel: "error"
})

/** One file with everything, from the sources. */
export const bundle = (name: string, file: string): void => {
  buildSync({
    ...options(name),
    outfile: file,
    minify: true,
    conditions: ["effect-milter-source"]
  })
}

/** A server that is ready to start, with the size of its file if it is one. */
export interface Way {
  readonly name: string
  readonly title: string
  readonly command: Command
  readonly bytes?: number
}

/** The floor, which is one file, and the filter in two ways. */
export const ways = (): ReadonlyArray<Way> => {
  execFileSync("npm", ["run", "-s", "build"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] })
  // Below the package, so that its own name leads to dist.
  const folder = Path.join(root, "dist/benchmark")
  Fs.mkdirSync(folder, { recursive: true })
  const compiled = Path.join(folder, "effectMilter.js")
  buildSync({ ...options("effectMilter.ts"), outfile: compiled, packages: "external" })
  const one = Path.join(folder, "bundle.mjs")
  bundle("effectMilter.ts", one)
  const floor = Path.join(folder, "floor.mjs")
  bundle("floor.ts", floor)
  const command = (file: string): Command => ({
    program: process.execPath,
    arguments: [file, "quiet"],
    version: `Node ${process.version}`
  })
  return [
    { name: "floor", title: "bare node:net, one file", command: command(floor), bytes: Fs.statSync(floor).size },
    { name: "effect-milter", title: "effect-milter", command: command(compiled) },
    {
      name: "effect-milter-bundle",
      title: "effect-milter, one file",
      command: command(one),
      bytes: Fs.statSync(one).size
    }
  ]
}
