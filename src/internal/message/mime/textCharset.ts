/** Converts text to the bytes of a charset, and back. */
import type { IconvLite } from "./peers.ts"

// The label of ASCII is windows-1252 to TextDecoder, which has no other name for it.
const asciiLabels = /^(?:us-ascii|ascii|ansi_x3\.4-1968|iso646-us|us|)$/i

/** Without a label a part is in US-ASCII (RFC 2046 4.1.2). */
export const isAscii = (label: string): boolean => asciiLabels.test(label)

/** Undefined for a charset that the runtime does not know. */
export const decoderOf = (
  label: string,
  options?: ConstructorParameters<typeof TextDecoder>[1]
): InstanceType<typeof TextDecoder> | undefined => {
  try {
    return new TextDecoder(isAscii(label) ? "us-ascii" : label.trim(), { ignoreBOM: true, ...options })
  } catch {
    return undefined
  }
}

/**
 * True if ASCII bytes in it always stand for ASCII characters, so that the position of a tag in the bytes is that in the text.
 * In the two-byte charsets of Windows and Unix second bytes begin at 0x40: a `<` is never half of a character.
 */
export const isAsciiCompatible = (label: string): boolean => {
  if (isAscii(label)) return true
  const encoding = decoderOf(label)?.encoding
  return encoding !== undefined && !/^(?:utf-16|utf-32|utf-7|iso-2022|hz-|replacement|x-user-defined)/.test(encoding)
}

/** Its bytes switch between ASCII and others by escape sequences. */
export const isIso2022 = (label: string): boolean => decoderOf(label)?.encoding === "iso-2022-jp"

const onlyAscii = /^[\0-\x7f]*$/

/** The text in a charset; undefined if that has not all of its characters, or is not known for writing. */
export const encodeText = (text: string, label: string, iconv: IconvLite): Uint8Array | undefined => {
  const isCompatible = isAsciiCompatible(label) || isIso2022(label)
  if (isCompatible && onlyAscii.test(text)) return new TextEncoder().encode(text)
  if (isAscii(label)) return undefined
  const decoder = decoderOf(label, { fatal: true })
  if (decoder === undefined) return undefined
  if (decoder.encoding === "utf-8") return new TextEncoder().encode(text)
  if (!isCompatible || !iconv.encodingExists(label)) return undefined
  const bytes = iconv.encode(text, label)
  try {
    // What a charset does not have is written as a question mark.
    return decoder.decode(bytes) === text ? bytes : undefined
  } catch {
    return undefined
  }
}

/** Writes characters outside ASCII as numeric references, which HTML has in any charset. */
export const asReferences = (html: string): string =>
  html.replace(/[^\0-\x7f]/gu, (character) => `&#${character.codePointAt(0)};`)
