/** Steps one after the other, each of which may end at once or later. */

/** Runs `step` with 0, 1, … up to `count`, each after the one before it has called back; then `end`. */
export const inTurn = (count: number, step: (index: number, next: () => void) => void, end: () => void): void => {
  if (count === 1) return step(0, end)
  let index = 0
  let inside = false
  let goesOn = false
  // A loop where steps end at once: thousands of them must not fill the stack.
  const next = (): void => {
    goesOn = true
    if (inside) return
    inside = true
    while (goesOn) {
      goesOn = false
      if (index === count) {
        inside = false
        return end()
      }
      step(index++, next)
    }
    inside = false
  }
  next()
}
