/**
 * Where an SMTP client connects from, as the MTA reports it, and networks to compare it with.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { ByteString } from "./internal/bytes/byteString.ts"
import * as Ip from "./internal/mail/ipAddress.ts"
import { InvalidValue } from "./InvalidValue.ts"

interface Common {
  /** Whether the address belongs to a network in CIDR notation; see {@link isWithin}, which also tells what throws. */
  readonly isWithin: (cidr: string) => boolean
  /** Whether the client is on the MTA's own host: 127.0.0.0/8, ::1 or a UNIX socket. */
  readonly isLoopback: boolean
  /** The address, the path, or `unknown`: for log lines. */
  readonly toString: () => string
}

/**
 * A client that came by IPv4. A v4-mapped IPv6 address (`::ffff:192.0.2.1`) is given as the IPv4 address it stands for,
 * as Sendmail does, so that no policy needs two spellings of one client.
 *
 * @category models
 * @since 0.1.0
 */
export interface IPv4 extends Common {
  readonly _tag: "IPv4"
  /** Dotted quad, `192.0.2.1`. */
  readonly address: string
  /** The client's port; 0 if the MTA does not know it. */
  readonly port: number
}

/**
 * A client that came by IPv6.
 *
 * @category models
 * @since 0.1.0
 */
export interface IPv6 extends Common {
  readonly _tag: "IPv6"
  /** In the form of RFC 5952: lower case, compressed, `2001:db8::1`; without Sendmail's `IPv6:` and without a zone. */
  readonly address: string
  /** The client's port; 0 if the MTA does not know it. */
  readonly port: number
}

/**
 * A client that came through a UNIX socket.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unix extends Common {
  readonly _tag: "Unix"
  readonly path: string
}

/**
 * The MTA does not know the client's address, or does not tell it: for mail from standard input, for example.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unknown extends Common {
  readonly _tag: "Unknown"
}

/**
 * Where the client of an SMTP session connects from.
 *
 * **Example** (Sparing one's own networks)
 *
 * ```ts
 * import type { ClientAddress } from "effect-milter/ClientAddress"
 *
 * const isOurs = (client: ClientAddress) =>
 *   client.isLoopback || client.isWithin("10.0.0.0/8") || client.isWithin("2001:db8::/32")
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type ClientAddress = IPv4 | IPv6 | Unix | Unknown

/**
 * The address of a connect packet. The text of an IPv4 or IPv6 address is not checked.
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectAddress =
  | { readonly _tag: "IPv4" | "IPv6"; readonly port: number; readonly address: ByteString }
  | { readonly _tag: "Unix"; readonly path: ByteString }
  | { readonly _tag: "Unknown" }

/**
 * A set of networks, parsed once. Made by {@link network}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Network {
  /** Whether the address belongs to one of the networks; false for UNIX sockets and unknown addresses. */
  readonly contains: (address: ClientAddress) => boolean
}

// One class implements all members of the union, so that all clients have the same shape in memory. The type of a member hides
// the fields that it does not have.
class Client {
  readonly _tag: ClientAddress["_tag"]
  readonly address: string
  readonly port: number
  readonly path: string
  readonly ip: Ip.Ip | undefined

  constructor(tag: ClientAddress["_tag"], address: string, port: number, path: string, ip: Ip.Ip | undefined) {
    this._tag = tag
    this.address = address
    this.port = port
    this.path = path
    this.ip = ip
  }

  get isLoopback(): boolean {
    const { ip } = this
    if (ip === undefined) return this._tag === "Unix"
    const { v4, words } = ip
    return v4 ? words[3] >>> 24 === 127 : words[0] === 0 && words[1] === 0 && words[2] === 0 && words[3] === 1
  }

  isWithin(cidr: string): boolean {
    const found = networkOf(cidr)
    return this.ip !== undefined && found.has(this.ip)
  }

  toString(): string {
    return this._tag === "Unknown" ? "unknown" : this._tag === "Unix" ? this.path : this.address
  }

  toJSON(): unknown {
    const { _tag, address, path, port } = this
    return _tag === "Unknown" ? { _tag } : _tag === "Unix" ? { _tag, path } : { _tag, address, port }
  }
}

class Networks implements Network {
  // IPv4 networks count their prefix in the 128 bits of the mapped form.
  private readonly parts: ReadonlyArray<{ readonly ip: Ip.Ip; readonly prefix: number }>

  constructor(parts: ReadonlyArray<{ readonly ip: Ip.Ip; readonly prefix: number }>) {
    this.parts = parts
  }

  has(ip: Ip.Ip): boolean {
    for (const part of this.parts) {
      if (Ip.contains(part.ip, part.prefix, ip)) return true
    }
    return false
  }

  contains(address: ClientAddress): boolean {
    return address instanceof Client && address.ip !== undefined && this.has(address.ip)
  }
}

