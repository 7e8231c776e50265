/**
 * Runs a filter in the shadow: the events from the engine are queued, and given to the filter's hooks later, in fibers that
 * nobody waits for. Decisions are only logged. Re-exported by `Milter`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import type { Macros } from "../../../Macros.ts"
import type { Envelope, Mail, OutsideMessage, Rcpt, Session, Stage } from "../../../Stage.ts"
import { allStages, isOfMessage, sessionStages } from "../../protocol/stageTable.ts"
import { type At, type Definition, isEventOf, resolve } from "../definition.ts"
import type { Filter, Made } from "../filterTypes.ts"
import { fromResolve } from "../filterValue.ts"
import { viewOf } from "../sessionView.ts"
import { madeFrom, type StateHook, wrapWithState } from "../wrapping.ts"
import { DryRun } from "./dryRun.ts"
import { DryRunMessage } from "./dryRunMessage.ts"

/** The most bytes that wait for the hooks of one connection. */
const maxQueued = 1_048_576

/** The same for all connections of a server, including those whose client has left. */
const maxQueuedInAll = 64 * maxQueued

/** What an event takes up in addition to its text. */
const overhead = 256

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

/** All connections of a server, so that what still runs ends with the server. */
interface Shadows {
  readonly all: Set<Shadow>
  /** Bytes that wait in all connections together. */
  queued: number
}

const makeShadows: Effect.Effect<Shadows, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync((): Shadows => ({ all: new Set(), queued: 0 })),
  ({ all }) => Effect.forEach(Array.from(all), (shadow) => shadow.stop, { discard: true })
)

/** A shadow in one SMTP session. */
class Shadow {
  private readonly shadows: Shadows
  private readonly context: Context.Context<never>
  private readonly dryRun: DryRun
  private readonly messages = new Set<DryRunMessage>()
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

  inside(
    stage: Stage,
    message: DryRunMessage,
    event: unknown,
    { envelope, session }: Pick<At, "envelope" | "session">
  ): void {
    if (message.isOver) return
    const { bytes, kept } = keptOf(stage, event)
    const recipients = stage === "rcpt" || stage === "rejectedRecipient" ? undefined : this.recipientsOf(envelope!)
    this.push(message, overhead + bytes, message.stage(stage, kept, snapshot(session), recipients))
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

  private hasRoom(bytes: number): boolean {
    return this.queued + bytes <= maxQueued && this.shadows.queued + bytes <= maxQueuedInAll
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
  // A copy: the bytes are a view of the socket's buffer, and so would be the slice of a Buffer.
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

// The builder of the message's state shows MAIL; the end of the message is always watched.
const watched = allStages.filter((stage) => isOfMessage(stage) && stage !== "mail" && stage !== "endOfMessage")

const shadowedIn = (shadows: Shadows) => (inner: Definition): Definition =>
  madeFrom(inner, (inner) => shadowed(shadows, inner))

type ShadowHook = StateHook<Shadow, DryRunMessage>

const shadowed = (shadows: Shadows, inner: Definition): Definition => {
  const outsideMessage = (stage: OutsideMessage): ShadowHook => (event, at) => {
    at.connection.outside(stage, event, at.session)
    return Exit.void
  }
  const inMessage = (stage: Stage): ShadowHook => (event, at) => {
    at.connection.inside(stage, at.message, event, at)
    return Exit.void
  }
  const observes: { [K in Stage]?: ShadowHook } = {
    // Always watched: without a hook of the filter, the message ends here as accepted.
    endOfMessage: inMessage("endOfMessage")
  }
  const has = (stage: Stage): boolean => inner.answers[stage] !== undefined || inner.observes[stage] !== undefined
  for (const stage of sessionStages) {
    // Connect is always watched: the state of the connection is built there.
    if (stage === "connect" || has(stage)) observes[stage] = outsideMessage(stage)
  }
  for (const stage of watched) if (has(stage)) observes[stage] = inMessage(stage)
  const harmless: Definition = {
    ...inner,
    modify: [],
    modifyIfOffered: [],
    signer: undefined,
    verifier: false,
    remote: undefined,
    refuseConnection: false,
    onFailure: undefined
  }
  return wrapWithState<Shadow, DryRunMessage>(harmless, {
    connection: () =>
      Effect.contextWith((context: Context.Context<never>) => {
        const shadow = new Shadow(shadows, inner, context)
        return Effect.as(atEnd((exit) => shadow.close(exit)), shadow)
      }),
    message: (mail, { connection, session }) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const message = connection.begin(mail, session, context)
        return Effect.as(atEnd((exit) => connection.end(message, exit)), message)
      }),
    answers: {},
    observes
  })
}

const atEnd = (f: (exit: Exit.Exit<unknown, unknown>) => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.addFinalizer((exit) => Effect.sync(() => f(exit)))

/**
 * Runs a filter on trial: the filter sees real mail, and its verdicts and edits have no effect.
 *
 * **Details**
 *
 * The log has a line for each message: `shadow rejected` and the like, with the same fields as the server's own line for
 * the message, and also `reply` (the text the client would have read), `refused` (recipients, with their replies),
 * `modifications` and `error`. Hooks may fail: failures that `onFailure` does not handle are logged.
 *
 * The MTA does not wait for the hooks. They run later, one after the other, on copies of the events. The MTA is asked for the
 * stages of the filter and for no modification.
 *
 * **Gotchas**
 *
 * - Side effects are real: what a hook writes to a database, it writes.
 * - The filters of a sequence in the shadow do not see each other's edits and refusals.
 * - If an earlier filter decides on a message, the shadow does not see the rest of it: the line says `shadow aborted`. It says so,
 *   too, if the client gives the message up; its hooks are then interrupted, and its scope closes.
 * - A filter that is too slow gives up on a message, with a warning, if more than 1 MiB waits for it in one SMTP session. A hook
 *   that takes more than 4 minutes is interrupted.
 *
 * **Example** (Trying a filter before it counts)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Milter from "effect-milter/Milter"
 * import * as Verdict from "effect-milter/Verdict"
 *
 * const Proven = Milter.make("proven").on({ rcpt: () => Effect.succeed(Verdict.continue) })
 * const Strict = Milter.make("strict").on({ helo: ({ name }) => Effect.fail(`what is ${name}?`) })
 *
 * const Both = Milter.sequence([Proven, Milter.shadow(Strict)])
 * ```
 *
 * @category combining
 * @since 0.1.0
 */
export const shadow = <E, R>(self: Filter<E, R>): Made<never, R> =>
  fromResolve(Effect.flatMap(
    resolve(self),
    (definitions) => Effect.map(makeShadows, (all) => definitions.map(shadowedIn(all)))
  ))
