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
import * as Fiber from "effect/Fiber"
import * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"
import type { Stage } from "../../Stage.ts"
import { PacketError, type PacketWarning } from "../../Wire.ts"
import { awaitUntil } from "../net/awaitUntil.ts"
import type { Transport } from "../net/transport.ts"
import {
  type Command,
  initial,
  type Phase,
  ProtocolError,
  type Transition,
  transition
} from "../protocol/commandOrder.ts"
import * as replies from "../protocol/verdictPacket.ts"
import { Conversation } from "./conversation.ts"
import type { Cut, Done, Fork, Host, Work } from "./host.ts"
import type { Program, Swept } from "./serverRuntime.ts"

interface Running {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** The stage of a hook. */
  readonly stage: Stage | undefined
  readonly work: Work | "hook"
  readonly done: Done
  readonly deadline: number
  cut: Cut | undefined
  /** When it was interrupted. */
  cutAt: number
}

interface Waiting {
  readonly command: Command
  /** When it arrived. */
  readonly arrived: number
}

const interrupted = Exit.interrupt()

/** How many frames that are done with may leave a place in the queue. */
const maxDone = 256

/** What takes the place of one. */
const done: Frame.Frame = { code: 0, bytes: new Uint8Array(0), offset: 0, limit: 0, position: 0 }

/** Bytes of commands that wait; reading pauses at more. */
const maxQueuedBytes = 262_144

const abortCode = Packet.Abort.code
const endOfMessageCode = Packet.EndOfMessage.code
const quitCode = Packet.Quit.code

/**
 * Runs a connection on a transport; completes when it is over and all its finalizers have run. The server knows of the
 * connection from this call on, though a fiber may yield before it opens the transport: a drain in between must find it.
 */
export const run = (program: Program, transport: Transport): Effect.Effect<void> => {
  const connection = new Connection(program, transport)
  return Effect.callback<void>((resume) => {
    connection.open(resume)
    return connection.interrupt
  })
}

const lengthOf = ({ limit, offset }: Frame.Frame): number => limit - offset

class Connection implements Host, Swept {
  private readonly program: Program
  private readonly transport: Transport
  private readonly isOverload: boolean
  private readonly decoder: Frame.Decoder
  private resume!: (effect: Effect.Effect<void>) => void
  private conversation!: Conversation
  private isOpen = false
  private queue: Array<Frame.Frame> = []
  /** When each frame of the queue arrived. */
  private arrivals: Array<number> = []
  private head = 0
  private queuedBytes = 0
  /** When the command that is being answered arrived. */
  private arrived = 0
  /** When bytes came last, and when the frame that is incomplete began. */
  private active: number
  private frameBegan = 0
  /**
   * When the next sign of life is due: from the arrival of end of message on, also while hooks are still at what came
   * before it.
   */
  private progress = Infinity
  private bytesRead = 0
  private bytesWritten = 0
  private paused = false
  private writable = true
  /** Since when the peer has not taken what was written, or has not closed. */
  private blocked = 0
  private onWritable: (() => void) | undefined
  private afterStop: Array<() => void> = []
  private finished = false
  private running: Running | undefined
  private phase: Phase = initial
  /** The command that waits for the end of the message before it. */
  private held: Command | undefined

  constructor(program: Program, transport: Transport) {
    this.program = program
    this.transport = transport
    this.isOverload = program.connections.size >= program.limits.connections
    this.active = program.clock.currentTimeMillisUnsafe()
    this.decoder = Frame.makeDecoder({ maxLength: program.limits.frameLength })
    program.connections.add(this)
  }

  /** Begins; `resume` is called once, with what is left to do at the end. */
  open(resume: (effect: Effect.Effect<void>) => void): void {
    const { program, transport } = this
    this.resume = resume
    this.conversation = new Conversation(program, this, this.isOverload)
    this.isOpen = true
    transport.open({
      data: (chunk) => this.onData(chunk),
      end: () => this.onEnd(),
      drain: () => this.onDrain(),
      closed: () => {
        program.connections.delete(this)
        this.finish(interrupted, "destroy")
      }
    })
  }

  // --- events of the transport

