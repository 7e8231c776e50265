/** Messages with parts of all kinds that a seed repeats, and ways to break them. */
import * as Random from "../../support/random.ts"

/** One character a byte; the header without the empty line after it. */
export interface Mail {
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: string
}

/** A part: its fields, and its body without the line end before the next delimiter. */
interface Part {
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: string
}

const latin1 = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

const words = [
  "Hello",
  "Grüße",
  "=3D",
  "--",
  "-- ",
  "--b",
  "a=b",
  "x ",
  "€",
  "<b>bold</b>",
  "日本",
  "\t",
  ".",
  "From me"
]

const sentences = (random: Random.Random, charset: string): string => {
  const usable = charset === "us-ascii" || charset === ""
    ? words.filter((word) => !/[^\0-\x7f]/.test(word))
    : charset === "iso-8859-1"
    ? words.filter((word) => !/[^\0-\xff]/.test(word))
    : words
  const lines = Array.from(
    { length: random.between(0, 6) },
    () => Array.from({ length: random.between(0, 12) }, () => random.pick(usable)).join(" ")
  )
  return lines.join("\r\n") + (random.chance(0.5) && lines.length > 0 ? "\r\n" : "")
}

const bytesIn = (text: string, charset: string): string => charset === "iso-8859-1" ? text : latin1(text)

export const quotedPrintable = (bytes: string): string =>
  bytes.split("\r\n").map((line) => {
    const encoded = line.replace(/[^ -<>-~]/g, hex).replace(/[ \t]$/, hex)
    return encoded.replace(/(?:[^=]|=[0-9A-F]{2}){60}(?=.)/g, "$&=\r\n")
  }).join("\r\n")

const hex = (character: string): string => `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`

export const base64 = (bytes: string, width = 76): string =>
  btoa(bytes).replace(new RegExp(`.{${width}}(?=.)`, "g"), "$&\r\n")

const encoded = (random: Random.Random, bytes: string, isAscii: boolean): readonly [name: string, body: string] => {
  const name = random.pick(isAscii ? ["7bit", "quoted-printable", "base64"] : ["8bit", "quoted-printable", "base64"])
  if (name === "quoted-printable") return [name, quotedPrintable(bytes)]
  if (name === "base64") return [name, base64(bytes, random.pick([4, 60, 76])) + (random.chance(0.3) ? "\r\n" : "")]
  return [name, bytes]
}

const textOf = (random: Random.Random, subtype: "plain" | "html"): Part => {
  const charset = random.pick(["", "us-ascii", "utf-8", "utf-8", "iso-8859-1"])
  const text = sentences(random, charset)
  const html = random.chance(0.5)
    ? `<html><head><title>x</title></head><body class="a">${text}</body></html>\r\n`
    : `<!-- </body> --><p>${text}</p><textarea></body></textarea>`
  const bytes = bytesIn(subtype === "html" ? html : text, charset)
  const isAscii = !/[^\0-\x7f]/.test(bytes)
  const [encoding, body] = encoded(random, bytes, isAscii)
  const flowed = subtype === "plain" && random.chance(0.2) ? "; format=flowed" : ""
  const type = ` text/${subtype}${charset === "" ? "" : `; charset=${random.pick([charset, `"${charset}"`])}`}${flowed}`
  const isBare = subtype === "plain" && charset === "" && encoding === "7bit" && random.chance(0.5)
  return {
    fields: isBare ? [] : [["Content-Type", type], ["Content-Transfer-Encoding", ` ${encoding}`]],
    body
  }
}

const fileOf = (random: Random.Random): Part => ({
  fields: [
    ["Content-Type", ` application/octet-stream; name="a${random.between(1, 9)}.exe"`],
    ["Content-Transfer-Encoding", " base64"],
    [
      "Content-Disposition",
      random.pick([" attachment", " attachment;\r\n filename=\"b.exe\"", " inline; filename*=utf-8''c%20d"])
    ]
  ],
  body: base64(
    Array.from({ length: random.between(0, 300) }, () => String.fromCharCode(random.between(0, 255))).join("")
  )
})

let serial = 0

const multipart = (random: Random.Random, subtype: string, parts: ReadonlyArray<Part>): Part => {
  const boundary = random.pick([`b${++serial}`, `--b${++serial}`, `b${++serial} c`, `=_${++serial}`])
  const delimiters = random.pick(["", " ", "\t "])
  return {
    fields: [["Content-Type", ` multipart/${subtype};\r\n boundary="${boundary}"`]],
    body: random.pick(["", "a preamble\r\n", "\r\n"]) +
      parts.map((part) => `--${boundary}${delimiters}\r\n${bytesOf(part)}\r\n`).join("") +
      `--${boundary}--` + random.pick(["", "\r\n", "\r\nan epilogue\r\n", " \r\n\r\n"])
  }
}

