/** Public keys of strangers, which may be made to cost time. */
import * as Result from "effect/Result"
import { createPublicKey, type KeyObject } from "node:crypto"

/** Most that is checked: RFC 8301 asks for 4096 bits, and all keys in use have 65537 or less as their exponent. */
const limits = { record: 8192, modulus: 4096, exponent: 2n ** 32n }

const read = (key: Buffer): Result.Result<KeyObject, unknown> =>
  Result.orElse(
    Result.try(() => createPublicKey({ key, format: "der", type: "spki" })),
    () => Result.try(() => createPublicKey({ key, format: "der", type: "pkcs1" }))
  )

/**
 * Whether a record of DKIM has a key that takes much longer to check than usual ones: RSA with 3072 bits in both halves
 * takes 16 ms, and a message can ask for seventy checks.
 */
export const isCostly = (record: string): boolean => {
  if (record.length > limits.record) return true
  const [, key] = /(?:^|;)\s*p\s*=([^;]*)/.exec(record) ?? []
  if (key === undefined) return false
  const { modulusLength = 0, publicExponent = 0n } = Result.getOrUndefined(read(Buffer.from(key, "base64")))
    ?.asymmetricKeyDetails ?? {}
  return modulusLength > limits.modulus || publicExponent > limits.exponent
}
