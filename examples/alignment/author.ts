/** Who wrote a message, from its From fields, and whether that goes with the envelope sender. No Effect in here. */
import { domainToASCII } from "node:url"
import { addressParser } from "postal-mime"
import { getDomain } from "tldts"

/** What is wrong with the From fields of a message. */
export type Fault = "missing" | "several fields" | "several addresses" | "unreadable"

/** The domain of the author's address, or why there is not exactly one. */
export type Author = { readonly fault: Fault } | { readonly domain: string }

/** What is neither in quotes nor in a comment. */
const outside = (value: string): string => {
  let result = ""
  let depth = 0
  let isQuoted = false
  for (let index = 0; index < value.length; index++) {
    const character = value[index]!
    if (character === "\\" && (isQuoted || depth > 0)) index++
    else if (character === "\"" && depth === 0) isQuoted = !isQuoted
    else if (isQuoted) continue
    else if (character === "(") depth++
    else if (character === ")" && depth > 0) depth--
    else if (depth === 0) result += character
  }
  return result
}

/**
 * Reads the values of all From fields of a message.
 *
 * The parser makes the best of everything, as mail programs do, but not all of them make the same of it. Here there must
 * be no choice: outside quotes and comments there is one `@`, hence one address, and that is what the parser has found.
 */
export const authorOf = (fields: ReadonlyArray<string>): Author => {
  const [value, ...others] = fields
  if (value === undefined) return { fault: "missing" }
  if (others.length > 0) return { fault: "several fields" }
  const [, host, ...more] = outside(value).split("@")
  const [found, ...rest] = addressParser(value)
  if (more.length > 0 || rest.length > 0) return { fault: "several addresses" }
  if (host === undefined || found?.address === undefined) return { fault: "unreadable" }
  const written = found.address.slice(found.address.lastIndexOf("@") + 1)
  const domain = hostOf(written)
  return domain === undefined || !host.startsWith(written) ? { fault: "unreadable" } : { domain }
}

/** A domain as DNS has it: lower case, punycode, no final dot. Undefined if it is not a domain with a dot. */
export const hostOf = (domain: string): string | undefined => {
  const ascii = domainToASCII(domain.replace(/\.$/, ""))
  return /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)+$/.test(ascii) && !/^[0-9.]+$/.test(ascii) ? ascii : undefined
}

/** RFC 7489 3.1: how the two domains have to go together. */
export type Mode = "strict" | "relaxed"

/**
 * Whether the author's domain and the envelope sender's are aligned: the same (strict), or of the same organization
 * (relaxed), that is with the same name below a public suffix. Those that a company has registered for its customers
 * (`github.io`) count as public.
 */
export const isAligned = (author: string, sender: string, mode: Mode): boolean =>
  author === sender || mode === "relaxed" && organizationOf(author) === organizationOf(sender)

const organizationOf = (domain: string): string =>
  // A public suffix itself is below none.
  getDomain(domain, { allowPrivateDomains: true }) ?? domain
