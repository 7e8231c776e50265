/**
 * One connection: bytes in, verdicts out. The only place in the engine that loops, starts fibers and keeps time.
 *
 *     transport ──data──> commandQueue        cuts chunks into frames (Frame), keeps them with their times
 *                             │
 *     connection.loop ────────┘               takes a frame when nothing runs:
 *         commandOrder.transition             may this command come now?
 *         Packet.decodeMtaUnsafe              the frame as a packet
 *         conversation.packetArrived          the machine: negotiation, connect, helo, unknown …
 *             transaction.rcpt, …             … and everything from MAIL to the end of the message
 *                 filterSession               what a filter has settled for the SMTP session
 *                 filterMessage               what it has settled for the message
 *                 decision                    what its verdict does here: a table
 *         <── an action (machine.ts):
 *             Call      hookCall.make, start; its exit goes to conversation.callEnded
 *             Work      content, answer or finalizers; its exit goes to conversation.workEnded
 *             Write     verdictPacket, sendEdits: to the transport; then conversation.next
 *             Wait      the next frame
 *             Close     one log line, and the connection ends
 *
 * Events of the transport, observers of fibers and the server's sweeper store what has happened and call the loop. Hooks
 * are fibers, and one that finishes at once costs no turn of the scheduler. The socket is read while a hook runs, so that
 * a disconnect, a quit or an abort interrupts the hook.
 *
 * Invariant: on a connection that stays open there is exactly one verdict for each command that expects one, and none for
 * others.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"
import { PacketError, type PacketWarning } from "../../Wire.ts"
import type { Transport } from "../net/transport.ts"
import { initial, type Phase, ProtocolError, transition } from "../protocol/commandOrder.ts"
import { stages } from "../protocol/stageTable.ts"
import * as replies from "../protocol/verdictPacket.ts"
import { AnswerWriter } from "./answerWriter.ts"
import { CommandQueue, type WaitingCommand } from "./commandQueue.ts"
import { Conversation } from "./conversation.ts"
import { isExit } from "./isExit.ts"
import type { Action, Call, Close, Output, Work } from "./machine.ts"
import type { Membership, OpenConnection } from "./openConnections.ts"
import { type Lapse, PeerTimes } from "./peerTimes.ts"
import { awaitStop, type Running } from "./running.ts"
import type { Program } from "./serverRuntime.ts"

const interrupted = Exit.interrupt()

const abortCode = Packet.Abort.code
const endOfMessageCode = Packet.EndOfMessage.code
const quitCode = Packet.Quit.code

/**
 * Runs a connection on a transport; completes when it is over and all its finalizers have run. The server knows of the
 * connection from this call on, though a fiber may yield before it opens the transport: a drain in between must find it.
 */
export const serveTransport = (program: Program, transport: Transport): Effect.Effect<void> => {
  const connection = new Connection(program, transport)
  return Effect.callback<void>((resume) => {
    connection.open(resume)
    return connection.interrupt
  })
}

class Connection implements Output, OpenConnection {
  private readonly program: Program
  private readonly transport: Transport
  private readonly queue: CommandQueue
  private readonly writer: AnswerWriter
  private readonly times: PeerTimes
  private readonly membership: Membership
  private resume!: (effect: Effect.Effect<void>) => void
  private conversation!: Conversation
  private isOpen = false
  private isFinished = false
  private isLooping = false
  private phase: Phase = initial
  private running: Running | undefined
  /** What begins once a call whose time is over has stopped. */
  private held: Call | Work | undefined
  private bytesRead = 0
  private isPaused = false

  constructor(program: Program, transport: Transport) {
    this.program = program
    this.transport = transport
    this.queue = new CommandQueue(program.limits, program.clock, program.overwrites)
    this.writer = new AnswerWriter(transport, program.clock)
    this.times = new PeerTimes(program.timeouts, this.now)
    this.membership = program.connections.add(this)
  }

  /** Begins; `resume` is called once, with what is left to do at the end. */
  open(resume: (effect: Effect.Effect<void>) => void): void {
    const { program, transport } = this
    this.resume = resume
    this.conversation = new Conversation(program, this)
    this.isOpen = true
    transport.open({
      data: this.onData,
      end: this.onEnd,
      drain: this.onDrain,
      closed: () => {
        this.membership.end()
        this.finish(interrupted, "destroy")
      }
    })
  }

  private get now(): number {
    return this.program.clock.currentTimeMillisUnsafe()
  }

  // --- events of the transport

