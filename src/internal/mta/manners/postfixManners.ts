/** How Postfix speaks to a filter, from release to release. */
import { ByteString } from "../../bytes/byteString.ts"
import { ofParts } from "../../bytes/byteString.ts"
import { byteStringOf } from "../../bytes/concat.ts"
import * as postfixQueue from "../../delivery/postfixQueue.ts"
import { type AnsweredStage, isContent } from "../../protocol/stageTable.ts"
import { everything } from "../checkAgreement.ts"
import type { Connect, MacroValues } from "../clientValues.ts"
import {
  hostname,
  isUnverified,
  type KnownMacros,
  type MacroFacts,
  type Manners,
  noMacros,
  reply,
  usualClient
} from "./mtaManners.ts"

interface Release {
  readonly name: string
  /** 307 for 3.7. */
  readonly number: number
}

const offerOf = ({ number }: Release): Manners["offer"] =>
  number < 204
    ? { version: 2, actions: 0x3d, steps: 0x7f } // no new body
    : number < 205
    ? { version: 2, actions: 0x3f, steps: 0x7f }
    : number < 206
    ? { version: 2, actions: 0x13f, steps: 0x7f }
    : everything

const introduceBy = (release: Release) => (client: Partial<Connect> | undefined): Connect => {
  const introduced = client === undefined
    ? usualClient
    : client.address === undefined
    ? { hostname: "unknown", ...client }
    : { hostname: `[${client.address}]`, port: usualClient.port, ...client }
  if (release.number >= 205) return introduced
  return { ...introduced, hostname: isUnverified(introduced) ? "unknown" : introduced.hostname, port: 0 }
}

const prefixed = (address: string): string => address.includes(":") ? `IPv6:${address}` : address

const connectMacros = ({ name, number }: Release, { client }: MacroFacts): KnownMacros => {
  const address = client.address ?? "unknown"
  const unverified = isUnverified(client) || client.hostname === "unknown"
  const clientName = unverified ? "unknown" : client.hostname
  return {
    sent: {
      j: hostname,
      "{daemon_name}": hostname,
      ...(number >= 302 ? { "{daemon_addr}": "192.0.2.25" } : noMacros),
      v: name,
      ...(number >= 305 ? { _: `${clientName} [${address}]` } : noMacros)
    },
    onRequest: {
      // The prefix is here only: after DATA, Postfix has the address without it.
      "{client_addr}": prefixed(address),
      "{client_name}": clientName,
      "{client_ptr}": clientName,
      ...(number >= 205 ? { "{client_port}": String(client.port ?? 0) } : noMacros),
      "{client_resolve}": unverified ? "FAIL" : "OK",
      "{client_connections}": "1",
      "{daemon_port}": "25"
    }
  }
}

const mailMacros = ({ number }: Release, { sender }: MacroFacts): MacroValues => ({
  "{mail_addr}": sender.address,
  ...(number >= 206 ? { "{mail_host}": sender.domain, "{mail_mailer}": "smtp" } : noMacros)
})

const rcptMacros = ({ number }: Release, { recipient, refused }: MacroFacts): MacroValues => {
  if (refused !== undefined) {
    return { "{rcpt_addr}": refused.text, "{rcpt_host}": refused.enhanced, "{rcpt_mailer}": "error" }
  }
  if (recipient === undefined) return noMacros
  return {
    "{rcpt_addr}": recipient.address,
    ...(number >= 206 ? { "{rcpt_host}": recipient.domain, "{rcpt_mailer}": "local" } : noMacros)
  }
}

const macrosOf = (release: Release) => (stage: AnsweredStage, facts: MacroFacts): KnownMacros | undefined => {
  const { address = "" } = facts.client
  const i = { i: facts.queueId }
  switch (stage) {
    case "connect":
      return connectMacros(release, facts)
    case "helo":
    case "unknown":
      return { sent: noMacros, onRequest: noMacros }
    case "mail":
      // There is no queue file yet, and so no queue id, before a recipient has been accepted.
      return { sent: mailMacros(release, facts), onRequest: noMacros }
    case "rcpt":
      return { sent: { ...(facts.accepted > 0 ? i : noMacros), ...rcptMacros(release, facts) }, onRequest: noMacros }
    case "header":
    case "endOfHeaders":
      if (release.number < 205) return undefined
      break
    case "data":
    case "body":
    case "endOfMessage":
      break
  }
  return { sent: i, onRequest: address.includes(":") ? { "{client_addr}": address } : noMacros }
}

/** Postfix hands the content to another process (cleanup), which is not told all macros of the session. */
const forgets = (stage: AnsweredStage, name: string): boolean =>
  isContent(stage) && /^(?:mail_|rcpt_|tls_|cipher|cert_|client_resolve)/.test(name)

const rejected = reply("550", "5.7.1", "Command rejected")
const later = reply("451", "4.7.1", "Service unavailable - try again later")

const failures = {
  tempFail: later,
  reject: reply("550", "5.5.0", "Service unavailable"),
  shutdown: reply("421", "4.7.1", "Service unavailable - try again later")
}

const misconfigured = reply("451", "4.3.5", "Server configuration problem - try again later")

const make = (release: Release): Manners => ({
  name: release.name,
  offer: offerOf(release),
  timeouts: {
    connect: 30_000,
    command: 30_000,
    content: 300_000,
    // Postfix waits as long as there is progress; no SMTP client waits for an hour.
    total: 3_600_000
  },
  unoffered: { steps: "ignored", macroLists: release.number < 205 ? "refused" : "ignored" },
  macroLists: "postfix",
  introduce: introduceBy(release),
  macros: macrosOf(release),
  forgets,
  unknownLine: (line) =>
    // The verb alone.
    release.number < 308 ? ByteString.toBytes(ofParts(byteStringOf(line).replace(/[ \t][^]*$/, ""))) : line,
  aborts: "always",
  afterVerdictOnSession: "closes",
  skips: "command",
  progressEverywhere: true,
  bodyAtEnd: release.number < 204,
  showsRefused: true,
  unknownAfterMessage: true,
  reply: (refusal) =>
    refusal._tag === "Reply"
      ? { code: refusal.code, enhanced: refusal.enhanced, lines: refusal.lines }
      : refusal._tag === "Reject"
      ? rejected
      : later,
  closesAfter: ({ code }) => code === "421" || code === "521",
  ownUnknownReply: release.number >= 308,
  onFailure: release.number < 311 ? "tempFail" : "shutdown",
  // Postfix does not reject mail because of a wrong configuration.
  failureReply: (policy, configuration) => configuration && policy !== "shutdown" ? misconfigured : failures[policy],
  queue: postfixQueue.make
})

export const postfix23 = make({ name: "Postfix 2.3.19", number: 203 })
export const postfix26 = make({ name: "Postfix 2.6.19", number: 206 })
export const postfix37 = make({ name: "Postfix 3.7.11", number: 307 })
export const postfix38 = make({ name: "Postfix 3.8.0", number: 308 })
export const postfix311 = make({ name: "Postfix 3.11.0", number: 311 })
