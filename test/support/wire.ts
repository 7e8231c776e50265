/** Bytes, frames and splits for the tests of the wire layer. */
import * as Frame from "../../src/Frame.ts"

export const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from({ length: hex.length / 2 }, (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16))

export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/** The bytes in chunks of these sizes, over and over; in one chunk if there are none. */
export const split = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  if (sizes.length === 0) return [bytes]
  const chunks: Array<Uint8Array> = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = Math.max(1, sizes[turn % sizes.length]!)
    // Copies, as a socket delivers them.
    chunks.push(bytes.slice(at, at + size))
    at += size
  }
  return chunks
}

export interface Decoded {
  readonly frames: ReadonlyArray<Frame.Frame>
  readonly error: Frame.FrameError | undefined
  readonly pending: number
}

export const decode = (chunks: ReadonlyArray<Uint8Array>, options?: { readonly maxLength?: number }): Decoded => {
  const decoder = Frame.makeDecoder(options)
  const frames: Array<Frame.Frame> = []
  let error: Frame.FrameError | undefined = undefined
  for (const chunk of chunks) error = decoder.push(chunk, frames)
  return { frames, error, pending: decoder.pending }
}

/** The payload of a frame. */
export const payload = (frame: Frame.Frame): Uint8Array => frame.bytes.subarray(frame.offset, frame.limit)

/** The frames as code, position and payload, wherever their bytes lie. */
export const summary = (
  frames: ReadonlyArray<Frame.Frame>
): ReadonlyArray<{ readonly code: string; readonly position: number; readonly payload: string }> =>
  frames.map((frame) => ({
    code: String.fromCharCode(frame.code),
    position: frame.position,
    payload: toHex(payload(frame))
  }))
