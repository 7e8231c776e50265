/**
 * What a filter, or a sequence of them, and an MTA say to each other on one connection: the negotiation, the SMTP session,
 * and which answers go out. What happens to a message is the business of its transaction.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as ClientAddress from "../../ClientAddress.ts"
import type * as Frame from "../../Frame.ts"
import { type Agreement, negotiate } from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import type { Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { ByteString, PacketError, Writer } from "../../Wire.ts"
import { Failed } from "../filter/definition.ts"
import { sessionWith } from "../filter/sessionView.ts"
import { type AnsweredStage, stageOf, stageTable } from "../protocol/stageTable.ts"
import * as replies from "../protocol/verdictPacket.ts"
import { type Plan, planOf } from "./contentPasses.ts"
import { Participant } from "./filterSession.ts"
import { inTurn } from "./forEachCallback.ts"
import type { Owner } from "./hookRunner.ts"
import type { Host } from "./host.ts"
import * as ownReplies from "./libraryReplies.ts"
import { wantedOf } from "./negotiationRequest.ts"
import { type Closing, Scopes } from "./scopeCloser.ts"
import type { Program, Unit } from "./serverRuntime.ts"
import { SmtpSession } from "./smtpSession.ts"
import { Transaction } from "./transaction.ts"

/** An answer could not be sent to its end: the spool failed, or the connection. */
class BrokenAnswer extends Data.TaggedError("BrokenAnswer")<{ readonly cause: Cause.Cause<unknown> }> {
  override get message(): string {
    return `an answer broke off: ${Cause.pretty(this.cause)}`
  }
}

const hasAccepted = (participant: Participant): boolean => participant.hasAccepted

export class Conversation implements Owner {
  readonly program: Program
  readonly host: Host
  readonly scopes: Scopes
  readonly writer = new Writer()
  private readonly overloaded: boolean
  private agreement: Agreement | undefined
  offeredActions = 0
  plan: Plan
  session: SmtpSession
  participants: ReadonlyArray<Participant> = []
  private transaction: Transaction | undefined
  /** The stage of the command that is being answered. */
  stage: AnsweredStage = "connect"
  running: Unit

  constructor(program: Program, host: Host, overloaded: boolean) {
    this.program = program
    this.host = host
    this.scopes = new Scopes(host)
    this.running = program.units[0]!
    this.plan = planOf(program.units.map(({ definition }) => definition), 0)
    this.overloaded = overloaded
    this.session = this.begin()
  }

  /** An SMTP session begins: the first of this connection, or the next one after QUIT_NC. */
  private begin(): SmtpSession {
    const { program } = this
    const session = this.session = new SmtpSession(program, this.agreement ?? { version: 0, actions: 0, steps: 0 })
    this.participants = program.units.map((unit) =>
      new Participant(
        unit,
        this,
        program.units.length === 1 ? session : sessionWith(session, unit.definition.macros),
        unit.context === program.context ? session.context : session.inside(unit.context)
      )
    )
    return session
  }

  /** Whether a message has begun and its end was not reached. */
  get hasMessage(): boolean {
    return this.transaction !== undefined
  }

  /** Which budget the answer to the current command has; undefined if it gets none. */
  get awaited(): "command" | "endOfMessage" | undefined {
    return this.budget(this.stage)
  }

  /** The same for a command that waits. */
  budgetOf(command: Packet.MtaPacket["_tag"]): "command" | "endOfMessage" | undefined {
    const stage = stageOf(command)
    return stage === undefined ? undefined : this.budget(stage)
  }

  private budget(stage: AnsweredStage): "command" | "endOfMessage" | undefined {
    if (this.agreement === undefined || !this.answers(stage)) return undefined
    return stage === "endOfMessage" ? "endOfMessage" : "command"
  }

  /** Whether a message would be cut short by the end of the connection. */
  get hasOpenMessage(): boolean {
    return this.transaction !== undefined && !this.transaction.isClosed
  }

  /** A hook that did not finish at once took this long. */
  timed(stage: Stage, milliseconds: number): void {
    const { running } = this
    running.monitor.hook(stage, milliseconds)
    const watched = this.transaction ?? this.session
    watched.timed(running.definition.name, stage, milliseconds)
  }

