/**
 * The MTA's end of a connection: sends packets, receives packets, and gives up a filter that breaks the protocol. After a
 * failure, every later call fails with the same one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"
import type { PacketError } from "../../Wire.ts"
import { awaitUntil } from "../net/awaitUntil.ts"
import type { Transport } from "../net/transport.ts"
import { ClientError, type ClientErrorReason } from "./clientError.ts"

/** Frames waiting to be asked for before reading pauses. */
const maxQueued = 64

export class ClientConnection {
  readonly address: string
  /** The longest frame taken from the filter; the length counts the code. */
  readonly frameLength: number
  private readonly transport: Transport
  private readonly observe:
    | ((from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket) => void)
    | undefined
  private readonly decoder: Frame.Decoder
  private readonly frames: Array<Frame.Frame> = []
  private paused = false
  private writable = true
  private failure: ClientErrorReason | undefined
  private ended = false
  private closing = false
  /** Called whenever one of the fields above may have changed. */
  private wake: (() => void) | undefined
  private readonly onEnded = new Set<() => void>()
  /** The command sent last, for errors. */
  command: Packet.MtaPacket["_tag"] | undefined

  constructor(
    address: string,
    transport: Transport,
    options: {
      readonly maxFrameLength: number | undefined
      readonly observe: ClientConnection["observe"]
    }
  ) {
    this.address = address
    this.transport = transport
    this.observe = options.observe
    this.frameLength = options.maxFrameLength ?? Frame.defaultMaxLength
    this.decoder = Frame.makeDecoder({ maxLength: this.frameLength })
    transport.open({
      data: (chunk) => this.onData(chunk),
      end: () => this.onEnd(undefined),
      drain: () => {
        this.writable = true
        this.wake?.()
      },
      closed: (cause) => this.onEnd(cause)
    })
  }

  private onData(chunk: Uint8Array): void {
    if (this.failure !== undefined || this.closing) return
    const error = this.decoder.push(chunk, this.frames)
    if (error !== undefined) this.give(error)
    if (!this.paused && this.frames.length > maxQueued) {
      this.paused = true
      this.transport.pause()
    }
    this.wake?.()
  }

  private onEnd(cause: unknown): void {
    if (this.ended) return
    this.ended = true
    // Frames that the filter sent before it closed are still read.
    this.give({ _tag: "Closed", cause }, false)
    this.wake?.()
    for (const ended of this.onEnded) ended()
  }

  private give(reason: ClientErrorReason, close = true): void {
    this.failure ??= reason
    if (close) this.close()
  }

  /** Completes when the filter has closed its side. */
  readonly awaitEnd: Effect.Effect<void> = awaitUntil(() => this.ended ? Effect.void : undefined, (changed) => {
    this.onEnded.add(changed)
    return () => this.onEnded.delete(changed)
  })

  /** Closes in order; a step in progress fails. */
  close(): void {
    if (this.closing) return
    this.closing = true
    this.failure ??= { _tag: "Closed", cause: undefined }
    this.transport.close()
    this.wake?.()
  }

  /** Closes the connection, and fails with the reason. */
  fail(reason: ClientErrorReason): Effect.Effect<never, ClientError> {
    return Effect.suspend(() => {
      this.give(reason)
      return this.error(reason)
    })
  }

  /** Fails if the connection has failed. */
  readonly check: Effect.Effect<void, ClientError> = Effect.suspend(() =>
    this.failure === undefined ? Effect.void : this.error(this.failure)
  )

  /** Fails without closing the connection. */
  error(reason: ClientErrorReason): Effect.Effect<never, ClientError> {
    return Effect.fail(new ClientError({ reason, command: this.command, address: this.address }))
  }

  /** Waits until `ready` gives a value, at most `milliseconds` on Effect's clock; `reported` is the time in the error. */
  private wait<A>(
    ready: () => A | undefined,
    milliseconds: number,
    reported: number
  ): Effect.Effect<A, ClientError> {
    const now = ready()
    if (now !== undefined) return Effect.succeed(now)
    if (this.failure !== undefined) return this.error(this.failure)
    return awaitUntil<A, ClientError>(() => {
      const value = ready()
      if (value !== undefined) return Effect.succeed(value)
      return this.failure === undefined ? undefined : this.error(this.failure)
    }, (changed) => {
      this.wake = changed
      return () => {
        this.wake = undefined
      }
    }).pipe(
      Effect.timeoutOrElse({
        duration: Duration.millis(milliseconds),
        orElse: () => this.fail({ _tag: "Timeout", milliseconds: reported })
      }),
      // A late answer would be taken for the answer to the next command.
      Effect.onInterrupt(() => Effect.sync(() => this.close()))
    )
  }

  private readonly isWritable = (): true | undefined => this.writable || undefined

  /** Sends packets in one write; waits while the filter does not read. */
  send(
    packets: ReadonlyArray<Packet.MtaPacket>,
    bytes: Uint8Array,
    milliseconds: number
  ): Effect.Effect<void, ClientError> {
    return Effect.suspend(() => {
      if (this.failure !== undefined && this.frames.length === 0) return this.error(this.failure)
      const stray = this.stray()
      if (stray !== undefined) return this.fail(stray)
      this.command = packets[packets.length - 1]?._tag ?? this.command
      if (this.observe !== undefined) { for (const packet of packets) this.observe("mta", packet) }
      this.writable = this.transport.write(bytes)
      return this.writable ? Effect.void : this.wait(this.isWritable, milliseconds, milliseconds)
    })
  }

  /** Takes what the filter sent without being asked; gives the error for it. A late progress is ignored, as by Postfix. */
  private stray(): ClientErrorReason | undefined {
    for (let decoded = this.take(); decoded !== undefined; decoded = this.take()) {
      if (Result.isFailure(decoded)) return decoded.failure
      const packet = decoded.success
      if (packet._tag !== "Progress") {
        return { _tag: "UnexpectedReply", packet, expected: "nothing before the next command" }
      }
    }
    return undefined
  }

  private readonly take = (): Result.Result<Packet.FilterPacket, PacketError> | undefined => {
    const frame = this.frames.shift()
    if (frame === undefined) return undefined
    if (this.paused && this.frames.length <= maxQueued / 2) {
      this.paused = false
      this.transport.resume()
    }
    const decoded = Packet.decodeFilter(frame)
    if (this.observe !== undefined && Result.isSuccess(decoded)) this.observe("filter", decoded.success)
    return decoded
  }

  /** Receives the next packet of the filter within `milliseconds`; `reported` is the time in the error. */
  receive(milliseconds: number, reported: number = milliseconds): Effect.Effect<Packet.FilterPacket, ClientError> {
    return Effect.flatMap(
      Effect.suspend(() => this.wait(this.take, milliseconds, reported)),
      (decoded) => Result.isSuccess(decoded) ? Effect.succeed(decoded.success) : this.fail(decoded.failure)
    )
  }
}
