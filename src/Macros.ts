/**
 * Macros: named values that the MTA sends to a filter before a command (queue id, client, TLS, authenticated user). Their
 * meaning, their names, the stages at which they come, and their form on the wire.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { ByteString } from "./internal/bytes/byteString.ts"
import { Macros, normalize } from "./internal/protocol/macros.ts"
import { byMacroStage, letterOf, macroStages, stageTable } from "./internal/protocol/stageTable.ts"
import { InvalidValue } from "./InvalidValue.ts"

export {
  type Authentication,
  type Client,
  type Daemon,
  type Destination,
  Macros,
  type Mta,
  normalize,
  type Tls
} from "./internal/protocol/macros.ts"

/**
 * The stages at which an MTA sends macros and for which a filter can ask for macros of its own choice.
 *
 * @category models
 * @since 0.1.0
 */
export type MacroStage = "connect" | "helo" | "mail" | "rcpt" | "data" | "endOfHeaders" | "endOfMessage"

/**
 * All stages in the order of an SMTP session.
 *
 * @category constants
 * @since 0.1.0
 */
export const stages: ReadonlyArray<MacroStage> = macroStages

/**
 * The number of each stage in the macro lists of a negotiation answer. Not in the order of time: end of message is 5
 * and end of headers, which was added to the protocol later, 6.
 *
 * @category constants
 * @since 0.1.0
 */
export const stageNumber: { readonly [K in MacroStage]: number } = byMacroStage((stage) => stageTable[stage].macroList)

/**
 * The letter of each stage in the first byte of a macro packet: the letter of the command that follows.
 *
 * @category constants
 * @since 0.1.0
 */
export const stageLetter: { readonly [K in MacroStage]: string } = byMacroStage(letterOf)

/**
 * The macros of an MTA that sends none.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: Macros = new class extends Macros {
  raw(): undefined {}

  entries(): ReadonlyArray<readonly [name: string, value: string]> {
    return []
  }
}()

/**
 * Spells a name for the wire: in braces if it is longer than one character.
 *
 * **Gotchas**
 *
 * Sendmail reads a bare `client_addr` as the macro `c`, followed by junk.
 *
 * @see {@link checkName} to check the name, too
 *
 * @category names
 * @since 0.1.0
 */
export const render = (name: string): string => {
  const bare = normalize(name)
  return bare.length > 1 ? `{${bare}}` : bare
}

/**
 * Checks a macro name for a macro list and spells it for the wire. Fails with `InvalidValue` if the name is empty or has a
 * character outside printable ASCII, a space, a comma (both separate names) or a brace.
 *
 * @category names
 * @since 0.1.0
 */
export const checkName = (name: string): Result.Result<ByteString, InvalidValue> =>
  /^[!-+\--z|~]{1,255}$/.test(normalize(name))
    ? Result.succeed(ByteString.fromText(render(name)))
    : Result.fail(
      new InvalidValue({
        what: "macro name",
        value: name,
        reason: "expected one to 255 printable ASCII characters without space, comma and braces"
      })
    )

/**
 * Encodes the list of a macro packet, after the stage byte: name NUL value NUL, and so on. For the MTA's side and tests.
 * Names are spelled by {@link render}. Names and values must not contain NUL.
 *
 * @category encoding
 * @since 0.1.0
 */
export const list = (macros: { readonly [name: string]: string }): ByteString =>
  ByteString.fromText(Object.entries(macros).map(([name, value]) => `${render(name)}\0${value}\0`).join(""))
