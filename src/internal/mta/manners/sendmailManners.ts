/** How Sendmail speaks to a filter, from release to release. */
import type { ByteString } from "../../bytes/byteString.ts"
import { bytes } from "../../bytes/byteString.ts"
import * as sendmailQueue from "../../delivery/sendmailQueue.ts"
import * as Ip from "../../mail/ipAddress.ts"
import { type AnsweredStage, isContent } from "../../protocol/stageTable.ts"
import { everything } from "../checkAgreement.ts"
import type { RefusingAnswer } from "../interpretReply.ts"
import {
  hostname,
  isUnverified,
  type KnownMacros,
  type MacroFacts,
  type Manners,
  noMacros,
  onlyOnRequest,
  reply,
  usualClient
} from "./mtaManners.ts"

/** `IPv6:2001:db8:0:0:0:0:0:1`: prefixed, and zeros not compressed. */
const prefixed = (address: string): string => {
  const ip = address.includes(":") ? Ip.parse(address) : undefined
  if (ip === undefined || ip.v4) return address
  const groups = ip.words.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)])
  return `IPv6:${groups.join(":")}`
}

const connectMacros = (release: string, { client }: MacroFacts): KnownMacros => ({
  sent: {
    j: hostname,
    _: isUnverified(client) || client.address === undefined
      ? client.hostname
      : `${client.hostname} [${client.address ?? ""}]`,
    "{daemon_name}": client.address?.includes(":") === true ? "MTA6" : "MTA",
    "{if_name}": hostname,
    "{if_addr}": "192.0.2.25"
  },
  onRequest: {
    "{client_addr}": client.address ?? "0",
    "{client_name}": client.hostname,
    "{client_port}": String(client.port ?? 0),
    "{client_ptr}": client.hostname,
    "{client_resolve}": isUnverified(client) ? "FAIL" : "OK",
    v: release
  }
})

const rcptMacros = ({ accepted, recipient, refused }: MacroFacts): KnownMacros => ({
  sent: refused !== undefined
    ? { "{rcpt_mailer}": "error", "{rcpt_host}": refused.enhanced, "{rcpt_addr}": refused.text }
    : recipient === undefined
    ? noMacros
    : { "{rcpt_mailer}": "local", "{rcpt_host}": recipient.domain, "{rcpt_addr}": recipient.address },
  // Sendmail counts this recipient too.
  onRequest: { "{nrcpts}": String(accepted + 1), "{nbadrcpts}": "0" }
})

/** The Message-ID that Sendmail gives to a message without one: `<202401011200.QUEUEID@mx.example.org>`. */
const messageIdOf = ({ began, queueId }: MacroFacts): string =>
  `<${new Date(began).toISOString().replace(/\D/g, "").slice(0, 12)}.${queueId}@${hostname}>`

const macrosOf = (release: string) => (stage: AnsweredStage, facts: MacroFacts): KnownMacros | undefined => {
  switch (stage) {
    case "connect":
      return connectMacros(release, facts)
    case "helo":
      return { sent: noMacros, onRequest: noMacros }
    case "mail":
      return {
        sent: {
          i: facts.queueId,
          "{mail_mailer}": "esmtp",
          "{mail_host}": facts.sender.domain,
          "{mail_addr}": facts.sender.address
        },
        onRequest: noMacros
      }
    case "rcpt":
      return rcptMacros(facts)
    case "endOfMessage":
      return {
        sent: { "{msg_id}": facts.messageId ?? messageIdOf(facts) },
        onRequest: { "{nrcpts}": String(facts.accepted) }
      }
    case "data":
    case "endOfHeaders":
      return onlyOnRequest
    case "header":
    case "body":
    case "unknown":
      return undefined
  }
}

const later = reply("451", "4.3.2", "Please try again later")
const closing = reply("421", "4.7.0", `${hostname} closing connection`)

const rejectedAt = (stage: AnsweredStage): typeof later =>
  stage === "connect" || stage === "helo"
    ? reply("550", "5.0.0", "Command rejected")
    : reply(isContent(stage) ? "554" : "550", "5.7.1", "Command rejected")

/** Words a refusal. At connect all words are Sendmail's own; with some codes the first line begins with the address. */
const replyTo = (refusal: RefusingAnswer, stage: AnsweredStage, address: ByteString | undefined): typeof later => {
  if (refusal._tag === "TempFail") return later
  if (refusal._tag === "Reply" && stage === "connect") {
    return refusal.code === "421" ? closing : refusal.code.startsWith("4") ? later : rejectedAt(stage)
  }
  const { code, lines, ...others } = refusal._tag === "Reply" ? refusal : rejectedAt(stage)
  const enhanced = others.enhanced ?? `${code[0]}.0.0`
  const [line, ...further] = lines
  return address === undefined || line === undefined || !addressedCodes.has(code)
    ? { code, enhanced, lines }
    : { code, enhanced, lines: [bytes`${address}... ${line}`, ...further] }
}

// 550 5.7.1 <bob@example.net>... no
const addressedCodes: ReadonlySet<string> = new Set(["450", "550", "553"])

const make = (release: string, queue: Manners["queue"]): Manners => ({
  name: `Sendmail ${release}`,
  offer: everything,
  timeouts: { connect: 300_000, command: 10_000, content: 10_000, total: 300_000 },
  unoffered: { steps: "refused", macroLists: "ignored" },
  macroLists: "sendmail",
  introduce: (client) => {
    if (client === undefined) return usualClient
    if (client.address === undefined) return { hostname: "unknown", ...client }
    const address = prefixed(client.address)
    return { hostname: `[${address}]`, port: usualClient.port, ...client, address }
  },
  macros: macrosOf(release),
  forgets: () => false,
  unknownLine: (line) => line,
  aborts: "open",
  afterVerdictOnSession: "quits",
  skips: "body",
  progressEverywhere: false,
  bodyAtEnd: false,
  showsRefused: false,
  unknownAfterMessage: false,
  reply: replyTo,
  closesAfter: ({ code }) => code === "421",
  ownUnknownReply: false,
  // As with F=T; without a flag Sendmail lets mail pass.
  onFailure: "tempFail",
  failureReply: (policy) => policy === "tempFail" ? later : policy === "reject" ? rejectedAt("mail") : closing,
  queue
})

export const sendmail817 = make("8.17.1", sendmailQueue.make)
export const sendmail818 = make("8.18.2", sendmailQueue.make818)
