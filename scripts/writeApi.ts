/** Writes docs/reference/api from the comments of the sources, or with --check says whether it is up to date. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { current, pages } from "./docs/api.ts"
import { glob, report, root } from "./repository.ts"

const made = pages()
const known = new Set(made.map(({ file }) => file))
const surplus = glob("docs/reference/api/*.md").filter((file) => !known.has(file))
const outdated = made.filter(({ file, text }) => current(file) !== text)

if (process.argv.includes("--check")) {
  report(
    [...surplus, ...outdated.map(({ file }) => file)].map((file) => ({
      file,
      line: 1,
      message: "is out of date: run npm run docs:api"
    })),
    `api: ${made.length} pages are up to date`
  )
} else {
  mkdirSync(path.join(root, "docs/reference/api"), { recursive: true })
  for (const file of surplus) rmSync(path.join(root, file))
  for (const { file, text } of outdated) writeFileSync(path.join(root, file), text)
  console.log(`api: ${outdated.length} of ${made.length} pages written`)
}
