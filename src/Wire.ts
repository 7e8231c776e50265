/**
 * Byte layouts: the strings of bytes that packets hold, a reader and a writer, and the fields from which packets are
 * declared.
 *
 * A {@link Field} carries its Schema, its reader and its writer, so a packet cannot have a field that nobody knows how to
 * put on the wire. Reading trusts the layout: what a reader returns has the type of the schema by construction, and no
 * schema runs. There is no I/O here.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"
import * as byteString from "./internal/bytes/byteString.ts"
import * as byteStringSchema from "./internal/bytes/byteStringSchema.ts"
import { quote } from "./internal/bytes/quote.ts"
import type { Reader } from "./internal/wire/reader.ts"
import type { Writer } from "./internal/wire/writer.ts"

export { PacketError, type PacketWarning, Reader } from "./internal/wire/reader.ts"
export { Writer } from "./internal/wire/writer.ts"

/**
 * Bytes as a string: one character (U+0000 to U+00FF) for each byte.
 *
 * Strings on the wire have no charset. This form loses nothing, compares with `===`, is safe in JSON and is how V8 stores
 * such text anyway.
 *
 * **Gotchas**
 *
 * To read text use `ByteString.toText`: shown as it is, UTF-8 text would be one character for each byte.
 *
 * @category models
 * @since 0.1.0
 */
export type ByteString = string & Brand.Brand<"effect-milter/ByteString">

/**
 * The schema of {@link ByteString}, with its conversions:
 *
 * - `fromText(text)`: the UTF-8 encoding of a text, so ASCII stays as it is;
 * - `toText(bytes)`: decodes UTF-8; what is not UTF-8 becomes U+FFFD;
 * - `isUtf8(bytes)`: whether `toText` loses nothing;
 * - `fromBytes(bytes)` and `toBytes(string)`: copies, without loss.
 *
 * `ByteString.make` checks that each character is a byte. The string fields of packets end with NUL on the wire and have
 * a narrower schema that refuses it.
 *
 * **Example** (Text and bytes)
 *
 * ```ts
 * import { ByteString } from "effect-milter/Wire"
 *
 * const sender = ByteString.fromText("<jørn@example.org>")
 * console.log(sender.length) // 19: ø takes two bytes
 * console.log(ByteString.toText(sender)) // <jørn@example.org>
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const ByteString: typeof byteStringSchema.schema & {
  readonly fromText: (text: string) => ByteString
  readonly toText: (self: ByteString) => string
  readonly isUtf8: (self: ByteString) => boolean
  readonly fromBytes: (bytes: Uint8Array) => ByteString
  readonly toBytes: (self: ByteString) => Uint8Array
} = Object.assign(byteStringSchema.schema, {
  fromText: byteString.fromText,
  toText: byteString.toText,
  isUtf8: byteString.isUtf8,
  fromBytes: byteString.fromBytes,
  toBytes: byteString.toBytes
})

/**
 * One field of a packet: its type, how it is read and how it is written. `read` of an optional field returns undefined
 * for a field that is not there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Field<S extends Schema.Constraint> {
  /** The values of the field. Every one of them can be written. */
  readonly schema: S
  /** The layout in words, for the table of packets. */
  readonly layout: string
  /** Reads the field at the cursor. Throws {@link PacketError}. */
  read(reader: Reader): S["Type"] | Absent<S>
  /** Writes the field. The value is not checked. */
  write(writer: Writer, value: S["Type"] | Absent<S>): void
  /** The value in printable ASCII, on one line. */
  format(value: S["Type"]): string
}

type Absent<S extends Schema.Constraint> = S["~type.optionality"] extends "optional" ? undefined : never

/**
 * The fields of a packet, in the order of the wire.
 *
 * @category models
 * @since 0.1.0
 */
export type Fields = { readonly [name: string]: Field<Schema.Constraint> }

/**
 * Makes a {@link Field}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const field = <S extends Schema.Constraint>(schema: S, layout: Omit<Field<S>, "schema">): Field<S> => ({
  schema,
  layout: layout.layout,
  read: layout.read,
  write: layout.write,
  format: layout.format
})

const unsigned = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/**
 * An unsigned number of 16 bits.
 *
 * @category fields
 * @since 0.1.0
 */
export const u16 = field(unsigned(0xffff), {
  layout: "u16",
  read: (reader) => reader.u16(),
  write: (writer, value) => writer.u16(value),
  format: String
})

/**
 * An unsigned number of 32 bits.
 *
 * @category fields
 * @since 0.1.0
 */
export const u32 = field(unsigned(0xffffffff), {
  layout: "u32",
  read: (reader) => reader.u32(),
  write: (writer, value) => writer.u32(value),
  format: String
})

/**
 * A number of 32 bits whose bits are flags; printed in hexadecimal.
 *
 * @category fields
 * @since 0.1.0
 */
export const flags = field(unsigned(0xffffffff), {
  layout: "u32 flags",
  read: (reader) => reader.u32(),
  write: (writer, value) => writer.u32(value),
  format: (value) => `0x${value.toString(16)}`
})

/**
 * One byte, as a string of one character.
 *
 * @category fields
 * @since 0.1.0
 */
export const character = field(byteStringSchema.single, {
  layout: "byte",
  read: (reader) => {
    const start = reader.offset
    reader.u8()
    return byteString.slice(reader.bytes, start, reader.offset)
  },
  write: (writer, value) => writer.u8(value.charCodeAt(0)),
  format: quote
})

/**
 * A string that ends with NUL. It may be empty.
 *
 * @category fields
 * @since 0.1.0
 */
export const text = field(byteStringSchema.withoutNul, {
  layout: "string",
  read: (reader) => reader.text(),
  write: (writer, value) => writer.text(value),
  format: quote
})

/**
 * A string of at least one byte that ends with NUL.
 *
 * @category fields
 * @since 0.1.0
 */
export const name = field(byteStringSchema.nonEmpty, {
  layout: "string, not empty",
  read: (reader) => {
    const start = reader.offset
    const value = reader.text()
    if (value.length === 0) reader.fail("a name of at least one byte", start)
    return value
  },
  write: (writer, value) => writer.text(value),
  format: quote
})

/**
 * A string that ends with NUL, or nothing at all: absent and empty are two things.
 *
 * @category fields
 * @since 0.1.0
 */
export const optionalText = field(Schema.optionalKey(byteStringSchema.withoutNul), {
  layout: "string, may be absent",
  read: (reader) => reader.offset < reader.limit ? reader.text() : undefined,
  write: (writer, value) => {
    if (value !== undefined) writer.text(value)
  },
  format: quote
})

/**
 * Strings that end with NUL, up to the end of the packet. Bytes after the last NUL are ignored.
 *
 * @category fields
 * @since 0.1.0
 */
export const texts = field(Schema.Array(byteStringSchema.withoutNul), {
  layout: "strings",
  read: (reader) => reader.texts(),
  write: (writer, values) => {
    for (let index = 0; index < values.length; index++) writer.text(values[index]!)
  },
  format: (values) => `[${values.map(quote).join(", ")}]`
})

/**
 * The rest of the packet. The value that is read is a view into the frame: copy the bytes that are kept.
 *
 * @category fields
 * @since 0.1.0
 */
export const bytes = field(Schema.Uint8Array, {
  layout: "bytes",
  read: (reader) => reader.rest(),
  write: (writer, value) => writer.raw(value),
  format: (value) =>
    `${value.length}:${quote(byteString.slice(value, 0, Math.min(value.length, 32)))}${value.length > 32 ? "..." : ""}`
})
