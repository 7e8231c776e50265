/** Rules that addresses of RFC 5321 and RFC 5322 share: atoms, quoted strings, domains and their literals. */

/** 1 for each character of an atom. */
const table = new Uint8Array(128)
for (const character of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~") {
  table[character.charCodeAt(0)] = 1
}

/** Whether an atom may have the character: RFC 5322 3.2.3, with everything outside ASCII (RFC 6532 3.2). */
export const isAtext = (code: number): boolean => code > 127 || table[code] === 1

/** The index after the quoted string or literal that ends with `end`; -1 if the end is missing. */
export const endOf = (text: string, start: number, end: "\"" | "]"): number => {
  for (let index = start + 1; index < text.length; index++) {
    const character = text[index]!
    if (character === "\\") index++
    else if (character === end) return index + 1
  }
  return -1
}

/** Words of atoms, with single dots between them. */
export const isDotAtom = (text: string): boolean => {
  let wasDot = true
  for (let index = 0; index < text.length; index++) {
    const isDot = text[index] === "."
    if (isDot ? wasDot : !isAtext(text.charCodeAt(index))) return false
    wasDot = isDot
  }
  return !wasDot
}

/** Text in one pair of quotes. */
export const isQuotedString = (text: string): boolean => text[0] === "\"" && endOf(text, 0, "\"") === text.length

/** An address in brackets, `[192.0.2.1]` or `[IPv6:2001:db8::1]`: no space, no bracket and no backslash inside. */
export const isLiteral = (text: string): boolean => /^\[[!-Z^-~]+\]$/.test(text)

/**
 * A host name as mail uses it: labels of letters, digits, hyphens, underscores and characters outside ASCII. No
 * label is empty. One final dot is allowed, as in DNS.
 */
export const isHostName = (text: string): boolean => {
  let length = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 0x2e) {
      if (length === 0) return false
      length = 0
    } else if (code > 0x9f || hostCharacter.test(text[index]!)) length++
    else return false
  }
  return length > 0 || (text.length > 1 && text[text.length - 1] === ".")
}

const hostCharacter = /[a-z0-9_-]/i