const headerOf = (fields: Part["fields"]): string => fields.map(([name, value]) => `${name}:${value}\r\n`).join("")

const bytesOf = ({ body, fields }: Part): string => `${headerOf(fields)}\r\n${body}`

const messageOf = (random: Random.Random, depth: number): Part => ({
  fields: [
    ["Content-Type", " message/rfc822"],
    ...(random.chance(0.5) ? [["Content-Disposition", " attachment"] as const] : [])
  ],
  body: `Subject: inner\r\nMIME-Version: 1.0\r\n${bytesOf(partOf(random, depth + 1))}`
})

const calendar: Part = {
  fields: [["Content-Type", " text/calendar; method=REQUEST"]],
  body: "BEGIN:VCALENDAR\r\nEND:VCALENDAR"
}

const partOf = (random: Random.Random, depth: number): Part => {
  const inner = (least: number, most: number): ReadonlyArray<Part> =>
    Array.from({ length: random.between(least, most) }, () => partOf(random, depth + 1))
  const kinds = ["plain", "html", "alternative", "mixed", "related", "file", "signed", "message", "digest"]
  switch (random.pick(depth > 3 ? kinds.slice(0, 2) : kinds)) {
    case "plain":
      return textOf(random, "plain")
    case "html":
      return textOf(random, "html")
    case "alternative":
      return multipart(random, "alternative", [
        textOf(random, "plain"),
        random.chance(0.3)
          ? multipart(random, "related", [textOf(random, "html"), fileOf(random)])
          : textOf(random, "html"),
        ...(random.chance(0.2) ? [calendar] : [])
      ])
    case "mixed":
      return multipart(random, "mixed", inner(1, 4))
    case "related":
      return multipart(random, "related", [textOf(random, "html"), fileOf(random)])
    case "file":
      return fileOf(random)
    case "signed":
      return multipart(random, "signed", [partOf(random, depth + 1), fileOf(random)])
    case "digest":
      return multipart(random, "report", inner(1, 2))
    default:
      return messageOf(random, depth)
  }
}

export const mailOf = (seed: number): Mail => {
  const random = Random.make(seed)
  const { body, fields } = partOf(random, 0)
  const end = body.endsWith("\r\n") || random.chance(0.1) ? "" : "\r\n"
  return { fields: [["Subject", " hello"], ["MIME-Version", " 1.0"], ...fields], body: body + end }
}

/** The same broken somewhere: bytes lost, doubled or changed, lines without CR, a header cut. */
export const mangled = (mail: Mail, seed: number): Mail => {
  const random = Random.make(seed)
  let { body } = mail
  let { fields } = mail
  for (let count = random.between(1, 4); count > 0; count--) {
    const at = random.between(0, body.length)
    const length = random.pick([1, 2, 5, 40, 300])
    switch (random.pick(["lose", "double", "byte", "lines", "cut", "boundary", "field", "equals"])) {
      case "lose":
        body = body.slice(0, at) + body.slice(at + length)
        break
      case "double":
        body = body.slice(0, at) + body.slice(Math.max(0, at - length))
        break
      case "byte":
        body = body.slice(0, at) + String.fromCharCode(random.between(0, 255)) + body.slice(at + 1)
        break
      case "lines":
        body = body.replaceAll("\r\n", random.pick(["\n", "\r\n", "\r\r\n"]))
        break
      case "cut":
        body = body.slice(0, at)
        break
      case "boundary":
        body = body.replace(/^--(\S+)$/m, random.pick(["--$1x", "-$1", "--$1--", "--$1\r\n--$1"]))
        break
      case "field":
        fields = random.chance(0.5)
          ? fields.filter(([name]) => name !== "Content-Type")
          : [...fields, [
            "Content-Type",
            random.pick([" text/plain", " multipart/mixed", " ", " multipart/mixed; boundary=x"])
          ]]
        break
      case "equals":
        body = body.slice(0, at) + random.pick(["=", "=\r\n", "=G", "\0", "\u00e9"]) + body.slice(at)
        break
    }
  }
  return { fields, body }
}

export const sourceOf = ({ body, fields }: Mail): string => `${headerOf(fields)}\r\n${body}`
