/** Strings of bytes: the functions of `Wire.ByteString`. They need no Schema, which takes a third of the time of a start. */
import type * as Brand from "effect/Brand"
import * as latin1 from "./latin1.ts"

export type ByteString = string & Brand.Brand<"effect-milter/ByteString">

/**
 * Text whose characters are bytes already, because it was made of parts of byte strings and of ASCII, such as by a
 * replacement. Prefer {@link cut}, {@link joined} or {@link bytes}.
 */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where a string becomes a byte string unchecked
export const ofParts = (text: string): ByteString => text as ByteString

/** A part of a byte string. */
export const cut = (self: ByteString, start: number, end?: number): ByteString => ofParts(self.slice(start, end))

/** Joins byte strings, with ASCII between them. */
export const joined = (parts: ReadonlyArray<ByteString>, by: string): ByteString => ofParts(parts.join(by))

/** Byte strings in a template of ASCII. */
export const bytes = (texts: TemplateStringsArray, ...values: ReadonlyArray<ByteString>): ByteString =>
  ofParts(texts.map((text, index) => index === 0 ? text : `${values[index - 1]!}${text}`).join(""))

/** A part of the bytes: {@link latin1.slice} makes one character of each byte. */
export const slice = (bytes: Uint8Array, start: number, end: number): ByteString =>
  ofParts(latin1.slice(bytes, start, end))

// A search for what is not ASCII takes two thirds of the time of a match of all that is.
const outsideAscii = /[\u0080-\uffff]/
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
  // ASCII text is a byte string already, and a test costs less than a copy.
  outsideAscii.test(text) ? fromBytes(encoder.encode(text)) : ofParts(text)

export const toText = (self: ByteString): string => outsideAscii.test(self) ? decoder.decode(toBytes(self)) : self

export const isUtf8 = (self: ByteString): boolean => {
  if (!outsideAscii.test(self)) return true
  try {
    strict.decode(toBytes(self))
    return true
  } catch {
    return false
  }
}

/** What the value of `Wire.ByteString` is without its schema. */
export const ByteString = { fromText, toText, isUtf8, fromBytes, toBytes }
