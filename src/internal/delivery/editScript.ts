/** Finds the fewest edits that turn one list into another. */

/** Two lists by position. `changeable`: the item at `left` can be changed into the item at `right`, as one edit. */
export interface Lists {
  readonly left: number
  readonly right: number
  readonly equal: (left: number, right: number) => boolean
  readonly changeable: (left: number, right: number) => boolean
}

/** The value for "no item" in the result of {@link align}. */
export const noIndex = -1

// Up to this many edits the result is the smallest. Above, it is a good one, found in less than quadratic time.
const mostEdits = 256

/**
 * Returns, for each position on the right, the position on the left of the same or changed item, or {@link none} for a new
 * item. Positions on the left that are not in the result are deleted. Deleting, inserting and changing cost the same.
 *
 * This is the search along diagonals of Ukkonen (1985) and Myers (1986): its time grows with the length of the lists times the
 * number of edits, so long lists with few edits are cheap.
 */
export const align = (lists: Lists): Int32Array => {
  const origins = new Int32Array(lists.right).fill(noIndex)
  for (let left = 0, right = 0; left < lists.left || right < lists.right;) {
    ;[left, right] = advance(lists, left, right, origins)
  }
  return origins
}

/** Continues from a pair of positions to the ends of both lists, or as far as the number of edits allows. */
const advance = (
  lists: Lists,
  left: number,
  right: number,
  origins: Int32Array
): readonly [left: number, right: number] => {
  const lefts = lists.left - left
  const rights = lists.right - right
  const slide = (at: number, diagonal: number): number => {
    let end = at
    while (end < lefts && end + diagonal < rights && lists.equal(left + end, right + end + diagonal)) end++
    return end
  }
  // For each number of edits and each diagonal (right minus left), how far on the left one gets.
  const reached: Array<Int32Array> = []
  const at = (edits: number, diagonal: number): number =>
    edits < 0 || Math.abs(diagonal) > edits ? noIndex : reached[edits]![diagonal + edits]!
  /** The end of the edit that gets farthest on the diagonal, and the diagonal from which it comes. */
  const step = (edits: number, diagonal: number): readonly [end: number, from: number] => {
    const before = at(edits - 1, diagonal)
    let end = before
    let from = diagonal
    const consider = (candidate: number, origin: number): void => {
      if (candidate > end && candidate <= lefts && candidate + diagonal <= rights) {
        end = candidate
        from = origin
      }
    }
    const canChange = before !== noIndex && before < lefts && before + diagonal < rights &&
      lists.changeable(left + before, right + before + diagonal)
    if (canChange) consider(before + 1, diagonal)
    const deleted = at(edits - 1, diagonal + 1)
    if (deleted !== noIndex) consider(deleted + 1, diagonal + 1)
    consider(at(edits - 1, diagonal - 1), diagonal - 1)
    return [end, from]
  }
  const goal = rights - lefts
  let edits = 0
  reached.push(Int32Array.of(slide(0, 0)))
  while (at(edits, goal) < lefts && edits < mostEdits) {
    edits++
    const next = new Int32Array(2 * edits + 1).fill(noIndex)
    reached.push(next)
    const lowest = Math.max(-edits, -lefts)
    const highest = Math.min(edits, rights)
    for (let diagonal = lowest; diagonal <= highest; diagonal++) {
      const [end] = step(edits, diagonal)
      if (end !== noIndex) next[diagonal + edits] = slide(end, diagonal)
    }
  }
  let diagonal = at(edits, goal) === lefts ? goal : farthest(reached[edits]!, edits)
  const end: readonly [number, number] = [left + at(edits, diagonal), right + at(edits, diagonal) + diagonal]
  for (; edits >= 0; edits--) {
    const [start, from] = edits === 0 ? [0, 0] as const : step(edits, diagonal)
    for (let index = at(edits, diagonal) - 1; index >= start; index--) origins[right + index + diagonal] = left + index
    const before = at(edits - 1, diagonal)
    if (edits > 0 && from === diagonal && start > before) origins[right + before + diagonal] = left + before
    diagonal = from
  }
  return end
}

/** The diagonal on which the search has got through most of both lists. */
const farthest = (reached: Int32Array, edits: number): number => {
  let best = 0
  let most = -1
  for (let index = 0; index < reached.length; index++) {
    const end = reached[index]!
    if (end !== noIndex && 2 * end + index - edits > most) {
      most = 2 * end + index - edits
      best = index - edits
    }
  }
  return best
}
