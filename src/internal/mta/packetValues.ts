/** Checks the values that callers give, for the packets that they go into. */
import { InvalidValue } from "../../InvalidValue.ts"
import type * as Packet from "../../Packet.ts"
import type { ByteString } from "../../Wire.ts"
import { bytes, cut, ofParts } from "../bytes/byteString.ts"
import { byteStringOf } from "../bytes/concat.ts"
import { maxPayload } from "../wire/packetDefinition.ts"
import type { Connect, Text } from "./clientValues.ts"

// Leaves room for a packet's other fields.
const maxText = maxPayload - 512

/** A value that ends with NUL in its packet. Throws `InvalidValue` for one that would end earlier, or not fit. */
export const packetText = (what: string, value: string | Uint8Array): ByteString => {
  const bytes = byteStringOf(value)
  if (bytes.includes("\0")) throw new InvalidValue({ what, value: bytes, reason: "expected no NUL" })
  if (bytes.length <= maxText) return bytes
  throw new InvalidValue({ what, value: bytes, reason: `expected at most ${maxText} bytes` })
}

/** An address of any kind, as it stands. Throws `InvalidValue`. */
export const clientAddress = ({ address, port = 0 }: Connect): Packet.Connect["address"] => {
  if (address === undefined) return { _tag: "Unknown" }
  const text = packetText("client address", address)
  if (address.startsWith("/")) return { _tag: "Unix", port: 0, path: text }
  return { _tag: address.includes(":") ? "IPv6" : "IPv4", port, address: text }
}

/**
 * A header value as it is sent: folds are LF, and the space after the colon is the filter's affair only if it asked for
 * it. `verbatim`: the value has its space already. Throws `InvalidValue`.
 */
export const headerValue = (value: Text, verbatim: boolean, leadingSpace: boolean): ByteString => {
  const folded = ofParts(packetText("header value", value).replace(/\r\n/g, "\n"))
  if (!verbatim) return leadingSpace ? bytes` ${folded}` : folded
  return leadingSpace || folded[0] !== " " ? folded : cut(folded, 1)
}
