/** Text for terminals: colours where there are any, and no byte that the terminal would obey. */
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import { ByteString } from "../../internal/bytes/byteString.ts"
import { showInvisible } from "../../internal/bytes/invisible.ts"

export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const same = (text: string): string => text

export const plain: Style = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same }

const sgr = (code: number) => (text: string): string => text === "" ? "" : `\u001b[${code}m${text}\u001b[0m`

export const coloured: Style = {
  bold: sgr(1),
  dim: sgr(2),
  red: sgr(31),
  green: sgr(32),
  yellow: sgr(33),
  cyan: sgr(36)
}

/** Colours if standard output is a terminal and NO_COLOR does not forbid them. */
export const style: Effect.Effect<Style> = Effect.map(
  TerminalCapabilities.TerminalCapabilities,
  ({ canColor }) => canColor ? coloured : plain
)

const escaped = (character: string): string =>
  `\\x${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`

/**
 * Shows bytes of a message to people: UTF-8 as text, other bytes as `\xE9`. Control characters, which could take over the
 * terminal, and marks of direction, which could disguise a text, are shown like that too. Tabs and line feeds stay.
 */
export const printable = (bytes: ByteString): string =>
  ByteString.isUtf8(bytes)
    ? showInvisible(ByteString.toText(bytes))
    : bytes.replace(/[\0-\x08\x0b-\x1f\x7f-\xff]/g, escaped)

export const shorten = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`
