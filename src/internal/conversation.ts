/**
 * What a filter and an MTA say to each other on one connection: commands become events, hooks run with the Scope of their
 * message or connection, and what they decide becomes packets.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as ClientAddress from "../ClientAddress.ts"
import { Mailbox, Parameters } from "../Envelope.ts"
import type * as Frame from "../Frame.ts"
import { HeaderValue } from "../Header.ts"
import { type Agreement, negotiate, Step } from "../Negotiation.ts"
import * as Packet from "../Packet.ts"
import type { Outcome, Rcpt, Stage } from "../Stage.ts"
import * as Verdict from "../Verdict.ts"
import { ByteString, PacketError, Writer } from "../Wire.ts"
import { type At, type Definition, Failed, type Policy } from "./definition.ts"
import * as editor from "./editor.ts"
import { type Decision, Hooks, type Owner } from "./hooks.ts"
import type { Host } from "./host.ts"
import * as messages from "./message.ts"
import type { Message } from "./message.ts"
import type { Program } from "./program.ts"
import * as replies from "./replies.ts"
import { SmtpSession } from "./smtpSession.ts"

type MessageStage = Exclude<replies.AnsweredStage, "connect" | "helo" | "unknown">

/** An answer could not be sent to its end: the spool failed, or the connection. */
class BrokenAnswer extends Data.TaggedError("BrokenAnswer")<{ readonly cause: Cause.Cause<unknown> }> {
  override get message(): string {
    return `an answer broke off: ${Cause.pretty(this.cause)}`
  }
}

const interrupted = Exit.interrupt()

const nothing = {}

export class Conversation implements Owner {
  private readonly program: Program
  private readonly host: Host
  private readonly hooks: Hooks
  private readonly writer = new Writer()
  private readonly overloaded: boolean
  private agreement: Agreement | undefined
  private offeredActions = 0
  session: SmtpSession
  private message: Message | undefined
  private stage: replies.AnsweredStage = "connect"
  private at!: At
  private stateBuilt = false
  private connectionFailure: Cause.Cause<unknown> | undefined
  /** The answer at each MAIL of this SMTP session, once something before has settled that. */
  private policy: Policy | undefined
  private policyFromHelo = false
  /** A failure that could not be answered, for the next message. */
  private pending: Failed | undefined
  /** A scope that waits for a hook whose time is over to stop. */
  private unclosed: { readonly scope: Scope.Closeable; readonly exit: Exit.Exit<unknown, unknown> } | undefined

  constructor(program: Program, host: Host) {
    this.program = program
    this.host = host
    this.hooks = new Hooks(program, host, this)
    this.overloaded = program.connections.size >= program.limits.connections
    this.session = this.begin()
  }

  /** An SMTP session begins: the first of this connection, or the next one after QUIT_NC. */
  private begin(): SmtpSession {
    const session = new SmtpSession(this.program, this.agreement ?? { version: 0, actions: 0, steps: 0 })
    this.at = { session, connection: undefined }
    this.stateBuilt = false
    this.connectionFailure = undefined
    this.policyFromHelo = false
    this.pending = undefined
    this.policy = this.overloaded
      ? Verdict.tempFail({ code: "421", enhanced: "4.3.2", text: session.worded("Too many connections") })
      : undefined
    return session
  }

  /** Whether a message has begun and its end was not reached. */
  get hasMessage(): boolean {
    return this.message !== undefined
  }

  /** Which budget the answer to the current command has; undefined if it gets none. */
  get awaited(): "command" | "endOfMessage" | undefined {
    return this.budget(this.stage)
  }

  /** The same for a command that waits. */
  budgetOf(command: Packet.MtaPacket["_tag"]): "command" | "endOfMessage" | undefined {
    const stage = replies.stageOf(command)
    return stage === undefined ? undefined : this.budget(stage)
  }

  private budget(stage: replies.AnsweredStage): "command" | "endOfMessage" | undefined {
    if (this.agreement === undefined || !this.answers(stage)) return undefined
    return stage === "endOfMessage" ? "endOfMessage" : "command"
  }

  /** Whether a message would be cut short by the end of the connection. */
  get hasOpenMessage(): boolean {
    return this.message !== undefined && !this.message.closed
  }

