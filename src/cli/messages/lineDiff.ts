/** Finds the differences between two lists of lines, as `diff -u` does. */

/** A line of both lists (`=`), of the first only (`-`) or of the second only (`+`). */
export interface Edit {
  readonly kind: "=" | "-" | "+"
  readonly line: string
}

// Pairs of lines compared at most: a table of 4 MB.
const most = 1_000_000

const keep = (line: string): Edit => ({ kind: "=", line })
const remove = (line: string): Edit => ({ kind: "-", line })
const insert = (line: string): Edit => ({ kind: "+", line })

/**
 * Finds the fewest edits from one list to the other; among adjacent edits removals come first. Very long parts that differ
 * are shown as replaced altogether.
 */
export const edits = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): ReadonlyArray<Edit> => {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let end = 0
  while (
    end < before.length - start && end < after.length - start &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  ) end++
  return [
    ...before.slice(0, start).map(keep),
    ...between(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(keep)
  ]
}

const between = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): ReadonlyArray<Edit> => {
  if (before.length * after.length > most) return [...before.map(remove), ...after.map(insert)]
  // common[i][j]: how many lines the rests from i and from j have in common, in order.
  const width = after.length + 1
  const common = new Uint32Array((before.length + 1) * width)
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] = before[i] === after[j]
        ? common[(i + 1) * width + j + 1]! + 1
        : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!)
    }
  }
  const found: Array<Edit> = []
  let i = 0
  let j = 0
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      found.push(keep(before[i]!))
      i++
      j++
    } else if (common[(i + 1) * width + j]! >= common[i * width + j + 1]!) {
      found.push(remove(before[i++]!))
    } else found.push(insert(after[j++]!))
  }
  return [...found, ...before.slice(i).map(remove), ...after.slice(j).map(insert)]
}

/** A run of edits with the lines around it; `at` is the line of the second list where it begins, from 1. */
export interface Hunk {
  readonly at: number
  readonly edits: ReadonlyArray<Edit>
}

/** Picks the changes, each with a number of unchanged lines around it. */
export const hunks = (edits: ReadonlyArray<Edit>, context: number): ReadonlyArray<Hunk> => {
  const isShown = new Uint8Array(edits.length)
  for (const [index, { kind }] of edits.entries()) {
    if (kind !== "=") isShown.fill(1, Math.max(0, index - context), index + context + 1)
  }
  const found: Array<{ readonly at: number; readonly edits: Array<Edit> }> = []
  let line = 1
  for (const [index, edit] of edits.entries()) {
    if (isShown[index] === 1) {
      if (isShown[index - 1] !== 1) found.push({ at: line, edits: [] })
      found[found.length - 1]!.edits.push(edit)
    }
    if (edit.kind !== "-") line++
  }
  return found
}
