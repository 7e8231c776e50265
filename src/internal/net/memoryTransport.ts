/** Two connected transports in memory: each write of a side reaches the other in a microtask of its own, in order. */
import type { Handlers, Transport } from "./transport.ts"

/** The bytes that one side may write to a peer that does not read, before `write` asks it to wait. */
const highWaterMark = 65536

class MemoryTransport implements Transport {
  readonly peer: string
  readonly address = undefined
  other!: MemoryTransport
  private handlers: Handlers | undefined
  private readonly inbox: Array<Uint8Array> = []
  private queued = 0
  private blocked = false
  private paused = false
  private scheduled = false
  private peerEnded = false
  private ended = false
  private state: "open" | "closing" | "closed" = "open"
  private failure: unknown

  constructor(peer: string) {
    this.peer = peer
  }

  open(handlers: Handlers): void {
    this.handlers = handlers
    this.schedule()
  }

  write(bytes: Uint8Array): boolean {
    if (this.state !== "open" || this.other.state === "closed") return true
    this.other.inbox.push(bytes)
    this.other.queued += bytes.length
    this.other.schedule()
    if (this.other.queued < highWaterMark) return true
    this.other.blocked = true
    return false
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.schedule()
  }

  close(): void {
    if (this.state !== "open") return
    this.state = "closing"
    this.other.peerEnded = true
    this.other.schedule()
    this.schedule()
  }

  destroy(): void {
    this.fail(undefined)
    if (!this.other.peerEnded) this.other.fail(new Error("connection reset by peer"))
  }

  private fail(error: unknown): void {
    if (this.state === "closed") return
    this.state = "closing"
    this.inbox.length = this.queued = 0
    this.ended = this.peerEnded = true
    this.failure ??= error
    this.schedule()
  }

  private schedule(): void {
    if (this.scheduled || this.handlers === undefined) return
    this.scheduled = true
    queueMicrotask(() => {
      this.scheduled = false
      this.deliver()
    })
  }

  private deliver(): void {
    const handlers = this.handlers
    if (handlers === undefined || this.state === "closed") return
    const chunk = this.paused && this.state === "open" ? undefined : this.inbox.shift()
    if (chunk !== undefined) {
      this.queued -= chunk.length
      if (this.state === "open") handlers.data(chunk)
      if (this.blocked && this.queued < highWaterMark / 2) {
        this.blocked = false
        this.other.handlers?.drain()
      }
      this.schedule()
    } else if (this.peerEnded && !this.ended && !this.paused) {
      this.ended = true
      handlers.end()
      this.schedule()
    } else if (this.state === "closing") {
      this.state = "closed"
      handlers.closed(this.failure)
    }
  }
}

/** Makes both ends of a connection. */
export const makePair = (peers: readonly [string, string]): readonly [Transport, Transport] => {
  const left = new MemoryTransport(peers[1])
  const right = new MemoryTransport(peers[0])
  left.other = right
  right.other = left
  return [left, right]
}
