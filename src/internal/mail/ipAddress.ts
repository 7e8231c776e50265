/** An IPv4 or IPv6 address as four signed 32-bit words; IPv4 in the form of RFC 4291 2.5.5.2 (`::ffff:192.0.2.1`). */
export interface Ip {
  readonly v4: boolean
  readonly words: readonly [number, number, number, number]
}

const mapped = 0xffff

const dot = 0x2e
const zero = 0x30

/** Four decimal octets without leading zeros, which some resolvers take for octal, as a signed word. */
const quad = (text: string): number | undefined => {
  let word = 0
  let octet = 0
  let digits = 0
  let dots = 0
  // One step beyond the end, where a dot ends the last octet.
  for (let index = 0; index <= text.length; index++) {
    const code = index === text.length ? dot : text.charCodeAt(index)
    if (code === dot) {
      if (digits === 0 || octet > 255 || dots === 4) return undefined
      word = (word << 8) | octet
      octet = digits = 0
      dots++
    } else {
      const digit = code - zero
      if (digit < 0 || digit > 9 || digits === 3 || (digits > 0 && octet === 0)) return undefined
      octet = octet * 10 + digit
      digits++
    }
  }
  return dots === 4 ? word : undefined
}

/** The 16-bit groups of one side of `::`; undefined if one is malformed. */
const groups = (text: string, withQuad: boolean): Array<number> | undefined => {
  if (text === "") return []
  const found: Array<number> = []
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    if (withQuad && index === parts.length - 1 && part.includes(".")) {
      const word = quad(part)
      if (word === undefined) return undefined
      found.push(word >>> 16, word & 0xffff)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) found.push(Number.parseInt(part, 16))
    else return undefined
  }
  return found
}

/** Parses an address; an IPv4-mapped IPv6 address becomes its IPv4 address. */
export const parse = (text: string): Ip | undefined => {
  if (text.length > 45) return undefined
  if (!text.includes(":")) {
    const word = quad(text)
    return word === undefined ? undefined : { v4: true, words: [0, 0, mapped, word] }
  }
  const gap = text.indexOf("::")
  const head = groups(gap === -1 ? text : text.slice(0, gap), gap === -1)
  const tail = gap === -1 ? [] : groups(text.slice(gap + 2), true)
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (gap === -1 ? missing !== 0 : missing < 1) return undefined
  const all = [...head, ...Array.from({ length: missing }, () => 0), ...tail]
  const word = (index: number): number => (all[index]! << 16) | all[index + 1]!
  const words = [word(0), word(2), word(4), word(6)] as const
  return { v4: words[0] === 0 && words[1] === 0 && words[2] === mapped, words }
}

/** Dotted quad, or RFC 5952: lower case, no leading zeros, the first longest run of zero groups as `::`. */
export const format = ({ v4, words }: Ip): string => {
  if (v4) {
    const word = words[3]
    return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`
  }
  const all = words.flatMap((word) => [word >>> 16, word & 0xffff])
  let start = 0
  let length = 1
  for (let from = 0; from < 8; from++) {
    let to = from
    while (to < 8 && all[to] === 0) to++
    if (to - from > length) {
      start = from
      length = to - from
    }
  }
  const hex = (part: ReadonlyArray<number>): string => part.map((group) => group.toString(16)).join(":")
  return length === 1 ? hex(all) : `${hex(all.slice(0, start))}::${hex(all.slice(start + length))}`
}

/** The bits of word `index` that belong to the first `prefix` of the 128 bits. */
const mask = (prefix: number, index: number): number => {
  const bits = prefix - 32 * index
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits)
}

/** The same address with all bits after the first `prefix` of the 128 set to zero. */
export const truncate = (ip: Ip, prefix: number): Ip => ({
  v4: ip.v4 && prefix >= 96,
  words: [
    ip.words[0] & mask(prefix, 0),
    ip.words[1] & mask(prefix, 1),
    ip.words[2] & mask(prefix, 2),
    ip.words[3] & mask(prefix, 3)
  ]
})

/** Whether the first `prefix` of the 128 bits are the same. */
export const contains = (network: Ip, prefix: number, ip: Ip): boolean =>
  network.v4 === ip.v4 && ((network.words[3] ^ ip.words[3]) & mask(prefix, 3)) === 0 &&
  ((network.words[2] ^ ip.words[2]) & mask(prefix, 2)) === 0 &&
  ((network.words[1] ^ ip.words[1]) & mask(prefix, 1)) === 0 &&
  ((network.words[0] ^ ip.words[0]) & mask(prefix, 0)) === 0
