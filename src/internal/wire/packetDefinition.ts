/** Declarations of packets: from the fields of a packet to its schema, codec and printable form. */
import * as Schema from "effect/Schema"
import type * as Wire from "../../Wire.ts"
import type { Reader } from "./reader.ts"
import type { Writer } from "./writer.ts"

/** The type of a packet with these fields. */
export type Type<Name extends string, Fields extends Wire.Fields> = SchemaOf<Name, Fields>["Type"]

/** The schema of a packet with these fields. */
export type SchemaOf<Name extends string, Fields extends Wire.Fields> = Schema.TaggedStruct<
  Name,
  { readonly [K in keyof Fields]: Fields[K]["schema"] }
>

/** The parts of a declaration other than the fields. */
export interface Options {
  /** The protocol version that introduced the packet; 1 by default. */
  readonly since?: number
  /** Of a command: whether the filter answers it (unless a no-reply step was negotiated). */
  readonly answered?: boolean
  /** What the packet is for, in a sentence; it ends up in the table of packets. */
  readonly documentation: string
}

/** A packet as declared: its code, its fields, and everything derived from them. */
export interface Definition<Name extends string, Fields extends Wire.Fields> {
  /** The tag of the packet. */
  readonly name: Name
  /** The code byte. */
  readonly code: number
  /** The protocol version that introduced the packet. */
  readonly since: number
  /** Of a command: whether the filter answers it (unless a no-reply step was negotiated). */
  readonly answered: boolean
  /** What the packet is for. */
  readonly documentation: string
  /** The fields, in the order of the wire. */
  readonly fields: Fields
  /** The schema of the packet: for values that come from people, for JSON, and for property tests. */
  readonly schema: SchemaOf<Name, Fields>
  /** Reads the payload. Throws `PacketError`; does not read bytes after the last field. */
  read(reader: Reader): Type<Name, Fields>
  /** Writes the whole packet, length and code included. Does not check it. */
  write(writer: Writer, packet: Type<Name, Fields>): void
  /** The packet in printable ASCII, on one line. */
  format(packet: Type<Name, Fields>): string
}

/**
 * Declares a packet: its tag, its code and its fields in the order of the wire. `read` is for commands that the engine decodes:
 * it reads the fields in one object literal, which is faster than a loop over the fields of every packet. The types hold it to
 * the fields, and the round trips of `test/Packet.test.ts` to their order.
 */
export const packet = <const Name extends string, const Fields extends Wire.Fields>(
  name: Name,
  character: string,
  fields: Fields,
  options: Options,
  read?: (reader: Reader) => NoInfer<Type<Name, Fields>>
): Definition<Name, Fields> => {
  type Self = Type<Name, Fields>
  type Values = { [key: string]: unknown }
  const code = character.charCodeAt(0)
  const keys = Object.keys(fields)
  const list = Object.values(fields)
  const count = keys.length
  // A packet without fields is always the same object.
  const constant = Object.freeze({ _tag: name })
  return {
    name,
    code,
    since: options.since ?? 1,
    answered: options.answered ?? false,
    documentation: options.documentation,
    fields,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets which key has which schema
    schema: Schema.TaggedStruct(
      name,
      Object.fromEntries(keys.map((key, index) => [key, list[index]!.schema]))
    ) as unknown as SchemaOf<Name, Fields>,
    read: read ?? ((reader) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without fields a packet is its tag
      if (count === 0) return constant as Self
      const values: Values = { _tag: name }
      for (let index = 0; index < count; index++) {
        const value = list[index]!.read(reader)
        // An optional field that is absent is an absent key.
        if (value !== undefined) values[keys[index]!] = value
      }
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key has what the reader of its field returned
      return values as Self
    }),
    write(writer, packet) {
      const mark = writer.begin(code)
      for (let index = 0; index < count; index++) list[index]!.write(writer, (packet as Values)[keys[index]!])
      writer.end(mark)
    },
    format: (packet) =>
      keys.reduce((line, key, index) => {
        const value = (packet as Values)[key]
        return value === undefined ? line : `${line} ${key}=${list[index]!.format(value)}`
      }, name as string)
  }
}
