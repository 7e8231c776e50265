/** Bytes of a named character set as text. */
import { ByteString } from "../../Wire.ts"

/** Names that mail uses and the Encoding standard does not know. */
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

// As many as the Encoding standard has names: others are not kept.
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

/** The text; `undefined` for a character set that is not known. Bytes that mean nothing become U+FFFD. */
export const decode = (bytes: ByteString, charset: string): string | undefined => {
  const label = charset.trim().toLowerCase()
  if (utf7Labels.has(label)) return decodeUtf7(bytes)
  // RFC 2781 4.3: without a mark the first byte is the higher one. The Encoding standard has it the other way round.
  const byteOrdered = label === "utf-16" ? (bytes.startsWith("\xff\xfe") ? "utf-16le" : "utf-16be") : label
  return decoderOf(byteOrdered)?.decode(ByteString.toBytes(bytes))
}

const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** RFC 2152. No decoder of the platform knows it. */
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
