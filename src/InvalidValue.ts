/**
 * The error for a value that an author of a filter supplied and that cannot go on the wire.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"

const escapes: { readonly [character: string]: string } = {
  "\"": "\\\"",
  "\\": "\\\\",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  "\0": "\\0"
}

// Characters that a terminal or log viewer obeys or does not show: controls, format characters, lone surrogates.
const invisible = /["\\\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Cs}/gu

const shownLength = 200

/**
 * Shows a value in quotes with everything invisible escaped and long values cut, as {@link InvalidValue} does in its
 * message. For log lines that quote what came from outside.
 *
 * **Example** (A header injection made visible)
 *
 * ```ts
 * import { show } from "effect-milter/InvalidValue"
 *
 * show("yes\r\nBcc: all") // "yes\r\nBcc: all" in quotes, with \r and \n spelled out
 * ```
 *
 * @category formatting
 * @since 0.1.0
 */
export const show = (value: string): string => {
  const shown = value.slice(0, shownLength).replace(
    invisible,
    (character) => escapes[character] ?? `\\u{${character.charCodeAt(0).toString(16)}}`
  )
  return value.length > shownLength ? `"${shown}"... (${value.length} characters)` : `"${shown}"`
}

/**
 * A value that would break out of its place in a packet, in a message or in an SMTP reply: CR, LF or NUL in a header, a
 * colon in a header name, a reply code of the wrong class, two addresses where one belongs.
 *
 * Functions of this package that check values return it as the failure of a `Result`. Constructors of verdicts throw it,
 * and the editor's methods die with it: it is a mistake in the filter, not a condition to handle.
 *
 * **Gotchas**
 *
 * In a hook, the filter's `onDefect` decides about the message. Pass text from outside through the `sanitize` functions first,
 * so that no stranger can choose that answer.
 *
 * - `what`: which value, such as `header name`
 * - `value`: the value as given; the message shows it with {@link show}
 * - `reason`: what was expected
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidValue extends Data.TaggedError("InvalidValue")<{
  readonly what: string
  readonly value: string
  readonly reason: string
}> {
  override get message(): string {
    return `Invalid ${this.what} ${show(this.value)}: ${this.reason}`
  }
}