  /** A hook that did not finish at once took this long. */
  timed(stage: Stage, milliseconds: number): void {
    const monitor = this.message?.monitor ?? this.session.monitor
    monitor.hook(stage, milliseconds)
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
    const stage = replies.stageOf(packet._tag)
    if (stage !== undefined) this.stage = stage
    switch (packet._tag) {
      case "Negotiate":
        return this.negotiate(packet)
      case "Connect":
        return this.connect(packet)
      case "Helo":
        return this.helo(packet)
      case "Mail":
        return this.mail(packet)
      case "Rcpt":
        return this.rcpt(packet)
      case "Data":
        return this.data()
      case "Header":
        return this.header(packet)
      case "EndOfHeaders":
        return this.messageStage("endOfHeaders", nothing)
      case "Body":
        return this.body("body", packet.bytes)
      case "EndOfMessage":
        // Postfix 2.3 sends the last piece of the body with it.
        return packet.bytes.length > 0 ? this.body("endOfMessage", packet.bytes) : this.endOfMessage()
      case "Unknown":
        return this.unknown(packet)
      case "QuitNewConnection":
        return this.closeScope(this.session.scope, this.connectionExit(Exit.void), () => {
          this.session.monitor.end(this.connectionExit(Exit.void))
          this.session = this.begin()
        })
      case "Abort":
        return this.session.macros.endMessage()
      case "Macro":
      case "Quit":
        return
    }
  }

  private negotiate(offered: Packet.Negotiate): void {
    const { wanted } = this.program
    // The refusal at connect needs an answer there.
    const wantedSteps = this.overloaded ? wanted.steps & ~Step.noReplyConnect : wanted.steps
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
    this.withState(() => this.connectionStage("connect", { hostname: session.hostname, client: session.client }))
  }

  private helo(packet: Packet.Helo): void {
    const name = this.session.heloName = ByteString.toText(packet.name)
    this.withState(() => {
      if (this.policyFromHelo) {
        this.policy = undefined
        this.policyFromHelo = false
      }
      this.connectionStage("helo", { name, raw: packet.name })
    })
  }

  private unknown(packet: Packet.Unknown): void {
    this.withState(() => {
      if (this.policy !== undefined) return this.reply("unknown", Verdict.continue)
      this.hooks.run(
        "unknown",
        { line: ByteString.toText(packet.line), raw: packet.line },
        this.at,
        this.session.fork,
        (decision) => {
          if (decision instanceof Failed && !this.answers("unknown")) return this.postpone(decision)
          const verdict = decision instanceof Failed ? decision.policy : decision
          // Accept and discard crash Postfix's smtpd here. The types refuse them; JavaScript does not.
          const legal = typeof verdict === "object" && (verdict._tag === "Reject" || verdict._tag === "TempFail")
          this.reply("unknown", legal ? verdict : Verdict.continue)
        }
      )
    })
  }

  /** A failure outside the stages of a message waits for the message that is open, or for the next one. */
  private postpone(failure: Failed): void {
    const { message } = this
    if (message === undefined || message.closed) this.pending ??= failure
    else message.pending ??= failure
  }

  /** Builds the state of the connection, once: at connect, or at the first command of an MTA that sends none. */
  private withState(next: () => void): void {
    const build = this.definition.connection
    if (this.stateBuilt || build === undefined || this.overloaded) return next()
    this.stateBuilt = true
    this.hooks.execute("connect", () => build(this.session), this.session.fork, (result) => {
      if (result instanceof Failed) {
        this.connectionFailure = result.cause
        this.policy = result.policy
      } else {
        this.at = { session: this.session, connection: result }
      }
      next()
    })
  }

  private connectionStage(stage: "connect" | "helo", event: unknown): void {
    // Once all messages of the session are settled no more hooks run; the state they need may not even exist.
    if (this.policy !== undefined) return this.reply(stage, this.refusal(this.connectionFailure !== undefined))
    this.hooks.run(stage, event, this.at, this.session.fork, (decision) => {
      if (decision instanceof Failed) {
        this.policy = decision.policy
        this.policyFromHelo = stage === "helo"
        return this.reply(stage, this.refusal(true))
      }
      switch (decision?._tag) {
        case "AcceptConnection":
          this.policy = "pass"
          return this.reply(stage, decision)
        case "Reject":
        case "TempFail":
          // The MTA keeps the client from going on; this is for one that sends MAIL all the same.
          this.policy = decision
          this.policyFromHelo = stage === "helo"
          return this.reply(stage, decision)
        default:
          return this.reply(stage, Verdict.continue)
      }
    })
  }

