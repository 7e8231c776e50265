/** The header of a message, to read and to edit. */
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Header from "../../Header.ts"
import { InvalidValue } from "../../InvalidValue.ts"
import type { HeaderInput } from "../../Modification.ts"
import { ByteString } from "../../Wire.ts"
import { ofParts } from "../bytes/byteString.ts"
import * as addresses from "../mail/addresses.ts"
import type { Address, Group } from "../mail/addressTypes.ts"
import * as dates from "../mail/date.ts"
import * as encodedWord from "../mail/encodedWord.ts"
import type { EditableHeaders, Headers } from "./documentTypes.ts"

export class HeaderList implements Headers {
  /** Values begin with the space after the colon, whether or not the MTA shows it. */
  protected list: Array<Header.HeaderValue>

  constructor(fields: ReadonlyArray<Header.HeaderValue>) {
    this.list = [...fields]
  }

  get fields(): ReadonlyArray<Header.HeaderValue> {
    return [...this.list]
  }

  readonly field = (name: string, occurrence = 1): Header.HeaderValue | undefined =>
    this.list[this.place(name, occurrence)]

  readonly get = (name: string, occurrence = 1): string | undefined => {
    const found = this.field(name, occurrence)
    return found === undefined ? undefined : textOf(found)
  }

  readonly getAll = (name: string): ReadonlyArray<string> => this.named(name).map(textOf)

  readonly addresses = (name: string): ReadonlyArray<Address | Group> =>
    this.named(name).flatMap(({ bytes }) => addresses.read(bytes))

  readonly date = (name = "Date"): DateTime.Utc | undefined => {
    const found = this.field(name)
    return found === undefined ? undefined : dates.parse(found.unfolded)
  }

  private named(name: string): ReadonlyArray<Header.HeaderValue> {
    return this.list.filter(isNamed(name))
  }

  /** The index of the nth field of this name; -1 if there are fewer. */
  protected place(name: string, occurrence: number): number {
    if (!Number.isInteger(occurrence) || occurrence < 1) {
      throw new InvalidValue({
        what: "header occurrence",
        value: String(occurrence),
        reason: "expected an integer from 1"
      })
    }
    const isThis = isNamed(name)
    let count = occurrence
    return this.list.findIndex((field) => isThis(field) && --count === 0)
  }
}

/** The value as people see it. */
const textOf = ({ bytes }: Header.HeaderValue): string =>
  // Without its line ends a byte string remains one.
  encodedWord.decode(ofParts(Header.unfold(bytes))).trim()

/** The name as it stands in the message. */
export const nameOf = ({ name }: { readonly name: string }): ByteString => ofParts(name) // of the MTA, or checked

const isNamed = (name: string): (field: Header.HeaderValue) => boolean => {
  const lower = name.toLowerCase()
  return (field) => field.name.length === lower.length && field.name.toLowerCase() === lower
}

const ofBytes = (name: string, value: string): Header.HeaderValue =>
  new Header.HeaderValue(ByteString.make(name), ByteString.make(value), true)

export class HeaderEditor extends HeaderList implements EditableHeaders {
  private readonly smtpUtf8: boolean

  constructor(fields: ReadonlyArray<Header.HeaderValue>, smtpUtf8: boolean) {
    super(fields)
    this.smtpUtf8 = smtpUtf8
  }

  readonly set = (name: string, value: HeaderInput, occurrence = 1): Effect.Effect<void> =>
    Effect.sync(() => {
      const field = this.encode(name, value)
      const at = this.place(name, occurrence)
      const old = this.list[at]
      if (old === undefined) this.list.push(field)
      // Sendmail would keep the old spelling of the name in any case.
      else this.list[at] = new Header.HeaderValue(nameOf(old), field.raw, true)
    })

  readonly append = (name: string, value: HeaderInput): Effect.Effect<void> =>
    Effect.sync(() => {
      this.list.push(this.encode(name, value))
    })

  readonly prepend = (name: string, value: HeaderInput): Effect.Effect<void> =>
    Effect.sync(() => {
      this.list.unshift(this.encode(name, value))
    })

  readonly remove = (name: string, occurrence?: number): Effect.Effect<void> =>
    Effect.sync(() => {
      Result.getOrThrow(Header.checkName(name))
      const isChosen = this.chosen(name, occurrence)
      this.list = this.list.filter((field, at) => !isChosen(field, at))
    })

  readonly rename = (from: string, to: string, occurrence?: number): Effect.Effect<void> =>
    Effect.sync(() => {
      Result.getOrThrow(Header.checkName(from))
      const name = Result.getOrThrow(Header.checkName(to))
      const isChosen = this.chosen(from, occurrence)
      this.list = this.list.map((field, at) =>
        isChosen(field, at) ? new Header.HeaderValue(name, field.raw, true) : field
      )
    })

  /** Replaces the fields of a name by one field for each value, given as bytes to be sent. */
  replaceAll(name: string, values: ReadonlyArray<string>): void {
    const isThis = isNamed(name)
    let next = 0
    this.list = this.list.flatMap((field) => {
      if (!isThis(field)) return [field]
      const value = values[next++]
      return value === undefined ? [] : [ofBytes(field.name, value)]
    })
    this.list.push(...values.slice(next).map((value) => ofBytes(name, value)))
  }

  /** Chooses the nth field of this name, or all of them. */
  private chosen(name: string, occurrence: number | undefined): (field: Header.HeaderValue, at: number) => boolean {
    if (occurrence === undefined) return isNamed(name)
    const place = this.place(name, occurrence)
    return (_, at) => at === place
  }

  private encode(name: string, value: HeaderInput): Header.HeaderValue {
    const checked = Result.getOrThrow(Header.checkName(name))
    const options = { name, leadingSpace: true, smtpUtf8: this.smtpUtf8, lookalikes: "encode" } as const
    const raw = Result.getOrThrow(
      typeof value === "string" ? Header.encodeValue(value, options) : Header.checkRaw(value.raw)
    )
    // Without any value a change would delete the field.
    return new Header.HeaderValue(checked, raw === "" ? ByteString.fromText(" ") : raw, true)
  }
}
