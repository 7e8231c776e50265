/** Keys to sign with. Re-exported by `Keys`. */
import type * as Redacted from "effect/Redacted"

/**
 * What a key is made from.
 *
 * - `domain`, `selector`: its record is at `selector._domainkey.domain`
 * - `privateKey`: PEM, RSA (PKCS#1 or PKCS#8) of 1024 bits or more, or Ed25519
 * - `subdomains`: also sign for authors in subdomains that have no key of their own; false by default
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyInput {
  readonly domain: string
  readonly selector: string
  readonly privateKey: Redacted.Redacted
  readonly subdomains?: boolean
}

/**
 * A key, checked. Made by {@link makeKey}.
 *
 * - `record`: the TXT record to publish at `name`, `selector._domainkey.domain`
 *
 * @category models
 * @since 0.1.0
 */
export interface SigningKey {
  readonly domain: string
  readonly selector: string
  readonly algorithm: "rsa-sha256" | "ed25519-sha256"
  readonly subdomains: boolean
  readonly privateKey: Redacted.Redacted
  readonly name: string
  readonly record: string
}
