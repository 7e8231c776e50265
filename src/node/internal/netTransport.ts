/** A Node socket as a transport. */
import type * as Net from "node:net"
import type { Handlers, Transport } from "../../internal/net/transport.ts"

/** The transport of a socket: all sockets share their listeners, and none of these holds a session. */
const key = Symbol("effect-milter/NetTransport")

type Carrier = Net.Socket & { [key]?: NetTransport | undefined }

const onData = function(this: Carrier, chunk: Uint8Array): void {
  this[key]?.handlers?.data(chunk)
}

const onEnd = function(this: Carrier): void {
  this[key]?.handlers?.end()
}

const onDrain = function(this: Carrier): void {
  this[key]?.handlers?.drain()
}

const onError = function(this: Carrier, error: unknown): void {
  const transport = this[key]
  if (transport !== undefined) transport.error = error
}

const onClose = function(this: Carrier): void {
  const transport = this[key]
  // V8 copies sockets that have closed to its old generation, since the handles of Node are roots for a scavenge. What hangs
  // on them would go with them: the transport, and all that its session held.
  this[key] = undefined
  transport?.closed()
}

/** A Node socket as a transport. It is not read before `open`. */
export class NetTransport implements Transport {
  private readonly socket: Carrier
  private readonly isUnix: boolean
  private readonly onClosed: (() => void) | undefined
  error: unknown
  handlers: Handlers | undefined

  /** `onClosed` is called when the socket has closed, before the handler. */
  constructor(socket: Net.Socket, isUnix: boolean, onClosed?: () => void) {
    this.socket = socket
    this.isUnix = isUnix
    this.onClosed = onClosed
    this.socket[key] = this
    // From the start: an error without a listener would end the process.
    socket.on("error", onError)
    socket.on("close", onClose)
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
    // It may have closed before.
    if (socket[key] === undefined) return queueMicrotask(() => handlers.closed(this.error))
    if (socket.destroyed) return
    socket.on("data", onData)
    socket.on("end", onEnd)
  }

  closed(): void {
    const { handlers } = this
    this.handlers = undefined
    this.onClosed?.()
    handlers?.closed(this.error)
  }

  write(bytes: Uint8Array): boolean {
    const { socket } = this
    if (socket.destroyed || socket.write(bytes)) return true
    if (socket.listenerCount("drain", onDrain) === 0) socket.on("drain", onDrain)
    return false
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  close(): void {
    const { socket } = this
    // Not end(): a peer that never closes its side would keep the socket for ever. What the kernel has got it sends after
    // `destroy` too.
    if (socket.writableLength === 0 && !socket.writableEnded) socket.destroy()
    else socket.destroySoon()
  }

  destroy(): void {
    this.socket.destroy()
  }
}
