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

type Values = { [key: string]: unknown }

// A class, so that all definitions have one shape: a getter in an object literal gives each its own.
class Declared<const Name extends string, const Fields extends Wire.Fields> implements Definition<Name, Fields> {
  readonly name: Name
  readonly code: number
  readonly since: number
  readonly answered: boolean
  readonly documentation: string
  readonly fields: Fields
  readonly read: (reader: Reader) => Type<Name, Fields>
  private readonly keys: ReadonlyArray<string>
  private readonly list: ReadonlyArray<Wire.Field<Schema.Constraint>>
  private made: SchemaOf<Name, Fields> | undefined

  constructor(
    name: Name,
    character: string,
    fields: Fields,
    options: Options,
    read: ((reader: Reader) => Type<Name, Fields>) | undefined
  ) {
    this.name = name
    this.code = character.charCodeAt(0)
    this.since = options.since ?? 1
    this.answered = options.answered ?? false
    this.documentation = options.documentation
    this.fields = fields
    this.keys = Object.keys(fields)
    this.list = Object.values(fields)
    this.read = read ?? readerOf(name, this.keys, this.list)
  }

  // Made on first use: a server reads and writes packets without their schemas.
  get schema(): SchemaOf<Name, Fields> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets which key has which schema
    return this.made ??= Schema.TaggedStruct(
      this.name,
      Object.fromEntries(this.keys.map((key, index) => [key, this.list[index]!.schema]))
    ) as unknown as SchemaOf<Name, Fields>
  }

  write(writer: Writer, packet: Type<Name, Fields>): void {
    const { keys, list } = this
    const mark = writer.begin(this.code)
    for (let index = 0; index < list.length; index++) list[index]!.write(writer, (packet as Values)[keys[index]!])
    writer.end(mark)
  }

  format(packet: Type<Name, Fields>): string {
    let line: string = this.name
    for (const [index, key] of this.keys.entries()) {
      const value = (packet as Values)[key]
      if (value !== undefined) line += ` ${key}=${this.list[index]!.format(value)}`
    }
    return line
  }
}

const readerOf = <const Name extends string, const Fields extends Wire.Fields>(
  name: Name,
  keys: ReadonlyArray<string>,
  list: ReadonlyArray<Wire.Field<Schema.Constraint>>
): (reader: Reader) => Type<Name, Fields> => {
  type Self = Type<Name, Fields>
  if (keys.length === 0) {
    // A packet without fields is always the same object.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- without fields a packet is its tag
    const constant = Object.freeze({ _tag: name }) as unknown as Self
    return () => constant
  }
  return (reader) => {
    const values: Values = { _tag: name }
    for (let index = 0; index < keys.length; index++) {
      const value = list[index]!.read(reader)
      // An optional field that is absent is an absent key.
      if (value !== undefined) values[keys[index]!] = value
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each key has what the reader of its field returned
    return values as Self
  }
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
): Definition<Name, Fields> => new Declared(name, character, fields, options, read)
