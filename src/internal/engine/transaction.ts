/** One mail transaction, from MAIL to the end of the message: what the filters decide on it, and what the MTA is told. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Mailbox, Parameters } from "../../Envelope.ts"
import { HeaderValue } from "../../Header.ts"
import { Step } from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import type { Envelope, Mail, Outcome, Rcpt, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import type { Writer } from "../../Wire.ts"
import { Failed } from "../filter/definition.ts"
import * as editor from "../filter/editor.ts"
import type { FailurePolicy as Policy } from "../filter/filterTypes.ts"
import type { MessageMonitor } from "../observe/monitor.ts"
import { type AnsweredStage, isContent, type MessageStage } from "../protocol/stageTable.ts"
import type { Plan } from "./contentPasses.ts"
import * as content from "./editedContent.ts"
import { Part } from "./filterMessage.ts"
import type { Participant } from "./filterSession.ts"
import { inTurn } from "./forEachCallback.ts"
import type { Decision } from "./hookRunner.ts"
import type { Host } from "./host.ts"
import * as ownReplies from "./libraryReplies.ts"
import { Size } from "./messageSize.ts"
import { exitOf, outcomeOf } from "./outcome.ts"
import type { Closing, Scopes } from "./scopeCloser.ts"
import { sendEdits } from "./sendEdits.ts"
import type { Program, Unit } from "./serverRuntime.ts"
import type { SmtpSession } from "./smtpSession.ts"

type Refusal = Verdict.Reject | Verdict.TempFail

/** Who has decided: a filter, or the library itself. */
type By = Part | undefined

const nothing = {}

const verdictOf = (policy: Policy): Refusal | Verdict.AcceptMessage =>
  policy === "pass" ? Verdict.acceptMessage : policy

/** What a transaction needs of the conversation it belongs to. */
export interface TransactionOwner {
  readonly program: Program
  readonly host: Host
  readonly session: SmtpSession
  readonly participants: ReadonlyArray<Participant>
  readonly plan: Plan
  readonly scopes: Scopes
  readonly writer: Writer
  readonly offeredActions: number
  readonly stage: AnsweredStage
  readonly now: number
  readonly mta: "postfix" | "sendmail"
  readonly hasStep: (bit: number) => boolean
  readonly answers: (stage: AnsweredStage) => boolean
  readonly reply: (stage: AnsweredStage, verdict: Verdict.Verdict, by: Unit | undefined) => void
  readonly abort: (next: () => void) => void
  readonly ended: () => void
  readonly broken: (cause: Cause.Cause<unknown>) => void
}

export class Transaction {
  private readonly owner: TransactionOwner
  private readonly mailed: Mail
  private readonly recipients: Array<Rcpt> = []
  private readonly envelope: Envelope
  private readonly monitor: MessageMonitor
  private readonly began: number
  private readonly size: Size
  private readonly parts: Array<Part> = []
  private readonly content: content.Content | undefined
  /** The pass over the content that is going on. */
  private pass = 0
  /** Settled before its end; an MTA that goes on all the same gets this again. */
  private decided: Verdict.OfMessage | undefined
  /** The verdict that it ends with. */
  private final: { readonly verdict: Verdict.OfMessage; readonly by: By } | undefined
  /** DATA was refused, which is how the message ends unless the client tries DATA again. */
  private refused: { readonly verdict: Refusal; readonly by: By } | undefined
  /** A failure of the message as a whole, for the next stage with an answer. */
  private pending: Failed | undefined
  private skipped = false
  isClosed = false
  /** The stage of the latest verdict, and that verdict unless it was continue. */
  private stage: Stage = "mail"
  private verdict: Verdict.Verdict["_tag"] | undefined
  private queueId: string | undefined

  constructor(owner: TransactionOwner, packet: Packet.Mail, began: number) {
    const { plan, program, session } = owner
    this.owner = owner
    this.mailed = { sender: new Mailbox(packet.sender), parameters: new Parameters(packet.parameters) }
    this.envelope = { ...this.mailed, recipients: this.recipients }
    this.began = began
    this.size = new Size(program.limits)
    this.monitor = session.monitor.message(this.mailed, session.context)
    this.content = plan.keepsHeaders || plan.keepsBody
      ? new content.Content(() => owner.mta, owner.hasStep(Step.leadingSpace), program.openFile)
      : undefined
  }

  // --- stages

