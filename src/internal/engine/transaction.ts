/**
 * The machine of one mail transaction, from MAIL to the end of the message: what the filters decide on it, and what the
 * MTA is told. Commands and results come in, what to do next goes out. One filter is asked at a time: a cursor says at
 * which stage, and which filter; in a later pass over the content another one says which field or piece.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Mailbox, Parameters } from "../../Envelope.ts"
import { HeaderValue } from "../../Header.ts"
import { Step } from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import type { Envelope, Mail, Rcpt } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { Failed } from "../filter/definition.ts"
import * as editor from "../filter/editor.ts"
import { maxListed, type Refused } from "../observe/messageSummary.ts"
import type { MessageMonitor } from "../observe/monitor.ts"
import { type MessageStage, type StageRow, stages } from "../protocol/stageTable.ts"
import { ContentCursor } from "./contentCursor.ts"
import { consequenceOf, failureConsequence, verdictOf } from "./decision.ts"
import { Content } from "./editedContent.ts"
import { FilterMessage } from "./filterMessage.ts"
import type { FilterSession } from "./filterSession.ts"
import type { HookResult } from "./hookCall.ts"
import * as libraryReplies from "./libraryReplies.ts"
import { type Action, work } from "./machine.ts"
import { MessageSize } from "./messageSize.ts"
import { type By, MessageVerdict, type RefusingVerdict } from "./messageVerdict.ts"
import type { Closing } from "./scopeCloser.ts"
import type { Unit } from "./serverRuntime.ts"
import type { TransactionOwner } from "./transactionOwner.ts"

const nothing = {}

export class Transaction {
  private readonly owner: TransactionOwner
  private readonly mailed: Mail
  private readonly recipients: Array<Rcpt> = []
  private readonly envelope: Envelope
  private readonly monitor: MessageMonitor
  private readonly began: number
  private readonly size: MessageSize
  private readonly parts: Array<FilterMessage> = []
  private readonly content: ContentCursor
  // The cursor: what the filters are asked about, and the index of the filter that is asked. In a later pass the filters
  // are asked about other things than the command that is being answered.
  private asked: StageRow<MessageStage | "rejectedRecipient"> = stages.mail
  private event: unknown
  private index = 0
  /** The edits that the end-of-message hook makes. */
  private edits: editor.Edits | undefined
  /** The state of the connection that this filter needs could not be built in time. */
  private isStateExpired = false
  /** The piece of the body that has arrived. */
  private bytes: Uint8Array | undefined
  private readonly verdict = new MessageVerdict()
  // For the log.
  private readonly refused: Array<Refused> = []
  private sentEdits: editor.Edits | undefined
  private isBodySkipped = false
  private _isClosed = false

  constructor(owner: TransactionOwner, packet: Packet.Mail, began: number) {
    const { plan, program, session } = owner
    this.owner = owner
    const sender = new Mailbox(packet.sender)
    const parameters = new Parameters(packet.parameters)
    this.mailed = { sender, parameters }
    this.envelope = { sender, parameters, recipients: this.recipients }
    this.began = began
    this.size = new MessageSize(program.limits)
    this.monitor = session.monitor.message(this.mailed, session.context)
    const content = plan.keepsHeaders || plan.keepsBody
      ? new Content(() => owner.mta, owner.hasStep(Step.leadingSpace), program.openFile)
      : undefined
    this.content = new ContentCursor(plan, content)
  }

  // --- commands

  /** `refusal`: the answer that a server with no room, or about to stop, has for all messages. */
  mail(refusal: RefusingVerdict | undefined): Action {
    return refusal === undefined ? this.ask(stages.mail, this.mailed) : this.conclude(stages.mail, refusal, undefined)
  }

  rcpt(packet: Packet.Rcpt): Action {
    const { owner } = this
    const rcpt: Rcpt = { recipient: new Mailbox(packet.recipient), parameters: new Parameters(packet.parameters) }
    const { macros } = owner.session
    if (owner.hasStep(Step.rejectedRecipients) && macros.raw("rcpt_mailer") === "error") {
      const { settled } = this.verdict
      if (settled !== undefined) return owner.reply(stages.rcpt, settled, undefined)
      const enhanced = macros.get("rcpt_host") ?? ""
      return this.ask(stages.rejectedRecipient, { ...rcpt, enhanced, text: macros.get("rcpt_addr") ?? "" })
    }
    this.recipients.push(rcpt)
    if (this.recipients.length > owner.program.limits.recipients && this.verdict.settled === undefined) {
      return this.refuseRecipient(libraryReplies.tooManyRecipients(owner.session), undefined, undefined)
    }
    return this.arrive(stages.rcpt, rcpt)
  }

  data(): Action {
    this.verdict.retryData()
    return this.arrive(stages.data, nothing)
  }

  header(packet: Packet.Header): Action {
    this.verdict.postpone(this.tooLarge(this.size.header(packet)))
    if (!this.verdict.isSettled) this.content.keepHeader(packet)
    return this.arrive(stages.header, new HeaderValue(packet.name, packet.value, this.owner.hasStep(Step.leadingSpace)))
  }

  endOfHeaders(): Action {
    return this.arrive(stages.endOfHeaders, nothing)
  }

  /** Bytes that came with the command that is being answered: at end of message they are answered together with it. */
  body(bytes: Uint8Array): Action {
    const { session, stage } = this.owner
    if (this.isBodySkipped && this.verdict.settled === undefined) {
      return stage === stages.body ? this.owner.reply(stages.body, Verdict.continue, undefined) : this.endOfMessage()
    }
    this.verdict.postpone(this.tooLarge(this.size.body(bytes.length)))
    this.bytes = bytes
    const kept = this.verdict.isSettled ? undefined : this.content.keepBody(bytes)
    return kept === undefined ? this.bodyArrived() : work("content", session.fork, () => kept)
  }

  private bodyArrived(): Action {
    const event = { bytes: this.bytes! }
    this.bytes = undefined
    if (this.owner.stage === stages.body) return this.arrive(stages.body, event)
    return this.verdict.isSettled ? this.endOfMessage() : this.ask(stages.body, event)
  }

  endOfMessage(): Action {
    const { pending, refusal, settled } = this.verdict
    const known = settled ?? refusal
    if (known !== undefined) return this.owner.reply(stages.endOfMessage, known, undefined, "endMessage")
    return pending === undefined ? this.ask(stages.endOfMessage, nothing) : this.fail(stages.endOfMessage, pending)
  }

  private tooLarge(what: "header" | "message" | undefined): Failed | undefined {
    if (what === undefined) return undefined
    const { program, session } = this.owner
    return new Failed(program.limits.tooLarge === "pass" ? "pass" : libraryReplies.tooLarge(session, what), Cause.empty)
  }

  /** A stage of the message: its hooks run unless the message is settled. */
  private arrive(stage: StageRow<MessageStage>, event: unknown): Action {
    const { owner, verdict } = this
    const { pending, refusal, settled } = verdict
    if (settled !== undefined) return owner.reply(stage, settled, undefined)
    if (refusal !== undefined && stage !== stages.rcpt && stage !== stages.data) {
      verdict.settleRefusal()
      return owner.reply(stage, refusal, undefined, "close")
    }
    return pending === undefined ? this.ask(stage, event) : this.fail(stage, pending)
  }

  /** The message as a whole has failed: answered where the whole message can be. */
  private fail(stage: StageRow<MessageStage>, failure: Failed): Action {
    if (!this.owner.answers(stage) || stage === stages.rcpt || stage === stages.data) {
      return this.owner.reply(stage, Verdict.continue, undefined)
    }
    return this.conclude(stage, verdictOf(failure.policy), undefined)
  }

  /** The stage of the command that is being answered. */
  private get answered(): StageRow<MessageStage> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- only commands of a message come here
    return this.owner.stage as StageRow<MessageStage>
  }

  // --- asking the filters

  /** Asks one filter after the other, until one has decided on the message. */
  private ask(stage: StageRow<MessageStage | "rejectedRecipient">, event: unknown): Action {
    this.moveTo(stage, event)
    return this.advance()
  }

  private moveTo(stage: StageRow<MessageStage | "rejectedRecipient">, event: unknown): void {
    this.asked = stage
    this.event = event
    this.index = 0
  }

  /** Goes on from where the cursor is: a loop, so that a thousand fields that nobody looks at do not fill the stack. */
  private advance(): Action {
    for (;;) {
      const action = this.askFilters() ?? this.allAsked()
      if (action !== undefined) return action
    }
  }

  /** Asks the filters from the cursor on; undefined once all have been asked. */
  private askFilters(): Action | undefined {
    const { filters } = this.owner
    for (; this.index < filters.length; this.index++) {
      const action = this.asked === stages.mail
        ? this.join(filters[this.index]!)
        : this.askFilter(this.parts[this.index]!)
      if (action !== undefined) return action
    }
    return undefined
  }

  /** Builds the filter's part and its states, before its hook at MAIL. */
  private join(filter: FilterSession): Action | undefined {
    const { call, plan } = this.owner
    const joined = this.parts[this.index]
    if (joined !== undefined) return this.askFilter(joined)
    if (filter.prepareState(call)) return call
    const part = new FilterMessage(filter, plan.passes[this.index]!, this.envelope, this.monitor)
    this.parts.push(part)
    const failure = filter.takeFailure()
    const isExpired = this.isStateExpired
    this.isStateExpired = false
    if (failure !== undefined) {
      return this.decide(part, isExpired ? new Failed(failure.policy, failure.cause, true) : failure)
    }
    return part.prepareState(call, this.mailed) ? call : this.askFilter(part)
  }

  private askFilter(part: FilterMessage): Action | undefined {
    const { asked, event, owner } = this
    const { call } = owner
    if (part.hasLeft) return undefined
    if (asked === stages.rejectedRecipient) {
      return part.filter.definition.rejectedRecipients && part.prepareHook(call, asked, event) ? call : undefined
    }
    if ((asked.isContent && part.pass !== this.content.pass) || (asked === stages.body && part.hasSkipped)) {
      return undefined
    }
    if (part.pending !== undefined) return this.decide(part, part.pending)
    if (asked !== stages.endOfMessage) return part.prepareHook(call, asked, event) ? call : undefined
    const edits = this.edits = editor.noEdits(owner.program.openFile, owner.program.limits.modifications)
    const edit = editor.make(part.filter.definition, edits, owner.offeredActions, () => ({
      leadingSpace: owner.hasStep(Step.leadingSpace),
      smtpUtf8: this.mailed.parameters.smtpUtf8
    }))
    return part.prepareEditingHook(call, asked, event, edit) ? call : undefined
  }

  /** All filters have been asked; undefined if the cursor has moved on. */
  private allAsked(): Action | undefined {
    const { asked } = this
    if (asked === stages.rejectedRecipient) return this.owner.reply(stages.rcpt, Verdict.continue, undefined)
    if (asked === stages.endOfMessage) return this.passEnded()
    if (asked === this.owner.stage) return this.proceed()
    // The piece of the body came with end of message, or the content is shown in a later pass.
    return this.content.pass === 0 ? this.endOfMessage() : this.moveOn()
  }

  /** Takes the result of the prepared call. */
  decided(result: unknown): Action {
    const { call, filters } = this.owner
    switch (call.kind) {
      case "connectionState":
        filters[this.index]!.endState(result)
        this.isStateExpired = result instanceof Failed && result.expired
        return this.advance()
      case "messageState":
        if (!(result instanceof Failed)) {
          this.parts[this.index]!.endState(result)
          return this.advance()
        }
    }
    const part = this.parts[this.index]!
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- that of a hook, or the failure of a builder
    const action = this.decide(part, result as HookResult)
    if (action !== undefined) return action
    this.index++
    return this.advance()
  }

  /** What a filter decides; undefined if the next one is to be asked. */
  private decide(part: FilterMessage, decision: HookResult): Action | undefined {
    const { asked, owner } = this
    const failure = decision instanceof Failed ? decision : undefined
    if (asked === stages.rejectedRecipient) {
      // The MTA ignores this answer, so a failure waits for the next one.
      return failure === undefined ? undefined : this.postponeOf(part, failure, this.leavesNoTime(failure))
    }
    // Edits of a hook that failed are incomplete.
    if (
      asked === stages.endOfMessage && failure === undefined && this.edits !== undefined && !editor.isEmpty(this.edits)
    ) {
      part.edit(this.edits)
    }
    let verdict: Verdict.Verdict
    if (!(decision instanceof Failed)) {
      if (decision === undefined || decision === Verdict.continue) return undefined
      verdict = decision
    } else {
      const noTime = this.leavesNoTime(decision)
      const consequence = failureConsequence(owner.answers(owner.stage), noTime)
      if (consequence !== "decide") return this.postponeOf(part, decision, consequence === "postponeForAll")
      verdict = verdictOf((noTime ? this.firm(decision) : decision).policy)
    }
    return this.apply(part, verdict, failure)
  }

  /** In a later pass it is the end of message that is answered. */
  private apply(part: FilterMessage, verdict: Verdict.Verdict, failure: Failed | undefined): Action | undefined {
    const { answered, owner } = this
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- rejected recipients are decided on elsewhere
    switch (consequenceOf(this.asked as StageRow<MessageStage>, verdict)) {
      case "skipBody":
        part.skipBody()
        return undefined
      case "leaveMessage":
        part.leave(failure)
        // With a single filter, its reply is sent.
        if (owner.filters.length > 1) part.filter.unit.monitor.verdict(this.asked.name, verdict._tag)
        return undefined
      case "refuseRecipient":
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table gives no other verdict this consequence
        return this.refuseRecipient(verdict as RefusingVerdict, part, failure)
      case "refuseData":
        part.blame(failure)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table gives no other verdict this consequence
        this.verdict.refuseData(verdict as RefusingVerdict, part)
        return owner.reply(answered, verdict, part.filter.unit)
      case "endMessage":
        if (verdict._tag !== "DiscardMessage") part.blame(failure)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the table gives no other verdict this consequence
        return this.conclude(answered, verdict as Verdict.OfMessage, part)
      default:
        return undefined
    }
  }

  /** Keeps a failure for a later stage. `forAll`: the message may not pass, since later filters have not been asked. */
  private postponeOf(part: FilterMessage, failure: Failed, forAll: boolean): Action | undefined {
    part.postpone(failure)
    if (!forAll) return undefined
    this.verdict.postpone(this.firm(failure))
    return this.owner.reply(this.owner.stage, Verdict.continue, undefined)
  }

  /** Whether a failure leaves no time for the later filters. They are not asked then, so nothing may pass. */
  private leavesNoTime(failure: Failed): boolean {
    return failure.expired && this.owner.filters.length > 1
  }

  private firm({ cause, policy }: Failed): Failed {
    return new Failed(policy === "pass" ? libraryReplies.notNow(this.owner.session) : policy, cause)
  }

  private refuseRecipient(verdict: RefusingVerdict, by: By, failure: Failed | undefined): Action {
    const { owner } = this
    const rcpt = this.recipients.pop()
    if (owner.session.origin === "smtp") {
      if (this.refused.length < maxListed) this.refused.push({ rcpt: rcpt!, verdict, by: this.nameOf(by) })
      return owner.reply(stages.rcpt, verdict, by?.filter.unit)
    }
    // Postfix takes a refused recipient of local mail for a broken configuration and keeps the mail for ever. So the
    // refusal counts for the whole message.
    const held = failure ?? new Failed(verdict, Cause.empty)
    if (by === undefined) this.verdict.postpone(held)
    else by.postpone(held)
    return owner.reply(stages.rcpt, Verdict.continue, undefined)
  }

  /** All filters have been asked about the command that is being answered. */
  private proceed(): Action {
    const { answered: stage, owner, parts } = this
    if (this.haveAllLeft) return this.conclude(stage, Verdict.acceptMessage, undefined)
    if (
      stage === stages.body && !this.isBodySkipped && !owner.plan.keepsBody &&
      parts.some(({ hasSkipped }) => hasSkipped) &&
      parts.every(({ isDoneWithBody, pass }) => isDoneWithBody || pass > 0)
    ) {
      this.isBodySkipped = true
      if (owner.hasStep(Step.skip)) return owner.reply(stages.body, Verdict.skipBody, undefined)
    }
    return owner.reply(stage, Verdict.continue, undefined)
  }

  private get haveAllLeft(): boolean {
    for (const part of this.parts) if (!part.hasLeft) return false
    return true
  }

  // --- passes over the content

  private passEnded(): Action | undefined {
    if (this.content.beginNextPass(this.parts)) return this.moveOn()
    const verdict = this.haveAllLeft ? Verdict.acceptMessage : Verdict.continue
    return this.conclude(stages.endOfMessage, verdict, undefined)
  }

  /** What comes next in this pass: the cursor moves there, or a piece of the body is read first. */
  private moveOn(): Action | undefined {
    const step = this.content.next(this.parts)
    if (step._tag === "Read") return work("content", this.owner.session.fork, () => step.piece)
    this.moveTo(step.stage, step.event ?? nothing)
    return undefined
  }

  /** Content has been stored, or read again. */
  contentEnded(exit: Exit.Exit<unknown, unknown>): Action {
    if (Exit.isFailure(exit)) {
      const { session } = this.owner
      session.log(Effect.logError("the content of a message could not be kept", exit.cause))
      this.verdict.postpone(new Failed(libraryReplies.noSpace(session), exit.cause))
    }
    if (this.content.pass === 0) return this.bodyArrived()
    if (Exit.isFailure(exit)) return this.fail(stages.endOfMessage, this.verdict.pending!)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the effect gives
    const bytes = exit.value as Uint8Array
    if (bytes.length > 0) return this.ask(stages.body, { bytes })
    return this.moveOn() ?? this.advance()
  }

  // --- the end

  /** Sends the final verdict on the message. Then the finalizers run, then comes the next command. */
  private conclude(stage: StageRow<MessageStage>, verdict: Verdict.OfMessage, by: By): Action {
    const { owner } = this
    this.verdict.conclude(stage.name, verdict, by, owner.session.macros.get("i"))
    const passes = verdict._tag === "Continue" || verdict._tag === "AcceptMessage"
    const edits = passes && stage === stages.endOfMessage ? this.content.allEdits(this.parts) : undefined
    if (edits !== undefined && (editor.isTooMany(edits) || this.tooMany !== undefined)) {
      owner.session.log(Effect.logWarning(
        `the message is refused: it needs more than ${edits.most} modifications, see maxModifications`
      ))
      return this.conclude(stage, libraryReplies.tooManyModifications(owner.session), this.tooMany)
    }
    this.sentEdits = edits
    return edits === undefined
      ? owner.reply(stage, verdict, this.unitOf(by), "settle")
      : owner.replyWithEdits(edits, verdict)
  }

  /** A filter whose modifications were too many for one message. */
  private get tooMany(): FilterMessage | undefined {
    return this.parts.find(({ edits }) => edits !== undefined && editor.isTooMany(edits))
  }

  /** A single filter is named for every verdict, even one of the library. */
  private unitOf(by: By): Unit | undefined {
    const { filters } = this.owner
    return filters.length === 1 ? filters[0]!.unit : by?.filter.unit
  }

  /** The name of a filter, if there are several. */
  private nameOf(by: By): string | undefined {
    return this.owner.filters.length > 1 ? by?.filter.definition.name : undefined
  }

  /** The verdict is out. */
  settle(): void {
    this.verdict.settle()
  }

  /** The MTA gave up the message while a call ran. Returns the answer to the command. */
  giveUp(): Verdict.TempFail {
    return this.verdict.giveUp()
  }

  /** A failure outside its stages, of one filter. */
  postpone(filter: FilterSession, failure: Failed): void {
    this.parts.find((part) => part.filter === filter)?.postpone(failure)
  }

  /** A hook took this long. */
  timed(filter: string, stage: StageRow, milliseconds: number): void {
    this.monitor.hook(filter, stage.name, milliseconds)
  }

  /** Whether its scopes have been handed over to be closed. */
  get isClosed(): boolean {
    return this._isClosed
  }

  /** Reports the message and hands over its scopes. Without a verdict finalizers learn of an interruption. */
  close(): ReadonlyArray<Closing> {
    this._isClosed = true
    const { owner, parts } = this
    const exit = this.verdict.exitFor(owner.program.name)
    this.monitor.end(this.verdict.report(parts, owner.filters.length > 1, exit, {
      stage: owner.stage.name,
      // Its list of macros may be gone after the verdict.
      queueId: this.verdict.queueId ?? owner.session.macros.get("i"),
      recipients: this.recipients,
      refused: this.refused,
      modifications: this.sentEdits,
      milliseconds: owner.now - this.began
    }))
    const closings: Array<Closing> = this.content.isKept ? [...this.content.closings] : []
    for (const part of parts) {
      const closing = part.closing(exit)
      if (closing !== undefined) closings.push(closing)
    }
    return closings
  }
}
