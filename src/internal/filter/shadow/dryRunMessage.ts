/** One message as a shadow filter sees it, and the log line that says what the filter would have done. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { actionOf, type Capability, type Editor } from "../../../Modification.ts"
import { Step } from "../../../Negotiation.ts"
import type { Envelope, Mail, Outcome, Rcpt, Session, Stage } from "../../../Stage.ts"
import type * as Verdict from "../../../Verdict.ts"
import { contentOf } from "../../bytes/lineEnds.ts"
import { annotated, type LogFields, printable } from "../../observe/messageLog.ts"
import {
  addressesOf,
  type Modifications,
  modificationsOf,
  type Refused,
  refusedOf,
  replyOf
} from "../../observe/messageSummary.ts"
import { type Ending, nameOf } from "../../observe/metrics.ts"
import { sessionFacts } from "../../observe/serverMonitor.ts"
import { type At, type Definition, isEventOf } from "../definition.ts"
import * as editor from "../editor.ts"
import { closing, Decided, type DryRun } from "./dryRun.ts"

export class DryRunMessage {
  private readonly dryRun: DryRun
  private readonly mail: Mail
  readonly context: Context.Context<never>
  private readonly scope = Scope.makeUnsafe()
  /** The session as of the latest stage. */
  private session: Session
  private at: At | undefined
  /** The recipients that the filter has been shown and has not refused. */
  private recipients: ReadonlyArray<Rcpt> = []
  private readonly refused: Array<Refused> = []
  private isSkipped = false
  private modifications: Modifications | undefined
  private queueId: string | undefined
  /** Whether further events are ignored. */
  isOver = false
  /** Whether the end is logged; finalizers are running or have run. */
  isClosed = false

  constructor(dryRun: DryRun, mail: Mail, session: Session, context: Context.Context<never>) {
    this.dryRun = dryRun
    this.mail = mail
    this.session = session
    this.context = context
  }

  /** Whether the hook of body has said that it needs no more. */
  get skipsBody(): boolean {
    return this.isSkipped
  }

  /** Runs an effect when the message is over. */
  addFinalizer(finalizer: Effect.Effect<void>): Effect.Effect<void> {
    return Scope.addFinalizer(this.scope, finalizer)
  }

  /** MAIL. */
  readonly begin = Effect.fnUntraced(function*(this: DryRunMessage) {
    const { inner } = this.dryRun
    const { mail, session } = this
    const connection = yield* this.dryRun.enter(session)
    if (connection instanceof Decided) return yield* this.finish(connection)
    const { message } = inner
    const state = message === undefined
      ? undefined
      : yield* this.dryRun.build("mail", () => message(mail, { session, connection }), this.scope)
    if (state instanceof Decided) return yield* this.finish(state)
    this.at = { session, connection, message: state }
    yield* this.stage("mail", mail, session, undefined)
  })

  /** Runs another stage. `recipients`: those that the MTA and the other filters have accepted, once all are known. */
  readonly stage = Effect.fnUntraced(function*(
    this: DryRunMessage,
    stage: Stage,
    event: unknown,
    session: Session,
    recipients: ReadonlyArray<Rcpt> | undefined
  ) {
    if (this.isClosed || this.at === undefined || (stage === "body" && this.isSkipped)) return
    this.session = session
    this.queueId = session.macros.get("i") ?? this.queueId
    if (isEventOf("rcpt", stage, event)) this.recipients = [...this.recipients, event]
    if (recipients !== undefined) {
      this.recipients = recipients.filter((rcpt) => this.refused.every((refused) => refused.rcpt !== rcpt))
      const refused = this.refused.at(-1)
      // Without a recipient the message would not have come this far.
      if (this.recipients.length === 0 && refused !== undefined) {
        return yield* this.finish(new Decided(refused.verdict, "rcpt"))
      }
    }
    const refusable = isEventOf("rcpt", stage, event) && this.dryRun.inner.answers.rcpt !== undefined
      ? event
      : undefined
    const { mail } = this
    const envelope: Envelope = { sender: mail.sender, parameters: mail.parameters, recipients: this.recipients }
    const edits = new Edits(this.dryRun.inner, session, mail)
    const at: At = { ...this.at, session, envelope, ...(stage === "endOfMessage" ? { edit: edits.editor } : {}) }
    const decided = yield* this.dryRun.run(stage, event, at, this.scope)
    const tag = decided?.verdict?._tag
    if (stage === "endOfMessage") {
      if (decided === undefined || (tag === "AcceptMessage" && decided.cause === undefined)) {
        this.modifications = edits.made
      }
      yield* this.finish(decided)
    } else if (refusable !== undefined && decided?.verdict !== undefined && (tag === "Reject" || tag === "TempFail")) {
      this.recipients = this.recipients.slice(0, -1)
      this.refused.push({ rcpt: refusable, verdict: decided.verdict })
      // In local submissions the engine refuses the whole message instead.
      if (session.origin === "local") yield* this.finish(decided)
    } else if (tag === "SkipBody") {
      this.isSkipped = true
    } else if (decided !== undefined) {
      yield* this.finish(decided)
    }
  })

  /**
   * The message was given up, or another filter has decided, so that this one gets no end of message.
   */
  get abort(): Effect.Effect<void> {
    return this.finish("aborted")
  }

  /** Gives up on the message, since too much waits for its hooks. */
  get giveUp(): Effect.Effect<void> {
    return this.finish("behind")
  }

  private finish(decided: Decided | "aborted" | "behind" | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.isClosed) return Effect.void
      this.isClosed = this.isOver = true
      const { name } = this.dryRun.inner
      const line = decided === "behind"
        ? Effect.logWarning(`the shadow of ${name} cannot keep up and gives up`)
        : Effect.logInfo(`shadow ${endingOf(decided)}`)
      return Effect.andThen(
        Effect.updateContext(line, (context: Context.Context<never>) => annotated(context, this.facts(decided))),
        closing(name, this.scope, exitOf(name, decided))
      )
    })
  }

  private facts(decided: Decided | "aborted" | "behind" | undefined): LogFields {
    const { mail, recipients, refused } = this
    const { cause, stage, verdict } = decided instanceof Decided
      ? decided
      : { cause: undefined, stage: decided === undefined ? "endOfMessage" : undefined, verdict: undefined }
    return {
      ...sessionFacts(this.dryRun.inner.name, this.session),
      queueId: this.queueId === undefined ? undefined : printable(this.queueId),
      sender: printable(mail.sender.address),
      recipients: addressesOf(recipients),
      recipientCount: recipients.length,
      size: mail.parameters.size,
      refused: refusedOf(refused),
      outcome: decided === "behind" ? undefined : endingOf(decided),
      verdict: verdict === undefined
        ? decided === undefined ? "continue" : undefined
        : nameOf(verdict._tag),
      stage,
      reply: verdict === undefined ? undefined : replyOf(verdict),
      modifications: modificationsOf(this.modifications),
      error: cause === undefined || cause.reasons.length === 0 ? undefined : printable(String(Cause.squash(cause)))
    }
  }
}