  /** `settled`: the answer that a server with no room, or about to stop, has for all messages. */
  mail(settled: Refusal | undefined): void {
    const { participants } = this.owner
    if (settled !== undefined) return this.conclude("mail", settled, undefined)
    inTurn(participants.length, (index, next) => this.join(index, next), () => this.proceed("mail"))
  }

  /** A filter gets its part, and the state of it. */
  private join(index: number, next: () => void): void {
    const { plan } = this.owner
    const participant = this.owner.participants[index]!
    participant.withState((expired) => {
      const part = new Part(participant, plan.passes[index]!, this.envelope, this.monitor)
      this.parts.push(part)
      part.begin(this.mailed, (failure) => {
        if (failure === undefined) return this.run(part, "mail", this.mailed, next)
        this.decide(part, "mail", expired ? new Failed(failure.policy, failure.cause, true) : failure, next)
      })
    })
  }

  rcpt(packet: Packet.Rcpt): void {
    const { owner } = this
    const rcpt: Rcpt = { recipient: new Mailbox(packet.recipient), parameters: new Parameters(packet.parameters) }
    const { macros } = owner.session
    if (owner.hasStep(Step.rejectedRecipients) && macros.raw("rcpt_mailer") === "error") {
      return this.rejectedRecipient({
        ...rcpt,
        enhanced: macros.get("rcpt_host") ?? "",
        text: macros.get("rcpt_addr") ?? ""
      })
    }
    this.recipients.push(rcpt)
    if (this.recipients.length > owner.program.limits.recipients && this.decided === undefined) {
      return this.refuseRecipient(ownReplies.tooManyRecipients(owner.session), undefined, undefined)
    }
    this.arrive("rcpt", rcpt)
  }

  /** The MTA ignores this answer, so a failure waits for the next one. */
  private rejectedRecipient(event: unknown): void {
    if (this.decided !== undefined) return this.owner.reply("rcpt", this.decided, undefined)
    const parts = this.parts.filter(({ left, participant }) => !left && participant.definition.rejectedRecipients)
    inTurn(parts.length, (index, next) => {
      const part = parts[index]!
      part.participant.hooks.run("rejectedRecipient", event, part.at, part.fork, (decision) => {
        if (!(decision instanceof Failed)) return next()
        part.pending ??= decision
        if (!this.isOver(decision)) return next()
        this.pending ??= this.firm(decision)
        this.owner.reply("rcpt", Verdict.continue, undefined)
      })
    }, () => this.owner.reply("rcpt", Verdict.continue, undefined))
  }

  data(): void {
    // The client tries again: what comes of this one counts.
    if (this.refused?.by !== undefined) this.refused.by.failure = undefined
    this.refused = undefined
    this.arrive("data", nothing)
  }

  header(packet: Packet.Header): void {
    this.pending ??= this.tooLarge(this.size.header(packet))
    if (this.owner.plan.keepsHeaders && !this.isSettled) this.content!.header(packet.name, packet.value)
    this.arrive("header", new HeaderValue(packet.name, packet.value, this.owner.hasStep(Step.leadingSpace)))
  }

  endOfHeaders(): void {
    this.arrive("endOfHeaders", nothing)
  }

  /** `stage` is the command that brought the bytes; at end of message they are answered together with it. */
  body(stage: "body" | "endOfMessage", bytes: Uint8Array): void {
    const { owner } = this
    if (this.skipped && this.decided === undefined) {
      return stage === "body" ? owner.reply("body", Verdict.continue, undefined) : this.endOfMessage()
    }
    this.pending ??= this.tooLarge(this.size.body(bytes.length))
    this.keep(this.isSettled ? undefined : bytes, () => {
      if (stage === "body") return this.arrive("body", { bytes })
      if (this.isSettled) return this.endOfMessage()
      this.ask("body", { bytes }, () => this.endOfMessage())
    })
  }

  /** Whatever comes now, it changes nothing but by another DATA. */
  private get isSettled(): boolean {
    return (this.decided ?? this.refused ?? this.pending) !== undefined
  }

  /** Puts bytes of the body aside for later filters. */
  private keep(bytes: Uint8Array | undefined, next: () => void): void {
    const { host, plan, session } = this.owner
    if (bytes === undefined || !plan.keepsBody) return next()
    host.startWork("content", this.content!.append(bytes), session.fork, (exit) => {
      if (Exit.isFailure(exit)) this.contentLost(exit.cause)
      next()
    })
  }

