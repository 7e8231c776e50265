/** Finds public keys that are made to cost time: they come from strangers. */
import * as Result from "effect/Result"
import { createPublicKey, type KeyObject } from "node:crypto"

/** Upper limits of keys that are checked: RFC 8301 requires 4096 bits, and keys in use have exponents up to 65537. */
const limits = { record: 8192, modulus: 4096, exponent: 2n ** 32n }

const read = (key: Buffer): Result.Result<KeyObject, unknown> =>
  Result.orElse(
    Result.try(() => createPublicKey({ key, format: "der", type: "spki" })),
    () => Result.try(() => createPublicKey({ key, format: "der", type: "pkcs1" }))
  )

/**
 * Whether a DKIM record has a key that takes much longer to check than usual: RSA with 3072 bits in both modulus and exponent
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