  /** A failure at connect or helo is answered there only if the filter says so. */
  private refusal(failed: boolean): Verdict.Basic {
    const { policy } = this
    if (policy === undefined || policy === "pass") return Verdict.continue
    return this.overloaded || (failed && this.definition.refuseConnection) ? policy : Verdict.continue
  }

  private mail(packet: Packet.Mail): void {
    this.withState(() => {
      const mail = { sender: new Mailbox(packet.sender), parameters: new Parameters(packet.parameters) }
      const message = this.message = messages.open(this.session, this.at.connection, mail, this.now)
      if (this.program.draining) {
        const text = this.session.worded("Service is shutting down")
        return this.decide("mail", message, Verdict.tempFail({ code: "421", enhanced: "4.3.2", text }))
      }
      const failure = this.policy === undefined
        ? this.pending
        : new Failed(this.policy, this.connectionFailure ?? Cause.empty)
      this.pending = undefined
      if (failure !== undefined) return this.decide("mail", message, failure)
      const build = this.definition.message
      if (build === undefined) return this.messageStage("mail", mail)
      this.hooks.execute("mail", () => build(mail, this.at), message.fork, (state) => {
        if (state instanceof Failed) return this.decide("mail", message, state)
        message.at = { ...message.at, message: state }
        this.messageStage("mail", mail)
      })
    })
  }

  private rcpt(packet: Packet.Rcpt): void {
    const message = this.message!
    const rcpt: Rcpt = { recipient: new Mailbox(packet.recipient), parameters: new Parameters(packet.parameters) }
    if (this.hasStep(Step.rejectedRecipients) && this.session.macros.raw("rcpt_mailer") === "error") {
      if (message.decided !== undefined) return this.reply("rcpt", message.decided)
      const enhanced = this.session.macros.get("rcpt_host") ?? ""
      const text = this.session.macros.get("rcpt_addr") ?? ""
      return this.hooks.run("rejectedRecipient", { ...rcpt, enhanced, text }, message.at, message.fork, (decision) => {
        // The MTA ignores this answer, so a failure waits for the next one.
        if (decision instanceof Failed) message.pending ??= decision
        this.reply("rcpt", Verdict.continue)
      })
    }
    message.recipients.push(rcpt)
    if (message.recipients.length > this.program.limits.recipients && message.decided === undefined) {
      // The sender gives the rest in another message.
      const text = this.session.worded("Too many recipients")
      return this.refuseRecipient(message, Verdict.tempFail({ code: "452", enhanced: "4.5.3", text }), undefined)
    }
    this.messageStage("rcpt", rcpt)
  }

  private data(): void {
    const message = this.message!
    // The client tries again: what comes of this one counts.
    message.refused = message.refusal = undefined
    this.messageStage("data", nothing)
  }

  private header(packet: Packet.Header): void {
    const message = this.message!
    const { limits } = this.program
    message.headers++
    message.headerBytes += packet.name.length + packet.value.length
    if (message.headers > limits.headers || message.headerBytes > limits.headerBytes) {
      message.pending ??= this.tooLarge("The header is too large")
    }
    this.messageStage("header", new HeaderValue(packet.name, packet.value, this.hasStep(Step.leadingSpace)))
  }

  private tooLarge(text: string): Failed {
    const policy = this.program.limits.tooLarge === "pass"
      ? "pass"
      : Verdict.reject({ code: "552", enhanced: "5.3.4", text: this.session.worded(text) })
    return new Failed(policy, Cause.empty)
  }

  /** A stage of the message: runs its hook unless the message is settled. */
  private messageStage(stage: MessageStage, event: unknown): void {
    const message = this.message!
    if (message.decided !== undefined) return this.reply(stage, message.decided)
    const { refusal, refused } = message
    if (refusal !== undefined && refused !== undefined && stage !== "rcpt" && stage !== "data") {
      // No other DATA comes any more, so that of this one was final.
      this.reply(stage, refusal)
      message.decided = refusal
      return this.closeMessage(message, refused, () => undefined)
    }
    if (message.pending !== undefined) return this.decide(stage, message, message.pending)
    this.hooks.run(stage, event, message.at, message.fork, (decision) => this.decide(stage, message, decision))
  }

