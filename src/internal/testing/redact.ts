/** Redacts recordings: hides addresses, header fields and bodies. */
import * as Result from "effect/Result"
import * as Packet from "../../Packet.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"
import { type Event, isComplete, type Line, packet, type RecordedFrame } from "./recordingLines.ts"
import type { Redaction } from "./redaction.ts"
import * as known from "./redactKnown.ts"
import { mask } from "./redactKnown.ts"

type AnyPacket = Packet.MtaPacket | Packet.FilterPacket

// With upper bounds, since what is searched comes from outside and may be long.
const quoted = String.raw`"(?:[^"\\]|\\.){0,128}"`
const label = String.raw`[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff_-]{0,62}[A-Za-z0-9\x80-\xff])?`
const host = String.raw`${label}(?:\.${label}){0,20}`
const mail = String.raw`(?:${quoted}|[^\s<>()[\],;:@"\\]{1,128})@(?:${host}\.?|\[[^\]\s]{0,64}\])`
const ipv4 = String.raw`\b\d{1,3}(?:\.\d{1,3}){3}\b`
const word = String.raw`[0-9A-Fa-f]{1,4}`
const words = String.raw`(?:${word}(?::${word}){0,6})?`
// All eight words or a gap: anything less might be the time of day.
const ipv6 = String.raw`(?:(?<![\w:])|(?<=IPv6:))(?:${word}(?::${word}){7}|${words}::${words})(?![\w:])`
const name = String.raw`\b${label}(?:\.${label}){0,20}\.(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]{1,59})\b\.?`

const anything = new RegExp(`(${mail})|(${ipv4})|(${ipv6})|(${name})`, "g")

/** Gives each text a substitute, the same one each time. */
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

const space = 32

const maskBytes = (payload: Uint8Array): Uint8Array =>
  payload.map((byte) => byte === space || byte === 9 || byte === 10 || byte === 13 ? byte : 0x78)

class Redactor {
  private readonly hides: Required<Redaction>
  private readonly users = new Substitutes((n) => `user${n}`)
  private readonly domains = new Substitutes((n) => `domain${n}.example`)
  private readonly ipv4 = new Substitutes((n) => `${networks[Math.floor((n - 1) / 254) % 3]}.${(n - 1) % 254 + 1}`)
  private readonly fields = new Substitutes((n) => `X-Field-${n}`)
  private readonly ipv6 = new Substitutes((n) => `2001:db8::${n.toString(16)}`)

  constructor({ addresses = true, bodies = true, headers = true }: Redaction) {
    this.hides = { addresses, bodies, headers }
  }

  readonly line = (line: Line): Line => {
    switch (line._tag) {
      case "Description":
        return this.hides.addresses ? { ...line, description: known.description(line.description) } : line
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
      ...(event.error === undefined || !this.hides.addresses ? {} : { error: known.error(event.error) })
    }
  }

