/** Cuts one stream into frames, one after the other and without an object for each. */

const noBytes = new Uint8Array(0)

/** What is wrong with a frame; see `FrameError`. */
export interface FrameFault {
  readonly offset: number
  readonly rule: "length" | "cap"
  readonly length: number
  readonly maxLength: number
}

/** A cursor over the frames of a stream: after {@link FrameCutter.advance} it is itself the current frame. */
export class FrameCutter {
  /** The current frame, as in `Frame`. */
  code = 0
  bytes: Uint8Array = noBytes
  offset = 0
  limit = 0
  position = 0
  /** How many bytes of an incomplete frame are held; 0 means that the stream is between two frames. */
  pending = 0
  /** Why no other frame can be found. */
  fault: FrameFault | undefined = undefined
  // What is not cut yet.
  private chunk: Uint8Array = noBytes
  private at = 0
  // The incomplete frame: the first `pending` bytes of `held`, `total` bytes in the end (0 as long as its length is not
  // known).
  private held: Uint8Array = noBytes
  private total = 0
  // What the current frame was put together in, if it came in parts; and such memory for the next one.
  private lent: Uint8Array = noBytes
  private spare: Uint8Array = noBytes
  // Where in the stream the next frame begins, or the one that is held.
  private next = 0
  private readonly maxLength: number

  constructor(maxLength: number) {
    this.maxLength = maxLength
  }

  /**
   * Takes the next bytes of the stream, once `advance` has returned false for those before. They must not be written to
   * afterwards, since frames are views into them.
   */
  feed(chunk: Uint8Array): void {
    this.chunk = chunk
    this.at = 0
  }

  /** Drops what is not cut yet, and the current frame. */
  clear(): void {
    this.bytes = this.chunk = noBytes
    this.at = 0
  }

  /** Moves to the next frame. False if there is no whole one yet, or a fault; then nothing refers to the chunk any more. */
  advance(): boolean {
    // Asked several times for each chunk, of which the last ones find nothing.
    if (this.chunk === noBytes) return false
    if (this.fault === undefined && (this.pending === 0 ? this.cut() : this.resume())) return true
    this.clear()
    return false
  }

  private cut(): boolean {
    const { at, chunk } = this
    const end = chunk.length
    if (end - at >= 4) {
      const total = this.measure(chunk, at)
      if (total === 0) return false
      if (total <= end - at) {
        this.at = at + total
        this.show(chunk, at, total)
        return true
      }
      this.total = total
    }
    this.hold(at, end)
    return false
  }

  /** Goes on with the frame that is held. */
  private resume(): boolean {
    if (this.total === 0) {
      this.hold(this.at, Math.min(this.at + 4 - this.pending, this.chunk.length))
      if (this.pending < 4) return false
      this.total = this.measure(this.held, 0)
      if (this.total === 0) return false
    }
    const { total } = this
    this.hold(this.at, Math.min(this.at + total - this.pending, this.chunk.length))
    if (this.pending < total) return false
    this.show(this.held, 0, total)
    this.lent = this.held
    this.release()
    return true
  }

  private show(bytes: Uint8Array, at: number, total: number): void {
    this.code = bytes[at + 4]!
    this.bytes = bytes
    this.offset = at + 5
    this.limit = at + total
    this.position = this.next
    this.next += total
  }

  /** The size of the frame that begins there; 0 if it is illegal. */
  private measure(bytes: Uint8Array, at: number): number {
    const length = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
    const { maxLength } = this
    if (length > 0 && length <= maxLength) return 4 + length
    this.fault = { offset: this.next, rule: length === 0 ? "length" : "cap", length, maxLength }
    this.release()
    return 0
  }

  /**
   * Appends a part of the chunk to the bytes that are held. Memory is at most twice the bytes that have arrived, whatever a
   * length field says. It doubles, so that a frame that comes byte by byte is copied only a few times.
   */
  private hold(from: number, to: number): void {
    this.at = to
    if (from === to) return
    const needed = this.pending + to - from
    if (needed > this.held.length) {
      const ample = Math.max(2 * needed, 64)
      const grown = this.memory(this.total === 0 ? ample : Math.min(this.total, ample))
      grown.set(this.held.subarray(0, this.pending))
      this.held = grown
    }
    this.held.set(this.chunk.subarray(from, to), this.pending)
    this.pending = needed
  }

  private memory(size: number): Uint8Array {
    const { spare } = this
    if (spare.length < size) return new Uint8Array(size)
    this.spare = noBytes
    return spare
  }

  /**
   * The current frame has been handled: its memory serves the next frame that comes in parts. Full pieces of a body do, since
   * Node reads 64 kB at a time. V8 starts full collections by the bytes of such arrays, and with one for each piece these take
   * as long as everything else.
   */
  recycle(): void {
    if (this.lent === noBytes) return
    this.spare = this.lent
    this.lent = noBytes
  }

  /** The current frame is kept: its memory is not written again. */
  keep(): void {
    this.lent = noBytes
  }

  /** Lets go of memory that serves nothing any more. */
  trim(): void {
    this.lent = this.spare = noBytes
  }

  private release(): void {
    this.held = noBytes
    this.pending = 0
    this.total = 0
  }
}
