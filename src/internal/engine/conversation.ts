/**
 * The machine of a connection: what a filter, or a sequence of them, and an MTA say to each other. An event comes in,
 * what to do next goes out; it does no I/O, starts no fiber and knows no clock but the time of day. It holds the
 * negotiation, the SMTP session and what belongs to no message; a message is the business of its transaction.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as ClientAddress from "../../ClientAddress.ts"
import type * as Frame from "../../Frame.ts"
import type { Agreement } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import * as Verdict from "../../Verdict.ts"
import { PacketError, Writer } from "../../Wire.ts"
import { ByteString } from "../bytes/byteString.ts"
import type { Failed } from "../filter/definition.ts"
import type { Edits } from "../filter/editor.ts"
import { sessionWith } from "../filter/sessionView.ts"
import { maxPayloadOf } from "../protocol/negotiationBits.ts"
import { type AnsweredStage, rowOfCode, type StageRow, stages } from "../protocol/stageTable.ts"
import * as replies from "../protocol/verdictPacket.ts"
import type { Plan } from "./contentPasses.ts"
import { FilterSession, isGreeting } from "./filterSession.ts"
import { HookCall } from "./hookCall.ts"
import * as libraryReplies from "./libraryReplies.ts"
import { type Action, type Close, type Output, wait, work, type WorkKind, type Write } from "./machine.ts"
import { answerTo } from "./negotiationRequest.ts"
import { ScopeCloser } from "./scopeCloser.ts"
import { answerWithEdits } from "./sendEdits.ts"
import type { Program, Unit } from "./serverRuntime.ts"
import { SessionStages, type StagesOwner } from "./sessionStages.ts"
import { SmtpSession } from "./smtpSession.ts"
import { Transaction } from "./transaction.ts"
import type { AfterReply, TransactionOwner } from "./transactionOwner.ts"

/** An answer could not be sent to its end: the spool failed, or the connection. */
class BrokenAnswer extends Data.TaggedError("BrokenAnswer")<{ readonly cause: Cause.Cause<unknown> }> {
  override get message(): string {
    return `an answer broke off: ${Cause.pretty(this.cause)}`
  }
}

/** An error that ends the connection. */
type PeerError = Close["error"]

/**
 * What follows, once bytes are written and scopes are closed: what may follow a reply, and
 *
 * - `endMacros`: the message's macros are forgotten.
 * - `act`: the command that ended the message is worked on.
 * - `beginSession`: another SMTP session.
 * - `fail`: the connection ends.
 */
type After = AfterReply | "endMacros" | "act" | "beginSession" | "fail"

export class Conversation implements TransactionOwner, StagesOwner {
  readonly program: Program
  readonly call: HookCall
  private readonly output: Output
  /** The server has too many connections already. */
  private isOverloaded = false
  private readonly closer: ScopeCloser
  private readonly stages: SessionStages
  private readonly writer = new Writer()
  private readonly writing: { readonly _tag: "Write"; bytes: Uint8Array } = { _tag: "Write", bytes: new Uint8Array(0) }
  private agreement: Agreement | undefined
  private _plan: Plan | undefined
  private _offeredActions = 0
  private _session: SmtpSession
  private _filters: ReadonlyArray<FilterSession> = []
  private transaction: Transaction | undefined
  private _stage: StageRow<AnsweredStage> = stages.connect
  private after: After = "wait"
  /** The command that waits for the end of the message before it. */
  private heldCommand: { readonly packet: Packet.MtaPacket; readonly code: number } | undefined
  private error: PeerError | undefined

  constructor(program: Program, output: Output) {
    this.program = program
    this.output = output
    this._session = this.beginSession()
    this.call = new HookCall(program.units[0]!, this._session)
    this.closer = new ScopeCloser(this._session)
    this.stages = new SessionStages(this)
  }