  // --- commands

  /** A command has arrived: `code` is its letter. */
  command(code: number): void {
    this.session.macros.command(code)
  }

  macro(frame: Frame.Frame): void {
    if (frame.offset === frame.limit) {
      return this.host.fail(
        new PacketError({ offset: frame.position + 5, expected: "the letter of a command", command: "Macro" })
      )
    }
    this.session.define(frame)
  }

  act(packet: Packet.MtaPacket): void {
    const stage = stageOf(packet._tag)
    if (stage !== undefined) this.stage = stage
    switch (packet._tag) {
      case "Negotiate":
        return this.negotiate(packet)
      case "Connect":
        return this.connect(packet)
      case "Helo":
        return this.helo(packet)
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
        return this.transaction!.body("body", packet.bytes)
      case "EndOfMessage":
        // Postfix 2.3 sends the last piece of the body with it.
        return packet.bytes.length > 0
          ? this.transaction!.body("endOfMessage", packet.bytes)
          : this.transaction!.endOfMessage()
      case "Unknown":
        return this.unknown(packet)
      case "QuitNewConnection":
        this.session.monitor.end(this.exitOf(Exit.void))
        return this.scopes.close(this.sessionClosings(Exit.void), this.session, () => {
          this.begin()
        })
      case "Abort":
        return this.session.macros.endMessage()
      case "Macro":
      case "Quit":
        return
    }
  }

  private negotiate(offered: Packet.Negotiate): void {
    const { limits, units } = this.program
    const definitions = units.map(({ definition }) => definition)
    this.plan = planOf(definitions, offered.actions)
    const wanted = wantedOf(definitions, this.plan, limits)
    // The refusal at connect needs an answer there.
    const wantedSteps = this.overloaded ? wanted.steps & ~stageTable.connect.noReply : wanted.steps
    const result = negotiate({ ...wanted, steps: wantedSteps }, offered)
    if (Result.isFailure(result)) return this.host.fail(result.failure)
    const { actions, macros, steps, version } = this.agreement = this.session.agreed = result.success
    this.offeredActions = offered.actions
    this.host.send(Packet.encode({ _tag: "Negotiated", version, actions, steps, macros }))
  }

  private connect(packet: Packet.Connect): void {
    const client = ClientAddress.fromPacket(packet.address)
    if (Result.isFailure(client)) return this.malformed("Connect", client.failure)
    const { session } = this
    session.connect(packet, client.success)
    this.connectionStage("connect", { hostname: session.hostname, client: session.client })
  }

  private helo(packet: Packet.Helo): void {
    const name = this.session.heloName = ByteString.toText(packet.name)
    this.connectionStage("helo", { name, raw: packet.name })
  }

  private connectionStage(stage: "connect" | "helo", event: unknown): void {
    if (this.overloaded) return this.reply(stage, ownReplies.tooManyConnections(this.session), undefined)
    const { participants } = this
    const allHad = participants.every(hasAccepted)
    inTurn(participants.length, (index, next) => {
      const participant = participants[index]!
      participant.connectionStage(stage, event, ({ expired, refusal }) => {
        // No time is left for the others, who may have something against this client.
        if (expired) {
          for (const other of participants.slice(index + 1)) other.unasked(ownReplies.notNow(this.session), stage)
        }
        if (refusal !== undefined) return this.reply(stage, refusal, participant.unit)
        if (expired) return this.reply(stage, Verdict.continue, undefined)
        next()
      })
    }, () => {
      const accept = !allHad && participants.every(hasAccepted)
      const by = participants.length === 1 ? participants[0]!.unit : undefined
      this.reply(stage, accept ? Verdict.acceptConnection : Verdict.continue, by)
    })
  }

  /** What a server with no room, or about to stop, has to say to each message. */
  private refusalOfAll(): Verdict.TempFail | undefined {
    if (this.program.draining) return ownReplies.shuttingDown(this.session)
    return this.overloaded ? ownReplies.tooManyConnections(this.session) : undefined
  }

