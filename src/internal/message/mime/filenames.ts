/** The names of a part as senders write them: RFC 2231, RFC 2047 in quotes, raw bytes. */
import * as byteString from "../../bytes/byteString.ts"
import type { ByteString } from "../../bytes/byteString.ts"
import { decode } from "../../mail/encodedWord.ts"
import type { Parameter, Structured } from "./partHeader.ts"
import { decoderOf } from "./textCharset.ts"

/**
 * All names that a mail reader might show, the most likely first: `filename` of Content-Disposition, then `name` of
 * Content-Type; of each the form of RFC 2231 before the plain one.
 */
export const filenamesOf = (
  disposition: Structured | undefined,
  type: Structured
): ReadonlyArray<string> => {
  const names = [...namesOf(disposition, "filename"), ...namesOf(type, "name")].filter((name) => name !== "")
  return [...new Set(names)]
}

const namesOf = (field: Structured | undefined, name: string): ReadonlyArray<string> => {
  const all = field?.parameters.filter((one) => one.name === name) ?? []
  const sections = all.filter(({ encoded, section }) => encoded || section !== undefined)
  const plain = all.filter(({ encoded, section }) => !encoded && section === undefined)
  return [
    ...(sections.length === 0 ? [] : [continued(sections)]),
    // Encoded words do not belong here (RFC 2047 5) but many senders write them, and readers decode them.
    ...plain.map(({ value }) =>
      value.includes("=?") ? decode(byteString.ofParts(value)) : textOf(byteString.ofParts(value))
    )
  ]
}

/** The sections in order, up to the first gap, percent signs undone in those with a star. */
const continued = (sections: ReadonlyArray<Parameter>): string => {
  const ordered = sections.toSorted((left, right) => (left.section ?? 0) - (right.section ?? 0))
  let charset = ""
  let bytes = ""
  let next = 0
  for (const { encoded, section = 0, value } of ordered) {
    // A name given twice: the first one counts.
    if (section !== next) {
      if (section < next) continue
      break
    }
    next++
    let rest = value
    if (section === 0 && encoded) {
      const [, label, content] = /^([^']*)'[^']*'([^]*)$/.exec(value) ?? []
      charset = label ?? ""
      rest = content ?? value
    }
    bytes += encoded ? percentDecoded(rest) : rest
  }
  const decoder = charset === "" ? undefined : decoderOf(charset)
  return decoder === undefined
    ? textOf(byteString.ofParts(bytes))
    : decoder.decode(byteString.toBytes(byteString.ofParts(bytes)))
}

const percentDecoded = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

const percentEncoded = (character: string): string =>
  // A surrogate without its other half cannot be encoded.
  encodeURIComponent(/^\p{Cs}$/u.test(character) ? "\ufffd" : character)
    .replace(/['()*!~]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)

/** Bytes outside ASCII are UTF-8, and if they are not, Latin-1. */
const textOf = (bytes: ByteString): string => byteString.isUtf8(bytes) ? byteString.toText(bytes) : bytes

/** Most characters in a line of a parameter. */
const sectionLength = 60

/** A filename as a parameter, on folded lines. If it needs RFC 2231, a plain one in ASCII is added for old readers. */
export const filenameParameter = (name: string): string => {
  const isPlain = /^[ -~]*$/.test(name)
  const ascii = `filename="${(isPlain ? name : name.replace(/[^ -~]/gu, "_")).replace(/["\\]/g, "\\$&")}"`
  if (isPlain && name.length <= sectionLength) return `;\n ${ascii}`
  const sections: Array<string> = [""]
  for (const character of name) {
    const text = /^[A-Za-z0-9._-]$/.test(character) ? character : percentEncoded(character)
    if (sections.at(-1)!.length + text.length > sectionLength) sections.push("")
    sections[sections.length - 1] += text
  }
  const encoded = sections.length === 1
    ? [`filename*=UTF-8''${sections[0]}`]
    : sections.map((section, index) => `filename*${index}*=${index === 0 ? "UTF-8''" : ""}${section}`)
  // The plain form of a long name would be a long line.
  const parameters = name.length > 200 ? encoded : [ascii, ...encoded]
  return parameters.map((parameter) => `;\n ${parameter}`).join("")
}
