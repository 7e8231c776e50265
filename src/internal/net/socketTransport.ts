/**
 * A socket of Effect as a transport. One fiber pulls. A write starts at once, and later writes wait for it: so an answer costs
 * no turn of the scheduler if the socket takes it, and several answers in one turn are sent together.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { Handlers, Transport } from "./transport.ts"

/** Bytes waiting to be written before `write` asks its caller to wait. */
const highWaterMark = 65536

class SocketTransport implements Transport {
  readonly peer: string
  /** A Socket does not show the address of its peer. */
  readonly address = ""
  private readonly send: (
    chunks: readonly [Uint8Array, ...Array<Uint8Array>]
  ) => Effect.Effect<void, Socket.SocketError>
  private readonly fork: <A, E>(
    effect: Effect.Effect<A, E>
  ) => { readonly addObserver: (f: (exit: Exit.Exit<A, E>) => void) => void }
  private handlers: Handlers | undefined
  private out: Array<Uint8Array> = []
  private queued = 0
  private writing = false
  private scheduled = false
  private blocked = false
  private closing = false
  private over = false
  private error: unknown
  /** Open while chunks may be pulled. */
  readonly flowing = Latch.makeUnsafe(false)
  /** Open when the connection must be closed. */
  readonly done = Latch.makeUnsafe(false)

  constructor(peer: string, send: SocketTransport["send"], fork: SocketTransport["fork"]) {
    this.peer = peer
    this.send = send
    this.fork = fork
  }

  // --- for the engine

  open(handlers: Handlers): void {
    this.handlers = handlers
    if (this.over) queueMicrotask(() => handlers.closed(this.error))
    else this.flowing.openUnsafe()
  }

  write(bytes: Uint8Array): boolean {
    if (this.closing || this.over) return true
    this.out.push(bytes)
    this.queued += bytes.length
    if (!this.writing && !this.scheduled) {
      // More writes may follow in this turn.
      this.scheduled = true
      queueMicrotask(() => {
        this.scheduled = false
        this.flush()
      })
    }
    this.blocked = this.queued >= highWaterMark
    return !this.blocked
  }

  pause(): void {
    this.flowing.closeUnsafe()
  }

  resume(): void {
    this.flowing.openUnsafe()
  }

  close(): void {
    if (this.closing) return
    this.closing = true
    if (!this.scheduled) this.flush()
  }

  destroy(): void {
    this.closing = true
    this.out = []
    this.done.openUnsafe()
  }

  // --- for the fiber

  data(chunks: ReadonlyArray<Uint8Array>): void {
    for (const chunk of chunks) {
      if (this.closing) return
      this.handlers?.data(chunk)
    }
  }

  end(): void {
    this.handlers?.end()
  }

  fail(error: unknown): void {
    this.error ??= error
    this.destroy()
  }

  finish(): void {
    if (this.over) return
    this.over = this.closing = true
    this.handlers?.closed(this.error)
  }

  private flush(): void {
    if (this.writing || this.over) return
    const [first, ...rest] = this.out
    if (first === undefined) {
      if (this.closing) this.done.openUnsafe()
      return
    }
    this.out = []
    this.writing = true
    this.fork(this.send([first, ...rest])).addObserver((exit) => {
      this.writing = false
      this.queued = this.out.reduce((size, { length }) => size + length, 0)
      if (Exit.isFailure(exit)) return this.fail(exit.cause)
      this.flush()
      if (!this.blocked || this.queued > highWaterMark / 2) return
      this.blocked = false
      this.handlers?.drain()
    })
  }
}

/** Runs a socket as a transport for as long as it is connected; `use` gets the transport once it is. */
export const run = (
  socket: Socket.Socket,
  peer: string,
  use: (transport: Transport) => void
): Effect.Effect<void, Socket.SocketError, Scope.Scope> =>
  Effect.gen(function*() {
    const pull = yield* Socket.readerBytes(socket)
    const writer = yield* socket.writer
    const transport = new SocketTransport(peer, writer.writeAll, Effect.runForkWith(yield* Effect.context()))
    const pulling = Effect.forever(
      Effect.andThen(transport.flowing.await, Effect.map(pull, (chunks) => transport.data(chunks))),
      { disableYield: true }
    )
    use(transport)
    yield* pulling.pipe(
      Effect.catch(({ reason }) =>
        reason._tag === "SocketCloseError" && reason.code === 1000
          // The peer has closed its side. Answers that are being made may still reach it.
          ? Effect.andThen(Effect.sync(() => transport.end()), Effect.never)
          : Effect.sync(() => transport.fail(reason))
      ),
      Effect.raceFirst(transport.done.await),
      Effect.ensuring(Effect.sync(() => transport.finish()))
    )
  })
