/**
 * The packets of the milter protocol: every command of an MTA and every reply of a filter.
 *
 * Each is declared once, from fields that know their layout; its type, its Schema, its codec and its printable form come
 * from that declaration, and so does {@link table}. `Packet.Mail` is both the declaration and the type of a packet; a
 * packet itself is a plain object with a `_tag`.
 *
 * Packets are byte-exact: what was decoded encodes to the same bytes. Strings are `ByteString`s, one character per byte.
 * Decoding checks the layout and nothing else, and encoding checks nothing: pass values that come from people through the
 * schema of the packet first, or through `Reply` and `Modification`.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Frame from "./Frame.ts"
import * as filter from "./internal/wire/filterPackets.ts"
import * as mta from "./internal/wire/mtaPackets.ts"
import type * as Definition_ from "./internal/wire/packetDefinition.ts"
import { PacketError, type PacketWarning, Reader } from "./internal/wire/reader.ts"
import { Writer } from "./internal/wire/writer.ts"
import type * as Wire from "./Wire.ts"

export * from "./internal/wire/filterPackets.ts"
export * from "./internal/wire/mtaPackets.ts"
export { PacketError, type PacketWarning } from "./internal/wire/reader.ts"

/**
 * A packet as declared: its name, code, fields and schema, and the version that introduced it.
 *
 * @category models
 * @since 0.1.0
 */
export type Definition<Name extends string, Fields extends Wire.Fields> = Definition_.Definition<Name, Fields>

/**
 * The definition of some packet of the union `P`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyDefinition<out P extends MtaPacket | FilterPacket> {
  /** The tag of the packet. */
  readonly name: P["_tag"]
  /** The code byte. */
  readonly code: number
  /** The protocol version that introduced the packet. */
  readonly since: number
  /** Of a command: whether the filter answers it (unless a no-reply step was negotiated). */
  readonly answered: boolean
  /** What the packet is for. */
  readonly documentation: string
  /** The fields, in the order of the wire. */
  readonly fields: Wire.Fields
  /** The schema of the packet. */
  readonly schema: Schema.Constraint
  /** Reads the payload. Throws {@link PacketError}; leaves bytes behind the last field unread. */
  read(reader: Wire.Reader): P
  /** Writes the whole packet, length and code included. Does not check it. */
  write(writer: Wire.Writer, packet: MtaPacket | FilterPacket): void
  /** The packet in printable ASCII, on one line. */
  format(packet: MtaPacket | FilterPacket): string
}

const commands = [
  mta.Negotiate,
  mta.Macro,
  mta.Connect,
  mta.Helo,
  mta.Mail,
  mta.Rcpt,
  mta.Data,
  mta.Header,
  mta.EndOfHeaders,
  mta.Body,
  mta.EndOfMessage,
  mta.Unknown,
  mta.Abort,
  mta.Quit,
  mta.QuitNewConnection
] as const

const replies = [
  filter.Negotiated,
  filter.Continue,
  filter.Accept,
  filter.Reject,
  filter.TempFail,
  filter.Discard,
  filter.ReplyCode,
  filter.Skip,
  filter.Progress,
  filter.AddHeader,
  filter.InsertHeader,
  filter.ChangeHeader,
  filter.ReplaceBody,
  filter.AddRecipient,
  filter.AddRecipientWithParameters,
  filter.DeleteRecipient,
  filter.ChangeSender,
  filter.Quarantine,
  filter.ConnectionFail,
  filter.Shutdown
] as const

// Of the schemas of these definitions, made on first use: a server never asks for them.
const union = <const D extends ReadonlyArray<{ readonly schema: Schema.Constraint }>>(definitions: D) =>
  Schema.suspend(() =>
    Schema.Union(
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- map forgets that it makes a tuple of a tuple
      definitions.map(({ schema }) => schema) as unknown as { readonly [K in keyof D]: D[K]["schema"] }
    )
  )

/**
 * The schema of every command of an MTA.
 *
 * @category schemas
 * @since 0.1.0
 */
export const MtaPacket = union(commands)

/**
 * Any command of an MTA.
 *
 * @category models
 * @since 0.1.0
 */