const endings: { readonly [K in Verdict.Verdict["_tag"]]: Ending } = {
  Continue: "accepted",
  AcceptConnection: "accepted",
  AcceptMessage: "accepted",
  SkipBody: "accepted",
  Reject: "rejected",
  TempFail: "tempFailed",
  DiscardMessage: "discarded"
}

const endingOf = (decided: Decided | "aborted" | "behind" | undefined): Ending => {
  if (decided === undefined) return "accepted"
  if (!(decided instanceof Decided)) return "aborted"
  const { cause, verdict } = decided
  return verdict === undefined || (cause !== undefined && cause.reasons.length > 0) ? "failed" : endings[verdict._tag]
}

/** The exit that finalizers get. */
const exitOf = (by: string, decided: Decided | "aborted" | "behind" | undefined): Exit.Exit<Outcome, unknown> => {
  switch (endingOf(decided)) {
    case "accepted":
      return Exit.succeed({ _tag: "Accepted" })
    case "rejected":
      return Exit.succeed({ _tag: "Rejected", by })
    case "tempFailed":
      return Exit.succeed({ _tag: "TempFailed", by })
    case "discarded":
      return Exit.succeed({ _tag: "Discarded", by })
    case "failed":
      return Exit.failCause(decided instanceof Decided ? decided.cause ?? Cause.empty : Cause.empty)
    case "aborted":
      return Exit.interrupt()
  }
}

/** An editor that only notes down: it checks edits as the real editor does, and applies none of them. */
class Edits {
  private readonly edits = editor.noEdits(undefined, Infinity)
  private readonly definition: Definition
  private readonly session: Session
  private readonly mail: Mail
  private bodyLength: number | undefined

  constructor(definition: Definition, session: Session, mail: Mail) {
    this.definition = definition
    this.session = session
    this.mail = mail
  }

  get editor(): { readonly [K in Capability]?: unknown } {
    const { modify, modifyIfOffered } = this.definition
    const made = editor.make(this.definition, this.edits, allActions, () => ({
      leadingSpace: (this.session.agreed.steps & Step.leadingSpace) !== 0,
      smtpUtf8: this.mail.parameters.smtpUtf8
    }))
    // Of a new body only the length is noted.
    if (modify.includes("replaceBody")) return { ...made, replaceBody: this.replaceBody }
    return modifyIfOffered.includes("replaceBody") ? { ...made, replaceBody: Option.some(this.replaceBody) } : made
  }

  private readonly replaceBody: Editor["replaceBody"] = (body) =>
    Effect.map(
      typeof body === "string" || body instanceof Uint8Array
        ? Effect.succeed(contentOf(body).length)
        : Stream.runFold(body, () => 0, (length, chunk) => length + chunk.length),
      (length) => {
        this.bodyLength = length
      }
    )

  get made(): Modifications {
    const { bodyLength, edits: { packets } } = this
    return { packets, body: bodyLength === undefined ? undefined : { length: bodyLength } }
  }
}

/** The actions of an MTA that offers everything, as nearly every MTA does. */
const allActions = Object.values(actionOf).reduce((all, action) => all | action, 0)
