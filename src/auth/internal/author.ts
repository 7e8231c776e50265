/** The author's domain, from the From fields of a message (RFC 5322, with the groups of RFC 6854). */
import * as Result from "effect/Result"
import { ByteString } from "../../internal/bytes/byteString.ts"
import * as addresses from "../../internal/mail/addresses.ts"
import { asciiDomain } from "../../internal/mail/domainName.ts"

export interface Author {
  /** In lower case and A-labels, or an address literal. */
  readonly domain: string
  /** Why readers may disagree about the address; `undefined` if there is no reason. */
  readonly doubt: string | undefined
}

/** Invisible characters, spaces, and the dots of other alphabets, which separate labels too. */
const deceptive = /[\p{C}\p{Z}\u3002\uff0e\uff61]/u

/** Whether a text has characters that readers show as others or not at all, such as full-width letters. */
const hasLookalikes = (text: string): boolean =>
  /[^\0-\x7f]/.test(text) && (text.normalize("NFKC") !== text.normalize("NFC") || deceptive.test(text))

const doubtOf = ({ address, inside }: addresses.StrictMailbox): string | undefined => {
  if (inside === "comment") return "a comment inside the address"
  if (inside === "space") return "white space inside the address"
  if (address.includes("=?")) return "an encoded word inside the address"
  return hasLookalikes(address) ? "characters that look like others inside the address" : undefined
}

/** Finds the author in the values of all From fields. Fails with the reason if there is not exactly one domain. */
export const authorOf = (fields: ReadonlyArray<ByteString>): Result.Result<Author, string> => {
  const [field, ...others] = fields
  if (field === undefined) return Result.fail("no From field")
  if (others.length > 0) return Result.fail("several From fields")
  const list = addresses.parse(field)
  if (Result.isFailure(list)) return Result.fail("a From field that cannot be read")
  const mailboxes = list.success.flatMap((entry) => "members" in entry ? entry.members : [entry])
  if (mailboxes.length === 0) return Result.fail("no author")
  const [domain, ...more] = new Set(mailboxes.map(domainOf))
  if (more.length > 0) return Result.fail("authors of several domains")
  if (domain === undefined) return Result.fail("an author whose domain cannot be read")
  return Result.succeed({ domain, doubt: mailboxes.map(doubtOf).find((doubt) => doubt !== undefined) })
}

const domainOf = ({ domain }: addresses.StrictMailbox): string | undefined =>
  domain[0] === "[" ? domain.toLowerCase() : asciiDomain(domain)

/** The domain to sign for; `undefined` without one, with several, and for one that cannot be read. */
export const authorDomain = (value: string): string | undefined => {
  const author = authorOf([ByteString.fromText(value)])
  return Result.isSuccess(author) && author.success.domain[0] !== "[" ? author.success.domain : undefined
}
