/** Fields that belong to a single packet. */
import * as Schema from "effect/Schema"
import type * as Wire from "../../Wire.ts"
import { text, u16, u32 } from "../../Wire.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { quote } from "../bytes/quote.ts"

/** A field whose schema has parts, and is made on first use as those of the packets are. */
class Composite<S extends Schema.Constraint> implements Wire.Field<S> {
  readonly layout: string
  readonly read: Wire.Field<S>["read"]
  readonly write: Wire.Field<S>["write"]
  readonly format: Wire.Field<S>["format"]
  private readonly make: () => S
  private made: S | undefined

  constructor(make: () => S, { format, layout, read, write }: Omit<Wire.Field<S>, "schema">) {
    this.make = make
    this.layout = layout
    this.read = read
    this.write = write
    this.format = format
  }

  get schema(): S {
    return this.made ??= this.make()
  }
}

const composite = <S extends Schema.Constraint>(make: () => S, layout: Omit<Wire.Field<S>, "schema">): Wire.Field<S> =>
  new Composite(make, layout)

/** Pairs of strings up to the end of the packet. */
export const macros = composite(() => Schema.Array(Schema.Struct({ name: text.schema, value: text.schema })), {
  layout: "pairs of strings",
  read: (reader) => {
    const texts = reader.texts()
    const macros: Array<{ readonly name: ByteString; readonly value: ByteString }> = []
    for (let index = 1; index < texts.length; index += 2) macros.push({ name: texts[index - 1]!, value: texts[index]! })
    if (texts.length % 2 === 1) {
      const name = texts[texts.length - 1]!
      // libmilter ignores a name without a value, too.
      reader.warn(`macro ${quote(name)} without a value ignored`, reader.offset - 1 - name.length)
    }
    return macros
  },
  write: (writer, macros) => {
    for (let index = 0; index < macros.length; index++) {
      const { name, value } = macros[index]!
      writer.text(name)
      writer.text(value)
    }
  },
  format: (macros) => `[${macros.map(({ name, value }) => `${quote(name)}=${quote(value)}`).join(", ")}]`
})

/** The macros that a filter requests, by stage, up to the end of the packet. */
export const macroLists = composite(() => Schema.Array(Schema.Struct({ stage: u32.schema, names: text.schema })), {
  layout: "(stage u32, names string) repeated",
  read: (reader) => {
    const lists: Array<{ readonly stage: number; readonly names: ByteString }> = []
    while (reader.offset < reader.limit) lists.push({ stage: reader.u32(), names: reader.text() })
    return lists
  },
  write: (writer, lists) => {
    for (const { names, stage } of lists) {
      writer.u32(stage)
      writer.text(names)
    }
  },
  format: (lists) => `[${lists.map(({ names, stage }) => `${stage}:${quote(names)}`).join(", ")}]`
})

const families = { Unknown: 0x55, Unix: 0x4c, IPv4: 0x34, IPv6: 0x36 } as const

const clientAddressSchema = () =>
  Schema.Union([
    Schema.TaggedStruct("Unknown", {}),
    Schema.TaggedStruct("Unix", { port: u16.schema, path: text.schema }),
    Schema.TaggedStruct("IPv4", { port: u16.schema, address: text.schema }),
    Schema.TaggedStruct("IPv6", { port: u16.schema, address: text.schema })
  ])

/** The family byte and, unless the family is unknown, a port and an address. */
export const clientAddress = composite(clientAddressSchema, {
  layout: "byte `U`, or byte `L`, `4` or `6`, port u16, address string",
  read: (reader): ReturnType<typeof clientAddressSchema>["Type"] => {
    const family = reader.u8()
    switch (family) {
      case families.Unknown:
        return { _tag: "Unknown" }
      case families.Unix:
        return { _tag: "Unix", port: reader.u16(), path: reader.text() }
      case families.IPv4:
        return { _tag: "IPv4", port: reader.u16(), address: reader.text() }
      case families.IPv6:
        return { _tag: "IPv6", port: reader.u16(), address: reader.text() }
      default:
        return reader.fail("the address family U, L, 4 or 6", reader.offset - 1)
    }
  },
  write: (writer, address) => {
    writer.u8(families[address._tag])
    if (address._tag === "Unknown") return
    writer.u16(address.port)
    writer.text(address._tag === "Unix" ? address.path : address.address)
  },
  format: (address) =>
    address._tag === "Unknown"
      ? "Unknown"
      : `${address._tag}(${quote(address._tag === "Unix" ? address.path : address.address)}, port ${address.port})`
})
