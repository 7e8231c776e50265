/**
 * Writes docs/choose/speed.md, its plots, and the sentence about speed in README.md from a run of `npm run bench`.
 *
 * npm run docs:speed [-- FILE]
 */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { plots } from "../benchmark/comparison/plots.ts"
import { type Results, summarize, type Summary } from "../benchmark/comparison/results.ts"
import {
  cellTable,
  courseTable,
  figure,
  footprintTable,
  startupTable,
  type Table,
  titleOf
} from "../benchmark/comparison/tables.ts"
import { fill } from "./docs/fill.ts"
import { root } from "./repository.ts"

const results = JSON.parse(
  Fs.readFileSync(process.argv[2] ?? Path.join(root, "benchmark/results.json"), "utf8")
) as Results

const markdown = ({ columns, rows }: Table): string =>
  [columns, columns.map((_, column) => column === 0 ? "---" : "---:"), ...rows].map((row) => `| ${row.join(" | ")} |`)
    .join("\n")

const cellOf = (name: string) => results.cells.find(({ cell }) => cell.name === name)

const summaryOf = (cell: string, server: string): Summary | undefined =>
  summarize(cellOf(cell)?.measured.find((one) => one.server === server)?.samples ?? [])

/** A row for each server, a column for each cell. */
const across = (
  names: ReadonlyArray<string>,
  value: (summary: Summary, cell: string) => string
): string | undefined => {
  const cells = names.flatMap((name) => cellOf(name) ?? [])
  if (cells.length === 0) return undefined
  const servers = results.servers.filter(({ name }) =>
    cells.some(({ measured }) => measured.some(({ server }) => server === name))
  )
  return markdown({
    columns: ["server", ...cells.map(({ cell }) => cell.title)],
    rows: servers.map(({ name, title }) => [
      title,
      ...cells.map(({ cell }) => {
        const summary = summaryOf(cell.name, name)
        return summary === undefined ? "" : value(summary, cell.name)
      })
    ])
  })
}

const machine = (): string => {
  const { commit, cpu, cpus, date, memory, system } = results.machine
  const versions = results.servers.filter(({ name }) => !/^(floor|effect-milter-.*)$/.test(name)).map(
    ({ skipped, title, version }) => `- ${title}: ${version ?? `skipped, ${skipped}`}`
  )
  return [
    `Measured on ${date} at commit ${commit}${results.quick ? ", with `--quick`" : ""}: ${cpus} CPUs (${cpu}), ${
      Math.round(memory / 2 ** 30)
    } GB, ${system}.`,
    "",
    ...versions
  ].join("\n")
}

const ratio = (cell: string, server: string, to: string): string | undefined => {
  const [one, other] = [summaryOf(cell, server), summaryOf(cell, to)]
  return one === undefined || other === undefined ? undefined : (one.cpuLeast / other.cpuLeast).toFixed(2)
}

const sentence = (): string | undefined => {
  const ours = summaryOf("base-50", "effect-milter")
  if (ours === undefined) return undefined
  const others = results.servers.filter(({ name }) => !name.startsWith("effect-milter")).flatMap(({ name }) => {
    const times = ratio("base-50", "effect-milter", name)
    return times === undefined ? [] : [`${times} times that of ${titleOf(results.servers, name)}`]
  })
  return wrap(
    `A message costs ${figure(ours.cpuLeast)} µs of CPU time (8 headers, 4 kB, 50 messages a connection): ${
      others.join(", ")
    }. [All figures](docs/choose/speed.md), from one command that anyone can repeat.`
  )
}

/** The sentence in lines as long as those around it. */
const wrap = (text: string): string => text.replace(/(.{1,130})(?: |$)/g, "$1\n").trimEnd()

const picture = (plot: string): string | undefined => {
  const text = drawn.find((file) => file.plot === plot)?.text
  return text === undefined
    ? undefined
    : `<picture><source media="(prefers-color-scheme: dark)" srcset="plots/${plot}-dark.svg"><img alt="${text}" src="plots/${plot}-light.svg"></picture>`
}

const drawn = plots(results)
const folder = Path.join(root, "docs/choose/plots")
Fs.mkdirSync(folder, { recursive: true })
for (const { plot, svg, theme } of drawn) Fs.writeFileSync(Path.join(folder, `${plot}-${theme}.svg`), svg)

const named = (name: string) => (): string | undefined => {
  const entry = cellOf(name)
  return entry === undefined ? undefined : markdown(cellTable(results.servers, entry.measured))
}

/** Sections without figures in this run stay as they are. */
const sections: Readonly<Record<string, () => string | undefined>> = {
  "machine": machine,
  "speed": sentence,
  "table base-50": named("base-50"),
  "table base-1": named("base-1"),
  "table variations": () =>
    across(
      [
        "base-50",
        "two-cpus",
        "ordinary-50",
        "ordinary-1",
        "tcp",
        "body-1k",
        "body-100k",
        "body-10m",
        "headers-64",
        "headers-256"
      ],
      (summary) => figure(summary.cpuLeast)
    ),
  "table connections": () =>
    across(
      ["connections-1", "connections-10", "connections-100", "connections-1000", "connections-10000"],
      (summary) => `${figure(summary.rate)} (${figure(summary.p99 / 1000)})`
    ),
  "table memory": () => results.footprints.length === 0 ? undefined : markdown(footprintTable(results.footprints)),
  "table course": () => {
    const { columns, rows } = courseTable(results.course)
    return rows.length === 0
      ? undefined
      : markdown({ columns, rows: rows.filter((_, index) => index % 4 === 0) })
  },
  "table startup": () => results.startup.length === 0 ? undefined : markdown(startupTable(results.startup)),
  ...Object.fromEntries(
    ["cpu", "connections", "body", "headers", "course"].map((plot) => [`plot ${plot}`, () => picture(plot)])
  )
}

const written = new Map(
  Object.entries(sections).flatMap(([name, write]) => {
    const text = write()
    return text === undefined ? [] : [[name, text] as const]
  })
)
const pages = ["docs/choose/speed.md", "README.md"]
for (const file of pages) {
  const page = Path.join(root, file)
  Fs.writeFileSync(page, fill(Fs.readFileSync(page, "utf8"), written))
}
execFileSync("npx", ["dprint", "fmt", ...pages], { cwd: root, stdio: ["ignore", "ignore", "inherit"] })
