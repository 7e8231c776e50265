/** Strings of bytes: the schemas of `Wire.ByteString` and of the string fields of packets. */
import * as Schema from "effect/Schema"

const brand = Schema.brand("effect-milter/ByteString")

export const schema = Schema.String.check(
  Schema.isPattern(/^[^\u0100-\u{10ffff}]*$/u, { expected: "a string of bytes (characters up to U+00FF)" })
).pipe(brand)

/** The byte strings that fit into a NUL-terminated string. */
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