export type MtaPacket =
  | mta.Negotiate
  | mta.Macro
  | mta.Connect
  | mta.Helo
  | mta.Mail
  | mta.Rcpt
  | mta.Data
  | mta.Header
  | mta.EndOfHeaders
  | mta.Body
  | mta.EndOfMessage
  | mta.Unknown
  | mta.Abort
  | mta.Quit
  | mta.QuitNewConnection

/**
 * The schema of every reply of a filter.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FilterPacket = union(replies)

/**
 * Any reply of a filter.
 *
 * @category models
 * @since 0.1.0
 */
export type FilterPacket =
  | filter.Negotiated
  | filter.Continue
  | filter.Accept
  | filter.Reject
  | filter.TempFail
  | filter.Discard
  | filter.ReplyCode
  | filter.Skip
  | filter.Progress
  | filter.AddHeader
  | filter.InsertHeader
  | filter.ChangeHeader
  | filter.ReplaceBody
  | filter.AddRecipient
  | filter.AddRecipientWithParameters
  | filter.DeleteRecipient
  | filter.ChangeSender
  | filter.Quarantine
  | filter.ConnectionFail
  | filter.Shutdown

/**
 * The definitions of the commands of an MTA, in the order of a session.
 *
 * @category definitions
 * @since 0.1.0
 */
export const mtaDefinitions: ReadonlyArray<AnyDefinition<MtaPacket>> = commands

/**
 * The definitions of the replies of a filter.
 *
 * @category definitions
 * @since 0.1.0
 */
export const filterDefinitions: ReadonlyArray<AnyDefinition<FilterPacket>> = replies

const codeTable = <P extends MtaPacket | FilterPacket>(
  definitions: ReadonlyArray<AnyDefinition<P>>
): ReadonlyArray<AnyDefinition<P> | undefined> => {
  const table = Array.from<AnyDefinition<P> | undefined>({ length: 256 })
  for (const definition of definitions) table[definition.code] = definition
  return table
}

const mtaTable = codeTable(mtaDefinitions)
const filterTable = codeTable(filterDefinitions)

const byName = new Map<string, AnyDefinition<MtaPacket | FilterPacket>>(
  [...mtaDefinitions, ...filterDefinitions].map((definition) => [definition.name, definition])
)

/**
 * Returns the definition of the command with this code byte, `undefined` for an unknown code.
 *
 * @category definitions
 * @since 0.1.0
 */
export const mtaByCode = (code: number): AnyDefinition<MtaPacket> | undefined => mtaTable[code]

/**
 * Returns the definition of the reply with this code byte, `undefined` for an unknown code.
 *
 * @category definitions
 * @since 0.1.0
 */
export const filterByCode = (code: number): AnyDefinition<FilterPacket> | undefined => filterTable[code]

// Each member of the union is declared in one of the two modules, so the search finds it.
const definitionOf = (packet: MtaPacket | FilterPacket): AnyDefinition<MtaPacket | FilterPacket> =>
  byName.get(packet._tag)!

const reader = new Reader()

const unknownCode = (frame: Frame.Frame, expected: string): PacketError =>
  new PacketError({
    offset: frame.position + 4,
    expected: `${expected}, not the code 0x${frame.code.toString(16).padStart(2, "0")}`,
    command: undefined
  })

