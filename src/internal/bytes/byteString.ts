/** The values behind `Wire.ByteString`. */
import type * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"
import * as latin1 from "./latin1.ts"

export type ByteString = string & Brand.Brand<"effect-milter/ByteString">

const brand = Schema.brand("effect-milter/ByteString")

export const schema = Schema.String.check(
  Schema.isPattern(/^[^\u0100-\u{10ffff}]*$/u, { expected: "a string of bytes (characters up to U+00FF)" })
).pipe(brand)

/** What fits into a NUL-terminated string. */
export const withoutNul = Schema.String.check(
  Schema.isPattern(/^[^\0\u0100-\u{10ffff}]*$/u, {
    expected: "a string of bytes (characters up to U+00FF) without NUL"
  })
).pipe(brand)

export const nonEmpty = Schema.String.check(
  Schema.isPattern(/^[^\0\u0100-\u{10ffff}]+$/u, {
    expected: "a string of at least one byte (characters up to U+00FF), without NUL"
  })
).pipe(brand)

export const single = Schema.String.check(
  Schema.isPattern(/^[^\u0100-\u{10ffff}]$/u, { expected: "one byte (a character up to U+00FF)" })
).pipe(brand)

/** One character per byte is what the brand says, and {@link latin1.slice} makes nothing else. */
export const slice = (bytes: Uint8Array, start: number, end: number): ByteString =>
  latin1.slice(bytes, start, end) as ByteString

const ascii = /^[^\u0080-\uffff]*$/
const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true })

export const fromBytes = (bytes: Uint8Array): ByteString => slice(bytes, 0, bytes.length)

export const toBytes = (self: ByteString): Uint8Array => {
  const bytes = new Uint8Array(self.length)
  latin1.write(bytes, self, 0)
  return bytes
}

export const fromText = (text: string): ByteString =>
  // ASCII is the same in both, and a test costs less than a copy.
  ascii.test(text) ? text as ByteString : fromBytes(encoder.encode(text))

export const toText = (self: ByteString): string => ascii.test(self) ? self : decoder.decode(toBytes(self))

export const isUtf8 = (self: ByteString): boolean => {
  if (ascii.test(self)) return true
  try {
    strict.decode(toBytes(self))
    return true
  } catch {
    return false
  }
}
