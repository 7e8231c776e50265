/**
 * Envelope addresses and ESMTP parameters: reading those of MAIL and RCPT, checking those that a filter sends.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { ByteString } from "./internal/bytes/byteString.ts"
import { control, scan } from "./internal/mail/addressScan.ts"
import { InvalidValue } from "./InvalidValue.ts"

export { Mailbox, sameAddress } from "./internal/mail/mailbox.ts"
export { checkParameters, type Notify, type OriginalRecipient, Parameters } from "./internal/mail/parameters.ts"

const invalid = (what: string, value: string, reason: string): Result.Result<never, InvalidValue> =>
  Result.fail(new InvalidValue({ what, value, reason }))

const longestAddress = 1000

/**
 * Checks an address that a filter adds, deletes or makes the sender, and returns the bytes for the packet, in angle
 * brackets. The brackets may be given or left out.
 *
 * **Details**
 *
 * Fails with `InvalidValue` for text that an MTA would not read as one address:
 *
 * - control characters
 * - outside quotes: space, comma (Sendmail adds both addresses), semicolon, colon, parentheses, backslash, angle brackets
 * - a quote without its end
 * - a missing local part, or nothing after the `@`
 * - more than 1000 bytes
 * - text outside ASCII, unless the message is `smtpUtf8`
 * - the null sender, `""` or `<>`, unless `allowNull`
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkAddress = (
  address: string,
  options: { readonly smtpUtf8: boolean; readonly allowNull?: boolean | undefined }
): Result.Result<ByteString, InvalidValue> => {
  const bare = /^<[^]*>$/.test(address) ? address.slice(1, -1) : address
  if (bare === "") {
    return options.allowNull === true
      ? Result.succeed(ByteString.fromText("<>"))
      : invalid("address", address, "expected an address, not the null sender")
  }
  const { at, bad } = scan(bare)
  if (bad !== undefined) return invalid("address", address, `expected one address, found ${bad}`)
  if (at === 0) return invalid("address", address, "expected a local part in front of @")
  if (at === bare.length - 1) return invalid("address", address, "expected a domain behind @")
  const bytes = ByteString.fromText(`<${bare}>`)
  if (bytes.length > longestAddress) return invalid("address", address, `expected at most ${longestAddress} bytes`)
  return bytes.length === bare.length + 2 || options.smtpUtf8
    ? Result.succeed(bytes)
    : invalid("address", address, "expected ASCII, this message is not SMTPUTF8")
}

// Bytes of a reason that Postfix keeps.
const longestReason = 100

/**
 * Checks the reason for a quarantine and returns its bytes. Fails with `InvalidValue` if the reason is empty (Sendmail would
 * not quarantine), has a control character (queue and log files have the reason) or more than 1000 bytes.
 *
 * **Gotchas**
 *
 * Postfix keeps the first 100 bytes, and in its log only.
 *
 * @see {@link sanitizeReason} for text from outside
 *
 * @category encoding
 * @since 0.1.0
 */
export const checkReason = (reason: string): Result.Result<ByteString, InvalidValue> => {
  if (reason === "" || control.test(reason)) {
    return invalid("quarantine reason", reason, "expected text without control characters")
  }
  const bytes = ByteString.fromText(reason)
  return bytes.length <= 1000
    ? Result.succeed(bytes)
    : invalid("quarantine reason", reason, "expected at most 1000 bytes")
}

/**
 * Makes text from outside fit for a quarantine reason: control characters and runs of white space become one space, the
 * end is cut off after 100 bytes of UTF-8, and an empty text becomes `quarantined`. {@link checkReason} accepts the
 * result.
 *
 * @category encoding
 * @since 0.1.0
 */
export const sanitizeReason = (text: string): string => {
  const clean = text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").replace(/\p{Cs}/gu, "\ufffd").trim()
  let result = ""
  let length = 0
  for (const character of clean) {
    length += ByteString.fromText(character).length
    if (length > longestReason) break
    result += character
  }
  return result.trimEnd() || "quarantined"
}

/**
 * Encodes a text as xtext (RFC 3461), the form of the parameters ENVID, ORCPT (after the type) and AUTH.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeXtext = (text: string): string =>
  ByteString.fromText(text).replace(
    /[^!-*,-<>-~]/g,
    (byte) => `+${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
  )
