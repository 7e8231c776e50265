/**
 * One connection: bytes in, verdicts out. Events of the transport drive it; hooks are fibers, and one that finishes at once
 * costs no turn of the scheduler. The socket is read while a hook runs, so that a disconnect, a quit or an abort interrupts
 * it.
 *
 * Invariant: on a connection that stays open there is exactly one verdict for each command that expects one, and none for
 * others.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Frame from "../Frame.ts"
import * as Packet from "../Packet.ts"
import type { Stage } from "../Stage.ts"
import { PacketError, type PacketWarning } from "../Wire.ts"
import { Conversation, type Program } from "./conversation.ts"
import { type Action, type Phase, ProtocolError, transition } from "./session.ts"
import type { Transport } from "./transport.ts"

/** Starts an effect at once, with the services and the Scope it was made for. */
export type Fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>

/** What a conversation needs of its connection. */
export interface Host {
  readonly send: (bytes: Uint8Array) => void
  /** Runs an effect before the next command; `stage` is that of its hook, undefined for what must not be interrupted. */
  readonly start: (
    stage: Stage | undefined,
    effect: Effect.Effect<unknown, unknown>,
    fork: Fork,
    done: (exit: Exit.Exit<unknown, unknown>, aborted: boolean) => void
  ) => void
  /** The peer broke the rules: one log line, and the connection ends. */
  readonly fail: (error: { readonly _tag: string; readonly message: string }) => void
}

interface Running {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly stage: Stage | undefined
  aborted: boolean
}

/** Frames waiting behind a running hook before reading pauses. */
const maxQueued = 64

const interrupted = Exit.interrupt()

const abortCode = 0x41
const quitCode = 0x51

/** Runs a connection on an open transport; completes when it is over and all its finalizers have run. */
export const run = (program: Program, transport: Transport): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const connection = new Connection(program, transport, resume)
    return connection.interrupt
  })

class Connection implements Host {
  private readonly transport: Transport
  private readonly resume: (effect: Effect.Effect<void>) => void
  private readonly decoder: Frame.Decoder
  private readonly conversation: Conversation
  private queue: Array<Frame.Frame> = []
  private head = 0
  private paused = false
  private writable = true
  private ended = false
  private finished = false
  private running: Running | undefined
  private phase: Phase = "new"

  constructor(program: Program, transport: Transport, resume: (effect: Effect.Effect<void>) => void) {
    this.transport = transport
    this.resume = resume
    this.decoder = Frame.makeDecoder({ maxLength: program.maxFrameLength })
    this.conversation = new Conversation(program, this)
    transport.open({
      data: (chunk) => this.onData(chunk),
      end: () => this.onEnd(),
      drain: () => {
        this.writable = true
        this.pump()
      },
      closed: () => this.finish(interrupted, "destroy")
    })
  }

  // --- events of the transport

  private onData(chunk: Uint8Array): void {
    if (this.finished) return
    const before = this.queue.length
    const error = this.decoder.push(chunk, this.queue)
    if (this.running?.stage !== undefined) this.watch(before)
    this.pump()
    if (error !== undefined) {
      this.fail(error)
    } else if (!this.paused && this.queue.length - this.head > maxQueued) {
      this.paused = true
      this.transport.pause()
    }
  }

  private onEnd(): void {
    this.ended = true
    if (this.running?.stage !== undefined) this.finish(interrupted, "close")
    else this.pump()
  }

  /** Looks at frames that have arrived behind a running hook for those that make its verdict pointless. */
  private watch(from: number): void {
    for (let index = from; index < this.queue.length; index++) {
      const { code } = this.queue[index]!
      if (code === quitCode) return this.finish(Exit.void, "close")
      if (code === abortCode) this.abortRunning()
    }
  }

  private abortRunning(): void {
    const { running } = this
    if (running === undefined || running.aborted || !this.conversation.hasMessage || running.stage === "unknown") return
    running.aborted = true
    running.fiber.interruptUnsafe()
  }

  // --- the queue of commands

