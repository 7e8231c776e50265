/** Why a client gave up on a filter. Re-exported by `MilterClient`. */
import * as Data from "effect/Data"
import type { FrameError } from "../../Frame.ts"
import type { InvalidValue } from "../../InvalidValue.ts"
import type { NegotiationError } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import type { ReplyError } from "../../Reply.ts"
import type { DeliveryError } from "../delivery/deliveryError.ts"

/**
 * Why a client gave up on a filter.
 *
 * - `Unreachable`: connecting failed, or the address is invalid
 * - `FrameError`, `PacketError`, `ReplyError`: the filter sent an invalid frame, packet or SMTP reply
 * - `NegotiationError`: the filter chose a version or asked for an action that was not offered (`missing` names them)
 * - `UnexpectedReply`: a packet that is not legal at this point: a verdict where none was due, a second verdict, a
 *   modification before end of message, a discard at connect
 * - `UnrequestedAction`: a modification that the filter did not ask for in the negotiation
 * - `TooManyModifications`: more modifications of one message, or more bytes of them, than the options allow
 * - `Timeout`: no answer within the time allowed, or no end of the answer
 * - `Closed`: the filter, or this side, closed the connection before an answer that was due
 * - `DeliveryError`: modifications that the MTA takes for a broken configuration; only with several filters and their
 *   failure policies, where it counts as a failure of the filter
 * - `InvalidValue`: the caller's value does not fit into a packet; the only one after which the connection goes on
 *
 * @category errors
 * @since 0.1.0
 */
export type ClientErrorReason =
  | { readonly _tag: "Unreachable"; readonly cause: unknown }
  | FrameError
  | Packet.PacketError
  | ReplyError
  | NegotiationError
  | { readonly _tag: "UnexpectedReply"; readonly packet: Packet.FilterPacket; readonly expected: string }
  | { readonly _tag: "UnrequestedAction"; readonly packet: Packet.FilterPacket; readonly action: string }
  | { readonly _tag: "TooManyModifications"; readonly limit: number; readonly unit: "modifications" | "bytes" }
  | { readonly _tag: "Timeout"; readonly milliseconds: number }
  | { readonly _tag: "Closed"; readonly cause: unknown }
  | DeliveryError
  | InvalidValue

/**
 * The filter cannot be reached, or it breaks the protocol. What an MTA does then is a matter of its policy (Postfix:
 * `milter_default_action`). The connection is closed, since what the filter sends next cannot be trusted.
 *
 * - `reason`: what was wrong, see {@link ClientErrorReason}
 * - `command`: the packet that was sent last, `undefined` before the first
 * - `address`: the filter
 *
 * @category errors
 * @since 0.1.0
 */
export class ClientError extends Data.TaggedError("ClientError")<{
  readonly reason: ClientErrorReason
  readonly command: Packet.MtaPacket["_tag"] | undefined
  readonly address: string
}> {
  override get message(): string {
    return `${this.address}${this.command === undefined ? "" : `, at ${this.command}`}: ${explain(this.reason)}`
  }
}

const explain = (reason: ClientErrorReason): string => {
  switch (reason._tag) {
    case "Unreachable":
      return reason.cause instanceof Error ? reason.cause.message : "cannot connect"
    case "UnexpectedReply":
      return `expected ${reason.expected}, not ${Packet.format(reason.packet)}`
    case "UnrequestedAction":
      return `the filter did not ask for ${reason.action}, but sent ${Packet.format(reason.packet)}`
    case "TooManyModifications":
      return `the filter sent more than ${reason.limit} ${
        reason.unit === "bytes" ? "bytes of modifications" : "modifications"
      } of one message`
    case "Timeout":
      return `no answer within ${reason.milliseconds / 1000} s`
    case "Closed":
      return reason.cause instanceof Error
        ? `the connection is closed: ${reason.cause.message}`
        : "the connection is closed"
    case "NegotiationError":
      return `the filter wants what was not offered: ${reason.missing.join(", ")}`
    default:
      return reason.message
  }
}