  private unknown({ line }: Packet.Unknown): void {
    const event = { line: ByteString.toText(line), raw: line }
    const { participants } = this
    const none = (): void => this.reply("unknown", Verdict.continue, undefined)
    if (this.overloaded) return none()
    inTurn(participants.length, (index, next) => {
      const participant = participants[index]!
      participant.withState((expired) => {
        // It may be running still.
        if (expired) return none()
        if (participant.isSettled) return next()
        participant.hooks.run("unknown", event, participant.at, participant.fork, (decision) => {
          const failed = decision instanceof Failed
          if (failed && !this.answers("unknown")) this.postpone(participant, decision)
          const verdict = failed ? decision.policy : decision
          // Accept and discard crash Postfix's smtpd here. The types refuse them; JavaScript does not.
          if (typeof verdict === "object" && (verdict._tag === "Reject" || verdict._tag === "TempFail")) {
            return this.reply("unknown", verdict, participant.unit)
          }
          if (failed && decision.expired) none()
          else next()
        })
      })
    }, none)
  }

  /** A failure outside the stages of a message waits for the message that is open, or for the next one. */
  private postpone(participant: Participant, failure: Failed): void {
    if (this.hasOpenMessage) this.transaction!.postpone(participant, failure)
    else participant.postpone(failure)
  }

  /** The client or the MTA gave the message up, or another one begins. */
  abort(next: () => void): void {
    const transaction = this.transaction!
    this.transaction = undefined
    transaction.close(next)
  }

  /** The MTA gave the message up while a hook ran. The abort waits behind this command, which is answered all the same. */
  aborted(): void {
    this.transaction!.giveUp()
    // After end of message it finds no message to end.
    if (this.stage === "endOfMessage") this.abort(() => this.session.macros.endMessage())
  }

  // --- for the transaction

  /** The end of the message was answered. */
  ended(): void {
    this.transaction = undefined
  }

  get now(): number {
    return this.program.clock.currentTimeMillisUnsafe()
  }

  /** Whose rules a message that goes from filter to filter is under. */
  get mta(): "postfix" | "sendmail" {
    return this.session.macros.mta === "sendmail" ? "sendmail" : "postfix"
  }

  hasStep(bit: number): boolean {
    return (this.agreement!.steps & bit) !== 0
  }

  answers(stage: AnsweredStage): boolean {
    return !this.hasStep(stageTable[stage].noReply)
  }

  /** `by` is undefined for what no single filter has decided. */
  reply(stage: AnsweredStage, verdict: Verdict.Verdict, by: Unit | undefined): void {
    if (verdict._tag !== "Continue") (by ?? this.program).monitor.verdict(stage, verdict._tag)
    if (this.answers(stage)) this.host.send(replies.encode(verdict))
  }

  /** Half of an answer is out: nothing that follows could be understood. */
  broken(cause: Cause.Cause<unknown>): void {
    this.host.fail(new BrokenAnswer({ cause }))
  }

  /** A frame that is whole with a payload that is not: the MTA gets an answer if it waits for one, then it is closed. */
  malformed(command: Packet.MtaPacket["_tag"], error: { readonly _tag: string; readonly message: string }): void {
    const stage = stageOf(command)
    if (stage !== undefined) this.reply(stage, Verdict.tempFail(), undefined)
    this.host.fail(error)
  }

  // --- the end

  /** What the SMTP session came to: the failure of a filter's state, if one failed. */
  private exitOf(exit: Exit.Exit<void>): Exit.Exit<void, unknown> {
    return this.participants.map((participant) => participant.exitOf(exit)).find(Exit.isFailure) ?? exit
  }

  private sessionClosings(exit: Exit.Exit<void>): ReadonlyArray<Closing> {
    return this.participants.map((participant) => ({
      scope: participant.scope,
      exit: participant.exitOf(exit),
      filter: participant.definition.name
    }))
  }

  /** The end of the connection: the scopes of an open message close, then those of the SMTP session. */
  close(exit: Exit.Exit<void>): Effect.Effect<void> {
    return this.scopes.last(() => {
      const { transaction } = this
      const message = transaction === undefined || transaction.isClosed ? [] : transaction.closings()
      this.session.monitor.end(this.exitOf(exit))
      return message.toReversed().concat(this.sessionClosings(exit).toReversed())
    }, this.session)
  }
}
