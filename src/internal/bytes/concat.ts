/** Bytes from pieces and from text. */
import * as byteString from "./byteString.ts"

/** Text as UTF-8, bytes as they are. */
export const bytesOf = (value: string | Uint8Array): Uint8Array =>
  typeof value === "string" ? byteString.toBytes(byteString.fromText(value)) : value

/** The same as a string of bytes. */
export const byteStringOf = (value: string | Uint8Array): byteString.ByteString =>
  typeof value === "string" ? byteString.fromText(value) : byteString.fromBytes(value)

/** One array of all chunks, in order. */
export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}