  private frame({ bytes, code, connection, from, length, time }: RecordedFrame): RecordedFrame {
    const definitionOf = from === "mta" ? Packet.mtaByCode : Packet.filterByCode
    // The name in the recording could be anything.
    const name = definitionOf(code.charCodeAt(0))?.name ?? "unknown"
    // Without the hash of the payload, from which a short payload could be guessed.
    const frame: RecordedFrame = { _tag: "Frame", connection, time, from, code, name, length, bytes }
    const decoded = isComplete(frame) ? packet(frame) : undefined
    // A frame that was cut or cannot be decoded may hold anything.
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
        return this.hides.headers
          ? { ...packet, name: this.field(packet.name), value: mask(packet.value) }
          : { ...packet, value: this.text(packet.value) }
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
      case "Negotiated":
        return {
          ...packet,
          macros: packet.macros.map(({ names, stage }) => ({ stage, names: this.words(names, known.macroName) }))
        }
      case "Connect":
        return { ...packet, hostname: this.host(packet.hostname), address: this.client(packet.address) }
      case "Helo":
        return { ...packet, name: this.host(packet.name) }
      case "Mail":
        return { ...packet, sender: this.mailbox(packet.sender), parameters: packet.parameters.map(this.parameter) }
      case "Rcpt":
        return {
          ...packet,
          recipient: this.mailbox(packet.recipient),
          parameters: packet.parameters.map(this.parameter)
        }
      case "Macro":
        return {
          ...packet,
          stage: known.stage.test(packet.stage) ? packet.stage : mask(packet.stage),
          macros: packet.macros.map(({ name, value }) => ({
            name: known.macroName(name),
            value: this.macro(name, value)
          }))
        }
      case "Unknown":
        return { ...packet, line: known.command(packet.line) }
      case "ReplyCode":
        return { ...packet, text: known.reply(packet.text) }
      case "Quarantine":
        return { ...packet, reason: mask(packet.reason) }
      case "AddRecipient":
      case "DeleteRecipient":
        return { ...packet, recipient: this.mailbox(packet.recipient) }
      case "AddRecipientWithParameters":
        return { ...packet, recipient: this.mailbox(packet.recipient), ...this.parameters(packet.parameters) }
      case "ChangeSender":
        return { ...packet, sender: this.mailbox(packet.sender), ...this.parameters(packet.parameters) }
      default:
        return packet
    }
  }

  private parameters(parameters: ByteString | undefined): { readonly parameters?: ByteString } {
    return parameters === undefined ? {} : { parameters: this.words(parameters, this.parameter) }
  }

  private words(text: ByteString, one: (word: ByteString) => ByteString): ByteString {
    // Parts of a byte string.
    return ofParts(text.split(" ").map((word) => one(ofParts(word))).join(" "))
  }

  private client(address: Packet.Connect["address"]): Packet.Connect["address"] {
    switch (address._tag) {
      case "IPv4":
      case "IPv6":
        return { ...address, address: this.ip(address.address) }
      case "Unix":
        return { ...address, path: ofParts("/redacted") }
      default:
        return address
    }
  }

  private readonly parameter = (parameter: ByteString): ByteString => {
    if (known.parameter.test(parameter)) return parameter
    const equals = parameter.indexOf("=")
    const keyword = parameter.slice(0, equals)
    const value = ofParts(parameter.slice(equals + 1))
    switch (equals === -1 ? "" : keyword.toUpperCase()) {
      case "AUTH":
        return ofParts(`${keyword}=${this.mailbox(value)}`)
      case "ENVID":
        return ofParts(`${keyword}=${mask(value)}`)
      case "ORCPT": {
        const type = value.indexOf(";")
        const isMail = value.slice(0, type).toLowerCase() === "rfc822"
        return ofParts(
          isMail
            ? `${keyword}=${value.slice(0, type)};${this.mailbox(ofParts(value.slice(type + 1)))}`
            : `${keyword}=${mask(value)}`
        )
      }
      default:
        return mask(parameter)
    }
  }

  private macro(name: ByteString, value: ByteString): ByteString {
    const kind = known.macros.get(name.replace(/^\{(.*)\}$/s, "$1"))
    switch (value === "" ? undefined : kind) {
      case "host":
        return this.host(value)
      case "ip":
        return this.ip(value)
      case "mailbox":
        return this.mailbox(value)
      case "login":
        return value.includes("@") ? this.mailbox(value) : ofParts(this.users.of(value))
      case "client": {
        const [, client, ip, rest] = /^([^ []*) ?\[([^\]]*)\]( \(may be forged\))?$/.exec(value) ?? []
        if (ip === undefined) return this.host(value)
        const host = client === "" ? "" : `${this.host(ofParts(client!))} `
        return ofParts(`${host}[${this.ip(ofParts(ip))}]${rest ?? ""}`)
      }
      default:
        return kind instanceof RegExp && kind.test(value) ? value : mask(value)
    }
  }

  /** Hides a mailbox with or without brackets, or whatever is given in place of one. */
  private mailbox(address: ByteString): ByteString {
    if (address === "" || address === "<>") return address
    const opens = address.startsWith("<")
    const closes = address.endsWith(">")
    const inner = address.slice(opens ? 1 : 0, closes ? -1 : undefined)
    const at = inner.lastIndexOf("@")
    const hidden = at === -1 ? this.users.of(inner) : this.address(inner)
    return ofParts(`${opens ? "<" : ""}${hidden}${closes ? ">" : ""}`)
  }

  /** Hides the name of a host or an address in brackets, or whatever is given in place of one. */
  private host(text: ByteString): ByteString {
    if (text === "" || text === "unknown" || text === "localhost") return text
    return text.startsWith("[") && text.endsWith("]")
      ? ofParts(`[${this.ip(ofParts(text.slice(1, -1)))}]`)
      : ofParts(this.domains.of(text))
  }

  private ip(text: ByteString): ByteString {
    if (text === "" || text === "unknown") return text
    if (!text.includes(":")) return ofParts(this.ipv4.of(text))
    const prefix = /^IPv6:/i.exec(text)?.[0] ?? ""
    return ofParts(`${prefix}${this.ipv6.of(text.slice(prefix.length))}`)
  }

  private field(name: ByteString): ByteString {
    return known.fields.has(name.toLowerCase()) ? name : ofParts(this.fields.of(name))
  }

  private readonly text = (text: ByteString): ByteString =>
    this.hides.addresses
      ? ofParts(text.replace(anything, (
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
