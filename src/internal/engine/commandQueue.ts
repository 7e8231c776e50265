/** The commands that have arrived and wait for those before them, with the times of their arrival. */
import type * as Clock from "effect/Clock"
import * as Frame from "../../Frame.ts"
import { FrameCutter } from "../wire/frameCutter.ts"

export interface WaitingCommand {
  /** Its letter. */
  readonly code: number
  /** When it arrived. */
  readonly arrived: number
}

/** Handled frames kept at the head of the queue before it is compacted. */
const maxHandled = 256

const noBytes = new Uint8Array(0)

/** The empty frame that fills a slot whose command has been handled. */
const handled: Frame.Frame = { code: 0, bytes: noBytes, offset: 0, limit: 0, position: 0 }

/** The time of an arrival, as long as nobody has asked for it. */
const unread = -1

/** Bytes of commands that wait; reading pauses at more. */
const maxBytes = 262_144

const lengthOf = ({ limit, offset }: Frame.Frame): number => limit - offset

/**
 * Usually nothing waits: then a command is cut off the chunk when its turn comes, and costs no object. What is left of the
 * chunk is cut and queued when something asks what waits, or when the next chunk comes.
 */
export class CommandQueue {
  private readonly cutter: FrameCutter
  private readonly maxFrames: number
  private frames: Array<Frame.Frame> = []
  private arrivals: Array<number> = []
  private head = 0
  private bytes = 0
  private readonly clock: Clock.Clock
  /** When the chunk arrived that is being cut. The clock is read when something asks, which few events do. */
  private chunkArrived = unread
  private _arrived = unread
  private _completed = 0
  private readonly overwrites: boolean
  /** The bytes of the command that was removed last, if they will be overwritten. */
  private latest: Uint8Array = noBytes

  /** With `overwrites`, the bytes of a command are overwritten for certain once it has been handled; otherwise only sometimes. */
  constructor(
    limits: { readonly frameLength: number; readonly queuedPackets: number },
    clock: Clock.Clock,
    overwrites: boolean
  ) {
    this.clock = clock
    this.overwrites = overwrites
    this.cutter = new FrameCutter(limits.frameLength)
    this.maxFrames = limits.queuedPackets
  }

  /** Adds the next bytes of the stream. */
  addChunk(chunk: Uint8Array): void {
    this.queueRest()
    // In memory, the MTA's side may still have the chunk.
    this.cutter.feed(this.overwrites ? new Uint8Array(chunk) : chunk)
    this.chunkArrived = unread
  }

  private get chunkTime(): number {
    if (this.chunkArrived === unread) this.chunkArrived = this.clock.currentTimeMillisUnsafe()
    return this.chunkArrived
  }

  /** Cuts and queues what is left of the chunk. Returns the error, if the stream is invalid. */
  queueRest(): Frame.FrameError | undefined {
    const { cutter } = this
    while (cutter.advance()) {
      const { bytes, code, limit, offset, position } = cutter
      cutter.keep()
      this._completed++
      this.frames.push({ code, bytes, offset, limit, position })
      this.arrivals.push(this.chunkTime)
      this.bytes += limit - offset
    }
    return cutter.fault === undefined ? undefined : new Frame.FrameError(cutter.fault)
  }

  /**
   * Removes the command at the head. Its frame is valid until the next call, which comes when the command has been handled:
   * then its bytes may be written again.
   */
  removeFirst(): Frame.Frame | undefined {
    this.cutter.recycle()
    if (!this.overwrites) return this.takeFirst()
    this.latest.fill(0)
    const frame = this.takeFirst()
    this.latest = frame === undefined ? noBytes : frame.bytes.subarray(frame.offset, frame.limit)
    return frame
  }

  private takeFirst(): Frame.Frame | undefined {
    if (this.head === this.frames.length) return this.cutFirst()
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

  private cutFirst(): Frame.Frame | undefined {
    if (!this.cutter.advance()) return undefined
    this._completed++
    this._arrived = unread
    return this.cutter
  }

  /**
   * When the command that was removed last arrived. To be asked first in the event in which it was removed: it has come with the
   * present chunk, or its time was kept with it.
   */
  get arrived(): number {
    if (this._arrived === unread) this._arrived = this.chunkTime
    return this._arrived
  }

  /** Lets go of memory for the pieces of a body: a connection without a message must not keep it. */
  messageEnds(): void {
    this.cutter.trim()
  }

  /** How many commands wait. */
  get length(): number {
    this.queueRest()
    return this.frames.length - this.head
  }

  /** How many commands have arrived whole so far, and the letter of the latest. */
  get completed(): number {
    return this._completed
  }

  get latestCode(): number {
    return this.cutter.code
  }

  /** Whether a command has arrived in part. */
  get isIncomplete(): boolean {
    return this.cutter.pending > 0
  }

  /** The letter of a command that waits. */
  codeAt(index: number): number {
    return this.frames[this.head + index]!.code
  }

  /** Whether more than this share of the limits is in use, apart from what is left of the chunk. */
  exceeds(share: number): boolean {
    return this.frames.length - this.head > this.maxFrames * share || this.bytes > maxBytes * share
  }

  clear(): void {
    this.cutter.clear()
    this.latest = noBytes
    this.frames = []
    this.arrivals = []
    this.head = this.bytes = 0
  }

  get waiting(): ReadonlyArray<WaitingCommand> {
    const waiting: Array<WaitingCommand> = []
    const { length } = this
    for (let index = 0; index < length; index++) {
      waiting.push({ code: this.codeAt(index), arrived: this.arrivals[this.head + index]! })
    }
    return waiting
  }
}