/**
 * Decodes a command of an MTA as {@link decodeMta} does, without the `Result`: throws {@link PacketError}.
 *
 * **When to use**
 *
 * In loops that have a catch anyway. `onWarning` is called for what was ignored, after the packet has been read.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeMtaUnsafe = (frame: Frame.Frame, onWarning?: (warning: PacketWarning) => void): MtaPacket => {
  const definition = mtaTable[frame.code]
  if (definition === undefined) throw unknownCode(frame, "a command of an MTA")
  reader.reset(frame, definition.name)
  const packet = definition.read(reader)
  // libmilter ignores it too.
  const extra = reader.limit - reader.offset
  if (extra > 0) reader.warn(`${extra} ${extra === 1 ? "byte" : "bytes"} after the last field ignored`)
  if (reader.warnings !== undefined) {
    reader.warnings.forEach((warning) => onWarning?.(warning))
  }
  return packet
}

/**
 * Decodes a reply of a filter as {@link decodeFilter} does, without the `Result`: throws {@link PacketError}.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFilterUnsafe = (frame: Frame.Frame): FilterPacket => {
  const definition = filterTable[frame.code]
  if (definition === undefined) throw unknownCode(frame, "a reply of a filter")
  reader.reset(frame, definition.name)
  const packet = definition.read(reader)
  // Postfix takes it for a broken filter as well.
  if (reader.offset < reader.limit) reader.fail("the end of the packet")
  return packet
}

const attempt = <P>(decode: () => P): Result.Result<P, PacketError> => {
  try {
    return Result.succeed(decode())
  } catch (error) {
    if (error instanceof PacketError) return Result.fail(error)
    throw error
  }
}

/**
 * Decodes a command of an MTA.
 *
 * **Details**
 *
 * Faults that real peers tolerate are ignored and reported to `onWarning`: bytes after the last field, a macro name without a
 * value. Everything else that does not fit the layout is a {@link PacketError}.
 *
 * **Gotchas**
 *
 * A body is a view into the frame: copy the bytes that are kept.
 *
 * **Example** (A MAIL command)
 *
 * ```ts
 * import * as Frame from "effect-milter/Frame"
 * import * as Packet from "effect-milter/Packet"
 *
 * const frames: Array<Frame.Frame> = []
 * Frame.makeDecoder().push(new TextEncoder().encode("\0\0\0\x11M<a@lab.example>\0"), frames)
 * console.log(frames.map((frame) => Packet.decodeMta(frame)))
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeMta = (
  frame: Frame.Frame,
  onWarning?: (warning: PacketWarning) => void
): Result.Result<MtaPacket, PacketError> => {
  if (onWarning === undefined) return attempt(() => decodeMtaUnsafe(frame))
  const warnings: Array<PacketWarning> = []
  const decoded = attempt(() => decodeMtaUnsafe(frame, (warning) => warnings.push(warning)))
  // Not within the catch: what the callback throws is no fault of this packet.
  if (Result.isSuccess(decoded)) warnings.forEach((warning) => onWarning(warning))
  return decoded
}

/**
 * Decodes a reply of a filter. Nothing is ignored: everything that does not fit the layout is a {@link PacketError}, since
 * Postfix treats it as a broken filter.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFilter = (frame: Frame.Frame): Result.Result<FilterPacket, PacketError> =>
  attempt(() => decodeFilterUnsafe(frame))

/**
 * Writes a packet, length and code included, after the bytes that the writer already holds.
 *
 * @category encoding
 * @since 0.1.0
 */
export const write = (writer: Wire.Writer, packet: MtaPacket | FilterPacket): void =>
  definitionOf(packet).write(writer, packet)

const writer = new Writer()

/**
 * Encodes a packet, length and code included.
 *
 * **Gotchas**
 *
 * The packet is not checked: the peer would read a string with a NUL in it as more than one field. Like a pooled Node Buffer,
 * the result may share its `buffer` with others.
 *
 * **Example** (An answer)
 *
 * ```ts
 * import * as Packet from "effect-milter/Packet"
 *
 * console.log(Packet.encode({ _tag: "Continue" })) // 00 00 00 01 63
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (packet: MtaPacket | FilterPacket): Uint8Array => {
  write(writer, packet)
  return writer.take()
}

/**
 * Formats a packet on one line of printable ASCII: `Mail sender="<a@lab.example>" parameters=["SIZE=1000"]`. Bodies are shown
 * as their length and their start.
 *
 * @category printing
 * @since 0.1.0
 */
export const format = (packet: MtaPacket | FilterPacket): string => definitionOf(packet).format(packet)

/**
 * Writes all packets as a table in Markdown, from their declarations.
 *
 * @category printing
 * @since 0.1.0
 */
export const table = (): string => {
  const row = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const rows = (from: string, definitions: ReadonlyArray<AnyDefinition<MtaPacket | FilterPacket>>) =>
    definitions.map((definition) =>
      row([
        `\`${String.fromCharCode(definition.code)}\``,
        definition.name,
        from,
        String(definition.since),
        definition.answered ? "yes" : "",
        Object.entries(definition.fields).map(([name, field]) => `${name}: ${field.layout}`).join("; "),
        definition.documentation
      ])
    )
  return [
    row(["code", "packet", "from", "since version", "answered", "fields", "what for"]),
    row(["---", "---", "---", "---", "---", "---", "---"]),
    ...rows("MTA", mtaDefinitions),
    ...rows("filter", filterDefinitions)
  ].join("\n")
}
