/** xtext (RFC 3461): bytes as printable ASCII, with escapes such as `+2B` for all others. */
import { ofParts } from "../bytes/byteString.ts"
import { type ByteString, fromText } from "../bytes/byteString.ts"

const escape = /\+(?:([0-9A-Fa-f]{2})|)/g

/** Decodes the bytes; `undefined` if a `+` is not followed by two hexadecimal digits. */
export const decode = (value: ByteString): ByteString | undefined => {
  if (!value.includes("+")) return value
  let wellFormed = true
  const decoded = value.replace(escape, (_, hex: string | undefined) => {
    if (hex === undefined) {
      wellFormed = false
      return ""
    }
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
  // One byte in place of three.
  return wellFormed ? ofParts(decoded) : undefined
}

/**
 * Encodes a text as xtext (RFC 3461), the form of the parameters ENVID, ORCPT (after the type) and AUTH.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeXtext = (text: string): string =>
  fromText(text).replace(
    /[^!-*,-<>-~]/g,
    (byte) => `+${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
  )
