/** What filters did to a message, as text for its log line. Lists and texts are bounded. */
import * as Packet from "../../Packet.ts"
import type { Rcpt } from "../../Stage.ts"
import type { Verdict } from "../../Verdict.ts"
import { ByteString } from "../bytes/byteString.ts"
import { cut } from "../bytes/byteString.ts"
import { maxLength, printable } from "./messageLog.ts"
import { nameOf } from "./metrics.ts"

/** The most entries of a list: a message to thousands must not make a line of megabytes. */
export const maxListed = 20

/** A recipient that a filter refused. */
export interface Refused {
  readonly rcpt: Rcpt
  readonly verdict: Verdict
  /** The filter, in a sequence. */
  readonly by?: string | undefined
}

/** The modifications of a message. */
export interface Modifications {
  readonly packets: ReadonlyArray<Packet.FilterPacket>
  readonly body: { readonly length: number } | undefined
}

/** The reply for the client; undefined where the MTA words it. */
export const replyOf = (verdict: Verdict): string | undefined =>
  (verdict._tag === "Reject" || verdict._tag === "TempFail") && verdict.wire !== undefined
    ? printable(ByteString.toText(verdict.wire))
    : undefined

/** The addresses of recipients. */
export const addressesOf = (recipients: ReadonlyArray<Rcpt>): ReadonlyArray<string> =>
  recipients.slice(0, maxListed).map(({ recipient }) => printable(recipient.address))

/** `bob@example.net: 550 5.7.1 no`; in a sequence `bob@example.net by greylist: …`. */
export const refusedOf = (refused: ReadonlyArray<Refused>): ReadonlyArray<string> | undefined =>
  refused.length === 0
    ? undefined
    : refused.slice(0, maxListed).map(({ by, rcpt, verdict }) =>
      printable(
        `${rcpt.recipient.address}${by === undefined ? "" : ` by ${by}`}: ${replyOf(verdict) ?? nameOf(verdict._tag)}`
      )
    )

const isLong = (packet: Packet.FilterPacket): boolean => {
  const values: { readonly [key: string]: unknown } = packet
  for (const key in values) {
    const value = values[key]
    if (typeof value === "string" && value.length > maxLength) return true
  }
  return false
}

/** A packet whose texts are cut before they are formatted: a header field may have megabytes. */
const shortened = (packet: Packet.FilterPacket): Packet.FilterPacket => {
  if (!isLong(packet)) return packet
  const entries = Object.entries(packet).map(([key, value]: [string, unknown]) => [
    key,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the texts of packets are byte strings
    typeof value === "string" && key !== "_tag" ? cut(value as ByteString, 0, maxLength + 1) : value
  ])
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same fields
  return Object.fromEntries(entries) as Packet.FilterPacket
}

/** Modifications as recordings print them; of a body only its length. */
export const modificationsOf = (modifications: Modifications | undefined): ReadonlyArray<string> | undefined => {
  if (modifications === undefined) return undefined
  const { body, packets } = modifications
  const texts = packets.slice(0, maxListed).map((packet) => printable(Packet.format(shortened(packet))))
  if (body !== undefined && texts.length < maxListed) texts.push(`ReplaceBody bytes=${body.length}`)
  return texts.length === 0 ? undefined : texts
}
