/** Captures of a milter's port: files, links, segments that come in any order, and the conversations in them. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import { isCapture, packets } from "../../../src/cli/decode/captureFile.ts"
import { Conversations } from "../../../src/cli/decode/conversations.ts"
import * as hexText from "../../../src/cli/decode/hexText.ts"
import { segmentOf } from "../../../src/cli/decode/segment.ts"
import { TcpStream } from "../../../src/cli/decode/tcpStream.ts"

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
const u32 = (value: number): Buffer =>
  Buffer.from([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff])

interface Tcp {
  readonly from: number
  readonly to: number
  readonly sequence: number
  readonly flags?: number
  readonly payload?: Uint8Array
}

const SYN = 0x02
const ACK = 0x10
const FIN = 0x01

const tcp = ({ flags = ACK, from, payload = new Uint8Array(), sequence, to }: Tcp): Buffer =>
  Buffer.concat([u16(from), u16(to), u32(sequence), u32(0), Buffer.from([0x50, flags]), u16(1024), u32(0), payload])

const ipv4 = (segment: Buffer, total = 20 + segment.length): Buffer =>
  Buffer.concat([
    Buffer.from([0x45, 0]),
    u16(total),
    u32(0),
    Buffer.from([64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]),
    segment
  ])

const ipv6 = (segment: Buffer): Buffer =>
  Buffer.concat([
    u32(0x60000000),
    u16(segment.length + 8),
    Buffer.from([60, 64]), // destination options, of which there are none
    Buffer.from("20010db8000000000000000000000001", "hex"),
    Buffer.from("00000000000000000000000000000001", "hex"),
    Buffer.from([6, 0, 1, 4, 0, 0, 0, 0]),
    segment
  ])

const ethernet = (packet: Buffer): Buffer => Buffer.concat([Buffer.alloc(12), u16(0x0800), packet])

const segment = (linkType: number, bytes: Buffer) => segmentOf({ linkType, time: 0, bytes, isCut: false })

describe("a segment", () => {
  const plain = tcp({ from: 4000, to: 9000, sequence: 7, payload: Buffer.from("hello") })

  for (
    const [name, linkType, bytes] of [
      ["Ethernet", 1, ethernet(ipv4(plain))],
      ["Ethernet with a VLAN", 1, Buffer.concat([Buffer.alloc(12), u16(0x8100), u16(5), u16(0x0800), ipv4(plain)])],
      ["Linux any", 113, Buffer.concat([Buffer.alloc(16), ipv4(plain)])],
      ["Linux any, version 2", 276, Buffer.concat([Buffer.alloc(20), ipv4(plain)])],
      ["BSD loopback", 0, Buffer.concat([Buffer.alloc(4), ipv4(plain)])],
      ["bare IP", 101, ipv4(plain)],
      ["a packet that the card cuts up", 101, ipv4(plain, 0)],
      // Short frames are padded.
      ["Ethernet with padding", 1, Buffer.concat([ethernet(ipv4(plain)), Buffer.alloc(6)])]
    ] as const
  ) {
    it(`is found in ${name}`, () => {
      const found = segment(linkType, bytes)
      assert.deepInclude(found, {
        from: "127.0.0.1:4000",
        to: "127.0.0.2:9000",
        sequence: 7,
        isSyn: false,
        isAck: true
      })
      assert.strictEqual(found?.payload.toString(), "hello")
    })
  }

  it("is found in IPv6", () => {
    assert.deepInclude(segment(101, ipv6(plain)), { from: "[2001:db8::1]:4000", to: "[::1]:9000" })
  })

  it.prop(
    "is none of other bytes",
    [Schema.Uint8Array, Schema.Literals([0, 1, 12, 101, 113, 276, 999])],
    ([bytes, link]) => {
      segment(link, Buffer.from(bytes)) // it does not fail
    }
  )

  it("is not another protocol, nor a later fragment", () => {
    const udp = ipv4(plain)
    udp[9] = 17
    assert.isUndefined(segment(101, udp))
    const fragment = ipv4(plain)
    fragment[7] = 1
    assert.isUndefined(segment(101, fragment))
  })
})

describe("a stream", () => {
  it.prop(
    "is the same in whatever order its segments come, also twice and across 2^32",
    [
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))),
      Schema.Literals([0, 5, 0xffffffff, 0x7ffffffe])
    ],
    ([order, first]) => {
      const stream = new TcpStream()
      stream.begin((first - 1) >>> 0)
      const text = "the quick brown fox jumps over the lazy dog!!"
      // Ten overlapping segments.
      const parts = Array.from(
        { length: 10 },
        (_, index) => ({ at: index * 4, text: text.slice(index * 4, index * 4 + 9) })
      )
      const all = [...order.map((index) => parts[index]!), ...parts.toReversed()]
      const bytes = all.flatMap(({ at, text }) => stream.push((first + at) >>> 0, Buffer.from(text)))
      assert.strictEqual(Buffer.concat(bytes).toString(), text.slice(0, 45))
      assert.isFalse(stream.isWaiting)
    }
  )

  it("ends at a gap that is not filled", () => {
    const stream = new TcpStream()
    stream.begin(0)
    assert.deepStrictEqual(stream.push(10, Buffer.from("late")), [])
    assert.isTrue(stream.isWaiting)
    for (let index = 0; index < 2000; index++) stream.push(20 + index * 2, Buffer.from("x"))
    assert.isTrue(stream.hasGap)
    assert.deepStrictEqual(stream.push(1, Buffer.from("123456789")), [])
  })
})

describe("a file", () => {
  const record = (bytes: Buffer, seconds: number, micros: number, little: boolean, original = bytes.length): Buffer => {
    const header = Buffer.alloc(16)
    for (const [index, value] of [seconds, micros, bytes.length, original].entries()) {
      if (little) header.writeUInt32LE(value, index * 4)
      else header.writeUInt32BE(value, index * 4)
    }
    return Buffer.concat([header, bytes])
  }
  const header = (magic: number, little: boolean): Buffer => {
    const bytes = Buffer.alloc(24)
    if (little) bytes.writeUInt32LE(magic, 0)
    else bytes.writeUInt32BE(magic, 0)
    bytes.writeUInt32LE(little ? 101 : 0, 20)
    if (!little) bytes.writeUInt32BE(101, 20)
    return bytes
  }
  const read = (bytes: Buffer, size = 65_536) => {
    const chunks = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, index) => bytes.subarray(index * size, (index + 1) * size)
    )
    return Array.from(packets(chunks))
  }
  const content = Buffer.from("packet")

  for (const little of [true, false]) {
    it(`of pcap, ${little ? "little" : "big"} endian, is read in pieces of any size`, () => {
      const file = Buffer.concat([
        header(0xa1b2c3d4, little),
        record(content, 1, 500, little),
        record(content, 2, 0, little, 100)
      ])
      assert.isTrue(isCapture(file))
      for (const size of [1, 7, 65_536]) {
        assert.deepStrictEqual(read(file, size), [
          Result.succeed({ linkType: 101, time: 1000.5, bytes: content, isCut: false }),
          Result.succeed({ linkType: 101, time: 2000, bytes: content, isCut: true })
        ])
      }
    })
  }

  it("of pcap has nanoseconds, too", () => {
    const [packet] = read(Buffer.concat([header(0xa1b23c4d, true), record(content, 1, 500_000, true)]))
    assert.strictEqual(Result.getOrThrow(packet!).time, 1000.5)
  })

  const block = (type: number, body: Buffer): Buffer => {
    const padded = Buffer.concat([body, Buffer.alloc((4 - body.length % 4) % 4)])
    const length = Buffer.alloc(4)
    length.writeUInt32LE(padded.length + 12)
    const number = Buffer.alloc(4)
    number.writeUInt32LE(type)
    return Buffer.concat([number, length, padded, length])
  }
  const le = (...values: ReadonlyArray<number>): Buffer => {
    const bytes = Buffer.alloc(values.length * 4)
    for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4)
    return bytes
  }
  const section = block(0x0a0d0d0a, le(0x1a2b3c4d, 0x00000001, 0xffffffff, 0xffffffff))

  it("of pcapng is read, with the resolution of its interface and unknown blocks", () => {
    const interfaces = block(1, Buffer.concat([le(101, 0), Buffer.from([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0])]))
    const time = 1_500_000_000n // nanoseconds
    const file = Buffer.concat([
      section,
      block(0x0bad, Buffer.from("what")),
      interfaces,
      block(6, Buffer.concat([le(0, Number(time >> 32n), Number(time & 0xffffffffn), content.length, 100), content])),
      block(3, Buffer.concat([le(content.length), content]))
    ])
    assert.isTrue(isCapture(file))
    for (const size of [1, 65_536]) {
      assert.deepStrictEqual(read(file, size), [
        Result.succeed({ linkType: 101, time: 1500, bytes: content, isCut: true }),
        Result.succeed({ linkType: 101, time: 0, bytes: content, isCut: false })
      ])
    }
  })

  it("that is damaged says so, and gives what is before", () => {
    const good = Buffer.concat([header(0xa1b2c3d4, true), record(content, 1, 0, true)])
    for (
      const [bytes, reason] of [
        [good.subarray(0, -1), /ends in the middle/],
        [Buffer.concat([good, record(content, 1, 0, true).subarray(0, 5)]), /ends in the middle/],
        [Buffer.concat([good, le(0, 0, 0x7fffffff, 0)]), /2147483647 bytes: the file is damaged/],
        [Buffer.concat([section, le(6, 7)]), /a block of 7 bytes/],
        [Buffer.concat([section, block(6, le(5, 0, 0, 0, 0))]), /a packet block is damaged/],
        [Buffer.from("hello world"), /does not begin as/],
        [Buffer.from("x"), /too short/]
      ] as const
    ) {
      const last = read(bytes).at(-1)!
      assert.match(Result.isFailure(last) ? last.failure.reason : "", reason)
    }
  })
})

describe("conversations", () => {
  const run = (port: number | undefined, segments: ReadonlyArray<Tcp>) => {
    const told: Array<string> = []
    const conversations = new Conversations(port, {
      opened: (connection, mta, filter) => told.push(`${connection} ${mta} to ${filter}`),
      frame: (connection, from, { code }) => told.push(`${connection} ${from} ${String.fromCharCode(code)}`),
      junk: (connection, from, bytes) => told.push(`${connection} ${from} junk ${Buffer.from(bytes).toString()}`),
      closed: (connection, by, isReset) => told.push(`${connection} ${by} ${isReset ? "resets" : "closes"}`),
      gap: (connection, from) => told.push(`${connection} ${from} gap`)
    })
    for (const each of segments) conversations.push(segment(101, ipv4(tcp(each)))!)
    conversations.end()
    return { told, others: conversations.others, count: conversations.count }
  }
  const negotiate = Packet.encode({ _tag: "Negotiate", version: 6, actions: 1, steps: 0 })
  const negotiated = Packet.encode({ _tag: "Negotiated", version: 6, actions: 1, steps: 0, macros: [] })
  const helo = Packet.encode({ _tag: "Helo", name: ByteString.fromText("mx") })
  // The addresses differ by direction in `ipv4`, so each test has the MTA's side only, or both with one pair of ports.
  const start: ReadonlyArray<Tcp> = [
    { from: 4000, to: 9000, sequence: 99, flags: SYN },
    { from: 4000, to: 9000, sequence: 100, payload: negotiate }
  ]

  it("are those that begin with a negotiation", () => {
    const { others, told } = run(undefined, [
      ...start,
      { from: 4000, to: 9000, sequence: 100 + negotiate.length, payload: helo },
      { from: 4000, to: 9000, sequence: 100 + negotiate.length + helo.length, flags: FIN | ACK },
      { from: 5000, to: 25, sequence: 1, flags: SYN },
      { from: 5000, to: 25, sequence: 2, payload: Buffer.from("EHLO there\r\n") }
    ])
    assert.deepStrictEqual(told, ["1 127.0.0.1:4000 to 127.0.0.2:9000", "1 mta O", "1 mta H", "1 mta closes"])
    assert.strictEqual(others, 1)
  })

  it("are shown from their middle if the port is given", () => {
    const { told } = run(9000, [
      { from: 4000, to: 9000, sequence: 1000, payload: helo },
      { from: 5000, to: 25, sequence: 2, payload: Buffer.from("EHLO there\r\n") }
    ])
    assert.deepStrictEqual(told, ["1 127.0.0.1:4000 to 127.0.0.2:9000", "1 mta H"])
  })

  it("have the filter on the side of the port", () => {
    assert.deepStrictEqual(run(9000, [{ from: 9000, to: 4000, sequence: 1, payload: negotiated }]).told, [
      "1 127.0.0.2:4000 to 127.0.0.1:9000",
      "1 filter O"
    ])
  })

  it("show junk and what is missing", () => {
    const junk = Buffer.concat([helo, Buffer.from("\0\0\0\0junk")])
    assert.deepStrictEqual(
      run(undefined, [...start, { from: 4000, to: 9000, sequence: 100 + negotiate.length, payload: junk }]).told.slice(
        2
      ),
      ["1 mta H", "1 mta junk \0\0\0\0junk"]
    )
    assert.deepStrictEqual(
      run(undefined, [...start, { from: 4000, to: 9000, sequence: 5000, payload: helo }]).told.slice(2),
      ["1 mta gap"]
    )
  })

  it("of the same ports one after the other are two", () => {
    const end: Tcp = { from: 4000, to: 9000, sequence: 100 + negotiate.length, flags: FIN | ACK }
    assert.strictEqual(run(undefined, [...start, end, ...start]).count, 2)
  })
})

describe("hexadecimal text", () => {
  const bytes = "0000000d4f00000006000001ff001fffff"
  for (
    const [name, text] of [
      ["digits", bytes],
      ["pairs", "00 00 00 0d 4f 00 00 00 06 00 00 01 ff 00 1f ff ff"],
      ["lines, in capitals and with commas", "0x00,0x00,0x00,0x0D\n4F:00:00:00:06\n00 00 01 FF 00 1F FF FF\n"],
      ["strace", "\"\\x00\\x00\\x00\\x0d\\x4f\\x00\\x00\\x00\\x06\\x00\\x00\\x01\\xff\\x00\\x1f\\xff\\xff\""],
      [
        "xxd",
        "00000000: 0000 000d 4f00 0000 0600 0001 ff00 1fff  ....O...........\n00000010: ff                                       .\n"
      ],
      [
        "hexdump -C",
        "00000000  00 00 00 0d 4f 00 00 00  06 00 00 01 ff 00 1f ff  |....O...........|\n00000010  ff                                                |.|\n00000011\n"
      ]
    ] as const
  ) {
    it(`as ${name}`, () => {
      assert.strictEqual(Result.getOrThrow(hexText.parse(text)).toString("hex"), bytes)
    })
  }

  it("that is none names its line", () => {
    assert.deepStrictEqual(hexText.parse("00 01\nhello\n"), Result.fail(2))
    assert.deepStrictEqual(hexText.parse("000"), Result.fail(1))
  })
})