  private pump(): void {
    while (this.running === undefined && this.writable && !this.finished && this.head < this.queue.length) {
      const frame = this.queue[this.head++]!
      if (this.head === this.queue.length) {
        this.queue = []
        this.head = 0
      }
      this.process(frame)
    }
    if (this.finished) return
    if (this.paused && this.queue.length - this.head <= maxQueued / 2) {
      this.paused = false
      this.transport.resume()
    }
    if (this.ended && this.running === undefined && this.head === this.queue.length) {
      this.finish(this.conversation.hasOpenMessage ? interrupted : Exit.void, "close")
    }
  }

  private process(frame: Frame.Frame): void {
    const definition = Packet.mtaByCode(frame.code)
    if (definition === undefined) {
      const code = `0x${frame.code.toString(16).padStart(2, "0")}`
      return this.fail(
        new PacketError({
          offset: frame.position + 4,
          expected: `a command, not the byte ${code},`,
          command: undefined
        })
      )
    }
    const next = transition(this.phase, definition.name)
    if (next === undefined) {
      return this.fail(
        new ProtocolError({ state: this.phase, command: definition.name, offset: frame.position })
      )
    }
    // Macros stay bytes until somebody asks for one: most filters read few.
    if (definition.name === "Macro") return this.conversation.macro(frame)
    let packet: Packet.MtaPacket
    try {
      packet = Packet.decodeMtaUnsafe(frame, this.onWarning)
    } catch (error) {
      return this.conversation.malformed(definition.name, error as PacketError) // the decoder throws nothing else
    }
    this.phase = next.phase
    this.conversation.command(frame.code)
    this.perform(next.actions, 0, packet)
  }

  private perform(actions: ReadonlyArray<Action>, index: number, packet: Packet.MtaPacket): void {
    const action = actions[index]
    if (action === undefined) return
    if (action === "abortMessage") {
      return this.conversation.abort(() => this.perform(actions, index + 1, packet))
    }
    if (action === "quit") return this.finish(Exit.void, "close")
    this.conversation.act(packet)
  }

  private readonly onWarning = (warning: PacketWarning): void =>
    this.conversation.log(Effect.logWarning(`${warning.command}: ${warning.message} (offset ${warning.offset})`))

  // --- for the conversation

  send(bytes: Uint8Array): void {
    this.writable = this.transport.write(bytes)
  }

  start(
    stage: Stage | undefined,
    effect: Effect.Effect<unknown, unknown>,
    fork: Fork,
    done: (exit: Exit.Exit<unknown, unknown>, aborted: boolean) => void
  ): void {
    const fiber = fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return done(exit, false)
    const running: Running = this.running = { fiber, stage, aborted: false }
    fiber.addObserver((exit) => {
      this.running = undefined
      if (this.finished) return
      done(exit, running.aborted)
      this.pump()
    })
    // The same read may have brought an abort or a quit already.
    if (stage !== undefined) this.watch(this.head)
  }

  fail(error: { readonly _tag: string; readonly message: string }): void {
    if (this.finished) return
    this.conversation.log(
      Effect.logWarning(`${error._tag}: ${error.message}; closing the connection from ${this.transport.peer}`)
    )
    this.finish(interrupted, "close")
  }

  // --- the end

  private finish(exit: Exit.Exit<void>, how: "close" | "destroy"): void {
    if (!this.finished) this.resume(this.finalize(exit, how))
  }

  /** What runs is interrupted and awaited, the scopes close from the inside out, nothing more is written. */
  private finalize(exit: Exit.Exit<void>, how: "close" | "destroy"): Effect.Effect<void> {
    this.finished = true
    this.queue = []
    this.head = 0
    const { running } = this
    if (running?.stage !== undefined) running.fiber.interruptUnsafe()
    const stopped = running === undefined
      ? Effect.void
      : Effect.callback<void>((resume) => {
        running.fiber.addObserver(() => resume(Effect.void))
      })
    if (how === "close") this.transport.close()
    else this.transport.destroy()
    return Effect.uninterruptible(Effect.andThen(stopped, this.conversation.close(exit)))
  }

  /** For the cleanup of the fiber that this connection belongs to. */
  readonly interrupt: Effect.Effect<void> = Effect.suspend(() =>
    this.finished ? Effect.void : this.finalize(interrupted, "close")
  )
}
