/**
 * Converts bytes to strings with one character per byte, and back.
 *
 * `TextDecoder("latin1")` cannot be used: by the Encoding standard it is windows-1252, which differs from 0x80 to 0x9F.
 */

/** Two methods of the Buffers of Node and Bun, undocumented but in use since Node 0.x; they take any Uint8Array. */
interface Native {
  readonly latin1Slice: (this: Uint8Array, start: number, end: number) => string
  readonly latin1Write: (this: Uint8Array, text: string, offset: number, length: number) => number
}

const native: Native | undefined = (() => {
  const prototype: Partial<Native> | undefined = Reflect.get(globalThis, "Buffer")?.prototype
  const { latin1Slice, latin1Write } = prototype ?? {}
  if (typeof latin1Slice !== "function" || typeof latin1Write !== "function") return undefined
  // A replacement of Buffer may have these methods with windows-1252 as encoding.
  return latin1Slice.call(Uint8Array.of(0x80, 0xff), 0, 2) === "\u0080\u00ff" ? { latin1Slice, latin1Write } : undefined
})()

const fromCharCode = String.fromCharCode

// The arguments of one call are on the stack, whose size is limited.
const sliceSize = 4096

/** {@link slice} without native methods. */
export const sliceLong = (bytes: Uint8Array, start: number, end: number): string => {
  let text = ""
  for (let at = start; at < end; at += sliceSize) {
    text += fromCharCode.apply(
      undefined,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- apply takes any array-like; its type asks for an Array
      bytes.subarray(at, Math.min(end, at + sliceSize)) as unknown as Array<number>
    )
  }
  return text
}

/** The bytes from `start` up to, but not including, `end`, one character each. */
export const slice = (bytes: Uint8Array, start: number, end: number): string => {
  // Up to eight bytes one call of fromCharCode costs a third of the way into native code (measured: 25 to 95 ns), and
  // macro names, verbs and many header names are that short.
  switch (end - start) {
    case 0:
      return ""
    case 1:
      return fromCharCode(bytes[start]!)
    case 2:
      return fromCharCode(bytes[start]!, bytes[start + 1]!)
    case 3:
      return fromCharCode(bytes[start]!, bytes[start + 1]!, bytes[start + 2]!)
    case 4:
      return fromCharCode(bytes[start]!, bytes[start + 1]!, bytes[start + 2]!, bytes[start + 3]!)
    case 5:
      return fromCharCode(
        bytes[start]!,
        bytes[start + 1]!,
        bytes[start + 2]!,
        bytes[start + 3]!,
        bytes[start + 4]!
      )
    case 6:
      return fromCharCode(
        bytes[start]!,
        bytes[start + 1]!,
        bytes[start + 2]!,
        bytes[start + 3]!,
        bytes[start + 4]!,
        bytes[start + 5]!
      )
    case 7:
      return fromCharCode(
        bytes[start]!,
        bytes[start + 1]!,
        bytes[start + 2]!,
        bytes[start + 3]!,
        bytes[start + 4]!,
        bytes[start + 5]!,
        bytes[start + 6]!
      )
    case 8:
      return fromCharCode(
        bytes[start]!,
        bytes[start + 1]!,
        bytes[start + 2]!,
        bytes[start + 3]!,
        bytes[start + 4]!,
        bytes[start + 5]!,
        bytes[start + 6]!,
        bytes[start + 7]!
      )
  }
  return native === undefined ? sliceLong(bytes, start, end) : native.latin1Slice.call(bytes, start, end)
}

/** Writes each character of `text` as one byte; the caller provides the room. Returns the offset after the last byte. */
export const write = (bytes: Uint8Array, text: string, offset: number): number => {
  const length = text.length
  // Below some 32 characters the loop beats the call into native code.
  if (length > 32 && native !== undefined) return offset + native.latin1Write.call(bytes, text, offset, length)
  for (let index = 0; index < length; index++) bytes[offset + index] = text.charCodeAt(index)
  return offset + length
}
