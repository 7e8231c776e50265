/** Finds the parts of an envelope address (RFC 5321), and the first fault of the address. */
import { isAtext, isHostName, isLiteral } from "./addressRules.ts"

/** Characters that no address has outside quotes: MTAs read them as its end, a comment, a group or another recipient. */
const structural = /[\0- \x7f-\x9f"(),;<>\\]/

/** Control characters in text; not for the bytes of UTF-8. */
export const control = /[\0-\x1f\x7f-\x9f]/

/**
 * Finds the `@` that ends the local part, which is the last `@` outside quotes, and the first fault of the address.
 */
export const scan = (address: string): { readonly at: number; readonly bad: string | undefined } => {
  const { at, bad } = findAt(address)
  return { at, bad: bad ?? faultOf(address, at) }
}

/** The fault of an address with complete quotes and brackets. A local part may have dots anywhere. */
const faultOf = (address: string, at: number): string | undefined => {
  const local = at === -1 ? address : address.slice(0, at)
  if (!local.includes("\"")) {
    for (const character of local) {
      if (character !== "." && !isAtext(character.charCodeAt(0))) return `"${character}" outside quotes`
    }
  }
  const domain = address.slice(at + 1)
  // The caller names the fault of an empty local part.
  return at === -1 || domain === "" || isHostName(domain) || isLiteral(domain)
    ? undefined
    : `"${domain}" in the place of a domain`
}

/** Finds the `@` that ends the local part, and a fault of quotes and brackets. */
export const findAt = (address: string): { readonly at: number; readonly bad: string | undefined } => {
  if (!structural.test(address) && !address.includes(":")) return { at: address.lastIndexOf("@"), bad: undefined }
  let at = -1
  let bad = control.test(address) ? "a control character" : undefined
  let within: "text" | "quotes" | "literal" = "text"
  for (let index = 0; index < address.length; index++) {
    const character = address[index]!
    if (within === "quotes") {
      if (character === "\\") index++
      else if (character === "\"") within = "text"
    } else if (within === "literal") {
      if (character === "]") within = "text"
      else if (structural.test(character)) bad ??= `"${character}" in an address literal`
    } else if (character === "\"") within = "quotes"
    else if (character === "[" && at === index - 1 && index > 0) within = "literal"
    else if (character === "@") {
      if (at !== -1) bad ??= "a second @ outside quotes"
      at = index
    } else if (character === ":" || structural.test(character)) bad ??= `"${character}" outside quotes`
  }
  return within === "text"
    ? { at, bad }
    // A quote without its other end is an ordinary character.
    : { at: address.lastIndexOf("@"), bad: bad ?? `a ${within === "quotes" ? "quote" : "literal"} without its end` }
}
