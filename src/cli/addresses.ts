/** Whom a message is from and to, guessed from its header. */
import type { RawMessage } from "../RawMessage.ts"

/**
 * The addresses in the fields of a name, in order. Good enough for a guess at the envelope: those in angle brackets, and
 * bare ones.
 */
export const addressesIn = ({ headers }: RawMessage, name: string): ReadonlyArray<string> =>
  headers.filter(([field]) => field.toLowerCase() === name).flatMap(([, value]) => {
    const text = (typeof value === "string" ? value : "").replace(/"(?:[^"\\]|\\.)*"(?!@)/gs, "").replace(
      /\([^()]*\)/g,
      ""
    )
    return text.split(",").flatMap((part) => {
      const address = /<([^<>\s]+)>/.exec(part)?.[1] ?? /[^\s<>:;"]+@[^\s<>:;"]+/.exec(part)?.[0]
      return address === undefined ? [] : [address]
    })
  })
