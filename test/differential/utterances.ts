/** What SMTP clients say and MTAs hand on: names, addresses, fields, bodies, macros; usual and odd, with wishes in them. */
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import type { Random } from "../support/random.ts"

export type Style = "postfix" | "sendmail"

// One character per byte, as they are written here.
const bytes = (text: string): ByteString => ByteString.make(text)

const replies = ["reply550", "reply451", "reply421", "reply521", "reply554", "multi550", "multi452"] as const
const senseless = ["continue", "nonsense", "reply999", "reply55", ""] as const
const connection = [["accept"], ["reject"], ["tempfail"], replies, senseless] as const
const message = [...connection, ["discard"], replies] as const
const words = { connection, message, body: [...message, ["skip"], ["skip"]] } as const

const oddLocalParts = [
  "bob",
  "alice+tag",
  "\"quoted local\"",
  "\"with \\\" and <\"",
  "j\xc3\xb8rn",
  "\xe9\xff",
  "x".repeat(300),
  "a=b?c!d%e",
  "@relay.example:bob"
]

const parameters = [
  "SIZE=1000",
  "BODY=8BITMIME",
  "SMTPUTF8",
  "AUTH=<>",
  "RET=HDRS",
  "ENVID=a+20b",
  "NOTIFY=SUCCESS,FAILURE",
  "ORCPT=rfc822;bob@example.org",
  "XODD",
  "=",
  "size=",
  "",
  "X=\xc3\xb8\xff"
]

const names = ["Subject", "From", "X-Test", "received", "x-y.z", "X-\xe9\xc3", "X", "MIME-Version", "To"]
const values = [
  "hello",
  "",
  " two spaces in front",
  "\ttab in front",
  "folded\n once\n\ttwice",
  "=?UTF-8?Q?K=C3=B6ln?=",
  "K\xf6ln in Latin-1",
  "K\xc3\xb6ln in UTF-8",
  "controls \x01\x07\x7f\x1b[0m",
  "bare \r inside",
  "ends with a space ",
  "v".repeat(3000)
]

const edits = [
  "add X-Added some value",
  "add X-Folded one\n two\n\tthree",
  "add X-Empty ",
  "insert 0 X-First on top",
  "insert 1 X-Second below Received",
  "insert 2147483647 X-Last at the end",
  "change 1 Subject changed: by the filter",
  "change 7 X-Not-There added then",
  "delete 2 Received",
  "delete 1 X-Test",
  "addrcpt <carol@example.net>",
  "addrcpt \"odd local\"@example.net",
  "addrcptpar <dave@example.net> NOTIFY=NEVER",
  "addrcptpar erin@example.net NOTIFY=NEVER ORCPT=rfc822;e@x",
  "delrcpt bob@example.org",
  "delrcpt <nobody@example.org>",
  "from <new@example.net>",
  "from new@example.net RET=HDRS ENVID=1",
  "from <>",
  "quarantine looks odd",
  "macro i",
  "macro j",
  "client",
  "unheard of"
]

const bodyEdits = ["body 0", "body 1", "body 300", "body 65535", "body 65536", "body 200000"]

const textOf = (length: number, at: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => {
    const column = (at + index) % 72
    return column === 70 ? 13 : column === 71 ? 10 : 33 + ((at + index) % 90)
  })

export class Utterances {
  private readonly random: Random
  private readonly style: Style
  private readonly queueId: string

  constructor(random: Random, style: Style) {
    this.random = random
    this.style = style
    this.queueId = `4Q${random.between(100000, 999999)}`
  }

  /** A word for a stage, or nothing. */
  wish(stage: keyof typeof words, probability: number): string | undefined {
    return this.random.chance(probability) ? this.random.pick<string>(this.random.pick(words[stage])) : undefined
  }

