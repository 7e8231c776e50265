/** Bytes of a named character set as text. */
import { ByteString } from "../bytes/byteString.ts"

/** Names of character sets in mail that the Encoding standard does not have. */
const aliases: { readonly [label: string]: string } = {
  cp932: "shift_jis",
  cp936: "gbk",
  cp949: "euc-kr",
  cp950: "big5",
  "latin-1": "latin1",
  "unknown-8bit": "utf-8",
  "x-unknown": "utf-8"
}

const utf7Labels = new Set(["utf-7", "utf7", "unicode-1-1-utf-7", "csunicode11utf7"])

// The number of names in the Encoding standard. No more decoders are kept.
const decoders = new Map<string, InstanceType<typeof TextDecoder>>()

const decoderOf = (label: string): InstanceType<typeof TextDecoder> | undefined => {
  const known = decoders.get(label)
  if (known !== undefined) return known
  try {
    const made = new TextDecoder(aliases[label] ?? label)
    decoders.set(label, made)
    return made
  } catch {
    return undefined
  }
}

/** Decodes bytes; `undefined` for an unknown character set. Invalid bytes become U+FFFD. */
export const decode = (bytes: ByteString, charset: string): string | undefined => {
  const label = charset.trim().toLowerCase()
  if (utf7Labels.has(label)) return decodeUtf7(bytes)
  // RFC 2781 4.3: without a mark the first byte is the higher one. In the Encoding standard it is the lower one.
  const byteOrdered = label === "utf-16" ? (bytes.startsWith("\xff\xfe") ? "utf-16le" : "utf-16be") : label
  return decoderOf(byteOrdered)?.decode(ByteString.toBytes(bytes))
}

const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** Decodes UTF-7 (RFC 2152), for which the platform has no decoder. */
const decodeUtf7 = (bytes: ByteString): string => {
  let text = ""
  for (let index = 0; index < bytes.length;) {
    if (bytes[index] !== "+") {
      text += bytes[index++]
      continue
    }
    index++
    if (bytes[index] === "-") {
      text += "+"
      index++
      continue
    }
    let bits = 0
    let count = 0
    for (; index < bytes.length; index++) {
      const digit = base64.indexOf(bytes[index]!)
      if (digit === -1) break
      bits = ((bits << 6) | digit) & 0xffffff
      count += 6
      if (count >= 16) {
        count -= 16
        text += String.fromCharCode((bits >> count) & 0xffff)
      }
    }
    if (bytes[index] === "-") index++
  }
  // Halves of characters.
  return text.replace(/\p{Cs}/gu, "\ufffd")
}
