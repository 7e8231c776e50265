/**
 * Checks what users get: packs the tarball, has publint and attw look at it, installs it into an empty project beside
 * this repository's versions of its peers (the optional ones too), loads every entry under plain Node, compiles a consumer of
 * every entry, and runs the program.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { entries, manifest, read, root } from "./repository.ts"

/** Runs a program to its end. What it prints is worth reading only if it fails. */
const run = (directory: string, command: string, ...args: ReadonlyArray<string>): void => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd: directory, encoding: "utf8" })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`)
}

// A cast: npm wrote that file.
const installed = (name: string): string =>
  `${name}@${(JSON.parse(read(`node_modules/${name}/package.json`)) as { readonly version: string }).version}`

const specifiers = entries.map((entry) => path.posix.join(manifest.name, entry))

const imports = specifiers.map((specifier, index) => `import * as module${index} from "${specifier}"`)
const modules = specifiers.map((_, index) => `module${index}`).join(", ")

// `Stage` is types only.
const typesOnly = 1

const consumer = [
  ...imports,
  `const empty = [${modules}].filter((module) => Object.keys(module).length === 0)`,
  `if (empty.length > ${typesOnly}) throw new Error(\`\${empty.length} entries export nothing\`)`,
  ""
].join("\n")

const options = {
  compilerOptions: {
    target: "ES2023",
    lib: ["ES2023", "DOM"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    types: ["node"]
  },
  files: ["consumer.ts"]
}

const project = mkdtempSync(path.join(tmpdir(), "effect-milter-"))
try {
  const tarball = path.join(project, `${manifest.name}-${manifest.version}.tgz`)
  run(root, "npm", "pack", "--silent", "--pack-destination", project)
  run(root, "publint", "run", tarball, "--strict")
  run(root, "attw", tarball, "--profile", "esm-only")
  writeFileSync(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
  writeFileSync(path.join(project, "tsconfig.json"), JSON.stringify(options))
  writeFileSync(path.join(project, "consumer.js"), consumer)
  writeFileSync(path.join(project, "consumer.ts"), consumer)
  const peers = [...Object.keys(manifest.peerDependencies), "@types/node"].map(installed)
  run(project, "npm", "install", "--silent", "--prefer-offline", "--no-audit", "--no-fund", tarball, ...peers)
  run(project, "node", "consumer.js")
  // As npm has linked it, so that a missing `bin`, first line or permission shows.
  run(project, path.join(project, "node_modules/.bin", manifest.name), "send", "--help")
  for (const typescript of ["typescript", "typescript-6"]) {
    run(project, path.join(root, "node_modules", typescript, "bin/tsc"), "-p", ".")
  }
  console.log(`package: ${specifiers.length} entries load and compile in an empty project, and its program runs`)
} finally {
  rmSync(project, { recursive: true, force: true })
}