  private readonly onData = (chunk: Uint8Array): void => {
    if (this.isFinished) return
    const { queue, times } = this
    const { completed, isIncomplete } = queue
    const waiting = this.running === undefined ? 0 : queue.length
    times.bytesArrived()
    this.bytesRead += chunk.length
    queue.addChunk(chunk)
    if (this.running?.call !== undefined) this.watch(waiting)
    this.loop(undefined)
    const error = queue.queueRest()
    const isCompleted = queue.completed > completed
    if (queue.isIncomplete && (isCompleted || !isIncomplete)) times.frameBegins(this.now)
    if (isCompleted) {
      if (queue.latestCode === endOfMessageCode) times.endOfMessageArrived(this.now)
      else times.otherCommandArrived()
    }
    if (error !== undefined) {
      this.fail(error)
    } else if (!this.isPaused && !this.isFinished && queue.exceeds(1)) {
      this.isPaused = true
      this.transport.pause()
    }
  }

  private readonly onDrain = (): void => {
    this.writer.drained()
    this.loop(undefined)
  }

  /** Commands that wait for finalizers or for room to answer are dropped: the peer takes no answers any more. */
  private readonly onEnd = (): void => {
    const isCutShort = this.running?.call !== undefined || this.conversation.hasOpenMessage
    this.finish(isCutShort ? interrupted : Exit.void, "close")
  }

  // --- the loop

  /** Does what the machine says, until a call or a work runs or nothing is left to do. */
  private loop(first: Action | undefined): void {
    if (this.isLooping) return
    this.isLooping = true
    try {
      let action = first ?? this.takeEvent()
      while (action !== undefined) action = this.perform(action) ?? this.takeEvent()
    } finally {
      this.isLooping = false
    }
    if (this.isPaused && !this.isFinished && !this.queue.exceeds(0.5)) {
      this.isPaused = false
      // An incomplete frame could not grow while reading was paused.
      this.times.frameBegins(this.now)
      this.transport.resume()
    }
  }

  /** Tells the machine what has happened: a call or a work has ended, or else the next command has come. */
  private takeEvent(): Action | undefined {
    const { running } = this
    if (this.isFinished) return undefined
    if (running !== undefined) {
      const { call, cut, exit, kind } = running
      if (exit === undefined) return undefined
      this.running = undefined
      if (cut === "expired") {
        // The answer has gone out already.
        const { held } = this
        this.held = undefined
        if (held !== undefined) return held
      } else if (kind === "call") {
        this.conversation.timed(call!.unit, call!.stage, this.now - running.began)
        return cut === "aborted" ? this.conversation.callAborted() : this.conversation.callEnded(exit)
      } else return this.conversation.workEnded(kind, exit)
    }
    const frame = this.writer.isWritable ? this.queue.removeFirst() : undefined
    return frame === undefined ? undefined : this.process(frame)
  }

