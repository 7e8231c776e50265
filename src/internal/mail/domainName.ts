/**
 * Internationalised domain names (IDNA, UTS 46).
 *
 * `URL` converts to ASCII: every runtime has it and keeps it up to date with Unicode, while the functions of node:url exist on
 * Node only. No web standard converts from ASCII, so punycode (RFC 3492) is decoded here, and `URL` converts the result back to
 * check that IDNA would have made it.
 */

const outsideAscii = /[^\0-\x7f]/

/** Characters that a URL parser would not read as a part of the name, percent signs above all. */
const notOfName = /[\0-,/:-@[-^`{-\x7f]/

/**
 * The name in ASCII (`xn--...`), lower case. ASCII stays as it is; `undefined` for a name that IDNA does not allow, or
 * maps to something that is not a name.
 */
export const toAscii = (domain: string): string | undefined => {
  if (!outsideAscii.test(domain)) return domain
  const url = `http://${domain}`
  if (notOfName.test(domain) || !URL.canParse(url)) return undefined
  const { hostname } = new URL(url)
  // Digits outside ASCII would become an IPv4 address.
  return /^[a-z0-9._-]+$/.test(hostname) && !/(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/.test(hostname)
    ? hostname.replace(/\.$/, "")
    : undefined
}

const label = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
const dnsName = new RegExp(`^${label}(?:\\.${label})*$`)

/** The name in lower case and ASCII, without a final dot; `undefined` if it cannot be in DNS. */
export const asciiDomain = (domain: string): string | undefined => {
  const ascii = toAscii(domain)?.toLowerCase().replace(/\.$/, "")
  return ascii !== undefined && ascii.length <= 253 && dnsName.test(ascii) ? ascii : undefined
}

/** The name as people write it: labels that IDNA has encoded are decoded, others stay. For display, not to compare. */
export const toUnicode = (domain: string): string => {
  const ascii = toAscii(domain)
  if (ascii?.includes("xn--") !== true) return ascii ?? domain
  return ascii.split(".").map((label) => {
    const decoded = label.startsWith("xn--") ? decodePunycode(label.slice(4)) : undefined
    return decoded !== undefined && outsideAscii.test(decoded) && toAscii(decoded) === label ? decoded : label
  }).join(".")
}

// RFC 3492 section 5.
const base = 36
const tMin = 1
const tMax = 26

const adapt = (delta: number, length: number, first: boolean): number => {
  let rest = first ? Math.floor(delta / 700) : delta >> 1
  rest += Math.floor(rest / length)
  let k = 0
  for (; rest > ((base - tMin) * tMax) >> 1; k += base) rest = Math.floor(rest / (base - tMin))
  return k + Math.floor(((base - tMin + 1) * rest) / (rest + 38))
}

const digitOf = (code: number): number =>
  code >= 0x30 && code <= 0x39 ? code - 0x30 + 26 : code >= 0x61 && code <= 0x7a ? code - 0x61 : base

// A label has 63 characters at most.
const longest = 63

const decodePunycode = (text: string): string | undefined => {
  if (text.length > longest) return undefined
  const end = text.lastIndexOf("-")
  const output = Array.from(end > 0 ? text.slice(0, end) : "", (character) => character.codePointAt(0)!)
  let n = 0x80
  let i = 0
  let bias = 72
  for (let at = end > 0 ? end + 1 : 0; at < text.length;) {
    const before = i
    for (let weight = 1, k = base;; k += base) {
      const digit = at < text.length ? digitOf(text.charCodeAt(at++)) : base
      if (digit === base) return undefined
      i += digit * weight
      const t = k <= bias ? tMin : k >= bias + tMax ? tMax : k - bias
      if (digit < t) break
      weight *= base - t
      if (weight > 0x7fffffff || i > 0x7fffffff) return undefined
    }
    bias = adapt(i - before, output.length + 1, before === 0)
    n += Math.floor(i / (output.length + 1))
    if (n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff)) return undefined
    i %= output.length + 1
    output.splice(i++, 0, n)
  }
  return String.fromCodePoint(...output)
}