  private contentLost(cause: Cause.Cause<unknown>): void {
    const { session } = this.owner
    session.log(Effect.logError("the content of a message could not be kept", cause))
    this.pending ??= new Failed(ownReplies.noSpace(session), cause)
  }

  private tooLarge(what: "header" | "message" | undefined): Failed | undefined {
    if (what === undefined) return undefined
    const { program, session } = this.owner
    return new Failed(program.limits.tooLarge === "pass" ? "pass" : ownReplies.tooLarge(session, what), Cause.empty)
  }

  endOfMessage(): void {
    const settled = this.decided ?? this.refused?.verdict
    if (settled !== undefined) {
      this.owner.reply("endOfMessage", settled, undefined)
      return this.owner.abort(() => this.owner.session.macros.endMessage())
    }
    if (this.pending !== undefined) return this.fail("endOfMessage", this.pending)
    this.ask("endOfMessage", nothing, () => this.passEnds())
  }

  // --- asking the filters

  /** A stage of the message: its hooks run unless the message is settled. */
  private arrive(stage: MessageStage, event: unknown): void {
    if (this.decided !== undefined) return this.owner.reply(stage, this.decided, undefined)
    const { refused } = this
    if (refused !== undefined && stage !== "rcpt" && stage !== "data") {
      // No other DATA comes any more, so that of this one was final.
      this.owner.reply(stage, refused.verdict, undefined)
      this.decided = refused.verdict
      return this.close(undefined)
    }
    if (this.pending !== undefined) return this.fail(stage, this.pending)
    this.ask(stage, event, () => this.proceed(stage))
  }

  /** The message as a whole has failed: answered where the whole message can be. */
  private fail(stage: MessageStage, failure: Failed): void {
    if (!this.owner.answers(stage) || stage === "rcpt" || stage === "data") {
      return this.owner.reply(stage, Verdict.continue, undefined)
    }
    this.conclude(stage, verdictOf(failure.policy), undefined)
  }

  /** Asks one after the other, until one has decided on the message. */
  private ask(stage: MessageStage, event: unknown, end: () => void): void {
    inTurn(this.parts.length, (index, next) => this.run(this.parts[index]!, stage, event, next), end)
  }

  private run(part: Part, stage: MessageStage, event: unknown, next: () => void): void {
    if (part.left || (isContent(stage) && part.pass !== this.pass) || (stage === "body" && part.skipped)) {
      return next()
    }
    if (part.pending !== undefined) return this.decide(part, stage, part.pending, next)
    const { hooks } = part.participant
    if (stage !== "endOfMessage") {
      return hooks.run(stage, event, part.at, part.fork, (decision) => this.decide(part, stage, decision, next))
    }
    const { offeredActions, program } = this.owner
    const edits = editor.none(program.openFile, program.limits.modifications)
    const edit = editor.make(part.participant.definition, edits, offeredActions, () => ({
      leadingSpace: this.owner.hasStep(Step.leadingSpace),
      smtpUtf8: this.mailed.parameters.smtpUtf8
    }))
    hooks.run(stage, event, { ...part.at, edit }, part.fork, (decision) => {
      // What a failed hook had done until then is half a thing.
      if (!(decision instanceof Failed) && !editor.isEmpty(edits)) part.edits = edits
      this.decide(part, stage, decision, next)
    })
  }

  /** What a filter decides; `next` asks the one behind it. */
  private decide(part: Part, stage: MessageStage, decision: Decision, next: () => void): void {
    const { owner } = this
    // In a later pass it is the end of message that is answered.
    const answered = owner.stage as MessageStage // only its stages come here
    let failure: Failed | undefined
    let verdict: Verdict.Verdict
    if (decision instanceof Failed) {
      failure = decision
      if (!owner.answers(answered)) {
        part.pending ??= failure
        if (!this.isOver(failure)) return next()
        this.pending ??= this.firm(failure)
        return
      }
      verdict = verdictOf((this.isOver(failure) ? this.firm(failure) : failure).policy)
    } else {
      verdict = decision ?? Verdict.continue
    }
    switch (verdict._tag) {
      case "Continue":
        return next()
      case "SkipBody":
        // Elsewhere it makes Sendmail leave this filter out of the whole SMTP session. The types refuse it; JavaScript
        // does not.
        if (stage === "body") part.skipped = true
        return next()
      case "AcceptConnection":
      case "AcceptMessage":
        part.left = true
        part.failure = failure
        // The only one's goes out.
        if (owner.participants.length > 1) part.participant.unit.monitor.verdict(stage, verdict._tag)
        return next()
      case "Reject":
      case "TempFail":
        if (answered === "rcpt") return this.refuseRecipient(verdict, part, failure)
        part.failure = failure
        if (answered !== "data") return this.conclude(answered, verdict, part)
        this.refused = { verdict, by: part }
        this.stage = answered
        this.verdict = verdict._tag
        return owner.reply(answered, verdict, part.participant.unit)
      case "DiscardMessage":
        return this.conclude(answered, verdict, part)
    }
  }

