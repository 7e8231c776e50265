/**
 * Reads the packets of a capture file as tcpdump and Wireshark write it: pcap (draft-ietf-opsawg-pcap) and pcapng
 * (draft-ietf-opsawg-pcapng). Pure.
 */
import * as Result from "effect/Result"

/** A packet as it was on the wire, with the headers of its link. */
export interface CapturedPacket {
  readonly linkType: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly bytes: Buffer
  /** Whether the capture holds only its beginning. */
  readonly isCut: boolean
}

/** Why a file is not a capture, or where it is damaged. */
export interface CaptureError {
  readonly reason: string
}

type Packets = Generator<Result.Result<CapturedPacket, CaptureError>>

// Far above any link; a damaged length must not ask for gigabytes.
const mostBytes = 16 * 1024 * 1024

/** Takes bytes off the front of a file that is read piece by piece. */
class Source {
  private readonly chunks: Iterator<Buffer>
  private rest: Buffer = Buffer.alloc(0)

  constructor(chunks: Iterable<Buffer>) {
    this.chunks = chunks[Symbol.iterator]()
  }

  /** A copy of the next bytes; fewer at the end of the file. */
  take(length: number): Buffer {
    const parts: Array<Buffer> = []
    let missing = length
    while (missing > 0) {
      if (this.rest.length === 0) {
        const next = this.chunks.next()
        if (next.done === true) break
        this.rest = next.value
        continue
      }
      const part = this.rest.subarray(0, missing)
      parts.push(part)
      this.rest = this.rest.subarray(part.length)
      missing -= part.length
    }
    return Buffer.concat(parts)
  }
}

const failure = (reason: string): Result.Result<never, CaptureError> => Result.fail({ reason })

const cutShort = failure("the file ends in the middle of a packet")

/** Whether a file that begins with these bytes is a capture. */
export const isCapture = (start: Buffer): boolean =>
  start.length >= 4 && (pcapMagic.has(start.readUInt32BE(0)) || start.readUInt32BE(0) === sectionHeader)

export function* packets(chunks: Iterable<Buffer>): Packets {
  const source = new Source(chunks)
  const magic = source.take(4)
  if (magic.length < 4) return yield failure("the file is too short for a capture")
  const number = magic.readUInt32BE(0)
  if (number === sectionHeader) return yield* pcapng(source)
  const kind = pcapMagic.get(number)
  if (kind === undefined) return yield failure("it does not begin as a pcap or pcapng file does")
  return yield* pcap(source, kind)
}

// --- pcap

interface PcapKind {
  readonly little: boolean
  /** The parts of a second in a time stamp. */
  readonly parts: number
}

const pcapMagic: ReadonlyMap<number, PcapKind> = new Map([
  [0xa1b2c3d4, { little: false, parts: 1e6 }],
  [0xd4c3b2a1, { little: true, parts: 1e6 }],
  [0xa1b23c4d, { little: false, parts: 1e9 }],
  [0x4d3cb2a1, { little: true, parts: 1e9 }]
])

const u32 = (bytes: Buffer, at: number, little: boolean): number =>
  little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)

const u16 = (bytes: Buffer, at: number, little: boolean): number =>
  little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)

function* pcap(source: Source, { little, parts }: PcapKind): Packets {
  const header = source.take(20)
  if (header.length < 20) return yield cutShort
  // The upper bits say whether frames have a checksum.
  const linkType = u32(header, 16, little) & 0x0fffffff
  for (;;) {
    const record = source.take(16)
    if (record.length === 0) return
    if (record.length < 16) return yield cutShort
    const length = u32(record, 8, little)
    if (length > mostBytes) return yield failure(`a packet of ${length} bytes: the file is damaged`)
    const bytes = source.take(length)
    if (bytes.length < length) return yield cutShort
    const time = u32(record, 0, little) * 1000 + u32(record, 4, little) * 1000 / parts
    yield Result.succeed({ linkType, time, bytes, isCut: u32(record, 12, little) > length })
  }
}

// --- pcapng

const sectionHeader = 0x0a0d0d0a
const byteOrderMagic = 0x1a2b3c4d

interface Interface {
  readonly linkType: number
  readonly parts: number
  readonly snapLength: number
}

/** The parts of a second in the time stamps of an interface (option if_tsresol). */
const resolution = (options: Buffer, little: boolean): number => {
  for (let at = 0; at + 4 <= options.length;) {
    const code = u16(options, at, little)
    const length = u16(options, at + 2, little)
    if (code === 0) break
    if (code === 9 && length >= 1 && at + 4 < options.length) {
      const value = options[at + 4]!
      return value >= 0x80 ? 2 ** (value & 0x7f) : 10 ** value
    }
    at += 4 + length + ((4 - length % 4) % 4)
  }
  return 1e6
}

function* pcapng(source: Source): Packets {
  let little = true
  let interfaces: Array<Interface> = []
  // The type of the first block has been read.
  let type: Buffer = Buffer.from([0x0a, 0x0d, 0x0d, 0x0a])
  for (;;) {
    const lengthField = source.take(4)
    if (lengthField.length < 4) return yield cutShort
    const isSection = type.readUInt32BE(0) === sectionHeader
    let body: Buffer
    if (isSection) {
      const order = source.take(4)
      if (order.length < 4) return yield cutShort
      little = order.readUInt32LE(0) === byteOrderMagic
      if (!little && order.readUInt32BE(0) !== byteOrderMagic) return yield failure("its byte order is unknown")
      interfaces = []
    }
    const length = u32(lengthField, 0, little)
    const before = isSection ? 12 : 8
    if (length < before + 4 || length % 4 !== 0 || length > mostBytes) {
      return yield failure(`a block of ${length} bytes: the file is damaged`)
    }
    body = source.take(length - before)
    if (body.length < length - before) return yield cutShort
    body = body.subarray(0, -4) // the length again
    const blockType = isSection ? sectionHeader : u32(type, 0, little)
    if (blockType === 1 && body.length >= 8) {
      interfaces.push({
        linkType: u16(body, 0, little),
        snapLength: u32(body, 4, little),
        parts: resolution(body.subarray(8), little)
      })
    } else if (blockType === 6 && body.length >= 20) {
      const from = interfaces[u32(body, 0, little)]
      const captured = u32(body, 12, little)
      if (from === undefined || 20 + captured > body.length) return yield failure("a packet block is damaged")
      const ticks = u32(body, 4, little) * 2 ** 32 + u32(body, 8, little)
      yield Result.succeed({
        linkType: from.linkType,
        time: ticks * 1000 / from.parts,
        bytes: body.subarray(20, 20 + captured),
        isCut: u32(body, 16, little) > captured
      })
    } else if (blockType === 3 && body.length >= 4) {
      const from = interfaces[0]
      if (from === undefined) return yield failure("a packet block is damaged")
      const original = u32(body, 0, little)
      const captured = Math.min(original, body.length - 4, from.snapLength === 0 ? Infinity : from.snapLength)
      yield Result.succeed({
        linkType: from.linkType,
        time: 0,
        bytes: body.subarray(4, 4 + captured),
        isCut: original > captured
      })
    }
    type = source.take(4)
    if (type.length === 0) return
    if (type.length < 4) return yield cutShort
  }
}
