/**
 * Pages about the public modules, one each, made from their declarations as the compiler emits them, with the comments of
 * the sources.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import ts from "typescript-6"
import { effectTsc, entries, manifest, read, root } from "../repository.ts"

/** A page of docs/reference/api. */
export interface Page {
  readonly file: string
  readonly text: string
}

interface Export {
  readonly name: string
  readonly anchor: string
  readonly category: string
  readonly comment: string
  readonly declarations: ReadonlyArray<string>
}

interface Module {
  /** As it is imported: `effect-milter/Milter`. */
  readonly specifier: string
  /** Of its page, without a suffix. */
  readonly name: string
  readonly comment: string
  readonly exports: ReadonlyArray<Export>
}

// --- comments

interface Comment {
  readonly text: string
  readonly tags: ReadonlyMap<string, string>
}

/** A JSDoc comment without its stars. Its tags come last. */
const parseComment = (raw: string): Comment => {
  const lines = raw.replace(/^\/\*\*\s?|\s*\*\/$/g, "").split("\n").map((line) => line.replace(/^\s*\* ?/, ""))
  const first = lines.findIndex((line) => /^@\w/.test(line))
  const text = (first === -1 ? lines : lines.slice(0, first)).join("\n").trim()
  const tags = lines.slice(first === -1 ? lines.length : first).flatMap((line) => {
    const [, name, value] = /^@(\w+)\s*(.*)$/.exec(line) ?? []
    return name === undefined ? [] : [[name, value ?? ""] as const]
  })
  return { text, tags: new Map(tags) }
}

const commentsOf = (node: ts.Node): ReadonlyArray<string> =>
  ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).map((doc) => doc.getText())

// --- declarations

const options: ts.CompilerOptions = {
  module: ts.ModuleKind.NodeNext,
  noLib: true,
  target: ts.ScriptTarget.ESNext,
  types: []
}

/** A program of emitted declarations alone: what they import from elsewhere stays unknown, and is not needed. */
const programOf = (files: ReadonlyArray<string>): ts.Program => {
  const host = ts.createCompilerHost(options)
  host.resolveModuleNameLiterals = (literals, importer) =>
    literals.map(({ text }) => {
      const file = path.resolve(path.dirname(importer), text).replace(/\.[jt]s$/, ".d.ts")
      return {
        resolvedModule: text.startsWith(".") && existsSync(file)
          ? { resolvedFileName: file, extension: ts.Extension.Dts }
          : undefined
      }
    })
  return ts.createProgram(files, options, host)
}

