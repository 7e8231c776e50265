/** The marks around a banner that is to be recognized: comments in HTML, lines in text. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../../InvalidValue.ts"

/** A mark in the decoded bytes of a part. */
export interface Mark {
  readonly id: string
  readonly kind: "begin" | "end"
  readonly start: number
  readonly end: number
  /** Equal for both marks of a pair: the quoting before the mark, or its depth in the HTML. */
  readonly depth: number
}

/** The field that says that a message has the banner. */
export const markField = "X-Milter-Marked"

const identifier = /^[A-Za-z0-9]+(?:[._][A-Za-z0-9]+|-[A-Za-z0-9]+)*$/

/** An identifier goes into a comment, a line and a field: letters, digits and single `.`, `_`, `-` between them. */
export const checkIdentifier = (id: string): Result.Result<string, InvalidValue> =>
  id.length <= 64 && identifier.test(id)
    ? Result.succeed(id)
    : Result.fail(
      new InvalidValue({
        what: "banner identifier",
        value: id,
        reason: "expected at most 64 letters and digits, with single dots, underscores or hyphens between them"
      })
    )

const begin = (id: string): string => `--- ${id} ---`
const end = (id: string): string => `--- /${id} ---`

/** The text with the lines that mark it. */
export const markText = (text: string, id: string): string => `${begin(id)}\r\n${text}\r\n${end(id)}`

export const markHtml = (html: string, id: string): string => `<!-- ${id} begin -->${html}<!-- ${id} end -->`

/** The content of a comment, without white space around. */
export const parseMark = (comment: string): { readonly id: string; readonly kind: Mark["kind"] } | undefined => {
  const [, id, kind] = /^(\S{1,64}) (begin|end)$/.exec(comment) ?? []
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is one of the two
  return id === undefined || !identifier.test(id) ? undefined : { id, kind: kind as Mark["kind"] }
}

/** A begin line anywhere in a text. */
export const textMark = /--- ([A-Za-z0-9._-]{1,64}) ---/g

const line = /^([>|\s]*)--- (\/?)([A-Za-z0-9._-]{1,64}) ---\s*$/

/** A line of a text, one character a byte; `start` is its offset. */
export const markOfLine = (text: string, start: number, length: number): Mark | undefined => {
  if (!text.includes("--- ")) return undefined
  const [, quoting, slash, id] = line.exec(text) ?? []
  if (id === undefined) return undefined
  return {
    id,
    kind: slash === "" ? "begin" : "end",
    start,
    end: start + length,
    depth: quoting!.replace(/[^>|]/g, "").length
  }
}

/** Most bytes between two marks of a pair. A mark whose other half was deleted must not take a letter with it. */
const mostBetween = 65_536

export interface Marked {
  readonly id: string
  readonly start: number
  readonly end: number
}

/** Finds the pairs. A begin mark without an end is skipped; of several begin marks in a row the last one counts. */
export const pairs = (marks: ReadonlyArray<Mark>): ReadonlyArray<Marked> => {
  const found: Array<Marked> = []
  const open = new Map<string, Mark>()
  for (const mark of marks) {
    if (mark.kind === "begin") {
      open.set(mark.id, mark)
      continue
    }
    const first = open.get(mark.id)
    open.delete(mark.id)
    const isPair = first !== undefined && first.depth === mark.depth && mark.start - first.end <= mostBetween &&
      first.start >= (found.at(-1)?.end ?? 0)
    if (isPair) found.push({ id: mark.id, start: first.start, end: mark.end })
  }
  return found
}
