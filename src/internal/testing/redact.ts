/** Recordings without what nobody else should read. */
import * as Result from "effect/Result"
import * as Packet from "../../Packet.ts"
import type { ByteString } from "../../Wire.ts"
import { type Event, isComplete, type Line, packet, type RecordedFrame } from "./recordingLines.ts"

type AnyPacket = Packet.MtaPacket | Packet.FilterPacket

/**
 * What is hidden; all of it, unless a part is switched off.
 *
 * - `addresses`: mail addresses, host names, IP addresses and logins become others, the same one each time it occurs:
 *   `user1@domain1.example`, `192.0.2.1`. In the envelope, macros, replies and header values.
 * - `headers`: the values of header fields become `x`, with spaces and folds as they were
 * - `bodies`: the same for the body, with its line ends
 *
 * @category models
 * @since 0.1.0
 */
export interface Redaction {
  readonly addresses?: boolean
  readonly headers?: boolean
  readonly bodies?: boolean
}

// With upper bounds, since what is searched comes from outside and may be long.
const quoted = String.raw`"(?:[^"\\]|\\.){0,128}"`
const label = String.raw`[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff_-]{0,62}[A-Za-z0-9\x80-\xff])?`
const host = String.raw`${label}(?:\.${label}){0,20}`
const mail = String.raw`(?:${quoted}|[^\s<>()[\],;:@"\\=]{1,128})@(?:${host}\.?|\[[^\]\s]{0,64}\])`
const ipv4 = String.raw`\b\d{1,3}(?:\.\d{1,3}){3}\b`
const word = String.raw`[0-9A-Fa-f]{1,4}`
const words = String.raw`(?:${word}(?::${word}){0,6})?`
// All eight words or a gap: anything less might be the time of day.
const ipv6 = String.raw`(?:(?<![\w:])|(?<=IPv6:))(?:${word}(?::${word}){7}|${words}::${words})(?![\w:])`
const name = String.raw`\b${label}(?:\.${label}){0,20}\.(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]{1,59})\b\.?`

const anything = new RegExp(`(${mail})|(${ipv4})|(${ipv6})|(${name})`, "g")

/** Another for each of something, always the same. */
class Substitutes {
  private readonly given = new Map<string, string>()
  private readonly nth: (n: number) => string

  constructor(nth: (n: number) => string) {
    this.nth = nth
  }

  of(text: string): string {
    const key = text.toLowerCase().replace(/\.$/, "")
    const found = this.given.get(key)
    if (found !== undefined) return found
    const substitute = this.nth(this.given.size + 1)
    this.given.set(key, substitute)
    return substitute
  }
}

// Networks for documentation (RFC 5737), some 750 addresses; the next ones repeat.
const networks = ["192.0.2", "198.51.100", "203.0.113"]

// These names tell about who is logged in, in a form of their own.
const logins = new Set(["auth_authen", "auth_author"])
const certificates = new Set(["cert_subject", "cert_issuer", "cn_subject", "cn_issuer"])

// What is replaced in a string of bytes, and what by, is bytes.
const asBytes = (text: string): ByteString => text as ByteString

const mask = (text: ByteString): ByteString => asBytes(text.replace(/[^ \t\r\n]/g, "x"))

const space = 32

const maskBytes = (payload: Uint8Array): Uint8Array =>
  payload.map((byte) => byte === space || byte === 9 || byte === 10 || byte === 13 ? byte : 0x78)

class Redactor {
  private readonly hides: Required<Redaction>
  private readonly users = new Substitutes((n) => `user${n}`)
  private readonly domains = new Substitutes((n) => `domain${n}.example`)
  private readonly ipv4 = new Substitutes((n) => `${networks[Math.floor((n - 1) / 254) % 3]}.${(n - 1) % 254 + 1}`)
  private readonly ipv6 = new Substitutes((n) => `2001:db8::${n.toString(16)}`)

  constructor({ addresses = true, bodies = true, headers = true }: Redaction) {
    this.hides = { addresses, bodies, headers }
  }

  readonly line = (line: Line): Line => {
    switch (line._tag) {
      case "Description":
        return { ...line, description: this.text(asBytes(line.description)) }
      case "Event":
        return this.event(line)
      case "Frame":
        return this.frame(line)
    }
  }

  private event(event: Event): Event {
    return {
      ...event,
      ...(event.bytes === undefined ? {} : { bytes: maskBytes(event.bytes) }),
      ...(event.error === undefined ? {} : { error: this.text(asBytes(event.error)) })
    }
  }