  private onData(chunk: Uint8Array): void {
    if (this.finished) return
    const now = this.program.clock.currentTimeMillisUnsafe()
    const before = this.queue.length
    const wasBetween = this.decoder.pending === 0
    const error = this.decoder.push(chunk, this.queue)
    this.active = now
    this.bytesRead += chunk.length
    if (wasBetween || this.queue.length > before) this.frameBegan = now
    for (let index = before; index < this.queue.length; index++) {
      this.arrivals.push(now)
      this.queuedBytes += lengthOf(this.queue[index]!)
      this.progress = this.queue[index]!.code === endOfMessageCode ? now + this.program.timeouts.progress : Infinity
    }
    if (this.running?.stage !== undefined) this.watch(before)
    this.pump()
    if (error !== undefined) {
      this.fail(error)
    } else if (!this.paused && this.waits(1)) {
      this.paused = true
      this.transport.pause()
    }
  }

  private onDrain(): void {
    this.writable = true
    this.onWritable?.()
    this.pump()
  }

  /** What waits behind finalizers or for room to answer is dropped: nobody is there who would be answered. */
  private onEnd(): void {
    const cutShort = this.running?.stage !== undefined || this.conversation.hasOpenMessage
    this.finish(cutShort ? interrupted : Exit.void, "close")
  }

  /** Looks at frames that have arrived behind a running hook for those that make its verdict pointless. */
  private watch(from: number): void {
    for (let index = from; index < this.queue.length; index++) {
      const { code } = this.queue[index]!
      if (code === quitCode) return this.finish(Exit.void, "close")
      if (code !== abortCode) continue
      const { running } = this
      this.abortRunning()
      // It has stopped at once, and what the next one has behind it has been looked at.
      if (this.running !== running) return
    }
  }

  private abortRunning(): void {
    const { running } = this
    if (running === undefined || running.cut !== undefined) return
    if (!this.conversation.hasMessage || running.stage === "unknown") return
    running.cut = "aborted"
    running.cutAt = this.program.clock.currentTimeMillisUnsafe()
    running.fiber.interruptUnsafe()
  }

  // --- the queue of commands

  private pump(): void {
    while (this.running === undefined && this.writable && !this.finished && this.head < this.queue.length) {
      this.arrived = this.arrivals[this.head]!
      const frame = this.queue[this.head]!
      this.queue[this.head++] = done
      this.queuedBytes -= lengthOf(frame)
      if (this.head === this.queue.length) {
        this.queue = []
        this.arrivals = []
        this.head = 0
      } else if (this.head === maxDone) {
        // A queue that is never empty, behind slow hooks and a fast MTA, must not grow.
        this.queue = this.queue.slice(maxDone)
        this.arrivals = this.arrivals.slice(maxDone)
        this.head = 0
      }
      this.process(frame)
    }
    if (this.finished) return
    if (this.paused && !this.waits(0.5)) {
      this.paused = false
      // What is incomplete could not go on meanwhile.
      this.frameBegan = this.program.clock.currentTimeMillisUnsafe()
      this.transport.resume()
    }
  }

