/** The author's domain, from the value of a From field (RFC 5322, with the groups of RFC 6854). */
import { withoutComments } from "./authserv.ts"
import { asciiDomain } from "./privateKey.ts"

/** The text with what stands in quotes taken out, so that commas and brackets are what they look like. */
const withoutQuotes = (text: string): string => text.replace(/"(?:[^"\\]|\\[^])*"/g, "q")

/** In lower case and A-labels; undefined if there is none, there are several, or one cannot be read. */
export const authorDomain = (value: string): string | undefined => {
  const found = new Set<string | undefined>()
  for (const part of withoutQuotes(withoutComments(value)).split(/[,;]/)) {
    // In front of the members of a group stands its name with a colon.
    const mailbox = part.replace(/^[^<@]*:/, "").trim()
    if (mailbox === "") continue
    const address = /<([^<>]*)>\s*$/.exec(mailbox)?.[1] ?? mailbox
    const parts = address.split("@")
    found.add(parts.length === 2 ? asciiDomain(parts[1]!.trim()) : undefined)
  }
  const [domain] = found
  return found.size === 1 ? domain : undefined
}