  /** Whether a failure leaves no time for the filters behind it. They are not asked then, so nothing may pass. */
  private isOver(failure: Failed): boolean {
    return failure.expired && this.owner.participants.length > 1
  }

  private firm({ cause, policy }: Failed): Failed {
    return new Failed(policy === "pass" ? ownReplies.notNow(this.owner.session) : policy, cause)
  }

  private refuseRecipient(verdict: Refusal, by: By, failure: Failed | undefined): void {
    const { owner } = this
    this.recipients.pop()
    if (owner.session.origin === "smtp") return owner.reply("rcpt", verdict, by?.participant.unit)
    // Postfix takes a refused recipient of local mail for a broken configuration and keeps the mail for ever: it is given
    // for the message instead.
    const held = failure ?? new Failed(verdict, Cause.empty)
    if (by === undefined) this.pending ??= held
    else by.pending ??= held
    owner.reply("rcpt", Verdict.continue, undefined)
  }

  /** All filters have been asked. */
  private proceed(stage: MessageStage): void {
    const { owner, parts } = this
    if (parts.every(({ left }) => left)) return this.conclude(stage, Verdict.acceptMessage, undefined)
    if (
      stage === "body" && !this.skipped && !owner.plan.keepsBody &&
      parts.some(({ skipped }) => skipped) && parts.every(({ isDoneWithBody, pass }) => isDoneWithBody || pass > 0)
    ) {
      this.skipped = true
      if (owner.hasStep(Step.skip)) return owner.reply("body", Verdict.skipBody, undefined)
    }
    owner.reply(stage, Verdict.continue, undefined)
  }

  // --- passes over the content

  /** Those who saw the message as it was are through: the others see what these have made of it. */
  private passEnds(): void {
    const { parts } = this
    const ended = this.pass
    const rest = parts.filter(({ left, pass }) => !left && pass > ended)
    if (rest.length === 0) {
      const isAsked = parts.some(({ left }) => !left)
      return this.conclude("endOfMessage", isAsked ? Verdict.continue : Verdict.acceptMessage, undefined)
    }
    for (const { edits, pass } of parts) {
      if (pass === ended && edits !== undefined) this.content?.apply(edits)
    }
    this.pass = Math.min(...rest.map(({ pass }) => pass))
    this.replay(() => this.ask("endOfMessage", nothing, () => this.passEnds()))
  }

  private replay(end: () => void): void {
    const headers = this.owner.plan.keepsHeaders ? this.content!.headers : []
    inTurn(
      headers.length,
      (index, next) => this.ask("header", headers[index], next),
      () => this.ask("endOfHeaders", nothing, () => this.replayBody(end))
    )
  }

  /** Piece by piece, so that a large body is never in memory whole: reading waits while the hooks run. */
  private replayBody(end: () => void): void {
    const { host, plan, session } = this.owner
    const isWanted = (): boolean => this.parts.some(({ isDoneWithBody, pass }) => pass === this.pass && !isDoneWithBody)
    if (!plan.keepsBody || !isWanted()) return end()
    const body = this.content!.body
    inTurn(body.pieces, (index, next) => {
      if (!isWanted()) return end()
      host.startWork("content", body.piece(index), session.fork, (exit) => {
        if (Exit.isFailure(exit)) {
          this.contentLost(exit.cause)
          return this.fail("endOfMessage", this.pending!)
        }
        const bytes = exit.value as Uint8Array // what the effect gives
        if (bytes.length === 0) next()
        else this.ask("body", { bytes }, next)
      })
    }, end)
  }

  // --- the end