  /** An SMTP session begins: the first of this connection, or the next one after QUIT_NC. */
  private beginSession(): SmtpSession {
    const { program } = this
    const session = new SmtpSession(program, this.agreement ?? { version: 0, actions: 0, steps: 0 }, this.output)
    this._session = session
    this._filters = program.units.map((unit) =>
      new FilterSession(unit, session, program.units.length === 1 ? session : sessionWith(session, unit.visible))
    )
    return session
  }

  // --- what the connection asks

  /** Whether a message has begun and its end was not reached. */
  get hasMessage(): boolean {
    return this.transaction !== undefined
  }

  /** Whether a message would be cut short by the end of the connection. */
  get hasOpenMessage(): boolean {
    return this.transaction !== undefined && !this.transaction.isClosed
  }

  /** The letter of the command that waits for finalizers, before it is worked on. */
  get held(): number | undefined {
    return this.heldCommand?.code
  }

  /** The time budget for the answer to the current command; undefined if the command gets no answer. */
  get awaited(): "command" | "endOfMessage" | undefined {
    return this.budget(this._stage)
  }

  /** The same for a command that waits. */
  budgetOf(code: number): "command" | "endOfMessage" | undefined {
    const stage = rowOfCode(code)
    return stage === undefined ? undefined : this.budget(stage)
  }

  private budget(stage: StageRow<AnsweredStage>): "command" | "endOfMessage" | undefined {
    if (this.agreement === undefined || !this.answers(stage)) return undefined
    return stage === stages.endOfMessage ? "endOfMessage" : "command"
  }

  /** Notes how long a hook took that did not finish at once. */
  timed(unit: Unit, stage: StageRow, milliseconds: number): void {
    unit.monitor.hook(stage.name, milliseconds)
    const watched = this.transaction ?? this._session
    watched.timed(unit.definition.name, stage, milliseconds)
  }

  // --- events: commands

  /** The connection that negotiates now is one too many. */
  refuseAll(): void {
    this.isOverloaded = true
  }

  macrosArrived(frame: Frame.Frame): Action {
    if (frame.offset === frame.limit) {
      return this.fail(
        new PacketError({ offset: frame.position + 5, expected: "the letter of a command", command: "Macro" })
      )
    }
    this._session.define(frame)
    return wait
  }

  /** A whole frame with an invalid payload: the MTA gets an answer if it waits for one, then the connection ends. */
  malformedArrived(code: number, error: PeerError): Action {
    this.error = error
    const stage = rowOfCode(code)
    this.after = "fail"
    return stage === undefined ? this.next() : this.reply(stage, Verdict.tempFail(), undefined, "fail")
  }

  /** A command has arrived, with this letter; it ends the message before it, if `endsMessage`. */
  packetArrived(packet: Packet.MtaPacket, code: number, endsMessage: boolean): Action {
    this._session.macros.command(code)
    if (!endsMessage) return this.act(packet, code)
    this.heldCommand = { packet, code }
    this.endTransaction()
    this.after = "act"
    return this.next()
  }

  private act(packet: Packet.MtaPacket, code: number): Action {
    const stage = rowOfCode(code)
    if (stage !== undefined) this._stage = stage
    switch (packet._tag) {
      case "Negotiate":
        return this.negotiate(packet)
      case "Connect":
        return this.connect(packet)
      case "Helo": {
        const name = this._session.heloName = ByteString.toText(packet.name)
        return this.beginStage({ name, raw: packet.name })
      }
      case "Mail":
        this.transaction = new Transaction(this, packet, this.now)
        return this.transaction.mail(this.refusalOfAll())
      case "Rcpt":
        return this.transaction!.rcpt(packet)
      case "Data":
        return this.transaction!.data()
      case "Header":
        return this.transaction!.header(packet)
      case "EndOfHeaders":
        return this.transaction!.endOfHeaders()
      case "Body":
        return this.transaction!.body(packet.bytes)
      case "EndOfMessage":
        // Postfix 2.3 sends the last piece of the body with it.
        return packet.bytes.length > 0 ? this.transaction!.body(packet.bytes) : this.transaction!.endOfMessage()
      case "Unknown":
        return this.beginStage({ line: ByteString.toText(packet.line), raw: packet.line })
      case "QuitNewConnection":
        this._session.monitor.end(this.exitOf(Exit.void))
        this.closer.add(this._filters.flatMap((filter) => filter.closing(Exit.void) ?? []), this._session)
        this.after = "beginSession"
        return this.next()
      case "Abort":
        this._session.macros.endMessage()
        return wait
      case "Macro":
      case "Quit":
        return wait
    }
  }

