/** Characters that a terminal obeys, or that make a text look like another text. */

// Control characters except tab and line feed; marks of direction, joiners without effect and other invisible format
// characters; separators of lines and paragraphs. The joiners that scripts and emoji need are not among them.
const invisible = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

// Most text: a test that looks at no Unicode properties costs a tenth.
const plain = /^[\t\n -~]*$/

const hex = (code: number, digits: number): string => code.toString(16).toUpperCase().padStart(digits, "0")

/** Shows these characters as `\\x9B` or `\\u{202E}`. */
export const showInvisible = (text: string): string =>
  plain.test(text) ? text : text.replace(invisible, (character) => {
    const code = character.codePointAt(0)!
    return code <= 0xff ? `\\x${hex(code, 2)}` : `\\u{${hex(code, 4)}}`
  })

/** Writes these characters as JSON escapes, which `JSON.stringify` does not do for all of them. */
export const escapeInvisible = (json: string): string =>
  plain.test(json) ? json : json.replace(invisible, (character) => {
    let escaped = ""
    for (let index = 0; index < character.length; index++) escaped += `\\u${hex(character.charCodeAt(index), 4)}`
    return escaped
  })
