/** Reads DMARC records with a fault: the part before it counts (RFC 9989 4.7). */

/** A tag of RFC 6376 3.2: its name, and a value of printable ASCII. */
const tagName = /^\s*([a-z]\w*)\s*=[\t\r\n -~]*$/i

/**
 * Cuts a record at its first tag that is malformed or repeated, if that comes after the policy: such a tag must not cost the
 * policy. Other records stay as they are.
 */
export const mended = (record: string): string => {
  const seen = new Set<string>()
  let end = 0
  for (const tag of record.split(";")) {
    const name = tagName.exec(tag)?.[1]
    if (tag.trim() !== "") {
      if (name === undefined || seen.has(name)) return seen.has("p") ? record.slice(0, end) : record
      seen.add(name)
    }
    end += tag.length + 1
  }
  return record
}