  private frame({ bytes, code, connection, from, length, name, time }: RecordedFrame): RecordedFrame {
    // Without the sum of the payload, by which short ones could be guessed.
    const frame: RecordedFrame = { _tag: "Frame", connection, time, from, code, name, length, bytes }
    const decoded = isComplete(frame) ? packet(frame) : undefined
    // What cannot be understood might be anything; of what was cut, the rest is not there.
    if (decoded === undefined || Result.isFailure(decoded)) {
      const body = frame.from === "mta" ? Packet.Body : Packet.ReplaceBody
      const isBody = frame.code.charCodeAt(0) === body.code
      return isBody && !this.hides.bodies ? frame : { ...frame, bytes: maskBytes(frame.bytes) }
    }
    const payload = Packet.encode(this.packet(decoded.success)).slice(frameHeader)
    return { ...frame, length: payload.length + 1, bytes: payload }
  }

  private packet(packet: AnyPacket): AnyPacket {
    switch (packet._tag) {
      case "Header":
      case "AddHeader":
      case "InsertHeader":
      case "ChangeHeader":
        return { ...packet, value: this.hides.headers ? mask(packet.value) : this.text(packet.value) }
      case "Body":
      case "EndOfMessage":
      case "ReplaceBody":
        return this.hides.bodies ? { ...packet, bytes: maskBytes(packet.bytes) } : packet
      default:
        return this.hides.addresses ? this.envelope(packet) : packet
    }
  }

  private envelope(packet: AnyPacket): AnyPacket {
    switch (packet._tag) {
      case "Connect":
        return { ...packet, hostname: this.host(packet.hostname), address: this.client(packet.address) }
      case "Helo":
        return { ...packet, name: this.host(packet.name) }
      case "Mail":
        return { ...packet, sender: this.mailbox(packet.sender), parameters: packet.parameters.map(this.text) }
      case "Rcpt":
        return { ...packet, recipient: this.mailbox(packet.recipient), parameters: packet.parameters.map(this.text) }
      case "Macro":
        return { ...packet, macros: packet.macros.map(({ name, value }) => ({ name, value: this.macro(name, value) })) }
      case "Unknown":
        return { ...packet, line: this.text(packet.line) }
      case "ReplyCode":
        return { ...packet, text: this.text(packet.text) }
      case "Quarantine":
        return { ...packet, reason: this.text(packet.reason) }
      case "AddRecipient":
      case "DeleteRecipient":
        return { ...packet, recipient: this.mailbox(packet.recipient) }
      case "AddRecipientWithParameters":
        return {
          ...packet,
          recipient: this.mailbox(packet.recipient),
          ...(packet.parameters === undefined ? {} : { parameters: this.text(packet.parameters) })
        }
      case "ChangeSender":
        return {
          ...packet,
          sender: this.mailbox(packet.sender),
          ...(packet.parameters === undefined ? {} : { parameters: this.text(packet.parameters) })
        }
      default:
        return packet
    }
  }

  private client(address: Packet.Connect["address"]): Packet.Connect["address"] {
    switch (address._tag) {
      case "IPv4":
      case "IPv6":
        return { ...address, address: this.text(address.address) }
      case "Unix":
        return { ...address, path: asBytes("/redacted") }
      default:
        return address
    }
  }

  private macro(name: ByteString, value: ByteString): ByteString {
    const bare = name.replace(/^\{(.*)\}$/, "$1")
    if (certificates.has(bare)) return mask(value)
    if (logins.has(bare) && !value.includes("@")) return value === "" ? value : asBytes(this.users.of(value))
    return this.text(value)
  }

  /** An address, be it one that no pattern knows: `postmaster`, or what a client made up. */
  private mailbox(address: ByteString): ByteString {
    const hidden = this.text(address)
    if (hidden !== address || address === "" || address === "<>") return hidden
    const [, open, inner, close] = /^(<?)([^]*?)(>?)$/.exec(address)!
    return asBytes(`${open}${this.users.of(inner!)}${close}`)
  }

  /** A name of a host, be it one without a dot. */
  private host(text: ByteString): ByteString {
    const hidden = this.text(text)
    return hidden !== text || text === "" || text === "unknown" || text === "localhost"
      ? hidden
      : asBytes(this.domains.of(text))
  }

  private readonly text = (text: ByteString): ByteString =>
    this.hides.addresses
      ? asBytes(text.replace(anything, (
        _,
        mail: string | undefined,
        ipv4: string | undefined,
        ipv6: string | undefined,
        name: string
      ) =>
        mail !== undefined
          ? this.address(mail)
          : ipv4 !== undefined
          ? this.ipv4.of(ipv4)
          : ipv6 !== undefined
          ? this.ipv6.of(ipv6)
          : this.domains.of(name)))
      : text

  private address(mail: string): string {
    const at = mail.lastIndexOf("@")
    return `${this.users.of(mail)}@${this.domains.of(mail.slice(at + 1))}`
  }
}

const frameHeader = 5

export const redactor = (redaction: Redaction): (line: Line) => Line => new Redactor(redaction).line
