/**
 * Another milter in one SMTP session. This side is its MTA, with the manners of Postfix: one connection for the SMTP session,
 * no second one after a failure, an abort after each message, quit at the end.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Packet from "../../../Packet.ts"
import type { Session } from "../../../Stage.ts"
import * as Verdict from "../../../Verdict.ts"
import { ByteString } from "../../bytes/byteString.ts"
import { ofParts } from "../../bytes/byteString.ts"
import type { Answer } from "../../mta/answerTypes.ts"
import { Client } from "../../mta/client.ts"
import { ClientError, type ClientErrorReason } from "../../mta/clientError.ts"
import { connectTo } from "../../mta/connectTo.ts"
import { type Manners, type MtaTimeouts, plain } from "../../mta/manners/mtaManners.ts"
import { postfix37 } from "../../mta/manners/postfixManners.ts"
import { limitsOf } from "../../mta/modificationList.ts"
import type { Dialing } from "../../net/dialer.ts"
import { type AnsweredStage, isContent, stageTable } from "../../protocol/stageTable.ts"
import { answerBy, macrosOfStage } from "../sessionView.ts"
import { checkAnswer, offerOf } from "./childOffer.ts"
import { type RemoteError, remoteErrorOf } from "./remoteError.ts"
import type { RemoteOptions, RemoteTimes } from "./remoteOptions.ts"

const manners: Manners = {
  ...plain(postfix37),
  name: "the filter's own",
  unoffered: { steps: "refused", macroLists: "ignored" },
  aborts: "always",
  afterVerdictOnSession: "closes",
  // A list gets what the MTA has sent for that stage. What it keeps to itself there is not made up from earlier stages.
  forgets: () => true
}

// As Postfix waits, where neither the declaration nor the server says less.
const longest = { command: 30_000, endOfMessage: 300_000 }

/** Left of the server's time when the milter's is over, so that the failure is the milter's and not that of a slow hook. */
const reserve = 250

/** How long quit and abort may take to be written. */
const farewell = 5000

/** The limits of the client while it carries out one step: what is left of the time of that step. */
class TimeLeft implements MtaTimeouts {
  private clock: Clock.Clock | undefined
  private end = 0

  begin(clock: Clock.Clock, milliseconds: number): void {
    this.clock = clock
    this.end = clock.currentTimeMillisUnsafe() + milliseconds
  }

  private get left(): number {
    return Math.max(0, this.end - (this.clock?.currentTimeMillisUnsafe() ?? 0))
  }

  get connect(): number {
    return this.left
  }

  get command(): number {
    return this.left
  }

  get content(): number {
    return this.left
  }

  get total(): number {
    return this.left
  }
}

export class ChildSession {
  readonly options: RemoteOptions
  private readonly name: string
  private readonly times: RemoteTimes
  private readonly limits = new TimeLeft()
  private client: Client | undefined
  private failure: RemoteError | undefined
  /** The milter has refused the SMTP session, and is told no more. An MTA repeats that; one may begin anew with another HELO. */
  private refusal: Verdict.Reject | Verdict.TempFail | undefined
  /** The reply of the milter in its own bytes. */
  private reply: ByteString | undefined

  constructor(name: string, options: RemoteOptions, times: RemoteTimes) {
    this.name = name
    this.options = options
    this.times = times
  }

  /** Dials and negotiates, once: fails with the first failure if the SMTP session has seen the milter before. */
  enter(dialing: Dialing, session: Session): Effect.Effect<void, RemoteError, Scope.Scope> {
    const { limits, options } = this
    if (this.failure !== undefined) return Effect.fail(this.failure)
    if (this.client !== undefined) return Effect.void
    return this.within(
      session,
      this.times.connect ?? longest.command,
      Effect.gen({ self: this }, function*() {
        const connection = yield* connectTo(dialing, options.to, limits.command, { observe: this.observe })
        const client = new Client(
          connection,
          { steps: manners, messages: manners },
          limits,
          limitsOf({}),
          () => Effect.die(new Error("a filter sends no whole messages"))
        )
        const offered = offerOf(options, session)
        const agreed = checkAnswer(options, offered, yield* client.negotiate(offered))
        if (Result.isFailure(agreed)) return yield* connection.fail(agreed.failure)
        this.client = client
        yield* Effect.addFinalizer(() => this.leave)
      })
    )
  }

  private readonly observe = (from: "mta" | "filter", packet: Packet.MtaPacket | Packet.FilterPacket): void => {
    if (from === "filter" && packet._tag === "ReplyCode") this.reply = packet.text
  }

  // --- commands

  /** Whether the milter wants no command of a stage outside of the envelope, so that nothing needs to be done for it. */
  leavesOut(stage: AnsweredStage): boolean {
    return this.failure === undefined && (stage === "unknown" || isContent(stage)) &&
      this.client?.hasAgreedOn(stageTable[stage].no) === true
  }

  /** Whether the milter counts the space after the colon of a header field. */
  hasAgreedOn(step: number): boolean {
    return this.client?.hasAgreedOn(step) === true
  }

  /** Fails if the milter has failed in this SMTP session. */
  get check(): Effect.Effect<void, RemoteError> {
    return Effect.suspend(() => this.failure === undefined ? Effect.void : Effect.fail(this.failure))
  }

