/** A listening socket of Node. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Accepting } from "../../internal/net/listener.ts"
import { OpenList } from "../../internal/net/openList.ts"
import type { Transport } from "../../internal/net/transport.ts"
import type { ListenError } from "../../MilterServer.ts"
import * as descriptors from "./descriptors.ts"
import { fromSystem } from "./listenError.ts"
import { NetTransport } from "./netTransport.ts"

// Connections that come between two turns of the accept loop; the kernel caps it (net.core.somaxconn).
const backlog = 4096

/** Milliseconds for sending the last bytes of ended sessions, when the listener closes. */
const linger = 2000

/** Milliseconds for connections that keep coming while the listener stops. */
const patience = 500

/** Milliseconds between two log lines about connections that were not accepted. */
const silence = 60_000

/**
 * Milliseconds without a packet until the kernel asks the peer whether it still exists. libuv lets it ask ten times, a
 * second apart: a peer whose network or machine has gone is noticed after 70 s, not after the hours of an idle timeout.
 */
const keepAlive = 60_000

/** `fd` is missing from the types of Node's options. */
export type Where = Net.ListenOptions & { readonly fd?: number }

/** One listening socket of Node. */
export class NetListener implements Accepting {
  private readonly server: Net.Server
  private readonly sockets = new OpenList<Net.Socket>()
  /** Connections wait here, unread, until a server takes them. */
  private readonly waiting: Array<Transport> = []
  private deliver: ((transport: Transport) => void) | undefined = (transport) => void this.waiting.push(transport)
  private accepting = false
  private accepted = 0
  private closed = false
  private readonly warn: (message: string) => void
  private troubles = 0
  private silentUntil = 0
  private readonly isShared: () => boolean
  private listensAt: ReadonlyArray<string> = []
  /** Whether the socket listens on a path; a descriptor can be of either kind. */
  private isUnix = false
  /** Removes the socket file, if there is one. */
  private removeFile = (): void => undefined

  /** `isShared`: the socket stays open elsewhere, so that what waits in its queue is not lost but for another process. */
  constructor(
    warn: (message: string) => void,
    { isShared = () => false }: { readonly isShared?: (() => boolean) | undefined } = {}
  ) {
    this.warn = warn
    this.isShared = isShared
    const scarce = descriptors.scarce()
    this.server = Net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAlive }, (socket) => {
      this.accepted++
      const place = this.sockets.add(socket)
      // When the last one is gone libuv takes connections only to close them, and reports no error.
      if (descriptors.of(socket) >= scarce) this.trouble("the process has nearly as many open files as it may have")
      const transport = new NetTransport(socket, this.isUnix, () => this.sockets.remove(place))
      if (this.deliver === undefined) transport.destroy()
      else this.deliver(transport)
    })
    this.server.once("close", () => {
      this.closed = true
    })
  }

  get addresses(): ReadonlyArray<string> {
    return this.listensAt
  }

  /** Notes that the socket listens: its address, and the function that removes the socket file when it stops. */
  opened(address: string, removeFile = (): void => undefined): void {
    this.listensAt = [address]
    this.removeFile = removeFile
  }

  /** Binds and listens; the address is for errors. */
  listen(address: string, where: Where): Effect.Effect<void, ListenError> {
    return Effect.callback((resume) => {
      const { server } = this
      const failed = (cause: Error): void => resume(Effect.fail(fromSystem(address, cause)))
      server.once("error", failed)
      server.listen({ ...where, backlog }, () => {
        server.off("error", failed)
        this.isUnix = this.address === undefined
        // An error of one accept (no memory) must not end the process; the next accept may succeed.
        server.on("error", ({ message }) => this.trouble(message))
        resume(Effect.void)
      })
    })
  }

  /** Logs a fault, at most once in {@link silence}: a lasting fault occurs at every connection. */
  private trouble(text: string): void {
    this.troubles++
    const now = performance.now()
    if (now < this.silentUntil) return
    this.silentUntil = now + silence
    const times = this.troubles === 1 ? "" : ` (${this.troubles} times since this was last said)`
    this.troubles = 0
    this.warn(`AcceptError: ${this.addresses.join(", ")}: ${text}${times}`)
  }

  /** Host and port, for TCP. */
  get address(): Net.AddressInfo | undefined {
    const address = this.server.address()
    // For a UNIX socket that was passed to the process Bun gives an object without an address.
    return typeof address === "object" && address?.address ? address : undefined
  }

  readonly accept = (onConnection: (transport: Transport) => void): Effect.Effect<void, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        if (this.accepting) return Effect.die(new Error(`${this.addresses.join(", ")} already serves a filter`))
        this.accepting = true
        this.deliver = onConnection
        this.waiting.splice(0).forEach(onConnection)
        return Effect.void
      }),
      () =>
        Effect.sync(() => {
          this.accepting = false
          this.deliver = undefined
        })
    )

  readonly stop: Effect.Effect<void> = Effect.callback((resume) => {
    const close = (): void => {
      if (this.server.listening) this.server.close()
      resume(Effect.void)
    }
    const { removeFile } = this
    // Once: when the socket is closed its inode is free, and may be that of a successor's file next.
    this.removeFile = () => undefined
    removeFile()
    if (this.isShared()) close()
    else this.emptyQueue(performance.now() + patience, close)
  })

  /**
   * Takes the connections that the kernel has accepted for us already, which closing would reset. libuv takes one in each
   * turn of the event loop; from here a whole turn is two callbacks, so that it surely looks at its sockets in between.
   */
  private emptyQueue(deadline: number, done: () => void): void {
    const { accepted } = this
    setImmediate(() =>
      setImmediate(() => {
        if (this.accepted === accepted || performance.now() > deadline) done()
        else this.emptyQueue(deadline, done)
      })
    )
  }

  /** Stops and waits until the connections are closed. */
  readonly close: Effect.Effect<void> = Effect.andThen(
    Effect.suspend(() => this.stop),
    Effect.callback<void>((resume) => {
      for (const transport of this.waiting) transport.destroy()
      this.whenClosed(() => resume(Effect.void))
    })
  )

  /** Waits until it has stopped, and all its connections have ended by themselves. */
  readonly ended: Effect.Effect<void> = Effect.callback((resume) => {
    const done = (): void => resume(Effect.void)
    if (this.closed) return done()
    this.server.once("close", done)
    return Effect.sync(() => this.server.off("close", done))
  })

  private whenClosed(done: () => void): void {
    if (this.closed) return done()
    // A peer that does not read the last bytes must not delay the stop.
    const timer = setTimeout(() => this.sockets.values.forEach((socket) => socket.destroy()), linger)
    this.server.once("close", () => {
      clearTimeout(timer)
      done()
    })
  }

  /** Closes a listener that does not listen yet. */
  readonly discard: Effect.Effect<void> = Effect.sync(() => void this.server.close())
}
