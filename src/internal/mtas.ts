/** How Postfix and Sendmail speak to a filter: what they offer, the macros they send, when they abort. */
import * as Delivery from "../Delivery.ts"
import type { Mailbox } from "../Envelope.ts"
import type { Connect, MacroValues, Mta } from "../MilterClient.ts"
import { everything } from "./agree.ts"
import * as Ip from "./ipAddress.ts"
import type { AnsweredStage } from "./replies.ts"

/** What macros tell about. */
export interface Facts {
  readonly client: Connect
  readonly queueId: string
  readonly sender: Mailbox
  readonly recipient: Mailbox | undefined
  /** The MTA has refused that recipient itself. */
  readonly refused: { readonly code: string; readonly text: string } | undefined
  /** How many recipients came before it that nobody refused. */
  readonly accepted: number
  readonly messageId: string | undefined
}

/** What is behind the public `Mta`. */
export interface Manners extends Mta {
  /** The client as it tells of it. */
  readonly introduce: (client: Partial<Connect> | undefined) => Connect
  /**
   * The macros it sends ahead of a command, and those it has on request. `sent: undefined` is no packet unless the filter
   * asked for macros there, `undefined` never any.
   */
  readonly macros: (stage: AnsweredStage, facts: Facts) =>
    | { readonly sent: MacroValues | undefined; readonly onRequest: MacroValues }
    | undefined
  /** Whether it aborts after each message, or only one that has no verdict. */
  readonly alwaysAborts: boolean
  /** How it carries out modifications, if there is a model of that. */
  readonly deliver: typeof Delivery.postfix | undefined
}

const hostname = "mx.example.org"

// Addresses and names for documentation (RFC 5737, RFC 2606).
const usualClient = { hostname: "client.example.org", address: "192.0.2.1", port: 50000 }

const none: MacroValues = {}

const onlyOnRequest = { sent: undefined, onRequest: none }

const routeOf = (mailer: "mail" | "rcpt", mailbox: Mailbox, transport: string): MacroValues => ({
  [`{${mailer}_addr}`]: mailbox.address,
  [`{${mailer}_host}`]: mailbox.domain,
  [`{${mailer}_mailer}`]: transport
})

const recipientOf = ({ recipient, refused }: Facts, transport: string): MacroValues =>
  refused !== undefined
    ? { "{rcpt_addr}": refused.text, "{rcpt_host}": refused.code, "{rcpt_mailer}": "error" }
    : recipient === undefined
    ? none
    : routeOf("rcpt", recipient, transport)

const isUnverified = (client: Connect): boolean => client.hostname.startsWith("[")

export const postfix: Manners = {
  name: "Postfix 3.7.11",
  offer: everything,
  introduce: (client) =>
    client?.address === undefined
      ? { ...usualClient, ...client }
      : { hostname: `[${client.address}]`, port: usualClient.port, ...client },
  macros: (stage, facts) => {
    const { client } = facts
    const address = client.address ?? "unknown"
    const name = isUnverified(client) ? "unknown" : client.hostname
    const i = { i: facts.queueId }
    switch (stage) {
      case "connect":
        return {
          sent: {
            j: hostname,
            "{daemon_name}": hostname,
            "{daemon_addr}": "192.0.2.25",
            v: "Postfix 3.7.11",
            _: `${name} [${address}]`
          },
          onRequest: {
            // Only here: what Postfix knows after DATA is without the prefix.
            "{client_addr}": address.includes(":") ? `IPv6:${address}` : address,
            "{client_name}": name,
            "{client_ptr}": name,
            "{client_port}": String(client.port ?? 0),
            "{client_resolve}": isUnverified(client) ? "FAIL" : "OK",
            "{client_connections}": "1",
            "{daemon_port}": "25"
          }
        }
      case "helo":
      case "unknown":
        return { sent: none, onRequest: none }
      case "mail":
        // There is no queue file yet, and so no queue id, before a recipient has been accepted.
        return { sent: routeOf("mail", facts.sender, "smtp"), onRequest: none }
      case "rcpt":
        return {
          sent: { ...(facts.accepted > 0 ? i : none), ...recipientOf(facts, "local") },
          onRequest: none
        }
      case "data":
      case "header":
      case "endOfHeaders":
      case "body":
      case "endOfMessage":
        return { sent: i, onRequest: address.includes(":") ? { "{client_addr}": address } : none }
    }
  },
  alwaysAborts: true,
  deliver: Delivery.postfix
}

/** `IPv6:2001:db8:0:0:0:0:0:1`: prefixed, and zeros not compressed. */
const prefixed = (address: string): string => {
  const ip = address.includes(":") ? Ip.parse(address) : undefined
  if (ip === undefined || ip.v4) return address
  const groups = ip.words.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)])
  return `IPv6:${groups.join(":")}`
}

export const sendmail: Manners = {
  name: "Sendmail 8.17.1",
  offer: everything,
  introduce: (client) => {
    if (client?.address === undefined) return { ...usualClient, ...client }
    const address = prefixed(client.address)
    return { hostname: `[${address}]`, port: usualClient.port, ...client, address }
  },
  macros: (stage, facts) => {
    const { client } = facts
    switch (stage) {
      case "connect":
        return {
          sent: {
            j: hostname,
            _: isUnverified(client) ? client.hostname : `${client.hostname} [${client.address ?? ""}]`,
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
            v: "8.17.1"
          }
        }
      case "helo":
        return { sent: none, onRequest: none }
      case "mail":
        return { sent: { i: facts.queueId, ...routeOf("mail", facts.sender, "esmtp") }, onRequest: none }
      case "rcpt":
        return { sent: recipientOf(facts, "local"), onRequest: none }
      case "endOfMessage":
        return facts.messageId === undefined
          ? onlyOnRequest
          : { sent: { "{msg_id}": facts.messageId }, onRequest: none }
      case "data":
      case "endOfHeaders":
        return onlyOnRequest
      case "header":
      case "body":
      case "unknown":
        return undefined
    }
  },
  alwaysAborts: false,
  deliver: undefined
}
