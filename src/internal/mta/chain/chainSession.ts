/** An SMTP session as an MTA takes it through one or more filters. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Step } from "../../../Negotiation.ts"
import { byteStringOf } from "../../bytes/concat.ts"
import type { QueueFile } from "../../delivery/queueFile.ts"
import type { AnsweredStage } from "../../protocol/stageTable.ts"
import type { ModificationPacket } from "../../wire/filterPackets.ts"
import type { Answer } from "../answerTypes.ts"
import type { Decision, Refused } from "../chainTypes.ts"
import type { Client } from "../client.ts"
import { ClientError } from "../clientError.ts"
import type * as MilterClient from "../clientTypes.ts"
import type { Failure } from "../clientTypes.ts"
import type { Connect, MacroValues, Text } from "../clientValues.ts"
import type { DefaultAction } from "../clientValues.ts"
import { isRefusal, type RefusingAnswer } from "../interpretReply.ts"
import type { Manners } from "../manners/mtaManners.ts"
import { asReceived, bracketed, checkMessage, recipientsOf } from "../messageInput.ts"
import type { SourceFailure, StreamedBody } from "../streamedBody.ts"
import {
  type Asked,
  decisionOf,
  discardedAt,
  type Ended,
  goOn,
  type Link,
  nobodyLeft,
  notAsked,
  refusedAt
} from "./chainLink.ts"
import { type Answered, sendContent } from "./sendContent.ts"

type Content = Pick<MilterClient.Message, "headers" | "body">
type Recipient = MilterClient.Outcome["recipients"][number]
type Macros = NonNullable<MilterClient.Message["macros"]>

export class ChainSession {
  readonly links: ReadonlyArray<Link>
  private readonly manners: Manners
  private readonly nextQueueId: Effect.Effect<string> | undefined
  readonly failures: Array<Failure> = []
  private discarded: { readonly stage: AnsweredStage; readonly filter: string } | undefined
  /** The last stage that no verdict had settled beforehand: the stage of an accepted message. */
  private heard: AnsweredStage
  private sender: Text = ""
  private recipients: Array<Recipient> = []
  private accepted: Array<MilterClient.Recipient> = []

  /** Without `nextQueueId` each client counts queue ids of its own. */
  constructor(links: ReadonlyArray<Link>, manners: Manners, nextQueueId?: Effect.Effect<string>) {
    this.links = links
    this.nextQueueId = nextQueueId
    this.manners = manners
    // A client that was used in steps may have the filter's verdict on the SMTP session already.
    this.heard = links.find(({ client }) => client !== undefined)?.client?.state.verdictOnSession?.stage ?? "connect"
  }

  // --- filters that fail

  /** Notes the failure of a filter. Fails with it if there is no policy, and if a value does not fit into a packet. */
  fail(link: Link, error: ClientError): Effect.Effect<void, ClientError> {
    return Effect.suspend(() => {
      if (link.policy === undefined || error.reason._tag === "InvalidValue") return Effect.fail(error)
      if (link.failure !== undefined) return Effect.void
      this.failedAt(link, link.policy, error)
      link.client?.connection.close()
      return Effect.void
    })
  }

  private failedAt(link: Link, policy: DefaultAction, error: ClientError): void {
    link.failure = error
    this.failures.push({ filter: link.address, policy, error })
  }

  /** The policy's verdict for a filter that has failed; undefined if mail passes without the filter. */
  private verdictOfPolicy({ address, failure, policy }: Link): Refused | undefined {
    if (failure === undefined || policy === undefined || policy === "accept" || policy === "quarantine") {
      return undefined
    }
    const reason = failure.reason._tag
    const reply = this.manners.failureReply(policy, reason === "ReplyError" || reason === "DeliveryError")
    return { _tag: "Refused", reply, closes: this.manners.closesAfter(reply), filter: address, failure }
  }

  // --- commands

  /** Sends a command to one filter after the other, until one of them decides. */
  private ask(
    stage: AnsweredStage,
    step: (client: Client) => Effect.Effect<Answer, ClientError>,
    about?: Text
  ): Effect.Effect<Asked, ClientError> {
    return Effect.gen({ self: this }, function*() {
      let last: Answer = { _tag: "Continue" }
      for (const link of this.links) {
        if (link.client !== undefined && link.failure === undefined) {
          const result = yield* Effect.result(step(link.client))
          if (Result.isSuccess(result)) {
            const answer = result.success
            last = answer
            if (answer._tag !== "NotSent" || answer.because !== "decided") this.heard = stage
            if (isRefusal(answer)) return { decision: this.refusal(answer, stage, link.address, about), answer }
            if (answer._tag === "Discard") {
              this.discarded = { stage, filter: link.address }
              return { decision: goOn, answer }
            }
            continue
          }
          yield* this.fail(link, result.failure)
        }
        const decision = this.verdictOfPolicy(link)
        if (decision !== undefined) return { decision, answer: { _tag: "Reply", ...decision.reply } }
      }
      return { decision: goOn, answer: last }
    })
  }

  /** A refusal at connect or HELO: it holds for the whole session. */
  private get refused(): (Refused & { readonly stage: AnsweredStage }) | undefined {
    for (const { address, client } of this.links) {
      const verdict = client?.state.verdictOnSession
      if (verdict !== undefined && isRefusal(verdict.answer)) {
        return { ...this.refusal(verdict.answer, verdict.stage, address), stage: verdict.stage }
      }
    }
    return undefined
  }

  private refusal(answer: RefusingAnswer, stage: AnsweredStage, filter: string, about?: Text): Refused {
    const reply = this.manners.reply(answer, stage, about === undefined ? undefined : byteStringOf(about))
    return { _tag: "Refused", reply, closes: this.manners.closesAfter(reply), filter, failure: undefined }
  }

  macros(stage: AnsweredStage, values: MacroValues): Effect.Effect<void, ClientError> {
    return Effect.forEach(
      this.links,
      ({ client, failure }) =>
        client === undefined || failure !== undefined ? Effect.void : client.macros(stage, values),
      { discard: true }
    )
  }

  connect(client: Partial<Connect> | undefined): Effect.Effect<Decision, ClientError> {
    const introduced = this.manners.introduce(client)
    return Effect.map(this.ask("connect", (filter) => filter.connect(introduced)), decisionOf)
  }

  helo(name: Text): Effect.Effect<Decision, ClientError> {
    return Effect.suspend(() => {
      if (this.refused !== undefined) return Effect.succeed(this.refused)
      this.messageOver()
      return Effect.map(this.ask("helo", (filter) => filter.helo(name)), decisionOf)
    })
  }

  mail(sender: Text, parameters: ReadonlyArray<Text> = []): Effect.Effect<Decision, ClientError> {
    return Effect.suspend(() => {
      if (this.refused !== undefined) return Effect.succeed(this.refused)
      this.messageOver()
      this.sender = sender
      return this.begin(bracketed(sender), parameters)
    })
  }

  private begin(address: Text, parameters: ReadonlyArray<Text>): Effect.Effect<Decision, ClientError> {
    return Effect.gen({ self: this }, function*() {
      if (this.nextQueueId !== undefined) {
        const queueId = yield* this.nextQueueId
        for (const { client } of this.links) client?.state.nextQueueId(queueId)
      }
      const asked = new Set<Client>()
      const { decision } = yield* this.ask("mail", (filter) => {
        asked.add(filter)
        return filter.mail(address, parameters)
      }, address)
      for (const { client } of this.links) {
        if (client !== undefined && !asked.has(client)) client.state.messageElsewhere()
      }
      // A refused MAIL begins no message.
      if (decision._tag === "Refused") yield* this.abort()
      return decision
    })
  }

  rcpt(
    recipient: Text,
    parameters: ReadonlyArray<Text> | undefined,
    refused: MilterClient.Recipient["refused"]
  ): Effect.Effect<Decision, ClientError> {
    return Effect.gen({ self: this }, function*() {
      if (this.refused !== undefined) return this.refused
      const address = bracketed(recipient)
      const { discarded } = this
      const asked = this.discarded !== undefined ? notAsked : yield* this.ask(
        "rcpt",
        (filter) => filter.rcpt(address, parameters, refused === undefined ? {} : { refused }),
        address
      )
      this.recipients.push({ address: recipient, answer: asked.answer })
      if (refused !== undefined) {
        // Answers about a recipient that the server has refused itself have no effect.
        this.discarded = discarded
        return goOn
      }
      if (asked.decision._tag === "Continue") {
        this.accepted.push(parameters === undefined ? { address: recipient } : { address: recipient, parameters })
      }
      return asked.decision
    })
  }

  /** DATA, or a command that the server does not know. */
  other(stage: "data" | "unknown", step: (client: Client) => Effect.Effect<Answer, ClientError>): Effect.Effect<
    Decision,
    ClientError
  > {
    return Effect.gen({ self: this }, function*() {
      if (this.refused !== undefined) return this.refused
      if (stage === "data" && this.discarded !== undefined) return goOn
      const { decision } = yield* this.ask(stage, step)
      const keepsItsOwn = stage === "unknown" && this.manners.ownUnknownReply && decision._tag === "Refused" &&
        decision.failure === undefined && decision.reply.code.startsWith("5")
      return keepsItsOwn ? goOn : decision
    })
  }

  /** Ends the message in progress, as RSET does. A filter that has closed meanwhile is noticed at the next command. */
  reset(): Effect.Effect<void, ClientError> {
    return Effect.suspend(() => {
      this.messageOver()
      return this.abort()
    })
  }

  /** Aborts the message at each filter, where the MTA would. */
  private abort(): Effect.Effect<void, ClientError> {
    return Effect.forEach(this.links, (link) => {
      if (link.client === undefined || link.failure !== undefined) return Effect.void
      return Effect.catch(link.client.abort(), (error) =>
        // The filter may have closed right after its verdict.
        error.reason._tag === "Closed" ? Effect.void : this.fail(link, error))
    }, { discard: true })
  }

  private messageOver(): void {
    this.discarded = undefined
    this.recipients = []
    this.accepted = []
  }

  // --- messages

  /** Takes the content through the filters, and ends the message. */
  message(
    content: Content,
    macros: Macros = {}
  ): Effect.Effect<MilterClient.Outcome, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const file = this.manners.queue(asReceived(this.sender, this.accepted, content))
      const modifications: Array<ModificationPacket> = []
      const ended = yield* this.content<never>(file, modifications, macros, undefined).pipe(
        // Without a stream there is nothing to fail.
        Effect.catchTag("SourceFailure", ({ cause }) => Effect.failCause(cause))
      )
      return yield* this.conclude(ended, ended._tag === "Accepted" ? file : undefined, modifications)
    })
  }

  /** The same for a body that is still arriving. An accepted message has arrived completely. */
  streamMessage<E>(
    headers: MilterClient.Message["headers"],
    body: StreamedBody<E>
  ): Effect.Effect<MilterClient.StreamedOutcome, ClientError | SourceFailure<E>> {
    return Effect.gen({ self: this }, function*() {
      const file = this.manners.queue(asReceived(this.sender, this.accepted, headers === undefined ? {} : { headers }))
      const modifications: Array<ModificationPacket> = []
      const ended = yield* this.content(file, modifications, {}, body)
      if (ended._tag === "Accepted") yield* body.rest
      const outcome = yield* this.conclude(ended, ended._tag === "Accepted" ? file : undefined, modifications)
      const { delivered } = outcome
      if (delivered === undefined) return { ...outcome, delivered }
      const isReplaced = modifications.some(isBody)
      return {
        ...outcome,
        delivered: {
          ...delivered,
          body: isReplaced ? Stream.succeed(delivered.body) : body.kept,
          bodyLength: isReplaced ? delivered.body.length : body.length
        }
      }
    })
  }

  /** Without `streamed`, the body is in the file. */
  private content<E>(
    file: QueueFile,
    modifications: Array<ModificationPacket>,
    macros: Macros,
    streamed: StreamedBody<E> | undefined
  ): Effect.Effect<Ended, ClientError | SourceFailure<E>> {
    return Effect.gen({ self: this }, function*() {
      if (this.refused !== undefined) return refusedAt(this.refused.stage, this.refused)
      if (this.discarded !== undefined) return discardedAt(this.discarded)
      // Without a recipient there is nothing to deliver; why each was refused has been said at RCPT.
      if (this.accepted.length === 0) return nobodyLeft
      for (const link of this.links) {
        const { client } = link
        if (client !== undefined && link.failure === undefined) {
          const changes: Array<ModificationPacket> = []
          const original = modifications.some(isBody) ? undefined : streamed
          const result = yield* Effect.result(this.contentTo(client, file, changes, macros, original))
          if (Result.isSuccess(result)) {
            const { answer, stage } = result.success
            if (isRefusal(answer)) return refusedAt(stage, this.refusal(answer, stage, link.address))
            if (answer._tag === "Discard") return discardedAt({ stage, filter: link.address })
            const error = file.apply(changes, client.hasAgreedOn(Step.leadingSpace))
            if (error === undefined) {
              for (const change of changes) modifications.push(change)
              continue
            }
            // Without a policy this fails as in Postfix, with a temporary error for the SMTP client.
            const failure = new ClientError({ reason: error, command: "EndOfMessage", address: link.address })
            this.failedAt(link, link.policy ?? "tempFail", failure)
            client.connection.close()
            if (link.policy === undefined) {
              const reply = this.manners.failureReply("tempFail", true)
              return refusedAt(stage, { reply, closes: false, filter: link.address })
            }
          } else if (result.failure._tag === "SourceFailure") return yield* Effect.fail(result.failure)
          else yield* this.fail(link, result.failure)
        }
        const decision = this.verdictOfPolicy(link)
        if (decision !== undefined) return refusedAt("endOfMessage", decision)
      }
      return { _tag: "Accepted", stage: this.heard, reply: undefined, filter: undefined, closes: false }
    })
  }

  /** Sends one filter the whole content, as the filters before it have left it. */
  private contentTo<E>(
    client: Client,
    file: QueueFile,
    changes: Array<ModificationPacket>,
    macros: Macros,
    streamed: StreamedBody<E> | undefined
  ): Effect.Effect<Answered, ClientError | SourceFailure<E>> {
    return Effect.suspend(() => {
      if (!client.state.hasOpenMessage || client.state.verdictOnSession !== undefined) {
        return Effect.succeed({ answer: notAsked.answer, stage: this.heard })
      }
      const heard = (stage: AnsweredStage): void => {
        this.heard = stage
      }
      return sendContent(client, file.shown(), { changes, macros, streamed, heard })
    })
  }

  private conclude(
    ended: Ended,
    file: QueueFile | undefined,
    modifications: ReadonlyArray<ModificationPacket>
  ): Effect.Effect<MilterClient.Outcome, ClientError> {
    const { recipients } = this
    const held = this.links.find(({ failure, policy }) => failure !== undefined && policy === "quarantine")
    const delivered = file?.delivered()
    return Effect.map(this.reset(), () => ({
      ...ended,
      recipients,
      modifications: delivered === undefined ? [] : modifications,
      delivered: delivered === undefined || held === undefined || delivered.quarantined !== undefined
        ? delivered
        : { ...delivered, quarantined: byteStringOf(`the filter at ${held.address} failed`) },
      failures: [...this.failures],
      mta: this.manners.name
    }))
  }

  /** Sends connect and HELO, once for each session. */
  private introduce(message: MilterClient.Message): Effect.Effect<Decision, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const first = this.links.find(({ client }) => client !== undefined)?.client
      if (first === undefined || first.state.introduced !== undefined) return goOn
      yield* this.own(message, "connect")
      const connected = yield* this.connect(message.client)
      if (connected._tag === "Refused") return connected
      yield* this.own(message, "helo")
      return yield* this.helo(message.helo ?? this.manners.introduce(message.client).hostname)
    })
  }

  private own({ macros }: MilterClient.Message, stage: AnsweredStage): Effect.Effect<void, ClientError> {
    const values = macros?.[stage]
    return values === undefined ? Effect.void : this.macros(stage, values)
  }

  /** Takes a whole message through the filters, with connect and HELO if they were not sent before. */
  sendMessage(message: MilterClient.Message): Effect.Effect<MilterClient.Outcome, ClientError> {
    return Effect.gen({ self: this }, function*() {
      checkMessage(message)
      const before = yield* this.introduce(message)
      const { refused } = this
      if (refused !== undefined) return yield* this.conclude(refusedAt(refused.stage, refused), undefined, [])
      if (before._tag === "Refused") return yield* this.conclude(refusedAt(this.heard, before), undefined, [])
      yield* this.own(message, "mail")
      const mail = yield* this.mail(message.from, message.parameters)
      if (mail._tag === "Refused") return yield* this.conclude(refusedAt("mail", mail), undefined, [])
      let last: Decision = goOn
      for (const { address, parameters, refused } of recipientsOf(message.to)) {
        yield* this.own(message, "rcpt")
        const decision = yield* this.rcpt(address, parameters, refused)
        if (decision._tag === "Refused") last = decision
        if (this.discarded !== undefined) break
      }
      if (this.accepted.length === 0 && this.discarded === undefined && last._tag === "Refused") {
        return yield* this.conclude(refusedAt("rcpt", last), undefined, [])
      }
      if (this.accepted.length > 0) {
        yield* this.own(message, "data")
        const data = yield* this.other("data", (client) => client.data())
        if (data._tag === "Refused") return yield* this.conclude(refusedAt("data", data), undefined, [])
      }
      return yield* this.message(message, message.macros)
    })
  }
}

const isBody = ({ _tag }: ModificationPacket): boolean => _tag === "ReplaceBody"