  private negotiate(offered: Packet.Negotiate): Action {
    const { program } = this
    const outcome = answerTo(program, offered, this.isOverloaded)
    if (Result.isFailure(outcome)) return this.fail(outcome.failure)
    const { agreement, bytes, plan } = outcome.success
    this._plan = plan
    this.agreement = this._session.agreed = agreement
    this._offeredActions = offered.actions
    return this.write(bytes)
  }

  private connect(packet: Packet.Connect): Action {
    const client = ClientAddress.fromPacket(packet.address)
    if (Result.isFailure(client)) return this.malformedArrived(Packet.Connect.code, client.failure)
    const { _session: session } = this
    session.connect(packet, client.success)
    return this.beginStage({ hostname: session.hostname, client: session.client })
  }

  /** The answer to each message of a server that is full or about to stop. */
  private refusalOfAll(): Verdict.TempFail | undefined {
    if (this.program.draining) return libraryReplies.shuttingDown(this._session)
    return this.isOverloaded ? libraryReplies.tooManyConnections(this._session) : undefined
  }

  // --- events: what has ended

  /** Bytes have been written. */
  next(): Action {
    for (;;) {
      if (this.closer.hasMore) return this.closer
      const { after } = this
      if (after === "wait") return wait
      this.after = "wait"
      switch (after) {
        case "settle":
          this.settle()
          break
        case "close":
          this.closeTransaction(this.transaction!)
          break
        case "endMessage":
          this.endTransaction()
          this.after = "endMacros"
          break
        case "endMacros":
          this._session.macros.endMessage()
          return wait
        case "act": {
          const { code, packet } = this.heldCommand!
          this.heldCommand = undefined
          return this.act(packet, code)
        }
        case "beginSession":
          this.beginSession()
          return wait
        case "fail":
          return this.fail(this.error!)
      }
    }
  }

  /** A call has ended by itself. */
  callEnded(exit: Exit.Exit<unknown, unknown>): Action {
    return this.decided(this.call.resultOf(exit, this._session))
  }

  /** The time of a call is over; it may be running still. */
  callExpired(): Action {
    return this.decided(this.call.expire(this._session))
  }

  /**
   * The MTA gave up the message while a call ran, and the call has stopped. The abort is still to be handled; the command
   * of the call is answered before it.
   */
  callAborted(): Action {
    this.call.release(this._session)
    const verdict = this.transaction!.giveUp()
    // After end of message the abort would find no message to end.
    return this.reply(this._stage, verdict, undefined, this._stage === stages.endOfMessage ? "endMessage" : "wait")
  }

  private decided(result: unknown): Action {
    return this._stage.isOfMessage ? this.transaction!.decided(result) : this.stages.decided(result)
  }

  workEnded(kind: WorkKind, exit: Exit.Exit<unknown, unknown>): Action {
    switch (kind) {
      case "finalizers":
        this.closer.ended(exit)
        return this.next()
      case "answer":
        // The MTA has half of an answer, and would read what follows as the rest of it.
        return Exit.isSuccess(exit) ? this.next() : this.fail(new BrokenAnswer({ cause: exit.cause }))
      case "content":
        return this.transaction!.contentEnded(exit)
    }
  }

  /** Connect, helo or unknown. */
  private beginStage(event: unknown): Action {
    if (!this.isOverloaded) return this.stages.begin(event)
    const verdict = this._stage === stages.unknown ? Verdict.continue : libraryReplies.tooManyConnections(this._session)
    return this.reply(this._stage, verdict, undefined)
  }