  connect(word: string | undefined, local: boolean): Packet.Connect {
    const { random } = this
    if (local) {
      return {
        _tag: "Connect",
        hostname: bytes("localhost"),
        address: random.pick<Packet.Connect["address"]>([
          { _tag: "Unknown" },
          { _tag: "IPv4", port: 0, address: bytes("127.0.0.1") },
          { _tag: "IPv6", port: 0, address: bytes(this.style === "postfix" ? "::1" : "IPv6:0:0:0:0:0:0:0:1") }
        ])
      }
    }
    const port = random.between(0, 65535)
    const v4 = Array.from({ length: 4 }, () => random.between(0, 255)).join(".")
    const groups = Array.from({ length: 8 }, () => random.chance(0.4) ? 0 : random.between(1, 65535))
    // Not below ::/16, where an address may stand for one of IPv4.
    const v6 = [0x2001, ...groups.slice(1)].map((group) => group.toString(16)).join(":")
    const address = random.pick<Packet.Connect["address"]>([
      { _tag: "IPv4", port, address: bytes(v4) },
      { _tag: "IPv4", port, address: bytes(v4) },
      { _tag: "IPv6", port, address: bytes(this.style === "postfix" ? v6 : `IPv6:${v6.toUpperCase()}`) },
      { _tag: "IPv6", port, address: bytes(this.style === "postfix" ? "2001:db8::1" : "IPv6:2001:db8:0:0:0:0:0:1") },
      { _tag: "Unix", port: 0, path: bytes("/run/client.sock") },
      { _tag: "Unknown" }
    ])
    const hostname = word === undefined
      ? random.pick(["client.example", `[${v4}]`, `[IPv6:${v6}]`, "unknown", "xn--jrn-0na.example", ""])
      : `do-${word}.client.example`
    return { _tag: "Connect", hostname: bytes(hostname), address }
  }

  helo(word: string | undefined): Packet.Helo {
    const name = word === undefined
      ? this.random.pick([
        "client.example",
        "[192.0.2.1]",
        "",
        "with spaces and more",
        "j\xc3\xb8rn.example",
        "\xff\x80",
        "h".repeat(500)
      ])
      : `do-${word}`
    return { _tag: "Helo", name: bytes(name) }
  }

  /** `later` are wishes for stages that have no input of their own. */
  mail(word: string | undefined, later: ReadonlyArray<string>): Packet.Mail {
    const { random } = this
    const wished = [...(word === undefined ? [] : [`do-${word}`]), ...later]
    const sender = wished.length > 0
      ? this.bracketed(`${wished.join(".")}@example.org`)
      : random.pick([() => "<>", () => "", () => this.address(), () => this.address()])()
    return { _tag: "Mail", sender: bytes(sender), parameters: this.parameters() }
  }

  rcpt(word: string | undefined): Packet.Rcpt {
    const recipient = word === undefined ? this.address() : this.bracketed(`do-${word}@example.org`)
    return { _tag: "Rcpt", recipient: bytes(recipient), parameters: this.parameters() }
  }

  header(word: string | undefined, leadingSpace: boolean): Packet.Header {
    const { random } = this
    return {
      _tag: "Header",
      name: bytes(word === undefined ? random.pick(names) : `X-do-${word}`),
      value: bytes((leadingSpace && random.chance(0.9) ? " " : "") + random.pick(values))
    }
  }

  /** Fields that ask for changes; at most one for the body, and whether others come after it. */
  edits(leadingSpace: boolean): ReadonlyArray<Packet.Header> {
    const { random } = this
    if (!random.chance(0.4)) return []
    const wished = Array.from({ length: random.between(0, 6) }, () => random.pick(edits))
    if (random.chance(0.4)) wished.splice(random.between(0, wished.length), 0, random.pick(bodyEdits))
    return wished.map((edit) => ({
      _tag: "Header",
      name: bytes(random.pick(["X-Do", "x-do", "X-DO"])),
      value: bytes((leadingSpace ? " " : "") + edit)
    }))
  }

