/**
 * Framing: a stream of bytes cut into frames, each a length (four bytes, the highest first), a code byte and a payload.
 *
 * The length counts the code byte, so the smallest legal frame is `00 00 00 01` and a code. A frame of length 0 or over
 * the cap is a {@link FrameError}; the stream cannot be trusted after it and the connection has to be closed.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { FrameCutter } from "./internal/wire/frameCutter.ts"

/**
 * One frame: a code byte and the place of its payload.
 *
 * **Gotchas**
 *
 * The payload is a view: `bytes` is the chunk in which the frame came, if one chunk had all of it. Copy what is kept after the
 * frame is handled: a view keeps the whole chunk (64 KiB, typically) in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface Frame {
  /** The code byte, which together with the direction says what packet it is. */
  readonly code: number
  /** The bytes that the payload lies in. */
  readonly bytes: Uint8Array
  /** Where in `bytes` the payload begins. */
  readonly offset: number
  /** Where in `bytes` the payload ends. */
  readonly limit: number
  /** Where in the stream the frame begins: the offset of the first byte of its length, in bytes. */
  readonly position: number
}

/**
 * A frame that breaks the rules: a length of 0 (`rule: "length"`), or one over the cap (`rule: "cap"`).
 *
 * `offset` is the place of the frame's first byte in the stream, `length` what its length field says. There is no way to
 * find the next frame, so the connection has to be closed.
 *
 * @category errors
 * @since 0.1.0
 */
export class FrameError extends Data.TaggedError("FrameError")<{
  readonly offset: number
  readonly rule: "length" | "cap"
  readonly length: number
  /** The cap that was in force. */
  readonly maxLength: number
}> {
  override get message(): string {
    return this.rule === "length"
      ? `Frame at byte ${this.offset}: a length of 0, where at least the code byte has to be`
      : `Frame at byte ${this.offset}: a length of ${this.length} is over the cap of ${this.maxLength}`
  }
}

/**
 * The cap on a frame if none is given: 1 MiB, counting the code byte and the payload.
 *
 * Sendmail and libmilter keep payloads to 65535 bytes (so lengths to 65536), but Postfix does not cap the headers that
 * another filter adds.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxLength = 1_048_576

/**
 * Cuts one stream into frames. See {@link makeDecoder}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoder {
  /**
   * Takes the next bytes of the stream and appends the frames that they complete to `into`.
   *
   * Returns the error if a frame is illegal; the frames before it are still delivered. Every later call returns the same
   * error and delivers nothing. The chunk must not be written to afterwards, since frames are views into it.
   */
  readonly push: (chunk: Uint8Array, into: Array<Frame>) => FrameError | undefined
  /** How many bytes of an incomplete frame are held; 0 means that the stream is between two frames. */
  readonly pending: number
}

class DecoderImpl implements Decoder {
  private readonly cutter: FrameCutter
  private error: FrameError | undefined = undefined

  constructor(maxLength: number) {
    this.cutter = new FrameCutter(maxLength)
  }

  get pending(): number {
    return this.cutter.pending
  }

  push(chunk: Uint8Array, into: Array<Frame>): FrameError | undefined {
    const { cutter } = this
    cutter.feed(chunk)
    while (cutter.advance()) {
      const { bytes, code, limit, offset, position } = cutter
      into.push({ code, bytes, offset, limit, position })
    }
    if (cutter.fault !== undefined) this.error ??= new FrameError(cutter.fault)
    return this.error
  }
}

/**
 * Makes a decoder for one direction of one connection.
 *
 * `maxLength` is the cap on the length field, which counts the code byte and the payload; {@link defaultMaxLength} if not
 * given, 65536 to be as strict as libmilter. A length field allocates no memory: what is held of an
 * incomplete frame grows as its bytes arrive.
 *
 * **Example** (Frames of a chunk)
 *
 * ```ts
 * import * as Frame from "effect-milter/Frame"
 *
 * const decoder = Frame.makeDecoder()
 * const frames: Array<Frame.Frame> = []
 * const error = decoder.push(Uint8Array.of(0, 0, 0, 1, 0x4e, 0, 0), frames)
 * console.log(frames.length, decoder.pending, error) // 1 2 undefined
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeDecoder = (options?: { readonly maxLength?: number | undefined }): Decoder =>
  new DecoderImpl(options?.maxLength ?? defaultMaxLength)

/**
 * Encodes a frame: the length, the code byte, the payload.
 *
 * @see `Packet.encode` for packets
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (code: number, payload: Uint8Array): Uint8Array => {
  const length = payload.length + 1
  const bytes = new Uint8Array(4 + length)
  bytes[0] = length >>> 24
  bytes[1] = length >>> 16
  bytes[2] = length >>> 8
  bytes[3] = length
  bytes[4] = code
  bytes.set(payload, 5)
  return bytes
}