  /** A failure outside the stages of a message waits for the message that is open, or for the next one. */
  postpone(filter: FilterSession, failure: Failed): void {
    if (this.hasOpenMessage) this.transaction!.postpone(filter, failure)
    else filter.postpone(failure)
  }

  // --- messages

  /** The final verdict on a message has been sent. */
  private settle(): void {
    const transaction = this.transaction!
    transaction.settle()
    if (this._stage === stages.endOfMessage) this.transaction = undefined
    this._session.macros.endMessage()
    this.closeTransaction(transaction)
  }

  /** The client or the MTA gave up the message, or another one begins. */
  private endTransaction(): void {
    const transaction = this.transaction!
    this.transaction = undefined
    this.closeTransaction(transaction)
  }

  /** Hands over the scopes of a message to be closed; without a verdict finalizers learn of an interruption. */
  private closeTransaction(transaction: Transaction): void {
    if (!transaction.isClosed) this.closer.add(transaction.close(), this._session)
  }

  // --- for the transaction

  get session(): SmtpSession {
    return this._session
  }

  get filters(): ReadonlyArray<FilterSession> {
    return this._filters
  }

  get plan(): Plan {
    return this._plan! // since the negotiation
  }

  get offeredActions(): number {
    return this._offeredActions
  }

  get stage(): StageRow<AnsweredStage> {
    return this._stage
  }

  get now(): number {
    return this.program.clock.currentTimeMillisUnsafe()
  }

  /** The MTA whose rules apply to a message that goes from filter to filter. */
  get mta(): "postfix" | "sendmail" {
    return this._session.macros.mta === "sendmail" ? "sendmail" : "postfix"
  }

  hasStep(bit: number): boolean {
    return (this.agreement!.steps & bit) !== 0
  }

  answers(stage: StageRow<AnsweredStage>): boolean {
    return !this.hasStep(stage.noReply)
  }

  /** `by` is undefined for what no single filter has decided. */
  reply(
    stage: StageRow<AnsweredStage>,
    verdict: Verdict.Verdict,
    by: Unit | undefined,
    after: AfterReply | "fail" = "wait"
  ): Action {
    this.after = after
    if (verdict._tag !== "Continue") {
      ;(by ?? this.program).monitor.verdict(stage.name, verdict._tag)
      if (isGreeting(stage) && (verdict._tag === "Reject" || verdict._tag === "TempFail")) {
        this._session.monitor.refused(stage.name, verdict, this._filters.length > 1 ? by?.definition.name : undefined)
      }
    }
    return this.answers(stage) ? this.write(replies.encode(verdict)) : this.next()
  }

  /** The final verdict with the edits of the filters. */
  replyWithEdits(edits: Edits, verdict: Verdict.OfMessage): Action {
    this.after = "settle"
    const largest = maxPayloadOf(this.agreement!.steps) // agreed on before any message
    const answer = answerWithEdits(edits, verdict, this.writer, this.output, largest)
    return Effect.isEffect(answer) ? work("answer", this._session.fork, () => answer) : this.write(answer)
  }

  private write(bytes: Uint8Array): Write {
    this.writing.bytes = bytes
    return this.writing
  }

  private fail(error: PeerError): Close {
    return { _tag: "Close", error }
  }

  // --- the end

  /** How the SMTP session ended: with the failure of a filter's state, if one failed. */
  private exitOf(exit: Exit.Exit<void>): Exit.Exit<void, unknown> {
    return this._filters.map((filter) => filter.exitOf(exit)).find(Exit.isFailure) ?? exit
  }

  /** The end of the connection: the scopes of an open message close, then those of the SMTP session. */
  end(exit: Exit.Exit<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { transaction } = this
      const message = transaction === undefined || transaction.isClosed ? [] : transaction.close()
      this._session.monitor.end(this.exitOf(exit))
      const filters = this._filters.flatMap((filter) => filter.closing(exit) ?? [])
      return this.closer.closeAll([...message.toReversed(), ...filters.toReversed()], this._session)
    })
  }
}
