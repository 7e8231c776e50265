/**
 * Does what pages of the documentation say, step by step, each in a fresh directory, and fails at the first step that does
 * not do what the page says; see docs/steps.ts. The package is not taken from npm but from a tarball, its peers and tools in
 * the versions that this repository has.
 *
 *     node scripts/followPage.ts TARBALL docs/learn/guide.md
 *     node scripts/followPage.ts TARBALL docs/learn/start-here.md --bare    with no Node but what the system has, or the page brings
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { forEvent } from "../testbed/timeLimits.ts"
import { missingFrom, type Step, stepsOf } from "./docs/steps.ts"
import { manifest, read } from "./repository.ts"

const [tarball, ...rest] = process.argv.slice(2)
const pages = rest.filter((page) => page !== "--bare")
if (tarball === undefined || pages.length === 0) throw new Error("followPage.ts TARBALL PAGE... [--bare]")

const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-page-"))
const home = Path.join(directory, "home")
/** Directory and variables of the terminal. */
const state = Path.join(directory, "state")
Fs.mkdirSync(home)

const installed = (name: string): string => {
  const file = `node_modules/${name}/package.json`
  // A cast: npm wrote that file.
  return Fs.existsSync(Path.resolve(import.meta.dirname, "..", file))
    ? `${name}@${(JSON.parse(read(file)) as { readonly version: string }).version}`
    : name
}

/** What npm installs: the tarball, and the versions of this repository. */
const pinned = (command: string): string =>
  command.replaceAll(
    /^(npm install )(.*)$/gm,
    (_, install: string, rest: string) =>
      `${install}--prefer-offline --no-audit --no-fund ${
        rest.split(" ").map((word) =>
          word === manifest.name ? Path.resolve(tarball) : /^[@a-z][\w/-]*$/.test(word) ? installed(word) : word
        ).join(" ")
      }`
  )

/** A terminal keeps its directory and its variables from command to command. */
const script = (command: string): string =>
  `. '${state}'\nset -e\n${pinned(command)}\n{ echo "cd '$PWD'"; declare -p PATH; } > '${state}'\n`

// How npm reaches its registry, and what it has fetched before, are this machine's.
const user = Os.homedir()
const npmrc = Path.join(user, ".npmrc")
if (Fs.existsSync(npmrc)) Fs.copyFileSync(npmrc, Path.join(home, ".npmrc"))

const environment: NodeJS.ProcessEnv = { ...process.env, HOME: home, NO_COLOR: "1" }
// Of what started this: npm, vitest.
for (const name of Object.keys(environment)) {
  if (/^(npm_|VITEST|NODE_(?!EXTRA_CA_CERTS))/.test(name)) Reflect.deleteProperty(environment, name)
}
// node_modules/.bin of this repository is not on a reader's PATH.
environment["npm_config_cache"] = Path.join(user, ".npm")
const searched = (process.env["PATH"] ?? "").split(":").filter((part) => !part.includes("node_modules"))
environment["PATH"] = [...rest.includes("--bare") ? [] : [Path.dirname(process.execPath)], ...searched].join(":")

interface Terminal {
  readonly process: ChildProcess.ChildProcess
  printed: string
  ended: boolean
}

const start = (command: string): Terminal => {
  const child = ChildProcess.spawn("bash", ["-c", script(command)], {
    env: environment,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"]
  })
  const terminal: Terminal = { process: child, printed: "", ended: false }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      terminal.printed += text
    })
  }
  child.once("exit", () => {
    terminal.ended = true
  })
  return terminal
}

const background: Array<Terminal> = []

const follow = async (page: string, step: Step): Promise<void> => {
  const fail = (message: string, printed = ""): never => {
    throw new Error(`${page}:${step.line} ${message}\n${printed}`)
  }
  const awaitShown = async (terminal: Terminal, shows: ReadonlyArray<string>): Promise<void> => {
    const deadline = Date.now() + forEvent
    while (true) {
      const missing = missingFrom(terminal.printed, shows)
      if (missing === undefined) return
      if (terminal.ended || Date.now() > deadline) fail(`does not print: ${missing}`, terminal.printed)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  if (step._tag === "Look") {
    await awaitShown(background.at(-1)!, step.shows)
    return
  }
  if (step._tag === "Write") {
    const here = /cd '?([^'\n]+)/.exec(Fs.readFileSync(state, "utf8"))![1]!
    const file = Path.join(here, step.file)
    Fs.mkdirSync(Path.dirname(file), { recursive: true })
    Fs.writeFileSync(file, step.text)
    console.log(`${page}:${step.line} wrote ${step.file}`)
    return
  }
  console.log(`${page}:${step.line} $ ${step.command.trimEnd().replaceAll("\n", "\n  $ ")}`)
  const terminal = start(step.command)
  if (step.background) {
    background.push(terminal)
    await awaitShown(terminal, step.shows)
    return
  }
  const code = await new Promise((resolve) => terminal.process.once("exit", resolve))
  // What it started may still hold the pipes open; what it printed itself is there soon.
  await new Promise((resolve) => setTimeout(resolve, 100))
  if (code !== step.exit) fail(`ended with ${String(code)}, not ${step.exit}`, terminal.printed)
  const missing = missingFrom(terminal.printed, step.shows)
  if (missing !== undefined) fail(`does not print: ${missing}`, terminal.printed)
}

try {
  for (const page of pages) {
    const own = Path.join(home, Path.basename(page, ".md"))
    Fs.mkdirSync(own)
    Fs.writeFileSync(state, `cd '${own}'\n`)
    const steps = stepsOf(read(page))
    for (const step of steps) await follow(page, step)
    console.log(`${page}: ${steps.length} steps do what the page says`)
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  for (const { printed } of background) console.error(`in the other terminal:\n${printed}`)
  process.exitCode = 1
} finally {
  for (const { ended, process: child } of background) {
    if (!ended) process.kill(-child.pid!, "SIGKILL")
  }
  Fs.rmSync(directory, { recursive: true, force: true })
}
