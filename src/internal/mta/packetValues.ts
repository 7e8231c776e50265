/** Checks the values that callers give, for the packets that they go into. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../InvalidValue.ts"
import type * as Packet from "../../Packet.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { bytes, cut, ofParts } from "../bytes/byteString.ts"
import { byteStringOf } from "../bytes/concat.ts"
import { maxPayloadOf, Step } from "../protocol/negotiationBits.ts"
import type { Connect, Text } from "./clientValues.ts"

/**
 * A value that ends with NUL in its packet. Fails for one that would end earlier, or not fit into what a packet may have by
 * these steps.
 */
export const packetText = (
  what: string,
  value: string | Uint8Array,
  steps = 0
): Result.Result<ByteString, InvalidValue> => {
  // Leaves room for a packet's other fields.
  const maxText = maxPayloadOf(steps) - 512
  const bytes = byteStringOf(value)
  const invalid = (reason: string) => Result.fail(new InvalidValue({ what, value: bytes, reason }))
  if (bytes.includes("\0")) return invalid("expected no NUL")
  return bytes.length <= maxText ? Result.succeed(bytes) : invalid(`expected at most ${maxText} bytes`)
}

/** The parameters of MAIL or RCPT. */
export const parameterTexts = (
  parameters: ReadonlyArray<Text>
): Result.Result<ReadonlyArray<ByteString>, InvalidValue> =>
  Result.all(parameters.map((parameter) => packetText("ESMTP parameter", parameter)))

const unknownAddress: Packet.Connect["address"] = { _tag: "Unknown" }

/** An address of any kind, as it stands. */
export const clientAddress = (
  { address, port = 0 }: Connect
): Result.Result<Packet.Connect["address"], InvalidValue> =>
  address === undefined
    ? Result.succeed(unknownAddress)
    : Result.map(packetText("client address", address), (text): Packet.Connect["address"] => {
      if (address.startsWith("/")) return { _tag: "Unix", port: 0, path: text }
      return { _tag: address.includes(":") ? "IPv6" : "IPv4", port, address: text }
    })

/**
 * A header value as it is sent: folds are LF, and the space after the colon is the filter's affair only if it asked for
 * it. `verbatim`: the value has its space already. `steps`: as agreed on.
 */
export const headerValue = (
  value: Text,
  verbatim: boolean,
  steps: number
): Result.Result<ByteString, InvalidValue> =>
  Result.map(packetText("header value", value, steps), (text) => {
    const leadingSpace = (steps & Step.leadingSpace) !== 0
    const folded = ofParts(text.replace(/\r\n/g, "\n"))
    if (!verbatim) return leadingSpace ? bytes` ${folded}` : folded
    return leadingSpace || folded[0] !== " " ? folded : cut(folded, 1)
  })
