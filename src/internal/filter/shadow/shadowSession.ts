/** A filter in the shadow, in one SMTP session: events are queued, and hooks run later in fibers that nobody waits for. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Macros } from "../../../Macros.ts"
import type { Body, Envelope, Mail, OutsideMessage, Rcpt, Session, Stage } from "../../../Stage.ts"
import { Files, type OpenFile, Spool } from "../../bytes/spool.ts"
import { type At, type Definition, isEventOf } from "../definition.ts"
import { viewOf } from "../sessionView.ts"
import { DryRun } from "./dryRun.ts"
import { DryRunMessage } from "./dryRunMessage.ts"

/** The most bytes that wait for the hooks of one connection. */
const maxQueued = 1_048_576

/** The same for all connections of a server, including those whose client has left. */
const maxQueuedInAll = 64 * maxQueued

/** What an event takes up in addition to its text. */
const overhead = 256

/** The part of these bytes that bodies may take up; what is left is for events, also those of pieces in a file. */
const bodyShare = 0.75

/** The most bytes in temporary files, unless the option says otherwise. */
const usuallySpooled = 256 * 1_048_576

/** How long a server that stops waits for a hook that was interrupted. */
const maxStop = "5 seconds"

/** How many turns a server that stops grants to hooks that are about to finish. */
const lastTurns = 64

/** How many jobs run before others get their turn. */
const slice = 32

interface Job {
  readonly message: DryRunMessage | undefined
  readonly bytes: number
  readonly effect: Effect.Effect<void>
}

/** What of a message's body is in a file. */
interface Spooled {
  readonly spool: Spool
  bytes: number
}

/** All connections of a server, so that what still runs ends with the server. */
export interface Shadows {
  readonly all: Set<Shadow>
  /** Bytes that wait in all connections together. */
  queued: number
  /** Bytes of bodies that wait in temporary files, and how many may. */
  spooled: number
  readonly maxSpooled: number
}

/** `maxSpooled`: the most bytes of bodies in temporary files. */
export const makeShadows = (maxSpooled = usuallySpooled): Effect.Effect<Shadows, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync((): Shadows => ({ all: new Set(), queued: 0, spooled: 0, maxSpooled })),
    ({ all }) => Effect.forEach(Array.from(all), (shadow) => shadow.stop, { discard: true })
  )

/** A shadow in one SMTP session. */
export class Shadow {
  private readonly shadows: Shadows
  private readonly context: Context.Context<never>
  private readonly dryRun: DryRun
  private readonly messages = new Set<DryRunMessage>()
  private readonly openFile: OpenFile | undefined
  private readonly spools = new WeakMap<DryRunMessage, Spooled>()
  private jobs: Array<Job> = []
  private queued = 0
  private running: { readonly message: DryRunMessage | undefined; readonly fiber: Fiber.Fiber<void> } | undefined
  private kept: ReadonlyArray<Rcpt> = []
  private isScheduled = false
  /** Events outside messages were dropped: what the filter knows of the session is no longer true. */
  private isLost = false
  private isStopped = false

  constructor(shadows: Shadows, inner: Definition, context: Context.Context<never>) {
    this.shadows = shadows
    this.context = context
    this.openFile = Context.get(context, Files)
    this.dryRun = new DryRun(inner)
    shadows.all.add(this)
  }

  /** An event outside of messages. */
  outside(stage: OutsideMessage, event: unknown, session: Session): void {
    this.push(undefined, overhead, this.dryRun.stage(stage, event, snapshot(session)))
  }

  begin(mail: Mail, session: Session, context: Context.Context<never>): DryRunMessage {
    const message = new DryRunMessage(this.dryRun, mail, snapshot(session), context)
    if (!this.isLost && !this.hasRoom(overhead)) this.lose()
    if (this.isLost) message.isOver = true
    else this.messages.add(message)
    this.push(message, overhead, message.begin())
    return message
  }

