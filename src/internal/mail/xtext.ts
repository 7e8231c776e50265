/** Decodes xtext (RFC 3461): bytes as printable ASCII, with escapes such as `+2B` for all others. */
import { type ByteString, ofParts } from "../bytes/byteString.ts"

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