/** Without `export declare`, and without the paths of other modules: `import("./Stage.ts").Mail` is `Mail`. */
const textOf = (node: ts.Node): string => {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node
  return statement.getText()
    .replace(/^export (default )?/, "")
    .replace(/^declare /, "")
    .replaceAll(/import\("[^"]*"\)\./g, "")
}

const exportOf = (symbol: ts.Symbol, checker: ts.TypeChecker, anchorOf: (name: string) => string) => {
  const specifiers = (symbol.declarations ?? []).filter(ts.isExportSpecifier)
  const aliased = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  const nodes = (aliased.declarations ?? []).filter((node) => !ts.isSourceFile(node))
  const comments = [...specifiers.flatMap(commentsOf), ...nodes.flatMap(commentsOf)].map(parseComment)
  if (comments.some(({ tags }) => tags.has("internal"))) return []
  const [comment] = comments
  if (comment === undefined || nodes.length === 0) return []
  const renamed = aliased.name === symbol.name
    ? (text: string) => text
    : (text: string) => text.replace(new RegExp(`\\b${aliased.name}\\b`), symbol.name)
  return [{
    name: symbol.name,
    anchor: anchorOf(symbol.name),
    category: comment.tags.get("category") ?? "other",
    comment: comment.text,
    declarations: [...new Set(nodes.map(textOf))].map(renamed)
  }]
}

/** Anchors as GitHub gives them to headings. */
const anchors = () => {
  const used = new Map<string, number>()
  return (name: string): string => {
    const slug = name.toLowerCase()
    const times = used.get(slug) ?? 0
    used.set(slug, times + 1)
    return times === 0 ? slug : `${slug}-${times}`
  }
}

interface Emitted {
  readonly file: string
  /** Where it comes from, in the repository: the compiler leaves out the comment at the top of some modules. */
  readonly source: string
}

/** The modules whose exports are namespaces, such as `effect-milter/node`, are shown module by module. */
const moduleOf = (
  program: ts.Program,
  specifier: string,
  { file, source: written }: Emitted
): ReadonlyArray<Module> => {
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(file)
  const symbol = source && checker.getSymbolAtLocation(source)
  if (source === undefined || symbol === undefined) throw new Error(`no module in ${file}`)
  const comment = parseComment(/^\/\*\*[^]*?\*\//.exec(read(written))?.[0] ?? "").text
  const found = checker.getExportsOfModule(symbol)
  const namespaces = found.flatMap((each) => {
    const aliased = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each
    const declared = aliased.declarations?.find(ts.isSourceFile)
    if (declared === undefined) return []
    const name = `${path.basename(declared.fileName, ".d.ts")}.ts`
    return [{ name: each.name, file: declared.fileName, source: path.posix.join(path.posix.dirname(written), name) }]
  })
  const inside = namespaces.flatMap(({ name, ...emitted }) =>
    moduleOf(program, specifier, emitted).map((module) => ({ ...module, name }))
  )
  const sorted = found.toSorted((left, right) => positionOf(left) - positionOf(right))
  const anchorOf = anchors()
  const all = sorted.flatMap((each) => exportOf(each, checker, anchorOf))
  // Anchors count from the top of the page.
  const byCategory = [...grouped(all).values()].flat()
  const again = anchors()
  const exports = byCategory.map((each) => ({ ...each, anchor: again(each.name) }))
  const name = path.posix.basename(written.replace(/(\/index)?\.ts$/, ""))
  return [...exports.length > 0 ? [{ specifier, name, comment, exports }] : [], ...inside]
}

/** By category, in the order in which these first appear. */
const grouped = (exports: ReadonlyArray<Export>): ReadonlyMap<string, ReadonlyArray<Export>> => {
  const groups = new Map<string, Array<Export>>()
  for (const each of exports) {
    const group = groups.get(each.category)
    if (group === undefined) groups.set(each.category, [each])
    else group.push(each)
  }
  return groups
}

const positionOf = (symbol: ts.Symbol): number => symbol.declarations?.[0]?.pos ?? 0

// --- pages

/** `{@link X}` as a link where X is on the page or a page. */
const linked = (text: string, here: Module, modules: ReadonlyArray<Module>): string =>
  text.replaceAll(/\{@link\s+([\w.]+)[^}]*\}/g, (_, target: string) => {
    const name = target.split(".").at(-1)!
    const local = here.exports.find((each) => each.name === target || each.name === target.split(".")[0])
    if (local !== undefined) return `[\`${target}\`](#${local.anchor})`
    const module = modules.find((each) => each.name === target.split(".")[0])
    if (module === undefined) return `\`${target}\``
    const remote = module.exports.find((each) => each.name === name)
    return `[\`${target}\`](${module.name}.md${remote === undefined ? "" : `#${remote.anchor}`})`
  })

/** Its examples are compiled where they come from. */
const proseOf = (text: string, here: Module, modules: ReadonlyArray<Module>): string =>
  text.split(/(```[^]*?```)/).map((part, index) =>
    index % 2 === 1 ? part.replace(/^```ts\b.*$/m, "```ts nocheck") : linked(part, here, modules)
  ).join("")

const firstSentence = (text: string): string => {
  const paragraph = text.split(/\n\s*\n/)[0]!.replaceAll("\n", " ")
  return /^.*?\.(?=\s|$)/.exec(paragraph)?.[0] ?? paragraph
}

const pageOf = (here: Module, modules: ReadonlyArray<Module>): Page => {
  const sections = [...grouped(here.exports)]
  const contents = sections.map(([category, exports]) =>
    `- ${category}: ${exports.map(({ anchor, name }) => `[${name}](#${anchor})`).join(", ")}`
  )
  const details = here.exports.map(({ comment, declarations, name }) =>
    `## ${name}\n\n\`\`\`ts nocheck\n${declarations.join("\n\n")}\n\`\`\`\n\n${proseOf(comment, here, modules)}\n`
  )
  return {
    file: `docs/reference/api/${here.name}.md`,
    text: `# ${here.name}\n\n\`${here.specifier}\`\n\n${proseOf(here.comment, here, modules)}\n\n${
      contents.join("\n")
    }\n\n${details.join("\n")}`
  }
}

const indexOf = (modules: ReadonlyArray<Module>): Page => ({
  file: "docs/reference/api/README.md",
  text: `# API

Made by \`npm run docs:api\` from the comments of the sources. The package itself, \`${manifest.name}\`, exports the modules that
have an entry of their own as namespaces.

| module | import | what it is |
| --- | --- | --- |
${
    modules.map((module) =>
      `| [${module.name}](${module.name}.md) | \`${module.specifier}\` | ${
        linked(firstSentence(module.comment), module, modules).replaceAll("|", "\\|")
      } |`
    ).join("\n")
  }
`
})

const fmt = (text: string): string =>
  execFileSync("dprint", ["fmt", "--stdin", "page.md"], { cwd: root, encoding: "utf8", input: text })

/** As dprint leaves it: some of what it has formatted once it formats again. */
const formatted = ({ file, text }: Page): Page => ({ file, text: fmt(fmt(text)) })

/** All pages, formatted. */
export const pages = (): ReadonlyArray<Page> => {
  const directory = mkdtempSync(path.join(tmpdir(), "effect-milter-api-"))
  try {
    effectTsc([
      "-p",
      "tsconfig.build.json",
      "--emitDeclarationOnly",
      "--declarationMap",
      "false",
      "--outDir",
      directory
    ])
    const files = entries.filter((entry) => entry !== ".").map((entry) => {
      const target = manifest.exports[entry]
      const source = typeof target === "object" ? target["effect-milter-source"] ?? "" : ""
      const file = path.join(directory, path.relative("src", source)).replace(/\.ts$/, ".d.ts")
      if (!existsSync(file)) throw new Error(`${source} was not compiled`)
      return { specifier: path.posix.join(manifest.name, entry), file, source }
    })
    const program = programOf(files.map(({ file }) => file))
    const modules = files.flatMap(({ specifier, ...emitted }) => moduleOf(program, specifier, emitted))
    return [indexOf(modules), ...modules.map((module) => pageOf(module, modules))].map(formatted)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A page as it is, or undefined. */
export const current = (file: string): string | undefined => existsSync(path.join(root, file)) ? read(file) : undefined
