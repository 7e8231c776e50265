/**
 * Takes a mailbox file apart, message by message. A message begins at a line `From sender date` at the beginning of the file
 * or after an empty line; in its body, `>From ` stands for `From ` (mboxrd, and mboxo where it can be told). Pure.
 */

const newline = 0x0a
const from = Buffer.from("From ")

const startsWith = (line: Buffer, text: Buffer): boolean =>
  line.length >= text.length && line.compare(text, 0, text.length, 0, text.length) === 0

const isEmpty = (line: Buffer): boolean => line.length === 1 || (line.length === 2 && line[0] === 0x0d)

/** A line `From alice@example.org Mon Jan  5 10:00:00 2026`: a paragraph of prose may begin with `From ` as well. */
const isSeparator = (line: Buffer): boolean =>
  startsWith(line, from) && line.length < 1000 && /[0-9]:[0-9]{2}/.test(line.toString("latin1"))

/** Whether a file that begins with these bytes is a mailbox. */
export const isMbox = (start: Buffer): boolean => {
  const end = start.indexOf(newline)
  return end !== -1 && isSeparator(start.subarray(0, end + 1))
}

/** `>>From ` is `>From `. */
const unquoted = (line: Buffer): Buffer => {
  let at = 0
  while (line[at] === 0x3e) at++
  return at > 0 && startsWith(line.subarray(at), from) ? line.subarray(1) : line
}

/** The lines of a file, each with its line end. */
function* linesOf(chunks: Iterable<Buffer>): Generator<Buffer> {
  let rest: Array<Buffer> = []
  for (const chunk of chunks) {
    let at = 0
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, at)) {
      const part = chunk.subarray(at, end + 1)
      yield rest.length === 0 ? part : Buffer.concat([...rest, part])
      rest = []
      at = end + 1
    }
    // Copied: the reader may use its buffer again.
    if (at < chunk.length) rest.push(Buffer.from(chunk.subarray(at)))
  }
  if (rest.length > 0) yield Buffer.concat(rest)
}

/** The messages of a mailbox, without their `From ` lines. */
export function* messages(chunks: Iterable<Buffer>): Generator<Buffer> {
  let lines: Array<Buffer> | undefined
  let isAfterEmpty = true
  for (const line of linesOf(chunks)) {
    if (isAfterEmpty && isSeparator(line)) {
      if (lines !== undefined) yield Buffer.concat(lines.slice(0, -1)) // the empty line is not part of the message
      lines = []
      isAfterEmpty = false
    } else {
      lines?.push(Buffer.from(unquoted(line)))
      isAfterEmpty = isEmpty(line)
    }
  }
  if (lines !== undefined) yield Buffer.concat(isAfterEmpty ? lines.slice(0, -1) : lines)
}