  /** `stage` is the command that brought the bytes; at end of message they are answered together with it. */
  private body(stage: "body" | "endOfMessage", bytes: Uint8Array): void {
    const message = this.message!
    if (message.skipped && message.decided === undefined) {
      return stage === "body" ? this.reply("body", Verdict.continue) : this.endOfMessage()
    }
    message.bodyBytes += bytes.length
    if (message.bodyBytes > this.program.limits.bodyBytes) message.pending ??= this.tooLarge("The message is too large")
    if (stage === "body") return this.messageStage("body", { bytes })
    if ((message.decided ?? message.refusal ?? message.pending) !== undefined) return this.endOfMessage()
    this.hooks.run("body", { bytes }, message.at, message.fork, (decision) => {
      const goesOn = decision === undefined ||
        (!(decision instanceof Failed) && (decision._tag === "Continue" || decision._tag === "SkipBody"))
      if (goesOn) this.endOfMessage()
      else this.decide("endOfMessage", message, decision)
    })
  }

  private endOfMessage(): void {
    const message = this.message!
    const settled = message.decided ?? message.refusal
    if (settled !== undefined) {
      this.reply("endOfMessage", settled)
      return this.abort(() => this.session.macros.endMessage())
    }
    if (message.pending !== undefined) {
      return this.messageStage("endOfMessage", nothing)
    }
    const edits = editor.none(this.program.openFile)
    const edit = editor.make(this.definition, edits, this.offeredActions, () => ({
      leadingSpace: this.hasStep(Step.leadingSpace),
      smtpUtf8: message.parameters.smtpUtf8
    }))
    this.hooks.run(
      "endOfMessage",
      nothing,
      { ...message.at, edit },
      message.fork,
      // What a failed hook had done until then is half a thing.
      (decision) => this.decide("endOfMessage", message, decision, decision instanceof Failed ? undefined : edits)
    )
  }

  /** The client or the MTA gave the message up, or another one begins. */
  abort(next: () => void): void {
    const message = this.message!
    this.message = undefined
    this.closeMessage(message, message.refused ?? interrupted, next)
  }

  // --- verdicts

  private decide(stage: MessageStage, message: Message, decision: Decision, edits?: editor.Edits): void {
    const failure = decision instanceof Failed ? decision : undefined
    if (failure !== undefined && !this.answers(stage)) {
      message.pending ??= failure
      return
    }
    const verdict = decision instanceof Failed
      ? decision.policy === "pass" ? Verdict.acceptMessage : decision.policy
      : decision ?? Verdict.continue
    switch (verdict._tag) {
      case "SkipBody":
        // Elsewhere it makes Sendmail leave this filter out of the whole SMTP session. The types refuse it; JavaScript
        // does not.
        if (stage !== "body") return this.decide(stage, message, Verdict.continue, edits)
        message.skipped = true
        return this.reply(stage, this.hasStep(Step.skip) ? verdict : Verdict.continue)
      case "Continue":
        if (stage === "endOfMessage") break
        return this.reply(stage, verdict)
      case "Reject":
      case "TempFail":
        if (stage === "rcpt") return this.refuseRecipient(message, verdict, failure)
        if (stage !== "data") break
        message.refusal = verdict
        message.refused = messages.exitOf(this.definition.name, verdict, failure)
        message.stage = stage
        message.verdict = verdict._tag
        return this.reply(stage, verdict)
    }
    this.conclude(stage, message, verdict._tag === "AcceptConnection" ? Verdict.acceptMessage : verdict, failure, edits)
  }

  private refuseRecipient(
    message: Message,
    verdict: Verdict.Reject | Verdict.TempFail,
    failure: Failed | undefined
  ): void {
    message.recipients.pop()
    if (this.session.origin === "smtp") return this.reply("rcpt", verdict)
    // Postfix takes a refused recipient of local mail for a broken configuration and keeps the mail for ever: it is given
    // for the message instead.
    message.pending ??= failure ?? new Failed(verdict, Cause.empty)
    this.reply("rcpt", Verdict.continue)
  }

  /** The final verdict on a message: out with it, then the finalizers run, then comes the next command. */
  private conclude(
    stage: MessageStage,
    message: Message,
    verdict: Verdict.OfMessage,
    failure: Failed | undefined,
    edits: editor.Edits | undefined
  ): void {
    message.stage = stage
    message.verdict = verdict._tag
    message.queueId = this.session.macros.get("i")
    const passes = verdict._tag === "Continue" || verdict._tag === "AcceptMessage"
    const settle = (): void => {
      message.decided = verdict
      if (stage === "endOfMessage") this.message = undefined
      this.session.macros.endMessage()
      this.closeMessage(message, messages.exitOf(this.definition.name, verdict, failure), () => undefined)
    }
    if (!passes || edits === undefined || editor.isEmpty(edits)) {
      this.reply(stage, verdict)
      return settle()
    }
    const sent = editor.send(edits, verdict, this.writer, this.host)
    if (sent === undefined) return settle()
    this.host.startOther(sent, true, message.fork, (exit) => {
      if (Exit.isSuccess(exit)) return settle()
      // Half of an answer is out: nothing that follows could be understood.
      this.host.fail(new BrokenAnswer({ cause: exit.cause }))
    })
  }

