/**
 * Checks that each public module begins with a comment, and that each of its exports has one with `@since` and
 * `@category` (or is `@internal`), wherever it is declared. Reads the sources with TypeScript 6, whose compiler is a
 * library; TypeScript 7 is only a program.
 */
import * as path from "node:path"
import ts from "typescript-6"
import { type Problem, read, root } from "../repository.ts"

/** A program of the sources alone: comments are found without the dependencies, which take long to read. */
const programOf = (files: ReadonlyArray<string>): ts.Program => {
  const options: ts.CompilerOptions = {
    allowImportingTsExtensions: true,
    module: ts.ModuleKind.NodeNext,
    noLib: true,
    target: ts.ScriptTarget.ESNext,
    types: []
  }
  const host = ts.createCompilerHost(options)
  host.resolveModuleNameLiterals = (literals, importer) =>
    literals.map(({ text }) => ({
      resolvedModule: text.startsWith(".")
        ? { resolvedFileName: path.resolve(path.dirname(importer), text), extension: ts.Extension.Ts }
        : undefined
    }))
  return ts.createProgram(files.map((file) => path.join(root, file)), options, host)
}

const lacks = (node: ts.Node): ReadonlyArray<string> => {
  const tags = new Set(ts.getJSDocTags(node).map((tag) => tag.tagName.text))
  return tags.has("internal") ? [] : ["since", "category"].filter((tag) => !tags.has(tag))
}

/** Overloads share one comment; so does a namespace with what it is merged with. */
const sharesComment = (node: ts.Node): boolean => ts.isFunctionDeclaration(node) || ts.isModuleDeclaration(node)

const checkExport = (symbol: ts.Symbol, checker: ts.TypeChecker): ReadonlyArray<Problem> => {
  // `export { a as b }` may carry the comment itself.
  if (symbol.declarations?.some((node) => ts.isExportSpecifier(node) && lacks(node).length === 0)) return []
  const declared = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  const nodes = (declared.declarations ?? []).filter((node) => !ts.isSourceFile(node))
  const documented = nodes.some((node) => lacks(node).length === 0)
  return nodes.flatMap((node) => {
    const missing = lacks(node)
    if (missing.length === 0 || (documented && sharesComment(node))) return []
    const source = node.getSourceFile()
    return [{
      file: path.relative(root, source.fileName),
      line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1,
      message: `the comment of ${symbol.name} lacks ${missing.map((tag) => `@${tag}`).join(" and ")}`
    }]
  })
}

const checkHeader = (file: string): ReadonlyArray<Problem> =>
  /^\/\*\*(?:(?!\*\/)[^])*@since \S/.test(read(file))
    ? []
    : [{ file, line: 1, message: "should begin with a comment about the module, with @since" }]

/** What is not documented in the modules. */
export const checkComments = (files: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const program = programOf(files)
  const checker = program.getTypeChecker()
  const exports = files.flatMap((file) => {
    const source = program.getSourceFile(path.join(root, file))
    const module = source && checker.getSymbolAtLocation(source)
    return module === undefined ? [] : checker.getExportsOfModule(module)
  })
  // One that several modules export is checked once.
  return [...files.flatMap(checkHeader), ...[...new Set(exports)].flatMap((symbol) => checkExport(symbol, checker))]
}
