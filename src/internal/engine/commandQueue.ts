/** The commands that have arrived and wait for those before them, with the times of their arrival. */
import type * as Frame from "../../Frame.ts"

export interface WaitingCommand {
  /** Its letter. */
  readonly code: number
  /** When it arrived. */
  readonly arrived: number
}

/** Handled frames kept at the head of the queue before it is compacted. */
const maxHandled = 256

/** The empty frame that fills a slot whose command has been handled. */
const handled: Frame.Frame = { code: 0, bytes: new Uint8Array(0), offset: 0, limit: 0, position: 0 }

/** Bytes of commands that wait; reading pauses at more. */
const maxBytes = 262_144

const lengthOf = ({ limit, offset }: Frame.Frame): number => limit - offset

export class CommandQueue {
  private readonly maxFrames: number
  private frames: Array<Frame.Frame> = []
  private arrivals: Array<number> = []
  private head = 0
  private bytes = 0
  private _arrived = 0

  constructor(maxFrames: number) {
    this.maxFrames = maxFrames
  }

  /** Adds the frames that the chunk completes. Returns the error, if the chunk is invalid. */
  addFrames(decoder: Frame.Decoder, chunk: Uint8Array, now: number): Frame.FrameError | undefined {
    const before = this.frames.length
    const error = decoder.push(chunk, this.frames)
    for (let index = before; index < this.frames.length; index++) {
      this.arrivals.push(now)
      this.bytes += lengthOf(this.frames[index]!)
    }
    return error
  }

  /** Removes the command at the head. */
  removeFirst(): Frame.Frame | undefined {
    if (this.head === this.frames.length) return undefined
    const frame = this.frames[this.head]!
    this._arrived = this.arrivals[this.head]!
    this.frames[this.head++] = handled
    this.bytes -= lengthOf(frame)
    if (this.head === this.frames.length) {
      this.frames.length = this.arrivals.length = this.head = 0
    } else if (this.head === maxHandled) {
      // A queue that is never empty, with slow hooks and a fast MTA, must not grow.
      this.frames = this.frames.slice(maxHandled)
      this.arrivals = this.arrivals.slice(maxHandled)
      this.head = 0
    }
    return frame
  }

  /** When the command that was removed last arrived. */
  get arrived(): number {
    return this._arrived
  }

  /** How many commands wait. */
  get length(): number {
    return this.frames.length - this.head
  }

  /** The letter of a command that waits. */
  codeAt(index: number): number {
    return this.frames[this.head + index]!.code
  }

  /** Whether more than this share of the limits is in use. */
  exceeds(share: number): boolean {
    return this.length > this.maxFrames * share || this.bytes > maxBytes * share
  }

  clear(): void {
    this.frames = []
    this.arrivals = []
    this.head = this.bytes = 0
  }

  get waiting(): ReadonlyArray<WaitingCommand> {
    const waiting: Array<WaitingCommand> = []
    for (let index = this.head; index < this.frames.length; index++) {
      waiting.push({ code: this.frames[index]!.code, arrived: this.arrivals[index]! })
    }
    return waiting
  }
}