  /** The final verdict on a message: out with it, then the finalizers run, then comes the next command. */
  private conclude(stage: MessageStage, verdict: Verdict.OfMessage, by: By): void {
    const { owner } = this
    this.stage = stage
    this.verdict = verdict._tag
    this.queueId = owner.session.macros.get("i")
    const passes = verdict._tag === "Continue" || verdict._tag === "AcceptMessage"
    const settle = (): void => {
      this.decided = verdict
      this.final = { verdict, by }
      if (stage === "endOfMessage") owner.ended()
      owner.session.macros.endMessage()
      this.close(undefined)
    }
    const edits = passes && stage === "endOfMessage" ? this.edits() : undefined
    if (edits !== undefined && (editor.isTooMany(edits) || this.tooMany !== undefined)) {
      owner.session.log(Effect.logWarning(
        `the message is refused: it needs more than ${edits.most} modifications, see maxModifications`
      ))
      return this.conclude(stage, ownReplies.tooManyModifications(owner.session), this.tooMany)
    }
    if (edits === undefined) {
      owner.reply(stage, verdict, this.unitOf(by))
      return settle()
    }
    const sent = sendEdits(edits, verdict, owner.writer, owner.host)
    if (sent === undefined) return settle()
    owner.host.startWork("answer", sent, owner.session.fork, (exit) => {
      if (Exit.isSuccess(exit)) settle()
      else owner.broken(exit.cause)
    })
  }

  /** A filter whose modifications were too many for one message. */
  private get tooMany(): Part | undefined {
    return this.parts.find(({ edits }) => edits !== undefined && editor.isTooMany(edits))
  }

  /** A verdict of the only filter is its own, whoever worded it. */
  private unitOf(by: By): Participant["unit"] | undefined {
    const { participants } = this.owner
    return participants.length === 1 ? participants[0]!.unit : by?.participant.unit
  }

  private edits(): editor.Edits | undefined {
    const all = this.parts.flatMap(({ edits }) => edits === undefined ? [] : [edits])
    if (all.length < 2) return all[0]
    if (this.content === undefined) return content.combine(all)
    // Those of the last pass are not in it yet.
    for (const { edits, pass } of this.parts) {
      if (pass === this.pass && edits !== undefined) this.content.apply(edits)
    }
    return this.content.combine(all)
  }

  /** The MTA gave the message up while a hook ran: it is answered all the same, and what comes gets this answer too. */
  giveUp(): void {
    this.decided = Verdict.tempFail()
    this.owner.reply(this.owner.stage, this.decided, undefined)
  }

  /** A failure outside its stages, of one filter. */
  postpone(participant: Participant, failure: Failed): void {
    const part = this.parts.find((part) => part.participant === participant)
    if (part !== undefined) part.pending ??= failure
  }

  /** A hook took this long. */
  timed(filter: string, stage: Stage, milliseconds: number): void {
    this.monitor.hook(filter, stage, milliseconds)
  }

  /** Its finalizers run; without a verdict they learn of an interruption. */
  close(done: (() => void) | undefined): void {
    if (this.isClosed) return done?.()
    this.owner.scopes.close(this.closings(), this.owner.session, done ?? noop)
  }

  /** The scopes to close; from now on it counts as closed. */
  closings(): ReadonlyArray<Closing> {
    this.isClosed = true
    const final = this.final ?? this.refused
    const by = final?.by?.participant.definition.name ?? this.owner.program.name
    const exit = final === undefined ? undefined : Exit.succeed(outcomeOf(final.verdict, by))
    this.report(exit, final?.by)
    const parts = this.parts.map((part) => part.closing(exit))
    return this.content === undefined ? parts : [this.content.closing, ...parts]
  }

  /** Without an exit, the message was given up. */
  private report(exit: Exit.Exit<Outcome, unknown> | undefined, by: By): void {
    const { owner } = this
    const failure = by === undefined ? this.parts.find(({ failure }) => failure !== undefined)?.failure : by.failure
    this.monitor.end({
      exit: exit === undefined ? Exit.interrupt() : exitOf(failure, exit),
      aborted: exit === undefined,
      stage: exit === undefined ? owner.stage : this.stage,
      verdict: this.verdict,
      by: owner.participants.length > 1 ? by?.participant.definition.name : undefined,
      recipients: this.recipients,
      queueId: this.queueId ?? owner.session.macros.get("i"),
      milliseconds: owner.now - this.began
    })
  }
}

const noop = (): void => undefined
