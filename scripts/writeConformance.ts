/**
 * Writes docs/reference/conformance.md from the reports of the tests in test-results, as far as there are any; what they do not tell stays
 * as it was. With --check it says whether each rule of the protocol page has a test, and whether the page is up to date.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { columns, outcomes, page, problems, type Ran, readResults, render, writeResults } from "./docs/conformance.ts"
import { exists, read, root } from "./repository.ts"

/** The part of vitest's report that is used. */
interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

const ranIn = (report: string): ReadonlyArray<Ran> => {
  const file = `test-results/${report}`
  if (!exists(file)) return []
  // A cast: vitest wrote it.
  const { testResults } = JSON.parse(read(file)) as Report
  return testResults.flatMap(({ assertionResults, name }) =>
    assertionResults.map(({ fullName, status }) => ({ file: name.replace(`${root}/`, ""), title: fullName, status }))
  )
}

const check = process.argv.includes("--check")

const before = readResults()
const results = check ? before : Object.fromEntries(columns.map((column) => [
  column.key,
  { ...before[column.key], ...outcomes(column, column.reports.flatMap(ranIn)) }
]))

if (!check) {
  writeResults(results)
  Fs.writeFileSync(Path.join(root, page), render(results))
}

/** Without what dprint does to a table. */
const plain = (text: string): string => text.replace(/ +\|/g, " |").replace(/-{3,}/g, "---")

const wrong = [
  ...problems(results),
  ...check && plain(read(page)) !== plain(render(results))
    ? [`${page} is out of date: run npm run docs:conformance`]
    : []
]
for (const problem of wrong) console.error(problem)
if (wrong.length > 0) process.exitCode = 1