  /** The pieces of a body. */
  body(): ReadonlyArray<Uint8Array> {
    const { random } = this
    const length = random.pick([
      () => 0,
      () => random.between(1, 100),
      () => random.between(1, 5000),
      () => random.chance(0.1) ? random.between(60_000, 140_000) : 1
    ])()
    const full = random.chance(0.5) ? 65535 : random.between(1, 65535)
    const pieces: Array<Uint8Array> = []
    for (let at = 0; at < length;) {
      // Cut in the middle of lines, and often between CR and LF.
      const size = Math.min(length - at, Math.max(full, Math.ceil(length / 5)), 65535)
      pieces.push(
        random.chance(0.1)
          ? Uint8Array.from({ length: size }, () => random.between(0, 255))
          : textOf(size, at)
      )
      at += size
    }
    return pieces
  }

  piece(word: string): Uint8Array {
    return ByteString.toBytes(bytes(`a line\r\nand do-${word} in another\r\n`))
  }

  unknown(word: string | undefined): Packet.Unknown {
    const line = word === undefined
      ? this.random.pick(["FOO", "FOO bar baz", "", "GET / HTTP/1.1", "\xff\xfe", "X".repeat(2000)])
      : `XDO do-${word} please`
    return { _tag: "Unknown", line: bytes(line) }
  }

  /** What the MTA defines for a command; undefined where it sends nothing at all. */
  macros(
    letter: string,
    about: { readonly tls: boolean; readonly firstRecipient: boolean; readonly packet?: Packet.MtaPacket }
  ): Packet.Macro | undefined {
    const { packet } = about
    const id = `${this.queueId}${this.style}`
    const tls = { "{tls_version}": "TLSv1.3", "{cipher}": "TLS_AES_256_GCM_SHA384", "{cipher_bits}": "256" }
    const address = packet?._tag === "Rcpt" ? packet.recipient : packet?._tag === "Mail" ? packet.sender : ""
    const bare = address.replace(/[<>]/g, "")
    const connect = { j: "mx.example", _: "client.example [192.0.2.1]", "{daemon_name}": "MTA" }
    const mail = {
      "{mail_addr}": bare,
      "{mail_host}": "mx.example.net.",
      "{mail_mailer}": "esmtp",
      ...(this.random.chance(0.3) ? { "{auth_type}": "PLAIN", "{auth_authen}": "j\xc3\xb8rn" } : {})
    }
    const rcpt = { "{rcpt_addr}": bare, "{rcpt_host}": "mx.example.", "{rcpt_mailer}": "local" }
    const list = (values: { readonly [name: string]: string }): Packet.Macro => ({
      _tag: "Macro",
      stage: bytes(letter),
      macros: Object.entries(values).map(([name, value]) => ({ name: bytes(name), value: bytes(value) }))
    })
    switch (this.style + letter) {
      case "postfixC":
        return list({ ...connect, v: "Postfix 3.7.11" })
      case "sendmailC":
        return list(connect)
      case "postfixH":
      case "sendmailH":
        return list(about.tls ? tls : {})
      case "postfixM":
        return list(mail)
      case "sendmailM":
        return list({ i: id, ...mail })
      case "postfixR":
        return list(about.firstRecipient ? rcpt : { i: id, ...rcpt })
      case "sendmailR":
        return list(rcpt)
      case "postfixT":
      case "postfixL":
      case "postfixN":
      case "postfixB":
      case "postfixE":
        return list({ i: id })
      case "postfixU":
        return list({})
      case "sendmailE":
        return list({ "{msg_id}": "<1@client.example>" })
      default:
        return undefined
    }
  }

  private address(): string {
    return this.bracketed(
      `${this.random.pick(oddLocalParts)}@${this.random.pick(["example.org", "Example.ORG.", "[192.0.2.1]"])}`
    )
  }

  /** Clients leave the brackets out, and MTAs hand that on. */
  private bracketed(address: string): string {
    return this.random.chance(0.8) ? `<${address}>` : address
  }

  private parameters(): ReadonlyArray<ByteString> {
    return Array.from(
      { length: this.random.chance(0.5) ? 0 : this.random.between(1, 4) },
      () => bytes(this.random.pick(parameters))
    )
  }
}