  private process(frame: Frame.Frame): Action | undefined {
    const { conversation } = this
    const definition = Packet.mtaByCode(frame.code)
    if (definition === undefined) {
      const code = `0x${frame.code.toString(16).padStart(2, "0")}`
      const expected = `a command, not the byte ${code},`
      return close(new PacketError({ offset: frame.position + 4, expected, command: undefined }))
    }
    const next = transition(this.phase, frame.code)
    if (next === undefined) {
      return close(new ProtocolError({ state: this.phase.name, command: definition.name, offset: frame.position }))
    }
    // Macros stay bytes until a filter reads one: most filters read few.
    if (definition.name === "Macro") return conversation.macrosArrived(frame)
    let packet: Packet.MtaPacket
    try {
      packet = Packet.decodeMtaUnsafe(frame, this.onWarning)
    } catch (error) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the decoder throws nothing else
      return conversation.malformedArrived(frame.code, error as PacketError)
    }
    this.phase = next.phase
    if (next.endsMessage || frame.code === endOfMessageCode) this.queue.messageEnds()
    if (packet._tag === "Negotiate" && !this.membership.admit()) {
      conversation.refuseAll()
      this.times.connectionRefused(this.now)
    }
    return packet._tag === "Quit"
      ? this.finish(Exit.void, "close")
      : conversation.packetArrived(packet, frame.code, next.endsMessage)
  }

  private readonly onWarning = (warning: PacketWarning): void =>
    this.conversation.session.warn(`${warning.command}: ${warning.message} (offset ${warning.offset})`)

  /** Performs an action. Gives the next one, if it is known at once. */
  private perform(action: Action): Action | undefined {
    switch (action._tag) {
      case "Wait":
        return undefined
      case "Write":
        this.writer.send(action.bytes)
        return this.conversation.next()
      case "Call":
        return this.running === undefined ? this.startCall(action) : this.hold(action)
      case "Work":
        return this.running === undefined ? this.startWork(action) : this.hold(action)
      case "Close":
        return this.fail(action.error)
    }
  }

  /** Holds an action until the call whose time is over has stopped. */
  private hold(action: Call | Work): undefined {
    this.held = action
  }

  private startCall(call: Call): Action | undefined {
    const effect = call.make()
    if (isExit(effect)) return this.conversation.callEnded(effect)
    const fiber = call.fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.conversation.callEnded(exit)
    const { now } = this
    this.follow(fiber, "call", { stage: call.stage, unit: call.unit }, now, this.deadlineFrom(now))
    // The same read may have brought an abort or a quit already.
    this.watch(0)
    return undefined
  }

  private startWork(work: Work): Action | undefined {
    const { kind } = work
    const effect = work.make()
    if (effect === undefined) return this.conversation.workEnded(kind, Exit.void)
    const fiber = work.fork(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.conversation.workEnded(kind, exit)
    const { now } = this
    this.follow(fiber, kind, undefined, now, kind === "content" ? this.deadlineFrom(now) : Infinity)
    return undefined
  }

  private follow(
    fiber: Fiber.Fiber<unknown, unknown>,
    kind: Running["kind"],
    call: Running["call"],
    began: number,
    deadline: number
  ): void {
    const running: Running = { fiber, call, kind, began, deadline, cut: undefined, cutAt: 0, exit: undefined }
    this.running = running
    // So that the time is read now, in the event that brought the command.
    void this.queue.arrived
    fiber.addObserver((exit) => {
      running.exit = exit
      this.loop(undefined)
    })
  }

  sendAndWait(bytes: Uint8Array): Effect.Effect<void> {
    return this.writer.sendAndWait(bytes)
  }

  private fail(error: Close["error"]): undefined {
    if (this.isFinished) return
    const { session } = this.conversation
    this.program.monitor.error(error._tag, error.message, session.queueId())
    session.log(
      Effect.logWarning(`${error._tag}: ${error.message}; closing the connection from ${this.transport.peer}`)
    )
    this.finish(interrupted, "close")
  }

  // --- interruption

  /** Looks for a quit or an abort after a running call: its verdict is pointless then. */
  private watch(from: number): void {
    const { queue } = this
    for (let index = from; index < queue.length; index++) {
      const code = queue.codeAt(index)
      if (code === quitCode) return this.finish(Exit.void, "close")
      if (code !== abortCode) continue
      const { running } = this
      this.abortCall()
      // The call has stopped at once: `startCall` looks at what has arrived after the next one.
      if (this.running !== running || running?.exit !== undefined) return
    }
  }

  private abortCall(): void {
    const { running } = this
    if (running === undefined || running.cut !== undefined) return
    if (!this.conversation.hasMessage || running.call?.stage === stages.unknown) return
    running.cut = "aborted"
    running.cutAt = this.now
    running.fiber.interruptUnsafe()
  }

  // --- time

  /** The deadline of an awaited answer counts from the arrival of its command: several hooks may run for one. */
  private deadlineFrom(now: number): number {
    const { awaited } = this.conversation
    const { timeouts } = this.program
    return awaited === undefined ? now + timeouts.command : this.queue.arrived + timeouts[awaited]
  }

  get answerBy(): number {
    return this.deadlineFrom(this.now)
  }

  tick(now: number): void {
    if (!this.isOpen) return
    this.times.swept(now)
    const { timeouts } = this.program
    // A peer that does not take the last answer must not keep the socket.
    const isBlocked = this.writer.isBlockedFor(timeouts.write, now)
    if (this.isFinished) return isBlocked ? this.transport.destroy() : undefined
    if (isBlocked && !this.writer.isWritable) {
      return this.timeUp({ kind: "WriteTimeout", what: "it does not take an answer", how: "destroy" })
    }
    if (this.running !== undefined) return this.tickRunning(this.running, now)
    const peer = { hasNegotiated: this.phase !== initial, isMidFrame: this.queue.isIncomplete }
    const lapse = this.times.lapse(now, peer)
    if (lapse !== undefined) this.timeUp(lapse)
  }

  private tickRunning(running: Running, now: number): void {
    const { timeouts } = this.program
    // For an answer that is being sent, only the write timeout counts.
    if (running.kind === "answer") return
    if (running.kind === "finalizers") return this.tickFinalizers(now)
    if (running.cut !== undefined) {
      if (now - running.cutAt >= timeouts.stop) {
        const what = running.call === undefined ? "the disk" : `a hook at ${running.call.stage.name}`
        this.timeUp({ kind: "StopTimeout", what: `${what} does not stop after its interruption`, how: "close" })
      }
    } else if (now >= running.deadline) {
      this.expire(running, now)
    } else if (this.writer.isWritable && this.times.takeProgress(now)) {
      this.writer.send(replies.progress)
    }
  }

  /** Answers first, whether or not the call stops. The next call, work or command waits until the call has stopped. */
  private expire(running: Running, now: number): void {
    const { call, kind } = running
    running.cut = "expired"
    running.cutAt = now
    if (call !== undefined) this.conversation.timed(call.unit, call.stage, now - running.began)
    this.loop(
      kind === "call" ? this.conversation.callExpired() : this.conversation.workEnded(kind, interrupted)
    )
    running.fiber.interruptUnsafe()
  }

  /** Finalizers are not interrupted, but a command that waits for them must not wait for ever. */
  private tickFinalizers(now: number): void {
    const { waiting } = this
    if (!waiting.some((one) => this.isLate(one, now))) return
    // An MTA that has sent quit waits for no answer.
    if (waiting.some(({ code }) => code === quitCode)) return this.finish(Exit.void, "close")
    this.writer.send(replies.tempFail)
    this.timeUp({ kind: "FinalizerTimeout", what: "a command waits for finalizers", how: "close" })
  }

  private isLate({ arrived, code }: WaitingCommand, now: number): boolean {
    const budget = this.conversation.budgetOf(code)
    return budget !== undefined && now - arrived >= this.program.timeouts[budget]
  }

  /** The commands that wait, with the times of their arrival. */
  private get waiting(): ReadonlyArray<WaitingCommand> {
    const { held } = this.conversation
    const { arrived, waiting } = this.queue
    return held === undefined ? waiting : [{ code: held, arrived }, ...waiting]
  }

  private timeUp({ how, kind, what }: Lapse): void {
    const { session } = this.conversation
    this.program.monitor.error(kind, what, session.queueId())
    session.log(
      Effect.logWarning(`${kind}: ${what}; closing the connection from ${this.transport.peer}`)
    )
    this.finish(interrupted, how)
  }

  // --- the end

  /** There are too many connections that have not negotiated, or were refused. */
  makeRoom(): void {
    if (!this.isOpen) return this.destroy()
    const what = "the oldest of too many that did not negotiate, or that were refused"
    this.timeUp({ kind: "TooManySilent", what, how: "destroy" })
  }

  /** Closes the socket at once, whatever the connection still waits for. */
  destroy(): void {
    this.transport.destroy()
  }

  private finish(exit: Exit.Exit<void>, how: "close" | "destroy"): undefined {
    if (!this.isFinished) this.resume(this.finalize(exit, how))
  }

  /** Ends the connection: what runs is interrupted and awaited, then the scopes close, the innermost first. */
  private finalize(exit: Exit.Exit<void>, how: "close" | "destroy"): Effect.Effect<void> {
    this.isFinished = true
    this.queue.clear()
    const { running } = this
    if (running !== undefined && running.kind !== "finalizers") running.fiber.interruptUnsafe()
    this.writer.closes()
    if (how === "close") this.transport.close()
    else this.transport.destroy()
    this.program.monitor.disconnected(this.bytesRead, this.writer.bytesWritten)
    const ended = this.conversation.end(exit)
    return Effect.uninterruptible(
      running === undefined ? ended : Effect.andThen(awaitStop(running, this.program.timeouts.stop), ended)
    )
  }

  /** The server closes: a command that waits for its answer is refused for now. */
  readonly interrupt: Effect.Effect<void> = Effect.suspend(() => {
    if (this.isFinished) return Effect.void
    if (this.running !== undefined && this.isAwaited(this.running)) this.writer.send(replies.tempFail)
    return this.finalize(interrupted, "close")
  })

  /** Whether the MTA waits for an answer, to this command or to a later one, of which nothing has been sent. */
  private isAwaited({ cut, kind }: Running): boolean {
    if (kind === "answer") return false
    const isUnanswered = kind !== "finalizers" && cut !== "expired"
    return (isUnanswered && this.conversation.awaited !== undefined) || this.waiting.some(this.isAnswered)
  }

  private readonly isAnswered = ({ code }: WaitingCommand): boolean => this.conversation.budgetOf(code) !== undefined
}

const close = (error: Close["error"]): Close => ({ _tag: "Close", error })
