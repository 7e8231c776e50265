/** How large a message has become, and when it is too large. */
import type * as Packet from "../../Packet.ts"
import type { Limits } from "./serverRuntime.ts"

export class MessageSize {
  private readonly limits: Limits
  private headers = 0
  private headerBytes = 0
  private bodyBytes = 0

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** Counts a header field. Returns what is too large now, if anything is. */
  header({ name, value }: Packet.Header): "header" | undefined {
    this.headers++
    this.headerBytes += name.length + value.length
    const { headerBytes, headers } = this.limits
    return this.headers > headers || this.headerBytes > headerBytes ? "header" : undefined
  }

  /** The same for a piece of the body. */
  body(length: number): "message" | undefined {
    this.bodyBytes += length
    return this.bodyBytes > this.limits.bodyBytes ? "message" : undefined
  }
}
