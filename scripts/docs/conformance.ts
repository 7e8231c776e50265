/** The table of rules, tests and releases: what is wrong with it, and the page that shows it. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { exists, read, root } from "../repository.ts"
import { type Test, type Tests, tests } from "./conformanceTests.ts"

/** A column of the page: where the tests ran. */
export interface Column {
  readonly key: string
  readonly title: string
  readonly of: ReadonlyArray<keyof Tests>
  /** The reports of vitest, JSON, below test-results. */
  readonly reports: ReadonlyArray<string>
}

const installed = "vitest.json"

export const columns: ReadonlyArray<Column> = [
  { key: "here", title: "this library", of: ["here"], reports: [installed] },
  // Debian 12 has these two, and `scripts/fetchMta.sh` the others.
  { key: "postfix-3.7", title: "Postfix 3.7", of: ["postfix"], reports: [installed] },
  { key: "postfix-3.10", title: "3.10", of: ["postfix"], reports: ["mtas/postfix-3.10.json"] },
  { key: "postfix-3.11", title: "3.11", of: ["postfix"], reports: ["mtas/postfix-3.11.json"] },
  { key: "sendmail-8.17", title: "Sendmail 8.17", of: ["sendmail"], reports: [installed] },
  {
    key: "sendmail-8.18",
    title: "8.18",
    of: ["sendmail", "larger"],
    reports: ["mtas/sendmail-8.18.json", "mtas/sendmail-8.18-mds.json"]
  },
  { key: "libmilter", title: "libmilter 8.17", of: ["libmilter"], reports: [installed] }
]

/** How many tests of a rule have passed and failed in a column. */
export interface Outcome {
  readonly passed: number
  readonly failed: number
}

export type Results = { readonly [column: string]: { readonly [rule: string]: Outcome } }

const resultsFile = "scripts/docs/conformance.json"

export const page = "docs/reference/conformance.md"

// A cast: writeResults wrote it.
export const readResults = (): Results => exists(resultsFile) ? JSON.parse(read(resultsFile)) as Results : {}

export const writeResults = (results: Results): void =>
  Fs.writeFileSync(Path.join(root, resultsFile), `${JSON.stringify(results, undefined, 2)}\n`)

/** The rules of the protocol page, by name. */
export const rules = (): ReadonlyMap<string, string> => {
  const text = read("docs/reference/protocol.md")
  const section = text.slice(text.indexOf("\n## The rules\n"))
  return new Map(
    Array.from(
      section.matchAll(/^\| `([a-z-]+)` +\| (.*?) +\|$/gm),
      ([, name, rule]) => [name!, rule!] as const // both groups of a match
    )
  )
}

/** A run of one test, as vitest reports it. */
export interface Ran {
  readonly file: string
  readonly title: string
  readonly status: string
}

const isOf = ([file, title]: Test) => (ran: Ran): boolean => ran.file === file && ran.title.includes(title)

/** The outcomes of a column; tests that did not run, or were skipped, do not count. */
export const outcomes = (
  { of }: Column,
  ran: ReadonlyArray<Ran>
): { readonly [rule: string]: Outcome } =>
  Object.fromEntries(
    Object.entries(tests).flatMap(([rule, found]) => {
      const runs = ran.filter((run) => of.flatMap((kind) => found[kind] ?? []).some((test) => isOf(test)(run)))
      const count = (status: string): number => runs.filter((run) => run.status === status).length
      const outcome = { passed: count("passed"), failed: count("failed") }
      return outcome.passed + outcome.failed === 0 ? [] : [[rule, outcome]]
    })
  )

/** Why the table cannot be believed. */
export const problems = (results: Results, known = rules()): ReadonlyArray<string> => {
  const where = "docs/reference/protocol.md"
  return [
    ...Array.from(known.keys()).filter((rule) => tests[rule] === undefined).map((rule) =>
      `${where}: the rule ${rule} has no test in scripts/docs/conformanceTests.ts`
    ),
    ...Object.keys(tests).filter((rule) => !known.has(rule)).map((rule) =>
      `scripts/docs/conformanceTests.ts: ${rule} is no rule of ${where}`
    ),
    ...Object.entries(tests).flatMap(([rule, all]) => {
      const here = results["here"]?.[rule]
      const named: ReadonlyArray<Test> = Object.values(all).flat()
      return [
        ...named.filter(([file]) => !exists(file)).map(([file]) => `${file}, a test of ${rule}, does not exist`),
        ...here === undefined || here.passed === 0
          ? [`${where}: no test of the rule ${rule} has passed: run the unit tests and npm run docs:conformance`]
          : [],
        ...columns.filter(({ key }) => (results[key]?.[rule]?.failed ?? 0) > 0).map(({ title }) =>
          `${where}: a test of the rule ${rule} has failed with ${title}`
        )
      ]
    })
  ]
}

const cell = (column: Column, rule: string, results: Results): string => {
  const outcome = results[column.key]?.[rule]
  if (outcome !== undefined) return outcome.failed > 0 ? `**${outcome.failed} failed**` : `${outcome.passed}`
  if (column.of.some((kind) => (tests[rule]?.[kind] ?? []).length > 0)) return "not run"
  return column.key === "here" ? "**no test**" : ""
}

const shown = (rule: string): string =>
  Array.from(new Set(Object.values(tests[rule] ?? {}).flat().map(([file]) => file)))
    .map((file) => `[${file.replace(/^test\/|\.test\.ts$/g, "")}](../../${file})`)
    .join(", ")

export const render = (results: Results, known = rules()): string => {
  const rows = Array.from(
    known.keys(),
    (rule) => [
      `[\`${rule}\`](protocol.md#the-rules)`,
      ...columns.map((column) => cell(column, rule, results)),
      shown(rule)
    ]
  )
  const head = ["rule", ...columns.map(({ title }) => title), "tests"]
  const line = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`
  return `# Conformance

Which rules of [the protocol](protocol.md#the-rules) are tested, and with what. A number says how many tests of the rule have passed there;
an empty cell says that the rule is not tested with it: the MTA does not show it, or no test makes it do so. Beside libmilter a filter on this
library and one in C answer the same sessions.

Made by \`npm run docs:conformance\` from the reports of the tests: \`CI=true npx vitest run\`, and \`npm run test:mtas\` for the releases
that are not installed.

${[head, head.map(() => "---"), ...rows].map(line).join("\n")}
`
}