  /** Whether more waits than this share of what may. */
  private waits(share: number): boolean {
    return this.queue.length - this.head > this.program.limits.queuedPackets * share ||
      this.queuedBytes > maxQueuedBytes * share
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
    const next = transition(this.phase, frame.code)
    if (next === undefined) {
      return this.fail(
        new ProtocolError({ state: this.phase.name, command: definition.name, offset: frame.position })
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
    this.perform(next, packet)
  }

  private perform(next: Transition, packet: Packet.MtaPacket): void {
    if (packet._tag === "Quit") return this.finish(Exit.void, "close")
    if (!next.endsMessage) return this.conversation.act(packet)
    this.held = packet._tag
    this.conversation.abort(() => {
      this.held = undefined
      this.conversation.act(packet)
    })
  }

  private readonly onWarning = (warning: PacketWarning): void =>
    this.conversation.session.warn(`${warning.command}: ${warning.message} (offset ${warning.offset})`)

  // --- for the conversation

  send(bytes: Uint8Array): void {
    this.bytesWritten += bytes.length
    this.writable = this.transport.write(bytes)
    if (!this.writable) this.blocked = this.program.clock.currentTimeMillisUnsafe()
  }

  sendAndWait(bytes: Uint8Array): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.send(bytes)
      if (this.writable) return Effect.void
      return awaitUntil(() => this.writable ? Effect.void : undefined, (changed) => {
        this.onWritable = changed
        return () => {
          this.onWritable = undefined
        }
      })
    })
  }

  start(stage: Stage, effect: Effect.Effect<unknown, unknown>, fork: Fork, done: Done): void {
    const fiber = fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return done(exit, undefined)
    const { clock } = this.program
    const started = clock.currentTimeMillisUnsafe()
    this.run({
      fiber,
      stage,
      work: "hook",
      done: (exit, cut) => {
        this.conversation.timed(stage, clock.currentTimeMillisUnsafe() - started)
        done(exit, cut)
      },
      deadline: this.deadlineFrom(started),
      cut: undefined,
      cutAt: 0
    })
    // The same read may have brought an abort or a quit already.
    this.watch(this.head)
  }

  startWork(work: Work, effect: Effect.Effect<unknown>, fork: Fork, done: Done): void {
    const fiber = fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return done(exit, undefined)
    this.run({
      fiber,
      stage: undefined,
      work,
      done,
      deadline: work === "content" ? this.deadlineFrom(this.program.clock.currentTimeMillisUnsafe()) : Infinity,
      cut: undefined,
      cutAt: 0
    })
  }

  /** What the MTA waits for counts from its arrival: several hooks may run for one command. */
  private deadlineFrom(now: number): number {
    const { awaited } = this.conversation
    const { timeouts } = this.program
    return awaited === undefined ? now + timeouts.command : this.arrived + timeouts[awaited]
  }

  private run(running: Running): void {
    this.running = running
    running.fiber.addObserver((exit) => {
      this.running = undefined
      if (this.finished) return
      // After its time is over the answer has gone out already.
      if (running.cut === "expired") this.stopped()
      else running.done(exit, running.cut)
      this.pump()
    })
  }

  private stopped(): void {
    const waiting = this.afterStop
    this.afterStop = []
    for (const next of waiting) next()
  }

  whenStopped(next: () => void): void {
    if (this.running === undefined) next()
    else this.afterStop.push(next)
  }

  fail(error: { readonly _tag: string; readonly message: string }): void {
    if (this.finished) return
    this.program.monitor.error(error._tag)
    this.conversation.session.log(
      Effect.logWarning(`${error._tag}: ${error.message}; closing the connection from ${this.transport.peer}`)
    )
    this.finish(interrupted, "close")
  }

  // --- time

  tick(now: number): void {
    if (!this.isOpen) return
    // A peer that does not take the last answer must not keep the socket.
    if (this.finished) return now - this.blocked >= this.program.timeouts.write ? this.transport.destroy() : undefined
    const { running } = this
    const { timeouts } = this.program
    if (!this.writable && now - this.blocked >= timeouts.write) {
      return this.timeUp("WriteTimeout", "it does not take an answer", "destroy")
    }
    if (running !== undefined) return this.tickRunning(running, now)
    if (this.decoder.pending > 0 && now - this.frameBegan >= timeouts.frame) {
      return this.timeUp("FrameTimeout", "a frame was not completed", "close")
    }
    if (now - this.active >= timeouts.idle) this.timeUp("IdleTimeout", "no command came", "close")
  }

  private tickRunning(running: Running, now: number): void {
    const { timeouts } = this.program
    // An answer has the time that the MTA takes to read it.
    if (running.work === "answer") return
    if (running.work === "finalizers") return this.tickFinalizers(now)
    if (running.cut !== undefined) {
      if (now - running.cutAt >= timeouts.stop) {
        const what = running.stage === undefined ? "the disk" : `a hook at ${running.stage}`
        this.timeUp("StopTimeout", `${what} does not stop after its interruption`, "close")
      }
    } else if (now >= running.deadline) {
      running.cut = "expired"
      running.cutAt = now
      // First the answer, whether or not the hook stops; the next command waits until it has.
      running.done(interrupted, "expired")
      running.fiber.interruptUnsafe()
    } else if (now >= this.progress && this.writable) {
      this.progress = now + timeouts.progress
      this.send(replies.progress)
    }
  }

  /** Finalizers are not interrupted, but a command that waits behind them must not wait for ever. */
  private tickFinalizers(now: number): void {
    const waiting = this.waiting()
    if (!waiting.some((one) => this.isLate(one, now))) return
    // An MTA that has quit behind it waits for nothing.
    if (waiting.some(({ command }) => command === "Quit")) return this.finish(Exit.void, "close")
    this.send(replies.tempFail)
    this.timeUp("FinalizerTimeout", "a command waits for finalizers", "close")
  }

  private isLate({ arrived, command }: Waiting, now: number): boolean {
    const budget = this.conversation.budgetOf(command)
    return budget !== undefined && now - arrived >= this.program.timeouts[budget]
  }

  /** Whatever it still waits for, it is over. */
  destroy(): void {
    this.transport.destroy()
  }

  private timeUp(kind: string, what: string, how: "close" | "destroy"): void {
    this.program.monitor.error(kind)
    this.conversation.session.log(
      Effect.logWarning(`${kind}: ${what}; closing the connection from ${this.transport.peer}`)
    )
    this.finish(interrupted, how)
  }

  // --- the end

  private finish(exit: Exit.Exit<void>, how: "close" | "destroy"): void {
    if (!this.finished) this.resume(this.finalize(exit, how))
  }

  /** What runs is interrupted and awaited, the scopes close from the inside out, nothing more is written. */
  private finalize(exit: Exit.Exit<void>, how: "close" | "destroy"): Effect.Effect<void> {
    this.finished = true
    this.queue = []
    this.arrivals = []
    this.head = 0
    const { running } = this
    if (running !== undefined && running.work !== "finalizers") running.fiber.interruptUnsafe()
    this.blocked = this.program.clock.currentTimeMillisUnsafe()
    if (how === "close") this.transport.close()
    else this.transport.destroy()
    this.program.monitor.disconnected(this.bytesRead, this.bytesWritten)
    const closed = this.conversation.close(exit)
    return Effect.uninterruptible(running === undefined ? closed : Effect.andThen(this.awaitStop(running), closed))
  }

  /** A hook that will not stop must not keep the scopes, the server and the process from closing. */
  private awaitStop({ fiber, work }: Running): Effect.Effect<void> {
    const stopped = Effect.asVoid(Fiber.await(fiber))
    if (work === "finalizers") return stopped
    if (fiber.pollUnsafe() !== undefined) return Effect.void
    // In a fiber of its own: this one may have been interrupted itself, and could not wait interruptibly.
    const waiting = Effect.forkDetach(Effect.timeoutOption(stopped, this.program.timeouts.stop), {
      startImmediately: true
    })
    return Effect.asVoid(Effect.flatMap(waiting, Fiber.await))
  }

  /** The server closes: a command that waits for its answer is refused for now. */
  readonly interrupt: Effect.Effect<void> = Effect.suspend(() => {
    if (this.finished) return Effect.void
    if (this.running !== undefined && this.isAwaited(this.running)) this.send(replies.tempFail)
    return this.finalize(interrupted, "close")
  })

  /** Whether the MTA waits for an answer, to this command or to one behind it, and nothing of that is out. */
  private isAwaited({ cut, work }: Running): boolean {
    if (work === "answer") return false
    const isUnanswered = work !== "finalizers" && cut !== "expired"
    return (isUnanswered && this.conversation.awaited !== undefined) || this.waiting().some(this.isAnswered)
  }

  private readonly isAnswered = ({ command }: Waiting): boolean => this.conversation.budgetOf(command) !== undefined

  /** The commands that are to come, with the times of their arrival. */
  private waiting(): ReadonlyArray<Waiting> {
    const waiting: Array<Waiting> = this.held === undefined ? [] : [{ command: this.held, arrived: this.arrived }]
    for (let index = this.head; index < this.queue.length; index++) {
      const command = Packet.mtaByCode(this.queue[index]!.code)?.name
      if (command !== undefined) waiting.push({ command, arrived: this.arrivals[index]! })
    }
    return waiting
  }
}
