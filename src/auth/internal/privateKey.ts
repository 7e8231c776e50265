/** Reads private keys and signs with them, by Node's crypto. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { createPrivateKey, createPublicKey, type KeyObject, sign as signWith } from "node:crypto"
import { asciiDomain } from "../../internal/mail/domainName.ts"
import type { KeyInput, SigningKey } from "./keyTypes.ts"

const objects = new WeakMap<SigningKey, KeyObject>()

const signingLabel = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
const signingName = new RegExp(`^${signingLabel}(?:\\.${signingLabel})*$`)

/** Why nobody could verify a signature with these names (RFC 6376 3.5); undefined if they are in order. */
export const nameFault = (domain: string, selector: string): string | undefined =>
  !domain.includes(".") || !signingName.test(domain)
    ? "expected a domain"
    : signingName.test(selector)
    ? undefined
    : "expected a selector of letters, digits and hyphens"

const parse = (pem: string): Result.Result<KeyObject, string> =>
  Result.try({ try: () => createPrivateKey(pem), catch: () => "expected a private key in PEM, without a passphrase" })

/** The public half as RFC 6376 and RFC 8463 publish it. */
const publicPart = (key: KeyObject): string => {
  const der = createPublicKey(key).export({ type: "spki", format: "der" })
  // Ed25519 is published bare: the last 32 bytes.
  return (key.asymmetricKeyType === "ed25519" ? der.subarray(-32) : der).toString("base64")
}

/** Reads a key. Fails with the reason if it is invalid. */
export const readKey = (input: KeyInput): Result.Result<SigningKey, string> => {
  const domain = asciiDomain(input.domain) ?? ""
  const selector = asciiDomain(input.selector) ?? ""
  const fault = nameFault(domain, selector)
  if (fault !== undefined) return Result.fail(fault)
  const parsed = parse(Redacted.value(input.privateKey))
  if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
  const object = parsed.success
  const { asymmetricKeyDetails, asymmetricKeyType } = object
  if (asymmetricKeyType !== "rsa" && asymmetricKeyType !== "ed25519") {
    return Result.fail(`expected RSA or Ed25519, found ${asymmetricKeyType}`)
  }
  const bits = asymmetricKeyDetails?.modulusLength
  // RFC 8301 3.2: verifiers must not take less.
  if (bits !== undefined && bits < 1024) return Result.fail(`expected at least 1024 bits, found ${bits}`)
  const key: SigningKey = {
    domain,
    selector,
    algorithm: `${asymmetricKeyType}-sha256`,
    subdomains: input.subdomains ?? false,
    privateKey: input.privateKey,
    name: `${selector}._domainkey.${domain}`,
    record: `v=DKIM1; k=${asymmetricKeyType}; p=${publicPart(object)}`
  }
  objects.set(key, object)
  return Result.succeed(key)
}

/** Signs on another thread. Gives base64. */
export const sign = (key: SigningKey, data: Uint8Array, digest: Uint8Array): Effect.Effect<string, unknown> =>
  Effect.callback((resume) => {
    const done = (error: Error | null, signature: Buffer): void =>
      resume(error === null ? Effect.succeed(signature.toString("base64")) : Effect.fail(error))
    // A key that did not come from `readKey` has not been parsed yet.
    const object = objects.get(key) ?? createPrivateKey(Redacted.value(key.privateKey))
    // Ed25519 signs the hash (RFC 8463 3).
    if (key.algorithm === "ed25519-sha256") signWith(null, digest, object, done)
    else signWith("sha256", data, object, done)
  })
