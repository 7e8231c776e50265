/** A Node socket as a transport. */
import type * as Net from "node:net"
import type { Handlers, Transport } from "../../internal/net/transport.ts"

/** A Node socket as a transport. It is not read before `open`. */
export class NetTransport implements Transport {
  private readonly socket: Net.Socket
  private readonly isUnix: boolean
  private error: unknown
  /**
   * Undefined once it is closed. V8 copies sockets that have closed to its old generation, as the roots that handles of Node
   * are for a scavenge; what hangs on them would go with them, with all that a session held.
   */
  private handlers: Handlers | undefined

  constructor(socket: Net.Socket, isUnix: boolean) {
    this.socket = socket
    this.isUnix = isUnix
    // From the start: an error without a listener would end the process.
    socket.on("error", (error) => {
      this.error = error
    })
  }

  get peer(): string {
    const { remoteAddress, remotePort } = this.socket
    if (this.isUnix) return "a UNIX socket"
    return remoteAddress === undefined ? "an unknown address" : `${remoteAddress} port ${remotePort}`
  }

  get address(): string | undefined {
    // A peer that has reset its connection before it was accepted has no address any more.
    return this.isUnix ? undefined : this.socket.remoteAddress ?? ""
  }

  open(handlers: Handlers): void {
    const { socket } = this
    this.handlers = handlers
    if (socket.destroyed) {
      queueMicrotask(() => this.closed())
      return
    }
    socket.on("data", (chunk: Uint8Array) => this.handlers?.data(chunk))
    socket.on("end", () => this.handlers?.end())
    socket.on("drain", () => this.handlers?.drain())
    socket.on("close", () => this.closed())
  }

  private closed(): void {
    const { handlers } = this
    this.handlers = undefined
    handlers?.closed(this.error)
  }

  write(bytes: Uint8Array): boolean {
    return this.socket.destroyed || this.socket.write(bytes)
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  close(): void {
    // Not end(): a peer that never closes its side would keep the socket for ever.
    this.socket.destroySoon()
  }

  destroy(): void {
    this.socket.destroy()
  }
}
