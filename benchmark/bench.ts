/**
 * The comparison: effect-milter beside a bare node:net server, libmilter in C, go-milter, pymilter and Sendmail::PMilter, all
 * with the same work and the same load, interleaved. benchmark/README.md says what is measured and how to read it.
 *
 * npm run bench [-- --quick --plan --rounds 10 --messages 8000 --cells base-50,base-1 --servers floor,effect-milter --out FILE]
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { type Cell, cells as makeCells, quickCells } from "./comparison/cells.ts"
import { lastCpu, thisMachine } from "./comparison/machine.ts"
import { measureCell, plannedSeconds, type Prepared } from "./comparison/measure.ts"
import { type Course, type Footprint, measureCourse, measureFootprint } from "./comparison/memory.ts"
import { hasBatch } from "./comparison/processes.ts"
import type { Results } from "./comparison/results.ts"
import { against, servers } from "./comparison/servers.ts"
import { measureStartup, type Startup } from "./comparison/startup.ts"
import { cellTable, courseTable, footprintTable, startupTable, type Table } from "./comparison/tables.ts"

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    plan: { type: "boolean", default: false },
    rounds: { type: "string" },
    messages: { type: "string" },
    sections: { type: "string" },
    cells: { type: "string" },
    servers: { type: "string" },
    against: { type: "string" },
    cpu: { type: "string" },
    out: { type: "string", default: "benchmark/results.json" }
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

// --- what is measured

const cpu = values.cpu === undefined ? lastCpu() : Number(values.cpu)
if (cpu === undefined) {
  console.log("no taskset (Debian: util-linux): nothing is put on one CPU, and the figures are less exact")
}
if (!hasBatch) {
  console.log("no chrt (Debian: util-linux): the driver takes the CPU from the servers, most from those slower than it")
}
const rounds = positive("rounds", values.quick ? 3 : 10)
const messages = positive("messages", values.quick ? 2_000 : 8_000)
const cells = chosen(makeCells({ rounds, messages }), values.cells ?? (values.quick ? quickCells.join(",") : undefined))
const connections = values.quick ? 1_000 : 10_000
const courseMessages = 125 * messages

const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-bench-"))
process.once("exit", () => Fs.rmSync(folder, { recursive: true, force: true }))
process.once("SIGINT", () => process.exit(130))

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
const plain = prepared.filter(({ server }) => server.variant !== true)
const threaded = plain.filter(({ server }) => server.forks !== true)
const ours = plain.filter(({ server }) => server.name === "effect-milter")

// --- the run

const startup: Array<Startup> = []
const footprints: Array<Footprint> = []
const course: Array<Course> = []
const measured: Array<{ readonly cell: Cell; readonly measured: Results["cells"][number]["measured"] }> = []
const machine = thisMachine()
const started = performance.now()

/** Shows what is being done, in a terminal only. */
const progress = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}

const minutes = (seconds: number): string => (seconds / 60).toFixed(1)

/** Prints a table and keeps all results so far, should the run be broken off. */
const show = (title: string, { columns, rows }: Table): void => {
  progress("")
  const widths = columns.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>): string =>
    cells.map((text, column) => column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!)).join("  ")
  console.log(`\n${title} (${minutes((performance.now() - started) / 1000)} minutes)`)
  for (const row of [columns, ...rows]) console.log(line(row).trimEnd())
  const results: Results = {
    machine,
    quick: values.quick,
    servers: described,
    cells: measured,
    startup,
    footprints,
    course
  }
  Fs.writeFileSync(values.out, `${JSON.stringify(results, undefined, 1)}\n`)
}

const measureCells = async (): Promise<void> => {
  for (const cell of cells) {
    const onRound = (round: number): void => progress(`${cell.name}: round ${round + 1} of ${cell.rounds}`)
    const entry = { cell, measured: await measureCell(cell, prepared, { folder, cpu, onRound }) }
    measured.push(entry)
    show(`${cell.title} [${cell.name}]`, cellTable(described, entry.measured))
  }
}

/** In the order in which they run, with the seconds that each is planned to take. */
const sections = [
  {
    name: "cells",
    seconds: cells.reduce((sum, cell) => sum + plannedSeconds(cell, prepared), 0),
    measure: measureCells
  },
  {
    name: "startup",
    seconds: 15 + plain.length * rounds * 0.4,
    measure: async () => {
      progress("start")
      startup.push(...await measureStartup(plain, { folder, cpu, rounds }))
      show("start and size", startupTable(startup))
    }
  },
  {
    name: "memory",
    seconds: threaded.length * connections * 0.0015,
    measure: async () => {
      for (const one of threaded) {
        progress(`memory of ${one.server.title}`)
        footprints.push(await measureFootprint(one, connections, folder))
      }
      show("memory", footprintTable(footprints))
    }
  },
  {
    name: "course",
    seconds: ours.length * courseMessages * 0.00026,
    measure: async () => {
      for (const one of ours) {
        const onSample = (sent: number): void => progress(`${sent.toLocaleString("en-US")} messages`)
        course.push(...await measureCourse(one, courseMessages, { folder, onSample }))
      }
      show("memory in the course of a long run", courseTable(course))
    }
  }
]

const isNarrow = values.cells !== undefined || values.against !== undefined
const run = chosen(sections, values.sections ?? (isNarrow ? "cells" : undefined))
const planned = run.reduce((sum, section) => sum + section.seconds, 0)
console.log(
  `${run.map(({ name, seconds }) => `${name} ${minutes(seconds)}`).join(", ")}: about ${
    minutes(planned)
  } minutes, if the machine has nothing else to do`
)
if (values.plan && run.some(({ name }) => name === "cells")) {
  for (const cell of cells) console.log(`  ${cell.name}: ${minutes(plannedSeconds(cell, prepared))}`)
}
if (!values.plan) {
  for (const section of run) await section.measure()
  console.log(`\nwritten to ${values.out}`)
}
