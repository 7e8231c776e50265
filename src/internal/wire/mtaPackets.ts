/** Every command of the MTA, declared once. Re-exported by `Packet`. */
import * as Wire from "../../Wire.ts"
import * as letters from "./commandLetters.ts"
import { type Definition, type Options, packet, type Type } from "./packetDefinition.ts"
import { clientAddress, macros } from "./packetFields.ts"
import type { Reader } from "./reader.ts"

const command = <const Name extends string, const Fields extends Wire.Fields>(
  { letter, name, since }: { readonly name: Name; readonly letter: string; readonly since: number },
  fields: Fields,
  options: Omit<Options, "since">,
  read?: (reader: Reader) => NoInfer<Type<Name, Fields>>
): Definition<Name, Fields> => packet(name, letter, fields, { ...options, since }, read)

/**
 * `O`, the first command: what the MTA offers. Answered by {@link Negotiated}.
 *
 * `version` is 2 to 6 in the field, `actions` the modifications that a filter may make, `steps` the steps that can be
 * left out, left unanswered or changed in some way.
 *
 * @category commands
 * @since 0.1.0
 */
export const Negotiate = command(
  letters.Negotiate,
  { version: Wire.u32, actions: Wire.flags, steps: Wire.flags },
  {
    answered: true,
    documentation: "What the MTA offers."
  },
  (reader) => ({
    _tag: "Negotiate",
    version: Wire.u32.read(reader),
    actions: Wire.flags.read(reader),
    steps: Wire.flags.read(reader)
  })
)
/**
 * What a {@link Negotiate} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Negotiate = typeof Negotiate.schema.Type

/**
 * `D`: macros for the command whose letter is `stage`. Never answered.
 *
 * The names come as the MTA writes them, `i` or `{client_addr}`. The list may be empty. Postfix sends it even if nothing
 * changed, and before each header. Both MTAs also send it for a command that then does not follow.
 *
 * @category commands
 * @since 0.1.0
 */
export const Macro = command(letters.Macro, { stage: Wire.character, macros }, {
  documentation: "Values of macros for the command whose letter is the stage."
})
/**
 * What a {@link Macro} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Macro = typeof Macro.schema.Type

/**
 * `C`: an SMTP client has connected.
 *
 * `hostname` is its verified name; if there is none, Sendmail and Postfix send the address in brackets. The address of
 * an IPv6 client is `IPv6:0:0:0:0:0:0:0:1` from Sendmail and `::1` from Postfix; the packet has it unchanged. The address
 * is unknown for mail that is submitted through standard input.
 *
 * @category commands
 * @since 0.1.0
 */
export const Connect = command(letters.Connect, { hostname: Wire.text, address: clientAddress }, {
  answered: true,
  documentation: "An SMTP client has connected."
}, (reader) => ({ _tag: "Connect", hostname: Wire.text.read(reader), address: clientAddress.read(reader) }))
/**
 * What a {@link Connect} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Connect = typeof Connect.schema.Type

/**
 * `H`: the client has sent HELO or EHLO (the two cannot be told apart), with the argument as its name. Comes again after
 * STARTTLS.
 *
 * @category commands
 * @since 0.1.0
 */
export const Helo = command(letters.Helo, { name: Wire.text }, {
  answered: true,
  documentation: "The client has sent HELO or EHLO."
}, (reader) => ({ _tag: "Helo", name: Wire.text.read(reader) }))
/**
 * What a {@link Helo} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Helo = typeof Helo.schema.Type

/**
 * `M`: MAIL FROM, which begins a message.
 *
 * `sender` is what the client typed: with angle brackets or without, `<>` for the null sender (and the empty string for
 * the null sender of mail that was submitted to Postfix without SMTP). Each ESMTP parameter (`SIZE=1000`) is a string of
 * its own.
 *
 * @category commands
 * @since 0.1.0
 */
export const Mail = command(letters.Mail, { sender: Wire.text, parameters: Wire.texts }, {
  answered: true,
  documentation: "MAIL FROM: a message begins."
}, (reader) => ({ _tag: "Mail", sender: Wire.text.read(reader), parameters: Wire.texts.read(reader) }))
/**
 * What a {@link Mail} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Mail = typeof Mail.schema.Type

/**
 * `R`: RCPT TO, one for each recipient. Forms as in {@link Mail}.
 *
 * @category commands
 * @since 0.1.0
 */