  /** The MTA gave the message up while a hook ran. The abort waits behind this command, which is answered all the same. */
  aborted(): void {
    this.message!.decided = Verdict.tempFail()
    this.reply(this.stage, Verdict.tempFail())
    // After end of message it finds no message to end.
    if (this.stage === "endOfMessage") this.abort(() => this.session.macros.endMessage())
  }

  private get definition(): Definition {
    return this.program.definition
  }

  private get now(): number {
    return this.program.clock.currentTimeMillisUnsafe()
  }

  private hasStep(bit: number): boolean {
    return (this.agreement!.steps & bit) !== 0
  }

  private answers(stage: replies.AnsweredStage): boolean {
    return !this.hasStep(replies.noReply[stage])
  }

  private reply(stage: replies.AnsweredStage, verdict: Verdict.Verdict): void {
    if (verdict._tag !== "Continue") {
      this.program.monitor.verdict(stage, verdict._tag)
    }
    if (this.answers(stage)) this.host.send(replies.encode(verdict))
  }

  /** A frame that is whole with a payload that is not: the MTA gets an answer if it waits for one, then it is closed. */
  malformed(command: Packet.MtaPacket["_tag"], error: { readonly _tag: string; readonly message: string }): void {
    const stage = replies.stageOf(command)
    if (stage !== undefined) this.reply(stage, Verdict.tempFail())
    this.host.fail(error)
  }

  // --- scopes

  private closeMessage(message: Message, exit: Exit.Exit<Outcome, unknown>, done: () => void): void {
    if (message.closed) return done()
    message.closed = true
    this.report(message, exit)
    this.closeScope(message.scope, exit, done)
  }

  private report(message: Message, exit: Exit.Exit<Outcome, unknown>): void {
    const aborted = exit === interrupted
    message.monitor.end({
      exit,
      aborted,
      stage: aborted ? this.stage : message.stage,
      verdict: message.verdict,
      recipients: message.recipients,
      queueId: message.queueId ?? this.session.macros.get("i"),
      milliseconds: this.now - message.began
    })
  }

  private closeScope(scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>, done: () => void): void {
    let waiting = true
    this.host.whenStopped(() => {
      waiting = false
      this.unclosed = undefined
      const finalizers = Scope.closeUnsafe(scope, exit)
      if (finalizers === undefined) return done()
      this.host.startOther(finalizers, false, this.session.fork, (exit) => {
        if (Exit.isFailure(exit)) this.session.log(this.logFinalizer(exit.cause))
        done()
      })
    })
    if (waiting) this.unclosed = { scope, exit }
  }

  private logFinalizer(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.logError(`a finalizer of ${this.definition.name} failed`, cause)
  }

  private connectionExit(exit: Exit.Exit<void>): Exit.Exit<void, unknown> {
    const failure = this.connectionFailure
    return failure === undefined || failure.reasons.length === 0 ? exit : Exit.failCause(failure)
  }

  /** The end of the connection: the scope of an open message closes, then that of the connection. */
  close(exit: Exit.Exit<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { message, unclosed } = this
      const scopes = unclosed === undefined ? [] : [unclosed]
      if (message !== undefined && !message.closed) {
        const exit = message.refused ?? interrupted
        message.closed = true
        this.report(message, exit)
        scopes.push({ scope: message.scope, exit })
      }
      const last = this.connectionExit(exit)
      this.session.monitor.end(last)
      scopes.push({ scope: this.session.scope, exit: last })
      return Effect.forEach(scopes, ({ exit, scope }) => this.quietly(Scope.close(scope, exit)), { discard: true })
    }).pipe(Effect.provideContext(this.session.context))
  }

  private quietly(effect: Effect.Effect<unknown>): Effect.Effect<void> {
    return Effect.catchCause(Effect.asVoid(effect), (cause) => this.logFinalizer(cause))
  }
}
