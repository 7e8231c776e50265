/** ClientAddress: addresses of clients, from packets and from text, and networks. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as ClientAddress from "../src/ClientAddress.ts"
import { InvalidValue } from "../src/InvalidValue.ts"
import { ByteString } from "../src/Wire.ts"

const ip = (text: string): ClientAddress.ClientAddress => Result.getOrThrow(ClientAddress.fromText(text))
const fromPacket = (_tag: "IPv4" | "IPv6", address: string) =>
  ClientAddress.fromPacket({ _tag, port: 25, address: ByteString.fromText(address) })
const json = (client: Result.Result<ClientAddress.ClientAddress, InvalidValue>): unknown =>
  JSON.parse(JSON.stringify(Result.getOrThrow(client)))

describe("fromPacket", () => {
  it("reads what Sendmail and Postfix send", () => {
    assert.deepStrictEqual(json(fromPacket("IPv4", "192.0.2.1")), { _tag: "IPv4", address: "192.0.2.1", port: 25 })
    assert.deepStrictEqual(json(fromPacket("IPv6", "2001:db8::1")), { _tag: "IPv6", address: "2001:db8::1", port: 25 })
    assert.deepStrictEqual(json(fromPacket("IPv6", "IPv6:0:0:0:0:0:0:0:1")), { _tag: "IPv6", address: "::1", port: 25 })
    assert.deepStrictEqual(json(fromPacket("IPv6", "ipv6:2001:DB8:0::A")), {
      _tag: "IPv6",
      address: "2001:db8::a",
      port: 25
    })
    assert.deepStrictEqual(json(fromPacket("IPv6", "fe80::1%eth0")), { _tag: "IPv6", address: "fe80::1", port: 25 })
    assert.deepStrictEqual(
      json(ClientAddress.fromPacket({ _tag: "Unix", path: ByteString.fromText("/run/mta.sock") })),
      { _tag: "Unix", path: "/run/mta.sock" }
    )
    assert.deepStrictEqual(json(ClientAddress.fromPacket({ _tag: "Unknown" })), { _tag: "Unknown" })
    // Postfix after XCLIENT ADDR=[UNAVAILABLE].
    assert.deepStrictEqual(json(fromPacket("IPv4", "unknown")), { _tag: "Unknown" })
  })

  it("gives an IPv4 address as it is written", () => {
    for (const text of ["0.0.0.0", "255.255.255.255", "10.0.0.1", "192.0.2.100"]) {
      assert.deepStrictEqual(json(fromPacket("IPv4", text)), { _tag: "IPv4", address: text, port: 25 })
      assert.isTrue(ip(`::ffff:${text}`).isWithin(`${text}/32`))
      assert.isTrue(ip(text).isWithin(`::ffff:${text}/128`))
    }
  })

  it("gives a mapped address as IPv4, as Sendmail does", () => {
    for (const text of ["::ffff:192.0.2.1", "IPv6:::ffff:c000:201", "0:0:0:0:0:FFFF:192.0.2.1"]) {
      assert.deepStrictEqual(json(fromPacket("IPv6", text)), { _tag: "IPv4", address: "192.0.2.1", port: 25 })
    }
    assert.deepStrictEqual(json(fromPacket("IPv6", "::192.0.2.1")), { _tag: "IPv6", address: "::c000:201", port: 25 })
  })

  it("refuses an address of the other family", () => {
    assert.isTrue(Result.isFailure(fromPacket("IPv4", "::1")))
    assert.isTrue(Result.isFailure(fromPacket("IPv6", "192.0.2.1")))
  })

  it.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "1.2.3.4.",
    "1.2.3.0004",
    "1.2.3.1000",
    "00.2.3.4",
    "1.2.3.-4",
    "1.2.3./",
    "1.2.3.\u0661",
    "01.2.3.4",
    "256.1.1.1",
    "0x1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4%eth0",
    "localhost",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "12345::",
    "g::",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3.256",
    "[::1",
    "ipv6:",
    "%eth0",
    "::".repeat(50)
  ])("refuses %j", (text) => {
    const result = ClientAddress.fromText(text)
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.instanceOf(result.failure, InvalidValue)
  })
})

describe("text", () => {
  it("names the client in a log line", () => {
    assert.strictEqual(String(ip("[2001:db8::1]")), "2001:db8::1")
    assert.strictEqual([ClientAddress.unix("/a"), ClientAddress.unknown].map(String).join(" "), "/a unknown")
  })

  it("is compressed as RFC 5952 wants it", () => {
    for (
      const [text, expected] of [
        ["0:0:0:0:0:0:0:0", "::"],
        ["1:0:0:0:0:0:0:0", "1::"],
        ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
        ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
        ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"]
      ] as const
    ) assert.strictEqual(String(ip(text)), expected)
  })

  const Group = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))
  const Sparse = Schema.Union([Schema.Literals([0, 0xffff]), Group])
  const Segments = Schema.Tuple([Sparse, Sparse, Sparse, Sparse, Sparse, Sparse, Sparse, Sparse])
  it.prop("agrees with Effect's parser and printer", [Segments], ([segments]) => {
    const theirs = NetAddress.toCanonical(Result.getOrThrow(NetAddress.ipv6FromSegments(segments)))
    const plain = segments.map((segment) => segment.toString(16)).join(":")
    assert.strictEqual(String(ip(plain)), NetAddress.formatIp(theirs))
    assert.strictEqual(String(ip(NetAddress.formatIp(theirs))), NetAddress.formatIp(theirs))
  })

  it.prop(
    "accepts what Effect's parser accepts, and nothing else",
    [Schema.Array(Schema.Literals(["::", ":", "0", "1", "ffff", "12345", ".", "192.0.2.1", "g"]))],
    ([parts]) => {
      const text = parts.join("")
      assert.strictEqual(
        Result.isSuccess(ClientAddress.fromText(text)),
        Result.isSuccess(NetAddress.ipFromString(text)),
        text
      )
    }
  )

  it.prop(
    "finds the same members of networks as Effect",
    [Segments, Segments, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 128 })), Schema.Boolean],
    ([one, two, prefix, near]) => {
      const first = Result.getOrThrow(NetAddress.ipv6FromSegments(one))
      const other = near
        ? NetAddress.ipv6FromSegments([...one.slice(0, 4), ...two.slice(4)] as never)
        : NetAddress.ipv6FromSegments(two)
      const second = Result.getOrThrow(other)
      if (NetAddress.isIpv4Mapped(first) || NetAddress.isIpv4Mapped(second)) return
      const network = IpNetwork.fromAddressUnsafe(first, prefix)
      // The mapped addresses are IPv4 here, and so is a network of nothing else.
      const cidr = IpNetwork.format(network)
      if (NetAddress.isIpv4Mapped(network.address)) return
      assert.strictEqual(ip(NetAddress.formatIp(second)).isWithin(cidr), IpNetwork.contains(network, second), cidr)
    }
  )
})

describe("networks", () => {
  it("contain their addresses", () => {
    assert.isTrue(ip("10.1.2.3").isWithin("10.0.0.0/8"))
    assert.isFalse(ip("11.1.2.3").isWithin("10.0.0.0/8"))
    assert.isTrue(ip("192.0.2.129").isWithin("192.0.2.128/25"))
    assert.isFalse(ip("192.0.2.127").isWithin("192.0.2.128/25"))
    assert.isTrue(ip("192.0.2.1").isWithin("192.0.2.1"))
    assert.isFalse(ip("192.0.2.2").isWithin("192.0.2.1/32"))
    assert.isTrue(ip("1.2.3.4").isWithin("0.0.0.0/0"))
    assert.isTrue(ip("2001:db8:ffff::1").isWithin("2001:db8::/32"))
    assert.isTrue(ip("2001:db8:ffff::1").isWithin("[2001:DB8::]/32"))
    assert.isFalse(ip("2001:db9::1").isWithin("2001:db8::/32"))
    assert.isTrue(ip("2001:db8::1").isWithin("::/0"))
    assert.isTrue(ip("255.255.255.255").isWithin("255.255.255.254/31"))
    assert.isTrue(ClientAddress.isWithin(ip("10.1.2.3"), "10.0.0.0/8"))
  })

  it("treat a mapped address as the IPv4 address it is", () => {
    assert.isTrue(ip("::ffff:10.1.2.3").isWithin("10.0.0.0/8"))
    assert.isTrue(ip("10.1.2.3").isWithin("::ffff:10.0.0.0/104"))
    assert.isFalse(ip("11.1.2.3").isWithin("::ffff:10.0.0.0/104"))
    assert.isFalse(ip("10.1.2.3").isWithin("::/0"))
    assert.isFalse(ip("::a01:203").isWithin("10.0.0.0/8"))
  })

  it("contain no sockets and nothing unknown", () => {
    assert.isFalse(ClientAddress.unknown.isWithin("0.0.0.0/0"))
    assert.isFalse(ClientAddress.unix("/a").isWithin("::/0"))
  })

  it("come several at once", () => {
    const network = Result.getOrThrow(ClientAddress.network(["10.0.0.0/8", "2001:db8::/32"]))
    assert.isTrue(network.contains(ip("10.1.1.1")))
    assert.isTrue(network.contains(ip("2001:db8::1")))
    assert.isFalse(network.contains(ip("192.0.2.1")))
    assert.isFalse(network.contains(ClientAddress.unknown))
    assert.isFalse(Result.getOrThrow(ClientAddress.network([])).contains(ip("10.1.1.1")))
  })

  it.each([
    ["10.0.0.0/33", /at most 32/],
    ["::/129", /at most 128/],
    ["10.1.2.3/8", /as in 10\.0\.0\.0\/8$/],
    ["2001:db8::1/32", /as in 2001:db8::\/32$/],
    ["::ffff:10.1.2.3/104", /as in 10\.0\.0\.0\/8$/],
    ["::ffff:0.0.0.0/90", /as in ::ffc0:0:0\/90$/],
    ["10.0.0.0/", /expected an IPv4 or IPv6 network/],
    ["10.0.0.0/-1", /expected an IPv4 or IPv6 network/],
    ["10.0.0/8", /expected an IPv4 or IPv6 network/],
    ["10.0.0.0/8/8", /expected an IPv4 or IPv6 network/],
    ["example.org", /expected an IPv4 or IPv6 network/],
    ["", /expected an IPv4 or IPv6 network/]
  ])("refuse %j", (cidr, message) => {
    const result = ClientAddress.network(["10.0.0.0/8", cidr])
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result)) assert.match(result.failure.message, message)
    assert.throws(() => ip("10.1.2.3").isWithin(cidr), message)
    assert.throws(() => ClientAddress.unknown.isWithin(cidr), message)
  })

  it("do not fill the memory when they are made from data", () => {
    for (let index = 0; index < 3000; index++) {
      ip("10.1.2.3").isWithin(`10.${index & 255}.${index >> 8}.0/24`)
    }
    assert.isTrue(ip("10.1.2.3").isWithin("10.1.2.0/24"))
  })
})

describe("isLoopback", () => {
  it("tells the MTA's own host", () => {
    assert.isTrue(ip("127.0.0.1").isLoopback)
    assert.isTrue(ip("127.255.0.1").isLoopback)
    assert.isTrue(ip("::1").isLoopback)
    assert.isTrue(ip("::ffff:127.0.0.1").isLoopback)
    assert.isTrue(ClientAddress.unix("/a").isLoopback)
    assert.isFalse(ip("128.0.0.1").isLoopback)
    assert.isFalse(ip("::2").isLoopback)
    assert.isFalse(ip("::7f00:1").isLoopback)
    assert.isFalse(ClientAddress.unknown.isLoopback)
  })
})
