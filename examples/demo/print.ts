/** How the demo looks: a conversation in two columns, a message with what was added to it. */
import type * as MilterClient from "effect-milter/MilterClient"
import * as Negotiation from "effect-milter/Negotiation"
import * as Packet from "effect-milter/Packet"
import type { Mail } from "./messages.ts"

const colours = process.stdout.isTTY && process.env["NO_COLOR"] === undefined
const style = (code: number) => (text: string) => colours && text !== "" ? `\u001b[${code}m${text}\u001b[0m` : text

const bold = style(1)
const dim = style(2)
const red = style(31)
const green = style(32)
const yellow = style(33)

export const title = (text: string): string => `\n${bold(`━━ ${text} `.padEnd(96, "━"))}\n`

export const heading = (mail: Mail, index: number): string =>
  title(`${index + 1}. ${mail.from} writes to ${mail.to}: ${mail.headers.find(([name]) => name === "Subject")?.[1]}`)

// --- MTA and filter

type AnyPacket = Packet.MtaPacket | Packet.FilterPacket

const namesOf = (bits: number, names: { readonly [name: string]: number }): string =>
  Object.entries(names).filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name).join(" ")

const words = (tag: string): string => tag.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter}`).toLowerCase()

const said = (packet: AnyPacket): string => {
  switch (packet._tag) {
    case "Negotiate":
      return `version ${packet.version}, all actions and steps`
    case "Negotiated":
      return `version ${packet.version}, ${namesOf(packet.actions, Negotiation.Action)}`
    case "Macro":
      return packet.macros.map(({ name, value }) => `${name.replace(/[{}]/g, "")}=${value}`).join(", ")
    case "Connect":
      return `${packet.hostname} [${"address" in packet.address ? packet.address.address : "unknown"}]`
    case "Helo":
      return packet.name
    case "Mail":
      return packet.sender
    case "Rcpt":
      return packet.recipient
    case "Header":
    case "AddHeader":
      return `${packet.name}:${packet.value}`
    case "Body":
      return `${packet.bytes.length} bytes`
    case "ReplyCode":
      return packet.text
    default:
      return ""
  }
}

const stages: { readonly [letter: string]: string } = {
  C: "connect",
  H: "helo",
  M: "mail",
  R: "rcpt",
  T: "data",
  L: "header",
  N: "end of headers",
  B: "body",
  E: "end of message"
}

const width = 50
const fullWidth = 110

const fit = (text: string): string => text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width)

const remark = (text: string): string =>
  dim(`    ${text.length > fullWidth ? `${text.slice(0, fullWidth - 1)}…` : text}`)

const isAnswered = (packet: AnyPacket): boolean =>
  Packet.mtaDefinitions.some(({ answered, name }) => answered && name === packet._tag)

/** One command to the left, under the macros that came with it; to the right what the filter said. */
export const conversation = (packets: ReadonlyArray<AnyPacket>, from: (packet: AnyPacket) => "mta" | "filter") => {
  const lines = [`  ${bold("MTA → filter".padEnd(width))}  ${bold("filter → MTA")}`]
  let waiting: AnyPacket | undefined
  const flush = (right = "") => {
    const left = waiting === undefined ? "" : line(waiting)
    const none = waiting !== undefined && isAnswered(waiting) ? dim("(no answer wanted)") : ""
    if (waiting !== undefined || right !== "") lines.push(`  ${fit(left)}  ${right === "" ? none : right}`.trimEnd())
    waiting = undefined
  }
  for (const packet of packets) {
    if (from(packet) === "filter") flush(line(packet))
    else {
      flush()
      if (packet._tag !== "Macro") waiting = packet
      else if (packet.macros.length > 0) lines.push(remark(`macros for ${stages[packet.stage]}: ${said(packet)}`))
    }
    if (packet._tag === "Negotiated") lines.push(remark(`with the steps ${namesOf(packet.steps, Negotiation.Step)}`))
  }
  flush()
  return lines.join("\n")
}

const line = (packet: AnyPacket): string => `${words(packet._tag).padEnd(15)} ${said(packet)}`.trimEnd()

// --- SMTP client and MTA

/** What the client said and what it was told. */
export const dialogue = (exchanges: ReadonlyArray<readonly [client: string, server: string]>): string =>
  [
    `  ${bold("SMTP client".padEnd(width))}  ${bold("MTA")}`,
    ...exchanges.map(([client, server]) => {
      const paint = server.startsWith("5") ? red : server.startsWith("4") ? yellow : (text: string) => text
      return `  ${fit(client)}  ${paint(server)}`
    })
  ].join("\n")

const smtp = (reply: MilterClient.Outcome["reply"]): string =>
  reply === undefined ? "" : `${reply.code} ${reply.enhanced ?? ""} ${reply.lines.join(" / ")}`

/** The dialogue that goes with an outcome: an MTA with this filter and no opinion of its own. */
export const dialogueOf = (
  mail: Mail,
  { recipients, reply, stage }: MilterClient.Outcome
): ReadonlyArray<readonly [string, string]> => {
  const exchanges: Array<readonly [string, string]> = []
  const say = (client: string, server: string, at: ReadonlyArray<string>): boolean => {
    const refused = reply !== undefined && at.includes(stage)
    exchanges.push([client, refused ? smtp(reply) : server])
    return refused
  }
  if (say(`MAIL FROM:<${mail.from}>`, "250 2.1.0 Ok", ["connect", "helo", "mail"])) return exchanges
  for (const { address } of recipients) {
    if (say(`RCPT TO:<${String(address)}>`, "250 2.1.5 Ok", ["rcpt"])) return exchanges
  }
  if (say("DATA", "354 End data with <CR><LF>.<CR><LF>", ["data"])) return exchanges
  say(
    `(${mail.headers.length} header fields and a body)`,
    "250 2.0.0 Ok",
    ["header", "endOfHeaders", "body", "endOfMessage"]
  )
  return exchanges
}

// --- the message

/** A message as it is delivered; `+` where the filter added a line. */
export const delivered = (mail: Mail, recipients: ReadonlyArray<string>, text: string): string => {
  const before = new Set([...mail.headers.map(([name, value]) => `${name}: ${value}`), "", ...mail.body.split("\n")])
  const isByMta = /^(?:Received: |\t)/
  const lines = text.replace(/\r\n/g, "\n").trimEnd().split("\n").map((line) =>
    before.has(line) ? `      ${line}`.trimEnd() : isByMta.test(line) ? dim(`      ${line}`) : green(`    + ${line}`)
  )
  return [`\n  ${bold(`Delivered to ${recipients.join(", ")}`)}`, ...lines].join("\n")
}

export const notDelivered = (outcome: "Rejected" | "TempFailed" | "Discarded"): string => {
  const explanations = {
    Rejected: red("Not delivered: the sender gets it back."),
    TempFailed: yellow("Not delivered yet: the sender's server tries again later."),
    Discarded: red("Dropped.")
  }
  return `\n  ${explanations[outcome]}`
}
