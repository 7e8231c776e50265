/** The TCP segment in a captured packet: Ethernet, Linux "any", loopback or bare IP, versions 4 and 6. Pure. */
import type { CapturedPacket } from "./captureFile.ts"

export interface Segment {
  /** `192.0.2.1:25` or `[2001:db8::1]:25`. */
  readonly from: string
  readonly to: string
  readonly toPort: number
  readonly fromPort: number
  readonly sequence: number
  readonly isSyn: boolean
  readonly isAck: boolean
  readonly isFin: boolean
  readonly isReset: boolean
  readonly payload: Buffer
}

/** Where the IP header begins, after the header of the link; undefined for what is not IP. */
const ipOffset = ({ bytes, linkType }: CapturedPacket): number | undefined => {
  switch (linkType) {
    case 0: // BSD loopback: the address family
    case 108:
      return 4
    case 1: { // Ethernet, maybe with VLAN tags
      let at = 12
      while (at + 4 <= bytes.length && [0x8100, 0x88a8].includes(bytes.readUInt16BE(at))) at += 4
      return at + 2
    }
    case 12: // raw IP, as BSD numbers it
    case 14:
    case 101:
    case 228:
    case 229:
      return 0
    case 113: // Linux "any"
      return 16
    case 276:
      return 20
    default:
      return undefined
  }
}

const groups = (bytes: Buffer): string => {
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16))
  return words.join(":").replace(/\b0(?::0)+\b/, ":").replace(/^:$|^:(?=[^:])|(?<=[^:]):$/, "::").replace(/:{3,}/, "::")
}

interface Ip {
  readonly from: string
  readonly to: string
  readonly payload: Buffer
}

const ipv4 = (bytes: Buffer): Ip | undefined => {
  const header = (bytes[0]! & 0x0f) * 4
  // Later fragments have no TCP header.
  if (bytes.length < Math.max(20, header) || bytes[9] !== 6 || (bytes.readUInt16BE(6) & 0x1fff) !== 0) return undefined
  // 0 if the network card cuts the packet up.
  const total = bytes.readUInt16BE(2)
  return {
    from: bytes.subarray(12, 16).join("."),
    to: bytes.subarray(16, 20).join("."),
    payload: bytes.subarray(header, total === 0 ? bytes.length : total)
  }
}

const ipv6 = (bytes: Buffer): Ip | undefined => {
  if (bytes.length < 40) return undefined
  const length = bytes.readUInt16BE(4)
  let next = bytes[6]!
  let at = 40
  // Hop-by-hop options, routing, destination options.
  while ([0, 43, 60].includes(next) && at + 8 <= bytes.length) {
    next = bytes[at]!
    at += (bytes[at + 1]! + 1) * 8
  }
  if (next !== 6) return undefined
  return {
    from: `[${groups(bytes.subarray(8, 24))}]`,
    to: `[${groups(bytes.subarray(24, 40))}]`,
    payload: bytes.subarray(at, length === 0 ? bytes.length : 40 + length)
  }
}

/** The segment, or undefined for what is not TCP, or only the beginning of a header. */
export const segmentOf = (packet: CapturedPacket): Segment | undefined => {
  const offset = ipOffset(packet)
  if (offset === undefined || offset >= packet.bytes.length) return undefined
  const bytes = packet.bytes.subarray(offset)
  const version = bytes[0]! >> 4
  const ip = version === 4 ? ipv4(bytes) : version === 6 ? ipv6(bytes) : undefined
  if (ip === undefined || ip.payload.length < 20) return undefined
  const { from, payload: tcp, to } = ip
  const [fromPort, toPort] = [tcp.readUInt16BE(0), tcp.readUInt16BE(2)]
  const header = (tcp[12]! >> 4) * 4
  const flags = tcp[13]!
  return {
    from: `${from}:${fromPort}`,
    to: `${to}:${toPort}`,
    fromPort,
    toPort,
    sequence: tcp.readUInt32BE(4),
    isFin: (flags & 0x01) !== 0,
    isSyn: (flags & 0x02) !== 0,
    isReset: (flags & 0x04) !== 0,
    isAck: (flags & 0x10) !== 0,
    payload: tcp.subarray(header)
  }
}