export const Rcpt = command(letters.Rcpt, { recipient: Wire.text, parameters: Wire.texts }, {
  answered: true,
  documentation: "RCPT TO: one recipient."
}, (reader) => ({ _tag: "Rcpt", recipient: Wire.text.read(reader), parameters: Wire.texts.read(reader) }))
/**
 * What a {@link Rcpt} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Rcpt = typeof Rcpt.schema.Type

/**
 * `T`: the client has sent DATA (or its first BDAT), before the MTA answers it.
 *
 * @category commands
 * @since 0.1.0
 */
export const Data = command(letters.Data, {}, {
  answered: true,
  documentation: "DATA: the envelope is complete."
})
/**
 * What a {@link Data} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Data = typeof Data.schema.Type

/**
 * `L`: one header field. Lines of a folded value are joined by LF, never CRLF. One space after the colon is not part of
 * the value unless the leading-space step was negotiated.
 *
 * @category commands
 * @since 0.1.0
 */
export const Header = command(letters.Header, { name: Wire.name, value: Wire.text }, {
  answered: true,
  documentation: "One header field."
}, (reader) => ({ _tag: "Header", name: Wire.name.read(reader), value: Wire.text.read(reader) }))
/**
 * What a {@link Header} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Header = typeof Header.schema.Type

/**
 * `N`: there are no more header fields.
 *
 * @category commands
 * @since 0.1.0
 */
export const EndOfHeaders = command(letters.EndOfHeaders, {}, {
  answered: true,
  documentation: "There are no more header fields."
})
/**
 * What a {@link EndOfHeaders} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type EndOfHeaders = typeof EndOfHeaders.schema.Type

/**
 * `B`: a piece of the body, at most 65535 bytes, with CRLF line ends. Pieces end anywhere, also between CR and LF.
 *
 * **Gotchas**
 *
 * The decoded bytes are a view into the frame: copy those that are kept.
 *
 * @category commands
 * @since 0.1.0
 */
export const Body = command(letters.Body, { bytes: Wire.bytes }, {
  answered: true,
  documentation: "A piece of the body."
}, (reader) => ({ _tag: "Body", bytes: Wire.bytes.read(reader) }))
/**
 * What a {@link Body} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Body = typeof Body.schema.Type

/**
 * `E`: the message is complete. Always answered, by modifications and one verdict.
 *
 * The payload is empty today; Postfix 2.3 put the last piece of the body there.
 *
 * @category commands
 * @since 0.1.0
 */
export const EndOfMessage = command(letters.EndOfMessage, { bytes: Wire.bytes }, {
  answered: true,
  documentation: "The message is complete."
}, (reader) => ({ _tag: "EndOfMessage", bytes: Wire.bytes.read(reader) }))
/**
 * What a {@link EndOfMessage} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type EndOfMessage = typeof EndOfMessage.schema.Type

/**
 * `U`: the client sent an SMTP command that the MTA does not know. `line` is the whole line; before Postfix 3.8 only its
 * first word.
 *
 * @category commands
 * @since 0.1.0
 */
export const Unknown = command(letters.Unknown, { line: Wire.text }, {
  answered: true,
  documentation: "An SMTP command that the MTA does not know."
}, (reader) => ({ _tag: "Unknown", line: Wire.text.read(reader) }))
/**
 * What a {@link Unknown} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Unknown = typeof Unknown.schema.Type

/**
 * `A`: the message, if there is one, will not be completed. The connection stays. Never answered.
 *
 * @category commands
 * @since 0.1.0
 */
export const Abort = command(letters.Abort, {}, {
  documentation: "The message is over; the connection stays."
})
/**
 * What a {@link Abort} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Abort = typeof Abort.schema.Type

/**
 * `Q`: the SMTP session is over. Both sides close; never answered.
 *
 * @category commands
 * @since 0.1.0
 */
export const Quit = command(letters.Quit, {}, {
  documentation: "The session is over, both sides close."
})
/**
 * What a {@link Quit} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type Quit = typeof Quit.schema.Type

/**
 * `K`: the SMTP session is over, and another begins on the same connection without a new negotiation. Never answered, and
 * sent by neither Sendmail nor Postfix.
 *
 * @category commands
 * @since 0.1.0
 */
export const QuitNewConnection = command(letters.QuitNewConnection, {}, {
  documentation: "The session is over, another begins on this connection."
})
/**
 * What a {@link QuitNewConnection} packet holds.
 *
 * @category commands
 * @since 0.1.0
 */
export type QuitNewConnection = typeof QuitNewConnection.schema.Type
