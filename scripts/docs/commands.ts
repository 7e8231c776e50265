/** Every page with commands stands in the table of CONTRIBUTING.md that says which test, or script, runs them. */
import * as path from "node:path"
import { exists, type Problem, read } from "../repository.ts"
import { blocksOf } from "./steps.ts"

const table = "CONTRIBUTING.md"

/** Rows of the table: pages (a README.md stands for its folder), and the files named in the second column. */
const rows = (): ReadonlyArray<
  { readonly line: number; readonly pages: ReadonlyArray<string>; readonly by: ReadonlyArray<string> }
> =>
  read(table).split("\n").flatMap((text, index) => {
    const [, pages, by] = /^\| (.*\]\(.*\).*?) +\| (.*\bby\b.*|.*`.*`.*?) +\|$/.exec(text) ?? []
    if (pages === undefined || by === undefined || !/`(test|scripts|\.ci)\//.test(by)) return []
    return [{
      line: index + 1,
      pages: [...pages.matchAll(/\]\(([^)]+)\)/g)].map(([, page]) => page!),
      by: [...by.matchAll(/`((?:test|scripts|\.ci)\/[^`*]+)`/g)].map(([, file]) => file!)
    }]
  })

/** Pages whose commands nobody runs, and runners that are not there. */
export const checkCommands = (pages: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const found = rows()
  const covered = found.flatMap(({ pages }) => pages)
  const isCovered = (page: string): boolean =>
    covered.some((each) =>
      each === page || (each.endsWith("/README.md") && page.startsWith(`${path.posix.dirname(each)}/`))
    )
  const missing = found.flatMap(({ by, line }) =>
    by.filter((file) => !exists(file)).map((file) => ({ file: table, line, message: `there is no ${file}` }))
  )
  const unknown = pages.flatMap((page) => {
    const block = isCovered(page) ? undefined : blocksOf(read(page)).find(({ language }) => language === "sh")
    return block === undefined
      ? []
      : [{ file: page, line: block.line, message: `${table} does not say what runs these commands` }]
  })
  return [...missing, ...unknown]
}
