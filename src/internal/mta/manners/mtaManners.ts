/** How MTAs speak to a filter: what they offer, the macros they send, when they abort, what they tell the SMTP client. */
import type { Mailbox } from "../../../Envelope.ts"
import * as Macros from "../../../Macros.ts"
import type { Offer } from "../../../Negotiation.ts"
import type { Reply } from "../../../Reply.ts"
import { ByteString } from "../../bytes/byteString.ts"
import type { Message } from "../../delivery/deliveryTypes.ts"
import type { QueueFile } from "../../delivery/queueFile.ts"
import type { AnsweredStage } from "../../protocol/stageTable.ts"
import type { Connect, DefaultAction, MacroValues, Text } from "../clientValues.ts"
import type { RefusingAnswer } from "../interpretReply.ts"

/** What the macros of an MTA are made from. */
export interface MacroFacts {
  readonly client: Connect
  readonly queueId: string
  readonly sender: Mailbox
  readonly recipient: Mailbox | undefined
  /** The MTA has refused that recipient itself. */
  readonly refused: { readonly enhanced: string; readonly text: string } | undefined
  /** How many recipients so far the MTA and the filter have not refused. */
  readonly accepted: number
  /** When the message began, in milliseconds. */
  readonly began: number
  readonly messageId: string | undefined
}

/** Milliseconds. */
export interface MtaTimeouts {
  readonly connect: number
  /** For the answer to a command up to DATA. */
  readonly command: number
  /** For the answer to a header, a body and end of message, anew with each packet of it. */
  readonly content: number
  /** For the whole answer to end of message. */
  readonly total: number
}

/**
 * The macros that an MTA sends ahead of a command, and those it has on request. With `sent: undefined` it sends no macro
 * packet unless the filter asked for macros there.
 */
export interface KnownMacros {
  readonly sent: MacroValues | undefined
  readonly onRequest: MacroValues
}

/** The property of an `Mta` that only this package can give it; a copy of an `Mta` has it too. */
export const mannersKey: unique symbol = Symbol.for("effect-milter/MilterClient/manners")

/** How an MTA behaves: what a public `Mta` holds. */
export interface Manners {
  readonly name: string
  readonly offer: Offer
  readonly timeouts: MtaTimeouts
  /** What the MTA does with steps, and with macro lists, that a filter asks for and that were not offered. */
  readonly unoffered: { readonly steps: "ignored" | "refused"; readonly macroLists: "ignored" | "refused" }
  /** Which MTA's reading of a filter's macro lists applies. */
  readonly macroLists: "postfix" | "sendmail"
  /** The client as the MTA announces it. */
  readonly introduce: (client: Partial<Connect> | undefined) => Connect
  /** The macros ahead of a command; `undefined` if this MTA never sends any there. */
  readonly macros: (stage: AnsweredStage, facts: MacroFacts) => KnownMacros | undefined
  /** Whether the MTA no longer knows a macro at that stage. */
  readonly forgets: (stage: AnsweredStage, name: string) => boolean
  /** The part of an unknown command that the filter is shown. */
  readonly unknownLine: (line: Text) => Text
  /** `always`: after each message, each HELO but the first, and before quit; `open`: without a verdict; or when told to. */
  readonly aborts: "always" | "open" | "onDemand"
  /** How the MTA leaves a filter that has given its verdict on the whole session; `stays` waits for quit. */
  readonly afterVerdictOnSession: "closes" | "quits" | "stays"
  /** What the MTA leaves out after a skip in answer to a header or the end of the header. */
  readonly skips: "command" | "body"
  /** Whether progress is legal before end of message. */
  readonly progressEverywhere: boolean
  /** Whether the last piece of the body comes with end of message. */
  readonly bodyAtEnd: boolean
  /** Whether recipients that the MTA has refused itself are shown to a filter that asks for them. */
  readonly showsRefused: boolean
  /** Whether a filter that is done with a message is sent unknown commands before the next message. */
  readonly unknownAfterMessage: boolean
  /** The reply for the SMTP client; `address` is the sender or recipient of its command. */
  readonly reply: (refusal: RefusingAnswer, stage: AnsweredStage, address: ByteString | undefined) => Reply
  /** Whether the MTA ends the SMTP session with that reply. */
  readonly closesAfter: (reply: Reply) => boolean
  /** Whether the MTA keeps its own refusal of an unknown command, unless the filter's is a temporary one. */
  readonly ownUnknownReply: boolean
  readonly onFailure: DefaultAction
  /** The reply for the SMTP client when a filter has failed; `configuration`: the filter is set up wrongly, not broken. */
  readonly failureReply: (policy: "tempFail" | "reject" | "shutdown", configuration: boolean) => Reply
  readonly queue: (message: Message) => QueueFile
}

/** The members of a public `Mta`, whose type is on a floor above. */
interface Mannered {
  readonly name: string
  readonly offer: Offer
  readonly [mannersKey]: Manners
}

/** The MTA with these manners. */
export const mtaOf = (manners: Manners): Mannered => ({
  name: manners.name,
  offer: manners.offer,
  [mannersKey]: manners
})

/** The manners of an MTA; a copy may have another name and offer. */
export const mannersOf = ({ [mannersKey]: manners, name, offer }: Mannered): Manners => ({ ...manners, name, offer })

/** The name of the MTA in its macros and replies (RFC 2606). */
export const hostname = "mx.example.org"

// Addresses and names for documentation (RFC 5737, RFC 2606).
export const usualClient = { hostname: "client.example.org", address: "192.0.2.1", port: 50000 }

export const noMacros: MacroValues = {}

export const onlyOnRequest: KnownMacros = { sent: undefined, onRequest: noMacros }

/** A name in brackets is an address without a name, or with a name that does not resolve to the address. */
export const isUnverified = (client: Connect): boolean => client.hostname.startsWith("[")

export const reply = (code: string, enhanced: string, text: string): Reply => ({
  code,
  enhanced,
  lines: [ByteString.fromText(text)]
})

/** The plain protocol, for a client that imitates no MTA: no macros and no aborts but those it is told to send. */
export const plain = (manners: Manners): Manners => ({
  ...manners,
  name: "plain",
  introduce: (client) => client === undefined ? usualClient : { hostname: "unknown", ...client },
  macros: () => undefined,
  unknownLine: (line) => line,
  aborts: "onDemand",
  afterVerdictOnSession: "stays"
})

/** The same MTA with other macros at connect. A macro that the MTA does not send there anyway is sent on request only. */
export const called = (manners: Manners, macros: MacroValues): Manners => ({
  ...manners,
  macros: (stage, facts) => {
    const known = manners.macros(stage, facts)
    if (stage !== "connect" || known?.sent === undefined) return known
    const sent: { [name: string]: Text } = { ...known.sent }
    const onRequest: { [name: string]: Text } = { ...known.onRequest }
    for (const [name, value] of Object.entries(macros)) {
      const spelled = Macros.render(name)
      if (Object.hasOwn(sent, spelled)) sent[spelled] = value
      else onRequest[spelled] = value
    }
    return { sent, onRequest }
  }
})
