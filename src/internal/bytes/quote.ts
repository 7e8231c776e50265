/** Strings of bytes as quoted, printable ASCII. */
const escapes: { readonly [character: string]: string } = {
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  "\"": "\\\"",
  "\\": "\\\\"
}

const plain = /^[ !#-[\]-~]*$/

/** A string of bytes in double quotes and printable ASCII; other bytes as \n, \t and the like, or as \xE9. */
export const quote = (text: string): string =>
  plain.test(text) ? `"${text}"` : `"${
    text.replace(
      /[^ !#-[\]-~]/g,
      (character) => escapes[character] ?? `\\x${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
    )
  }"`