/**
 * A client whose address the MTA does not tell.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknown: ClientAddress = new Client("Unknown", "", 0, "", undefined)

/**
 * Makes the address of a client that came through a UNIX socket.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unix = (path: string): ClientAddress => new Client("Unix", "", 0, path, undefined)

/**
 * Parses an IPv4 or IPv6 address from text. Fails with `InvalidValue` if the text is not an address.
 *
 * **Details**
 *
 * Accepts what MTAs and sockets write: a prefix `IPv6:` (in any case), square brackets, and a zone at the end (`%eth0`, which
 * is dropped). IPv4 is four decimal numbers without leading zeros. Older notations that some C libraries accept (`127.1`,
 * octal) are refused, since programs disagree on their meaning.
 *
 * **Example** (Sendmail's spelling)
 *
 * ```ts
 * import * as ClientAddress from "effect-milter/ClientAddress"
 *
 * ClientAddress.fromText("IPv6:2001:DB8:0:0:0:0:0:1") // IPv6, 2001:db8::1
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromText = (text: string, port = 0): Result.Result<ClientAddress, InvalidValue> => {
  let bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  if (bare[4] === ":" && bare.slice(0, 4).toLowerCase() === "ipv6") bare = bare.slice(5)
  const isDotted = !bare.includes(":")
  const zone = isDotted ? -1 : bare.indexOf("%")
  const ip = Ip.parse(zone > 0 ? bare.slice(0, zone) : bare)
  return ip === undefined
    ? invalid("address", text, "expected an IPv4 or IPv6 address")
    // Four decimal numbers have one spelling.
    : Result.succeed(new Client(ip.v4 ? "IPv4" : "IPv6", isDotted ? bare : Ip.format(ip), port, "", ip))
}

/**
 * Reads the client address of a connect packet.
 *
 * **Details**
 *
 * Fails with `InvalidValue` if the text is not an address of the family that the packet names (a v4-mapped address may come as
 * IPv6). Real MTAs never send such a packet. The text `unknown` is an unknown address: Postfix sends it, as IPv4, for a client
 * whose address the proxy before it does not know (XCLIENT with `ADDR=[UNAVAILABLE]`).
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromPacket = (address: ConnectAddress): Result.Result<ClientAddress, InvalidValue> => {
  if (address._tag === "Unknown") return Result.succeed(unknown)
  if (address._tag !== "Unix" && address.address === "unknown") return Result.succeed(unknown)
  if (address._tag === "Unix") return Result.succeed(unix(ByteString.toText(address.path)))
  return address.address.includes(":") === (address._tag === "IPv6")
    ? fromText(address.address, address.port)
    : invalid("address", address.address, `expected an ${address._tag} address`)
}

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

const parsePart = (
  cidr: string
): Result.Result<{ readonly ip: Ip.Ip; readonly prefix: number }, InvalidValue> => {
  const match = /^(?:\[([^\]]*)\]|([^/]*))(?:\/(\d{1,3}))?$/.exec(cidr)
  const ip = Ip.parse(match?.[1] ?? match?.[2] ?? "")
  if (match === null || ip === undefined) {
    return invalid("network", cidr, "expected an IPv4 or IPv6 network such as 10.0.0.0/8 or 2001:db8::/32")
  }
  const bits = ip.v4 && !cidr.includes(":") ? 32 : 128
  const given = match[3] === undefined ? bits : Number(match[3])
  if (given > bits) return invalid("network", cidr, `expected a prefix of at most ${bits} bits`)
  const prefix = given + 128 - bits
  const first = Ip.truncate(ip, prefix)
  return Ip.contains(first, 128, ip)
    ? Result.succeed({ ip, prefix })
    : invalid(
      "network",
      cidr,
      `expected zeros after the prefix, as in ${Ip.format(first)}/${first.v4 ? prefix - 96 : prefix}`
    )
}

const networks = (cidrs: ReadonlyArray<string>): Result.Result<Networks, InvalidValue> => {
  const parts: Array<{ readonly ip: Ip.Ip; readonly prefix: number }> = []
  for (const cidr of cidrs) {
    const part = parsePart(cidr)
    if (Result.isFailure(part)) return Result.fail(part.failure)
    parts.push(part.success)
  }
  return Result.succeed(new Networks(parts))
}

/**
 * Parses one network or several in CIDR notation: `10.0.0.0/8`, `2001:db8::/32` or Postfix's `[2001:db8::]/32`; without
 * a prefix a single address. Fails with `InvalidValue` if one of them cannot be read, or has bits after its prefix
 * (`10.1.2.3/8`), which is usually a mistake.
 *
 * **Gotchas**
 *
 * An IPv4 client is never within an IPv6 network, not even `::/0`: name the IPv4 networks, too.
 *
 * **Example** (An allow-list)
 *
 * ```ts
 * import * as ClientAddress from "effect-milter/ClientAddress"
 * import * as Result from "effect/Result"
 *
 * const ours = Result.getOrThrow(ClientAddress.network(["10.0.0.0/8", "2001:db8::/32"]))
 * const isOurs = (client: ClientAddress.ClientAddress) => ours.contains(client)
 * ```
 *
 * @category networks
 * @since 0.1.0
 */
export const network = (cidr: string | ReadonlyArray<string>): Result.Result<Network, InvalidValue> =>
  networks(typeof cidr === "string" ? [cidr] : cidr)

// Hooks use the same literals at each call. The number is limited, so that a filter that builds networks from data does not
// fill the memory.
const known = new Map<string, Networks>()

const networkOf = (cidr: string): Networks => {
  const found = known.get(cidr)
  if (found !== undefined) return found
  const made = Result.getOrThrow(networks([cidr]))
  if (known.size >= 1000) known.clear()
  known.set(cidr, made)
  return made
}

/**
 * Returns whether a client belongs to a network in CIDR notation, as {@link network} reads it; false for UNIX sockets and
 * unknown addresses. The notation is parsed once, not at each call.
 *
 * **Gotchas**
 *
 * Throws `InvalidValue` for a network that cannot be read, so a wrong literal fails at the first call, inside a hook. Use
 * {@link network} for networks from a configuration.
 *
 * @category networks
 * @since 0.1.0
 */
export const isWithin = (self: ClientAddress, cidr: string): boolean => self.isWithin(cidr)
