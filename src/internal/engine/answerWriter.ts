/** Writes answers to the transport, and knows whether the peer takes them. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { awaitUntil } from "../net/awaitUntil.ts"
import type { Transport } from "../net/transport.ts"

export class AnswerWriter {
  private readonly transport: Transport
  private readonly clock: Clock.Clock
  private _isWritable = true
  private _bytesWritten = 0
  /** Since when the peer has not taken what was written, or has not closed. */
  private blocked = 0
  private onWritable: (() => void) | undefined

  constructor(transport: Transport, clock: Clock.Clock) {
    this.transport = transport
    this.clock = clock
  }

  /** Whether there is room for more. */
  get isWritable(): boolean {
    return this._isWritable
  }

  get bytesWritten(): number {
    return this._bytesWritten
  }

  send(bytes: Uint8Array): void {
    this._bytesWritten += bytes.length
    this._isWritable = this.transport.write(bytes)
    if (!this._isWritable) this.blocked = this.clock.currentTimeMillisUnsafe()
  }

  /** Sends, and completes when there is room for more. */
  sendAndWait(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.send(bytes)
      if (this._isWritable) return Effect.void
      return awaitUntil(() => this._isWritable ? Effect.void : undefined, (changed) => {
        this.onWritable = changed
        return () => {
          this.onWritable = undefined
        }
      })
    })
  }

  /** The peer has taken what was written. */
  drained(): void {
    this._isWritable = true
    this.onWritable?.()
  }

  /** The last answer has been sent: from now on the peer is expected to take it and to close. */
  closes(): void {
    this.blocked = this.clock.currentTimeMillisUnsafe()
  }

  /** Whether the peer has taken nothing for so long. */
  isBlockedFor(milliseconds: number, now: number): boolean {
    return now - this.blocked >= milliseconds
  }
}
