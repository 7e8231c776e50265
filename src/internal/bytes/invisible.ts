/** Characters that a terminal obeys, or that make text look like another text. */

// Control characters but tab and line feed; marks of direction, joiners that join nothing and other formats without a form
// of their own; separators of lines and paragraphs. The joiners that scripts and emoji need stay.
const invisible = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

const hex = (code: number, digits: number): string => code.toString(16).toUpperCase().padStart(digits, "0")

/** Shows them as `\\x9B` or `\\u{202E}`. */
export const showInvisible = (text: string): string =>
  text.replace(invisible, (character) => {
    const code = character.codePointAt(0)!
    return code <= 0xff ? `\\x${hex(code, 2)}` : `\\u{${hex(code, 4)}}`
  })

/** Writes them as JSON escapes, where `JSON.stringify` does not. */
export const escapeInvisible = (json: string): string =>
  json.replace(invisible, (character) => {
    let escaped = ""
    for (let index = 0; index < character.length; index++) escaped += `\\u${hex(character.charCodeAt(index), 4)}`
    return escaped
  })
