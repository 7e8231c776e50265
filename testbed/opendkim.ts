/** OpenDKIM: signs what comes from 127.0.0.1, verifies the rest with keys from a file instead of DNS. */
import * as Effect from "effect/Effect"
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import { directory, type Prerequisites, start, write } from "./daemon.ts"

export const prerequisites: Prerequisites = { commands: ["opendkim"], packages: "opendkim" }

/** An RSA key and the files that daemons read it from. */
export interface SigningKey {
  readonly domain: string
  readonly selector: string
  readonly file: string
  /** `selector._domainkey.domain` and its record, as opendkim's TestPublicKeys has them. */
  readonly publicKeys: string
}

/** Makes a key in the directory. */
export const signingKey = (directory: string, domain = "example.org", selector = "test"): SigningKey => {
  const { privateKey, publicKey } = Crypto.generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "der" }
  })
  const record = `v=DKIM1; k=rsa; p=${publicKey.toString("base64")}`
  return {
    domain,
    selector,
    file: write(directory, `${selector}.private`, privateKey, 0o600),
    publicKeys: write(directory, `${selector}.public`, `${selector}._domainkey.${domain} ${record}\n`)
  }
}

/** Starts it; gives the address of its socket, to which any user may connect. */
export const opendkim = Effect.fnUntraced(
  function*(key?: SigningKey, canonicalization = "relaxed/simple", internal = "127.0.0.1") {
    const own = yield* directory
    const { domain, file, publicKeys, selector } = key ?? signingKey(own)
    const socket = Path.join(own, "opendkim.sock")
    const configuration = write(
      own,
      "opendkim.conf",
      `Mode sv
Canonicalization ${canonicalization}
Domain ${domain}
Selector ${selector}
KeyFile ${file}
TestPublicKeys ${publicKeys}
InternalHosts ${internal}
RequireSafeKeys no
UMask 000
Socket local:${socket}
Background no
`
    )
    yield* start({ command: "opendkim", args: ["-f", "-x", configuration], socket })
    return `unix:${socket}`
  }
)