  /** Sends a command with the macros of its stage, and gives the milter's answer. */
  ask<A>(
    stage: AnsweredStage,
    session: Session,
    command: (client: Client) => Effect.Effect<A, ClientError>
  ): Effect.Effect<A, RemoteError> {
    const { client, failure, times } = this
    if (failure !== undefined) return Effect.fail(failure)
    if (client === undefined) return Effect.die(new Error("a milter is asked after the connection"))
    const most = stage === "endOfMessage"
      ? times.endOfMessage ?? longest.endOfMessage
      : times.command ?? longest.command
    const macros = macrosOfStage(session, stage)
    const values = Object.fromEntries(macros.map(([name, value]) => [name, ByteString.toBytes(value)]))
    return this.within(
      session,
      most,
      macros.length === 0
        ? Effect.suspend(() => command(client))
        : Effect.andThen(client.macros(stage, values), Effect.suspend(() => command(client)))
    )
  }

  /** Gives an answer's verdict, which applies to this filter as the answer would have applied to the milter. */
  verdictOf(stage: AnsweredStage, answer: Answer): Verdict.Verdict {
    const verdict = this.meaningOf(stage, answer)
    const isRefusal = verdict._tag === "Reject" || verdict._tag === "TempFail"
    if (isRefusal && (stage === "connect" || stage === "helo")) this.refusal = verdict
    return verdict
  }

  private meaningOf(stage: AnsweredStage, answer: Answer): Verdict.Verdict {
    switch (answer._tag) {
      case "Continue":
      case "NotAnswered":
        return Verdict.continue
      case "NotSent":
        // Not at RCPT: a recipient can be exempt from a refusal that is given there.
        return stage === "helo" || stage === "mail" ? this.refusal ?? Verdict.continue : Verdict.continue
      case "Accept":
        return stage === "connect" || stage === "helo" ? Verdict.acceptConnection : Verdict.acceptMessage
      case "Reject":
        return Verdict.reject()
      case "TempFail":
        return Verdict.tempFail()
      case "Reply": {
        // Reply texts of this library are ASCII, and other bytes belong into no reply without SMTPUTF8.
        const wire = ofParts(this.reply!.replace(/[^\t\r\n -~]/g, "?"))
        return answer.code.startsWith("5")
          ? { _tag: "Reject", reply: undefined, wire }
          : { _tag: "TempFail", reply: undefined, wire }
      }
      case "Discard":
        return Verdict.discardMessage
      case "Skip":
        // Elsewhere the client leaves out what follows of this kind.
        return stage === "body" ? Verdict.skipBody : Verdict.continue
    }
  }

  /** The milter's answer does not count: it is out for the rest of the SMTP session. */
  refuse(reason: ClientErrorReason): Effect.Effect<never, RemoteError> {
    return Effect.catch(this.client!.connection.fail(reason), (error) => this.fail(error))
  }

  // --- time and failures

  /** Runs a step within a time, and within the time that the server has for the answer. */
  private within<A, R>(
    session: Session,
    most: number,
    step: Effect.Effect<A, ClientError, R>
  ): Effect.Effect<A, RemoteError, R> {
    return Clock.clockWith((clock) => {
      const due = answerBy(session)
      const milliseconds = due === undefined ? most : Math.min(most, due - clock.currentTimeMillisUnsafe() - reserve)
      if (milliseconds <= 0) return this.fail(this.errorOf({ _tag: "Timeout", milliseconds: 0 }))
      this.limits.begin(clock, milliseconds)
      return Effect.catch(
        step,
        // The error of the client has what was left.
        (error) =>
          this.fail(error.reason._tag === "Timeout" ? this.errorOf({ _tag: "Timeout", milliseconds }, error) : error)
      )
    }).pipe(
      // The answer that is still to come would be taken for that to the next command.
      Effect.onInterrupt(() => Effect.sync(() => this.abandon()))
    )
  }

  private abandon(): void {
    this.failure ??= remoteErrorOf(this.name, this.errorOf({ _tag: "Closed", cause: undefined }))
    this.client?.connection.close()
  }

  private errorOf(
    reason: ClientErrorReason,
    { command }: { readonly command: ClientError["command"] } = { command: this.client?.connection.command }
  ): ClientError {
    return new ClientError({ reason, command, address: this.options.to })
  }

  /** Keeps the first failure, and logs it. */
  private fail(error: ClientError): Effect.Effect<never, RemoteError> {
    return Effect.suspend(() => {
      if (this.failure !== undefined) return Effect.fail(this.failure)
      const failure = this.failure = remoteErrorOf(this.name, error)
      this.client?.connection.close()
      return Effect.andThen(Effect.logWarning(`RemoteError: ${failure.message}`), Effect.fail(failure))
    })
  }

  // --- the end

  /** The message is over, with a verdict or without one. */
  readonly endMessage: Effect.Effect<void> = Effect.suspend(() => this.say((client) => client.abort()))

  /** The SMTP session is over, or this filter's part in it: there is no second connection. */
  private readonly leave: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(
      this.say((client) => client.quit()),
      Effect.sync(() => this.abandon())
    )
  )

  /** Tells the milter something that has no answer. Runs in finalizers, which must not wait for a milter that does not read. */
  private say(what: (client: Client) => Effect.Effect<void, ClientError>): Effect.Effect<void> {
    const { client, failure, limits } = this
    if (client === undefined || failure !== undefined) return Effect.void
    return Clock.clockWith((clock) => {
      limits.begin(clock, farewell)
      return Effect.ignore(Effect.interruptible(what(client)))
    })
  }
}
