/** Breaks long lines of help for the width of a terminal. Pure. */
import { displayWidth } from "effect/cli/CliOutput"

// A line of a table: the left column, and at least two spaces before the right one.
const leftColumn = /^ +(?:\S+ )*\S+ {2,}(?=\S)/

/** The sequences that colour text. */
const colours = /\u001b\[[0-9;]*m/g

/** Where the next lines of a broken line begin: at the right column of a table, or below the line itself. */
const indentationOf = (line: string, width: number): number => {
  const plain = line.replace(colours, "")
  const left = leftColumn.exec(plain)?.[0].length ?? 0
  return left > 0 && left <= width / 2 ? left : /^ */.exec(plain)![0].length + (left > 0 ? 4 : 0)
}

const wrapLine = (line: string, width: number): string => {
  if (displayWidth(line) <= width) return line
  const indentation = indentationOf(line, width)
  const lines: Array<string> = []
  let current = ""
  for (const part of line.match(/ *[^ ]+/g) ?? []) {
    if (current !== "" && displayWidth(current) + displayWidth(part) > width && current.trim() !== "") {
      lines.push(current)
      current = `${" ".repeat(indentation)}${part.trimStart()}`
    } else {
      current += part
    }
  }
  return [...lines, current].join("\n")
}

/** Breaks each line at spaces. A word that is longer than the width stays whole. */
export const wrap = (text: string, width: number): string =>
  text.split("\n").map((line) => wrapLine(line, width)).join("\n")

/** The width of the terminal; of what is no terminal, that of the variable COLUMNS or 100. */
export const terminalWidth = (): number => {
  const { columns } = process.stdout
  if (process.stdout.isTTY && columns > 0) return columns
  const variable = Number(process.env["COLUMNS"])
  return Number.isInteger(variable) && variable > 0 ? variable : 100
}
