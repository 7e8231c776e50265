/** The MTA's end of one connection to a filter: writes bytes, collects answers. By the wall clock. */
import * as Frame from "effect-milter/Frame"
import * as Packet from "effect-milter/Packet"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { forEvent } from "../../testbed/timeLimits.ts"

/**
 * What came back for one command: the frames up to the first verdict, or up to the close. `how` tells what ended the
 * waiting; `silence` only for a filter that should have answered and did not.
 */
export interface Answer {
  readonly frames: ReadonlyArray<Uint8Array>
  readonly how: "verdict" | "closed" | "silence"
}

const neutral = new Set(Array.from("himb+2-eqp", (code) => code.charCodeAt(0)))

export class Peer {
  private readonly socket: Net.Socket
  private readonly decoder = Frame.makeDecoder()
  private frames: Array<Uint8Array> = []
  private closed = false
  private ended = false
  private watcher: (() => void) | undefined

  /** How long to wait for an answer, in milliseconds. */
  private readonly patience: number

  private constructor(socket: Net.Socket, patience: number) {
    this.socket = socket
    this.patience = patience
    const decoded: Array<Frame.Frame> = []
    socket.on("data", (chunk) => {
      const error = this.decoder.push(chunk, decoded)
      for (const { bytes, code, limit, offset } of decoded.splice(0)) {
        this.frames.push(Frame.encode(code, bytes.subarray(offset, limit)))
      }
      // Nobody sends that; it would show as a frame that no decoder knows.
      if (error !== undefined) this.frames.push(Frame.encode(0, new TextEncoder().encode(error.message)))
      this.watcher?.()
    })
    // Ours is not half-open: the other side's close ends this one too.
    socket.on("error", () => undefined)
    socket.on("close", () => {
      this.closed = true
      this.watcher?.()
    })
  }

  static readonly connect = (path: string, patience = forEvent) =>
    Effect.acquireRelease(
      Effect.callback<Peer>((resume) => {
        const socket = Net.connect({ path })
        const failed = (error: Error) => resume(Effect.die(error))
        socket.once("error", failed)
        socket.once("connect", () => {
          socket.off("error", failed)
          resume(Effect.succeed(new Peer(socket, patience)))
        })
      }),
      (peer) => Effect.sync(() => peer.socket.destroy())
    )

  write(bytes: Uint8Array): void {
    if (!this.closed && !this.ended) this.socket.write(bytes)
  }

  /** Says that nothing more will come, as a close does. */
  end(): void {
    this.ended = true
    this.socket.end()
  }

  /** Waits for the answer to one command. */
  readonly answer: Effect.Effect<Answer> = Effect.callback((resume) => {
    const look = (how: Answer["how"] | undefined) => {
      const verdict = this.frames.findIndex((frame) => !neutral.has(frame[4]!))
      const ended = how ?? (verdict !== -1 ? "verdict" : this.closed ? "closed" : undefined)
      if (ended === undefined) return
      this.watcher = undefined
      clearTimeout(timer)
      const frames = this.frames.splice(0, verdict === -1 ? this.frames.length : verdict + 1)
      resume(Effect.succeed({ frames, how: ended }))
    }
    // A callback of the socket's world, where no fiber waits.
    // @effect-diagnostics-next-line globalTimersInEffect:off
    const timer = setTimeout(() => look("silence"), this.patience)
    this.watcher = () => look(undefined)
    look(undefined)
  })

  /** Waits until the filter has closed; what it has sent meanwhile. */
  readonly rest: Effect.Effect<Answer> = Effect.callback((resume) => {
    const done = (how: Answer["how"]) => {
      this.watcher = undefined
      clearTimeout(timer)
      resume(Effect.succeed({ frames: this.frames.splice(0), how }))
    }
    // @effect-diagnostics-next-line globalTimersInEffect:off
    const timer = setTimeout(() => done("silence"), this.patience)
    this.watcher = () => {
      if (this.closed) done("closed")
    }
    this.watcher()
  })
}

/** One frame of a filter, printed. */
const formatFrame = (bytes: Uint8Array): string => {
  const frames: Array<Frame.Frame> = []
  Frame.makeDecoder({ maxLength: bytes.length }).push(bytes, frames)
  return Result.match(Packet.decodeFilter(frames[0]!), {
    onSuccess: Packet.format,
    onFailure: (error) =>
      `${error.message}: ${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`
  })
}

/** An answer, printed; `nothing` for a filter that was not waited for. */
export const format = (answer: Answer | undefined): string =>
  answer === undefined
    ? "nothing"
    : [
      ...answer.frames.map(formatFrame),
      ...(answer.how === "verdict" ? [] : answer.how === "closed" ? ["closes"] : ["no answer"])
    ].join(", ")

/** Whether two answers are the same bytes. */
export const same = (one: Answer, other: Answer): boolean =>
  one.how === other.how && one.frames.length === other.frames.length &&
  one.frames.every((frame, index) => Buffer.compare(frame, other.frames[index]!) === 0)
