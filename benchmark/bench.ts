/**
 * The comparison: effect-milter beside a bare node:net server, libmilter in C, go-milter, pymilter and Sendmail::PMilter, all
 * with the same work and the same load, interleaved. benchmark/README.md says what is measured and how to read it.
 *
 * npm run bench [-- --quick --rounds 10 --messages 8000 --cells base-50,base-1 --servers floor,effect-milter --out FILE]
 */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { cells as makeCells, quickCells } from "./comparison/cells.ts"
import { measureCell, plannedSeconds, type Prepared } from "./comparison/measure.ts"
import { columns, type Machine, type Results, rows } from "./comparison/results.ts"
import { against, servers } from "./comparison/servers.ts"

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    messages: { type: "string" },
    cells: { type: "string" },
    servers: { type: "string" },
    against: { type: "string" },
    cpu: { type: "string" },
    out: { type: "string", default: "benchmark/results.json" },
    plan: { type: "boolean", default: false }
  }
})

const fail = (message: string): never => {
  console.error(message)
  process.exit(1)
}

const positive = (name: "rounds" | "messages", byDefault: number): number => {
  const value = Number(values[name] ?? byDefault)
  return Number.isInteger(value) && value > 0 ? value : fail(`--${name}: expected a positive whole number`)
}

/** The named ones, in the order of `all`. */
const chosen = <A extends { readonly name: string }>(
  all: ReadonlyArray<A>,
  list: string | undefined
): ReadonlyArray<A> => {
  if (list === undefined) return all
  const names = list.split(",")
  const unknown = names.find((name) => !all.some((one) => one.name === name))
  if (unknown !== undefined) fail(`${unknown}: expected some of ${all.map(({ name }) => name).join(", ")}`)
  return all.filter(({ name }) => names.includes(name))
}

const effort = {
  rounds: positive("rounds", values.quick ? 3 : 10),
  messages: positive("messages", values.quick ? 2_000 : 8_000)
}
const cells = chosen(makeCells(effort), values.cells ?? (values.quick ? quickCells.join(",") : undefined))

const hasTaskset = (): boolean => {
  try {
    execFileSync("taskset", ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}
// The last CPU: interrupts tend to be handled by the first.
const cpu = hasTaskset() ? Number(values.cpu ?? Os.availableParallelism() - 1) : undefined
if (cpu === undefined) {
  console.log("no taskset (Debian: util-linux): nothing is pinned to one CPU, figures are less exact")
}

const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-bench-"))
process.once("exit", () => Fs.rmSync(folder, { recursive: true, force: true }))
process.once("SIGINT", () => process.exit(130))

const git = (...parameters: ReadonlyArray<string>): string => {
  try {
    return execFileSync("git", parameters, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"]
    }).trim()
  } catch {
    return ""
  }
}

const machine: Machine = {
  date: new Date().toISOString().slice(0, 10),
  cpu: Os.cpus()[0]!.model,
  cpus: Os.availableParallelism(),
  memory: Os.totalmem(),
  system: `${Os.type()} ${Os.release()}`,
  commit: git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "-uno") === "" ? "" : "+")
}

const prepared: Array<Prepared> = []
const candidates = values.against === undefined ? servers : [...servers, against(values.against)]
const described = chosen(candidates, values.servers).map((server): Results["servers"][number] => {
  const { name, title } = server
  try {
    const command = server.prepare(folder)
    prepared.push({ server, command })
    return { name, title, version: command.version }
  } catch (error) {
    const skipped = (error as Error).message
    console.log(`${title} is skipped: ${skipped}`)
    return { name, title, skipped }
  }
})

const minutes = (seconds: number): string => (seconds / 60).toFixed(seconds < 600 ? 1 : 0)
const planned = cells.reduce((sum, cell) => sum + plannedSeconds(cell, prepared), 0)
console.log(
  `${cells.length} cells, ${prepared.length} servers: about ${
    minutes(planned)
  } minutes, if the machine has nothing else to do`
)
if (values.plan) process.exit()

const print = (lines: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  for (const line of lines) {
    console.log(
      line.map((text, column) => column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!)).join("  ")
    )
  }
}

const started = performance.now()
const measured: Array<Results["cells"][number]> = []
const results = (): Results => ({ machine, quick: values.quick, servers: described, cells: measured })
for (const cell of cells) {
  const onRound = (round: number): void => {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r${cell.name}: ${round < 0 ? "warm-up" : `round ${round + 1} of ${cell.rounds}`} `)
    }
  }
  measured.push({ cell, measured: await measureCell(cell, prepared, { folder, cpu, onRound }) })
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")
  console.log(`\n${cell.title} (${cell.name}, ${minutes((performance.now() - started) / 1000)} minutes)`)
  print([columns, ...rows(results(), measured.at(-1)!)])
  // What has been measured stays if the run is broken off.
  Fs.writeFileSync(values.out, `${JSON.stringify(results(), undefined, 2)}\n`)
}
console.log(`\nwritten to ${values.out}`)
