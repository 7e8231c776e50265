/** A bar on a terminal that shows how far a long run has come. */

const width = 30

/** `[=====     ] 50 %, 12 messages`. Pure. */
export const bar = (done: number, total: number, messages: number): string => {
  const share = total === 0 ? 1 : Math.min(1, done / total)
  const filled = Math.round(share * width)
  return `[${"=".repeat(filled)}${" ".repeat(width - filled)}] ${Math.floor(share * 100)} %, ${messages} ${
    messages === 1 ? "message" : "messages"
  }`
}

export interface ProgressBar {
  readonly show: (done: number, messages: number) => void
  /** Removes the bar, so that a line can be printed. */
  readonly clear: () => void
}

const clearLine = "\r\u001b[K"

/** A bar on standard error, or none if standard error is not a terminal. */
export const make = (total: number): ProgressBar => {
  if (!process.stderr.isTTY || process.env["TERM"] === "dumb") return { show: () => {}, clear: () => {} }
  let shown = 0
  let isVisible = false
  return {
    show: (done, messages) => {
      const now = performance.now()
      if (now - shown < 100) return
      shown = now
      isVisible = true
      process.stderr.write(`${clearLine}${bar(done, total, messages)}`)
    },
    clear: () => {
      if (isVisible) process.stderr.write(clearLine)
      isVisible = false
    }
  }
}
