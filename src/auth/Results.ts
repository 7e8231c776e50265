/**
 * The results of checking a message: SPF, DKIM, DMARC and ARC, in the terms of RFC 8601.
 *
 * @since 0.1.0
 */

/**
 * SPF (RFC 7208): may this host send for the domain of MAIL, or of HELO if the sender is null?
 *
 * - `domain`: the domain whose record was checked
 * - `identity`: whether that domain is from MAIL or from HELO
 * - `explanation`: the domain's own text about a `fail`; written by strangers
 *
 * @category models
 * @since 0.1.0
 */
export interface SpfResult {
  readonly result: "pass" | "fail" | "softfail" | "neutral" | "none" | "temperror" | "permerror"
  readonly domain: string
  readonly identity: "mailfrom" | "helo"
  readonly explanation: string | undefined
}

/**
 * One DKIM signature (RFC 6376).
 *
 * - `domain`, `selector`, `algorithm`: its tags `d`, `s` and `a`; `undefined` if they are missing
 * - `aligned`: whether it belongs to the author's domain, by the rules of that domain's DMARC record
 * - `testing`: whether the key says that its domain is only testing DKIM
 * - `unsigned`: bytes of the body that the signature leaves out (`l`); anybody may have written these
 * - `comment`: why it did not pass
 *
 * @category models
 * @since 0.1.0
 */
export interface DkimResult {
  readonly result: "pass" | "fail" | "neutral" | "none" | "policy" | "temperror" | "permerror"
  readonly domain: string | undefined
  readonly selector: string | undefined
  readonly algorithm: string | undefined
  readonly aligned: boolean
  readonly testing: boolean
  readonly unsigned: number
  readonly comment: string | undefined
}

/**
 * DMARC (RFC 9989): is the author's domain confirmed by SPF or DKIM?
 *
 * - `domain`: the author's; `undefined` if From names none or several, or there are several From fields (`permerror`).
 *   `permerror` with a domain: readers may see another author in From, so that the message cannot pass
 * - `policy`: what the domain asks for where the check fails, as it applies to this message
 * - `policyDomain`: the domain whose record has that policy
 *
 * @category models
 * @since 0.1.0
 */
export interface DmarcResult {
  readonly result: "pass" | "fail" | "none" | "temperror" | "permerror"
  readonly domain: string | undefined
  readonly policy: "none" | "quarantine" | "reject" | undefined
  readonly policyDomain: string | undefined
  readonly comment: string | undefined
}

/**
 * ARC (RFC 8617): whether the chain of seals by earlier hosts is intact. Then their results can be relied on as far as the
 * hosts are trusted.
 *
 * - `instance`: length of the chain, 0 without one
 * - `comment`: why the chain is broken, or what the last host sealed
 *
 * @category models
 * @since 0.1.0
 */
export interface ArcResult {
  readonly result: "pass" | "fail" | "none"
  readonly instance: number
  readonly comment: string | undefined
}

/**
 * All results of a message. `spf` is `undefined` if the client has no address. `dkim` has one entry for each signature in the
 * order of the header; without signatures, one entry `none`. `text` is the value of the Authentication-Results field.
 *
 * @category models
 * @since 0.1.0
 */
export interface Results {
  readonly spf: SpfResult | undefined
  readonly dkim: ReadonlyArray<DkimResult>
  readonly dmarc: DmarcResult
  readonly arc: ArcResult
  readonly text: string
}