  /** An event of a message. A body that has no room in memory is written to a file, for which the engine waits. */
  inside(
    stage: Stage,
    message: DryRunMessage,
    event: unknown,
    { envelope, session }: Pick<At, "envelope" | "session">
  ): Effect.Effect<void> {
    if (message.isOver) return Exit.void
    const recipients = stage === "rcpt" || stage === "rejectedRecipient" ? undefined : this.recipientsOf(envelope!)
    if (isEventOf("body", stage, event)) {
      if (message.skipsBody) return Exit.void
      if (this.openFile !== undefined && !this.hasRoom(event.bytes.length, bodyShare)) {
        return this.spool(this.openFile, message, event, snapshot(session), recipients)
      }
    }
    const { bytes, kept } = keptOf(stage, event)
    this.push(message, overhead + bytes, message.stage(stage, kept, snapshot(session), recipients))
    return Exit.void
  }

  private spool(
    openFile: OpenFile,
    message: DryRunMessage,
    { bytes }: Body,
    session: Session,
    recipients: ReadonlyArray<Rcpt> | undefined
  ): Effect.Effect<void> {
    const { shadows, spools } = this
    const { length } = bytes
    if (shadows.spooled + length > shadows.maxSpooled) {
      this.drop(message, message.giveUp)
      return Exit.void
    }
    const known = spools.get(message)
    const spooled = known ?? { spool: new Spool(openFile, 0), bytes: 0 }
    if (known === undefined) spools.set(message, spooled)
    shadows.spooled += length
    spooled.bytes += length
    const { spool } = spooled
    const start = spool.length
    const ready = known === undefined ? message.addFinalizer(this.release(spooled)) : Effect.void
    const read = Effect.suspend(() => spool.read(start, length))
    return Effect.andThen(ready, Effect.suspend(() => spool.append(bytes))).pipe(
      // The hook gets the piece once it is in the file. Without a piece the rest of the body is of no use.
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) return this.drop(message, message.giveUp)
          this.push(
            message,
            overhead,
            Effect.flatMap(read, (bytes) => message.stage("body", { bytes }, session, recipients))
          )
        })
      ),
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.failCause(cause)
          : Effect.logWarning(`the shadow of ${this.dryRun.inner.name} cannot keep a body`, cause)
      )
    )
  }

  private release(spooled: Spooled): Effect.Effect<void> {
    return Effect.ensuring(
      Effect.suspend(() => spooled.spool.close),
      Effect.sync(() => {
        this.shadows.spooled -= spooled.bytes
        spooled.bytes = 0
      })
    )
  }

  /** A copy of the recipients as they are now; mostly the copy of the stage before still holds. */
  private recipientsOf({ recipients }: Envelope): ReadonlyArray<Rcpt> {
    const { kept } = this
    const isSame = kept.length === recipients.length && kept.at(-1) === recipients.at(-1) && kept[0] === recipients[0]
    return isSame ? kept : this.kept = recipients.slice()
  }

  /** The message is over for the engine, in order or not. */
  end(message: DryRunMessage, exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) this.push(message, 0, message.abort)
    else this.drop(message, message.abort)
  }

  /** The session is over. */
  close(exit: Exit.Exit<unknown, unknown>): void {
    this.push(
      undefined,
      0,
      Effect.andThen(
        this.dryRun.close(exit),
        Effect.sync(() => {
          this.shadows.all.delete(this)
        })
      )
    )
  }

  private log(text: string): void {
    Effect.runForkWith(this.context)(Effect.logWarning(text))
  }

  private push(message: DryRunMessage | undefined, bytes: number, effect: Effect.Effect<void>): void {
    if (this.isStopped || message?.isOver === true || (this.isLost && bytes > 0)) return
    if (bytes > 0 && !this.hasRoom(bytes)) {
      return message === undefined ? this.lose() : this.drop(message, message.giveUp)
    }
    this.count(bytes)
    this.jobs.push({ message, bytes, effect })
    this.schedule()
  }

  private hasRoom(bytes: number, share = 1): boolean {
    return this.queued + bytes <= share * maxQueued && this.shadows.queued + bytes <= share * maxQueuedInAll
  }

  private count(bytes: number): void {
    this.queued += bytes
    this.shadows.queued += bytes
  }

  private lose(): void {
    this.isLost = true
    this.log(`the shadow of ${this.dryRun.inner.name} cannot keep up and gives up on this session`)
    for (const message of this.messages) this.drop(message, message.giveUp)
  }

  /** Forgets the jobs that wait for a message, stops the one that runs, and ends the message with `last`. */
  private drop(message: DryRunMessage, last: Effect.Effect<void>): void {
    if (message.isOver) return
    message.isOver = true
    const dropped = this.jobs.filter((job) => job.message === message)
    this.jobs = this.jobs.filter((job) => job.message !== message)
    for (const { bytes } of dropped) this.count(-bytes)
    // `last` counts too: a client can give up messages without end while a hook hangs.
    this.count(overhead)
    this.jobs.unshift({ message, bytes: overhead, effect: last })
    if (this.running?.message === message) this.running.fiber.interruptUnsafe()
    this.schedule()
  }

  /** Schedules the work for the next turn, so that the engine's answer goes out first. */
  private schedule(): void {
    if (this.running !== undefined || this.isScheduled || this.isStopped) return
    this.isScheduled = true
    const turn = Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => {
        this.isScheduled = false
        this.work()
      })
    )
    Effect.runForkWith(this.context)(turn)
  }

  private work(): void {
    for (let count = 0; count < slice && this.jobs.length > 0 && !this.isStopped; count++) {
      const job = this.jobs.shift()!
      const fiber = Effect.runForkWith(job.message?.context ?? this.context)(job.effect)
      if (fiber.pollUnsafe() === undefined) return this.wait(job, fiber)
      this.done(job)
    }
    if (this.jobs.length > 0) this.schedule()
  }

  private wait(job: Job, fiber: Fiber.Fiber<void>): void {
    this.running = { message: job.message, fiber }
    fiber.addObserver(() => {
      this.running = undefined
      this.done(job)
      this.schedule()
    })
  }

  private done({ bytes, message }: Job): void {
    this.count(-bytes)
    if (message?.isClosed === true) this.messages.delete(message)
  }

  /** Stops with the server. Jobs that take no time are still done, the others are interrupted. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(
      Effect.repeat(Effect.yieldNow, {
        until: () => this.jobs.length === 0 && this.running === undefined,
        times: lastTurns
      }),
      this.cutOff
    ).pipe(Effect.provideContext(this.context))
  )

  private get cutOff(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isStopped = true
      // The session has ended by itself.
      if (!this.shadows.all.has(this)) return Effect.void
      const fiber = this.running?.fiber
      fiber?.interruptUnsafe()
      return Effect.andThen(
        // Finalizers run uninterruptibly, and a hook may take its time.
        fiber === undefined ? Effect.void : Effect.interruptible(Effect.timeoutOption(Fiber.await(fiber), maxStop)),
        Effect.andThen(
          Effect.forEach(this.messages, ({ abort }) => abort, { discard: true }),
          this.dryRun.close(Exit.interrupt())
        )
      )
    })
  }
}

/** An event for later, and the bytes of its text. */
const keptOf = (stage: Stage, event: unknown): { readonly kept: unknown; readonly bytes: number } => {
  if (isEventOf("header", stage, event)) return { kept: event, bytes: event.name.length + event.raw.length }
  if (!isEventOf("body", stage, event)) return { kept: event, bytes: 0 }
  // A copy: the bytes are a view of a buffer that is written again, and so would be the slice of a Buffer.
  return { kept: { bytes: new Uint8Array(event.bytes) }, bytes: event.bytes.length }
}

/** The session as a hook would have found it now. */
const snapshot = (session: Session): Session => {
  const { heloName, macros } = session
  // Everything else is settled at connect.
  return viewOf(session, {
    heloName: { value: heloName },
    macros: { value: frozen(macros) },
    // No MTA waits for the hooks.
    answerBy: { value: undefined }
  })
}

const frozen = (macros: Macros): Macros =>
  Predicate.hasProperty(macros, "snapshot") && typeof macros.snapshot === "function" ? macros.snapshot() : macros
