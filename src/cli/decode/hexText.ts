/** Bytes written as hexadecimal digits, in the ways of logs and of the programs xxd, hexdump and strace. Pure. */
import * as Result from "effect/Result"

// xxd: `00000010: 0000 000d 4f00  ....O.`; hexdump -C and od: `00000010  00 00 00 0d 4f  |....O|`
const offset = /^\s*(?:[0-9a-fA-F]{4,16}:\s|[0-9a-fA-F]{6,16}\s{2,}(?=[0-9a-fA-F]{2}(?:\s|$)))/

/** The digits of a line, without offset, text column, and what stands between them. */
const digitsOf = (line: string): string => {
  const hasOffset = offset.exec(line)?.[0]
  const rest = hasOffset === undefined ? line : line.slice(hasOffset.length)
  const bar = rest.indexOf("|")
  const column = bar !== -1 ? bar : hasOffset?.includes(":") === true ? rest.indexOf("  ") : -1
  return (column === -1 ? rest : rest.slice(0, column)).replace(/\\x|0x|[\s:,;"']/g, "")
}

/** The bytes, or the number of the first line that is not hexadecimal. */
export const parse = (text: string): Result.Result<Buffer, number> => {
  const parts: Array<Buffer> = []
  for (const [index, line] of text.split("\n").entries()) {
    // The last line of hexdump -C is an offset alone.
    if (/^\s*[0-9a-f]{7,8}\s*$/.test(line) && index > 0 && parts.length > 0 && line.trim().startsWith("0000")) continue
    const digits = digitsOf(line)
    if (!/^(?:[0-9a-fA-F]{2})*$/.test(digits)) return Result.fail(index + 1)
    parts.push(Buffer.from(digits, "hex"))
  }
  return Result.succeed(Buffer.concat(parts))
}
