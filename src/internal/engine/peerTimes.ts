/** When a peer has sent what, and which time limit it has passed. */
import type { ServerTimeouts } from "./serverRuntime.ts"

/** A time limit that was passed: its name in log and metrics, the reason, and how the connection ends. */
export interface Lapse {
  readonly kind: string
  readonly what: string
  readonly how: "close" | "destroy"
}

const negotiation: Lapse = { kind: "NegotiationTimeout", what: "it did not negotiate", how: "destroy" }
const refused: Lapse = {
  kind: "RefusedTimeout",
  what: "it stayed after 421, which it got for too many connections",
  how: "close"
}
const frame: Lapse = { kind: "FrameTimeout", what: "a frame was not completed", how: "close" }
const idle: Lapse = { kind: "IdleTimeout", what: "no command came", how: "close" }

export class PeerTimes {
  private readonly timeouts: ServerTimeouts
  private readonly began: number
  /** When bytes last arrived, as far as the sweeper has seen, and whether some have since. */
  private active: number
  private isActive = false
  /** When the incomplete frame began. */
  private frameBegan = 0
  /** When the peer negotiated, if it is to be refused: there are too many connections. */
  private refused = Infinity
  /**
   * When the next sign of life is due. Counts from the arrival of end of message, even while hooks still work on commands
   * before it.
   */
  private progress = Infinity

  constructor(timeouts: ServerTimeouts, now: number) {
    this.timeouts = timeouts
    this.began = this.active = now
  }

  connectionRefused(now: number): void {
    this.refused = now
  }

  /** Takes no time: to read the clock at each command takes five percent of a message, and the sweeper reads it anyway. */
  bytesArrived(): void {
    this.isActive = true
  }

  frameBegins(now: number): void {
    this.frameBegan = now
  }

  /** The latest command that has arrived is an end of message, whose hooks may take long. */
  endOfMessageArrived(now: number): void {
    this.progress = now + this.timeouts.progress
  }

  /** It is another one, which is answered soon. */
  otherCommandArrived(): void {
    this.progress = Infinity
  }

  /** The sweeper comes by: bytes that have arrived since it came last count from now, so that idle time is never overstated. */
  swept(now: number): void {
    if (!this.isActive) return
    this.isActive = false
    this.active = now
  }

  /** Whether a sign of life is due; if so, the next one is due later. */
  takeProgress(now: number): boolean {
    if (now < this.progress) return false
    this.progress = now + this.timeouts.progress
    return true
  }

  /** The limit that a peer has passed for which nothing runs. */
  lapse(now: number, peer: { readonly hasNegotiated: boolean; readonly isMidFrame: boolean }): Lapse | undefined {
    const { timeouts } = this
    if (!peer.hasNegotiated && now - this.began >= timeouts.negotiation) return negotiation
    // An MTA closes right after the 421. Whatever else comes, such a peer does not stay: no limit counts it.
    if (now - this.refused >= timeouts.negotiation) return refused
    if (peer.isMidFrame && now - this.frameBegan >= timeouts.frame) return frame
    return now - this.active >= timeouts.idle ? idle : undefined
  }
}
