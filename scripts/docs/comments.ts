/**
 * Checks the comments of the sources. Every file begins with a comment that says what it is. Every export of a public
 * module has a comment with `@since` and `@category` (or is `@internal`), wherever it is declared; the comment of a function
 * begins with a verb in the present tense, and its sections are those of Effect.
 *
 * Reads the sources with TypeScript 6, whose compiler is a library; TypeScript 7 is only a program.
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

/** Functions, and constants that are one: an arrow function, or what `dual` and `Effect.fn…` return. */
const isFunction = (node: ts.Node): boolean => {
  if (ts.isFunctionDeclaration(node)) return true
  const value = ts.isVariableDeclaration(node) ? node.initializer : undefined
  if (value === undefined) return false
  return ts.isArrowFunction(value) || ts.isFunctionExpression(value) ||
    (ts.isCallExpression(value) &&
      /^(?:F\.|Function\.)?dual\b|^Effect\.fn(?:Untraced)?\b/.test(value.expression.getText()))
}

const notVerbs = new Set(["Always", "Less", "Plus", "This", "Unless"])

/** Whether a comment begins as "Returns the address" does. */
const beginsWithVerb = (comment: string): boolean => {
  const [first = ""] = /^[A-Z][a-z]+s(?= )/.exec(comment) ?? []
  return first !== "" && !notVerbs.has(first)
}

const sections = ["When to use", "Details", "Gotchas", "Example"]

const wordsOf = (node: ts.Node): ReadonlyArray<string> => {
  const docs = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)
  const texts = docs.map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "")
  const [first] = texts
  return [
    ...first !== undefined && isFunction(node) && !beginsWithVerb(first)
      ? ["should begin with a present-tense verb"]
      : [],
    ...docs.some(({ tags = [] }) => tags.some(({ tagName }) => tagName.text === "example"))
      ? ["should have a section **Example** instead of the tag @example"]
      : [],
    ...texts.flatMap((text) => [...text.matchAll(/^\*\*([^*]+)\*\*/gm)]).flatMap(([, name]) =>
      sections.includes(name!) ? [] : [`has a section ${name}, which is not one of ${sections.join(", ")}`]
    )
  ]
}

const wordingOf = (symbol: ts.Symbol, checker: ts.TypeChecker): ReadonlyArray<Problem> => {
  const declared = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  const nodes = (declared.declarations ?? []).filter((node) => !ts.isSourceFile(node))
  if (nodes.some((node) => ts.getJSDocTags(node).some(({ tagName }) => tagName.text === "internal"))) return []
  return nodes.flatMap((node) => {
    const source = node.getSourceFile()
    return wordsOf(node).map((message) => ({
      file: path.relative(root, source.fileName),
      line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1,
      message: `the comment of ${symbol.name} ${message}`
    }))
  })
}

const checkHeader = (file: string): ReadonlyArray<Problem> =>
  /^\/\*\*(?:(?!\*\/)[^])*@since \S/.test(read(file))
    ? []
    : [{ file, line: 1, message: "should begin with a comment about the module, with @since" }]

/** Files that do not begin with a comment. */
export const checkFirstLines = (files: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  files.filter((file) => !/^(?:#!.*\n)?\/\*\*/.test(read(file)))
    .map((file) => ({ file, line: 1, message: "should begin with a comment that says what the file is" }))

const exportsOf = (files: ReadonlyArray<string>) => {
  const program = programOf(files)
  const checker = program.getTypeChecker()
  const exports = files.flatMap((file) => {
    const source = program.getSourceFile(path.join(root, file))
    const module = source && checker.getSymbolAtLocation(source)
    return module === undefined ? [] : checker.getExportsOfModule(module)
  })
  // One that several modules export is checked once.
  return { checker, symbols: [...new Set(exports)] }
}

/** What the public modules do not document. */
export const checkComments = (files: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const { checker, symbols } = exportsOf(files)
  return [...files.flatMap(checkHeader), ...symbols.flatMap((symbol) => checkExport(symbol, checker))]
}

/** Comments of exports that are not worded like those of Effect. */
export const checkWording = (files: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const { checker, symbols } = exportsOf(files)
  return symbols.flatMap((symbol) => wordingOf(symbol, checker))
}
