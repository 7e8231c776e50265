/**
 * Authentication of mail: ready filters that check SPF, DKIM, DMARC and ARC, and that sign with DKIM and ARC.
 *
 * Needs the package [mailauth](https://github.com/postalsys/mailauth) and Node: mailauth reads Node's streams and signs
 * with Node's crypto.
 *
 * @since 0.1.0
 */
export * from "./Dns.ts"
export * from "./Keys.ts"
export * from "./Results.ts"
export * from "./Seal.ts"
export * from "./Sign.ts"
export * from "./Submission.ts"
export * from "./Verify.ts"
