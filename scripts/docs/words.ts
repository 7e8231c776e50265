/**
 * Phrases that make readers stumble, in the prose of pages and in the comments of code. A pattern belongs here if it has no
 * good use in this repository.
 */
import ts from "typescript-6"
import { type Problem, read } from "../repository.ts"

const phrases: ReadonlyArray<readonly [pattern: RegExp, instead: string]> = [
  [/(?<!\bthere )\b(?:is|are|was|were) none\b/i, "say what is invalid or missing"],
  [
    /(?<!\b(?:left|leaves?|leaving|stays?|too far|falls?) (?:\w+ )?)\bbehind\b(?! (?:a|the|another) (?:\w+ )?(?:proxy|NAT|firewall|MTA|Postfix))/i,
    "\"after\" for time and order, \"below\" or \"at the end of\" for place"
  ],
  [/\blistens there\b/i, "\"the address is in use\""],
  [/\b(?:is|are) (?:not )?to be had\b|\bcannot be had\b/i, "\"is not available\", \"cannot be read\""],
  [/\bwants? to be\b/i, "\"must be\""],
  [/\bshall\b/i, "\"must\", \"should\" or \"is to\""],
  [/\blest\b/i, "\"so that … not\""],
  [/\bwhomever\b/i, "name who it is"],
  [/\bof whom\b|\bwhom \w+ told\b/i, "name who it is"],
  [/\bstands? there\b/i, "\"is there\", \"has\""]
]

interface Line {
  readonly file: string
  readonly line: number
  readonly text: string
}

/** The lines of a page without its code. */
const proseOf = (file: string): ReadonlyArray<Line> => {
  let inCode = false
  return read(file).split("\n").flatMap((text, index) => {
    if (/^\s*`{3,}/.test(text)) inCode = !inCode
    return inCode ? [] : [{ file, line: index + 1, text: text.replaceAll(/`[^`]*`/g, "``") }]
  })
}

/** The lines of the comments of a source file, without code in backticks. */
const commentsOf = (file: string): ReadonlyArray<Line> => {
  const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.ESNext, true)
  const found = new Map<number, Line>()
  const visit = (node: ts.Node): void => {
    const ranges = [
      ...ts.getLeadingCommentRanges(source.text, node.getFullStart()) ?? [],
      ...ts.getTrailingCommentRanges(source.text, node.getEnd()) ?? []
    ]
    for (const { end, pos } of ranges) {
      const first = source.getLineAndCharacterOfPosition(pos).line
      for (const [index, text] of source.text.slice(pos, end).split("\n").entries()) {
        found.set(first + index, { file, line: first + index + 1, text: text.replaceAll(/`[^`]*`/g, "``") })
      }
    }
    for (const child of node.getChildren(source)) visit(child)
  }
  visit(source)
  return [...found.values()]
}

/** Where one of the phrases is used. A phrase that is broken between two lines is not found. */
export const checkWords = (files: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  files.flatMap((file) => file.endsWith(".md") ? proseOf(file) : commentsOf(file)).flatMap(({ file, line, text }) =>
    phrases.flatMap(([pattern, instead]) => {
      const found = pattern.exec(text)?.[0]
      return found === undefined ? [] : [{ file, line, message: `"${found}": rather ${instead}` }]
    })
  )
