/**
 * Compiles the examples: each ```ts block of a Markdown page or of a JSDoc comment is a module of its own, compiled
 * against the sources with the repository's options. One with a name, ```ts file=filter.ts, may be imported by others of its
 * page. A fragment that cannot stand alone is marked ```ts nocheck.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { effectTsc, type Problem, read, root } from "../repository.ts"

interface Example {
  readonly file: string
  /** The line of the opening fence, from 1. */
  readonly line: number
  readonly code: string
  readonly name: string | undefined
}

const fence = /^(?<quote>\s*(?:\*\s)?\s*)(?<ticks>`{3,})(?<info>.*)$/

const isChecked = (info: string): boolean => {
  const [language, ...flags] = info.trim().split(/\s+/)
  return (language === "ts" || language === "typescript") && !flags.includes("nocheck")
}

const nameIn = (info: string): string | undefined => /\sfile=(\S+)/.exec(info)?.[1]

const examplesOf = (file: string): ReadonlyArray<Example> => {
  const found: Array<Example> = []
  const inComment = file.endsWith(".ts")
  let open: { readonly ticks: string; readonly quote: number; readonly line: number } | undefined
  let checked = false
  let name: string | undefined
  let code: Array<string> = []
  for (const [index, line] of read(file).split("\n").entries()) {
    const groups = inComment && !/^\s*\*/.test(line) ? undefined : fence.exec(line)?.groups
    const { info = "", quote = "", ticks = "" } = groups ?? {}
    if (open === undefined) {
      if (ticks === "") continue
      open = { ticks, quote: quote.length, line: index + 1 }
      checked = isChecked(info)
      name = nameIn(info)
      code = []
    } else if (ticks.startsWith(open.ticks) && info.trim() === "") {
      if (checked) found.push({ file, line: open.line, code: code.join("\n"), name })
      open = undefined
    } else {
      // In a comment an empty line is " *", shorter than the quote of the fence.
      code.push(line.slice(open.quote))
    }
  }
  return found
}

const folder = ".examples-check"

/** Named ones of a page are together in a directory. */
const fileOf = ({ file, name }: Example, index: number): string =>
  name === undefined ? `${folder}/${index}.ts` : `${folder}/${file.replaceAll(/[^\w-]/g, "_")}/${name}`

/** A page imports files of the repository from its own place; the copy that is compiled lies elsewhere. */
const withImportsOf = ({ code, file }: Example, directory: string): string =>
  code.replaceAll(/(?<=from ")\.\.?\/[^"]+/g, (specifier) => {
    const target = path.join(root, path.dirname(file), specifier)
    return existsSync(target) ? path.relative(directory, target) : specifier
  })

const options = {
  extends: "../tsconfig.base.json",
  include: ["**/*.ts"],
  // An example may declare what it does not use.
  compilerOptions: { noEmit: true, types: ["node"], noUnusedLocals: false, noUnusedParameters: false }
}

/** Compiles the examples of the files. The folder lies in the repository, so that the package finds itself by name. */
export const checkExamples = (
  files: ReadonlyArray<string>
): { readonly count: number; readonly problems: ReadonlyArray<Problem> } => {
  const examples = files.flatMap(examplesOf)
  if (examples.length === 0) return { count: 0, problems: [] }
  const pages = new Map(examples.map((example, index) => [fileOf(example, index), example.file]))
  const directory = path.join(root, folder)
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
  try {
    writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(options))
    for (const [index, example] of examples.entries()) {
      const file = path.join(root, fileOf(example, index))
      mkdirSync(path.dirname(file), { recursive: true })
      // Empty lines above, so that the compiler's line numbers are those of the page.
      writeFileSync(file, "\n".repeat(example.line) + withImportsOf(example, path.dirname(file)))
    }
    const { status, stdout } = effectTsc(["-p", folder, "--pretty", "false"])
    const problems = stdout.split("\n").flatMap((text): ReadonlyArray<Problem> => {
      const found = /^(?<file>[^\s(]+)\((?<line>\d+),\d+\): (?<message>.*)$/.exec(text)?.groups
      if (found === undefined) return []
      const { file = "", line, message = "" } = found
      // A file that is no example is a source that does not compile.
      return [{ file: pages.get(file) ?? file, line: Number(line), message }]
    })
    if (status !== 0 && problems.length === 0) throw new Error(`the examples could not be checked:\n${stdout}`)
    return { count: examples.length, problems }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
