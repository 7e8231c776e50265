/** One direction of a TCP connection, put together from segments that come late, twice or overlap. Pure. */

/** How far sequence number `a` is after `b`, negative if before: they wrap around. */
const distance = (a: number, b: number): number => (a - b) | 0

// More than a window: what waits longer for a missing segment was not captured. Each segment costs a look at all others.
const mostWaitingBytes = 4 * 1024 * 1024
const mostWaiting = 1000

export class TcpStream {
  private next: number | undefined
  private waiting: Array<{ readonly sequence: number; readonly bytes: Buffer }> = []
  private waitingBytes = 0
  private _hasGap = false

  /** Whether bytes are missing in the capture. Nothing comes after them. */
  get hasGap(): boolean {
    return this._hasGap
  }

  /** Whether segments still wait for one before them. */
  get isWaiting(): boolean {
    return this.waiting.length > 0
  }

  /** SYN takes a number of its own. */
  begin(sequence: number): void {
    this.next = (sequence + 1) >>> 0
  }

  /** Takes a segment; gives the bytes that are complete now. */
  push(sequence: number, bytes: Buffer): ReadonlyArray<Buffer> {
    if (bytes.length === 0 || this._hasGap) return []
    // A capture that begins in the middle of a connection.
    this.next ??= sequence
    if (distance(sequence, this.next) > 0) {
      this.waiting.push({ sequence, bytes })
      this.waitingBytes += bytes.length
      if (this.waitingBytes > mostWaitingBytes || this.waiting.length > mostWaiting) this._hasGap = true
      return []
    }
    const complete: Array<Buffer> = []
    this.take(sequence, bytes, complete)
    if (this.waiting.length === 0) return complete
    const waiting = this.waiting.toSorted((one, other) => distance(one.sequence, other.sequence))
    this.waiting = []
    this.waitingBytes = 0
    for (const segment of waiting) {
      if (distance(segment.sequence, this.next) <= 0) {
        this.take(segment.sequence, segment.bytes, complete)
      } else {
        this.waiting.push(segment)
        this.waitingBytes += segment.bytes.length
      }
    }
    return complete
  }

  private take(sequence: number, bytes: Buffer, complete: Array<Buffer>): void {
    const known = -distance(sequence, this.next!)
    if (known >= bytes.length) return
    complete.push(bytes.subarray(known))
    this.next = (this.next! + bytes.length - known) >>> 0
  }
}
