/** A whole message as an MTA takes it through a filter. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Delivery from "../Delivery.ts"
import { Mailbox } from "../Envelope.ts"
import type * as MilterClient from "../MilterClient.ts"
import { Step } from "../Negotiation.ts"
import * as Reply from "../Reply.ts"
import { ByteString } from "../Wire.ts"
import type { Answer, ModificationPacket } from "./answer.ts"
import type { Client } from "./client.ts"
import type { ClientError } from "./clientError.ts"
import type { Facts, Manners } from "./mtas.ts"
import { bytesOf, byteStringOf, maxPayload } from "./payload.ts"
import type { AnsweredStage } from "./replies.ts"

type Refusal = Answer & { readonly _tag: "Reject" | "TempFail" | "Reply" }

const isRefusal = (answer: Answer): answer is Refusal =>
  answer._tag === "Reject" || answer._tag === "TempFail" || answer._tag === "Reply"

// Postfix's words, and most of Sendmail's.
const words = {
  Reject: { code: "550", enhanced: "5.7.1", lines: [ByteString.fromText("Command rejected")] },
  TempFail: {
    code: "451",
    enhanced: "4.7.1",
    lines: [ByteString.fromText("Service unavailable - try again later")]
  }
} as const

/** What the SMTP client reads. */
export const replyTo = (refusal: Refusal): Reply.Reply =>
  refusal._tag === "Reply"
    ? { code: refusal.code, enhanced: refusal.enhanced, lines: refusal.lines }
    : words[refusal._tag]

type Verdict = Pick<MilterClient.Outcome, "_tag" | "stage" | "reply">

const verdictOf = (answer: Answer, stage: AnsweredStage): Verdict | undefined => {
  if (isRefusal(answer)) {
    const reply = replyTo(answer)
    return { _tag: reply.code[0] === "5" ? "Rejected" : "TempFailed", stage, reply }
  }
  switch (answer._tag) {
    case "Accept":
      return { _tag: "Accepted", stage, reply: undefined }
    case "Discard":
      return { _tag: "Discarded", stage, reply: undefined }
    default:
      return undefined
  }
}

const bracketed = (address: MilterClient.Text): MilterClient.Text =>
  typeof address === "string" && !address.startsWith("<") ? `<${address}>` : address

const mailboxOf = (address: MilterClient.Text): Mailbox => new Mailbox(byteStringOf(address))

/** Text as SMTP has it: lines end with CR LF, the last one too. Bytes stay as they are. */
const contentOf = (body: MilterClient.Text): Uint8Array => {
  if (typeof body !== "string") return body
  const lines = body.replace(/\r?\n/g, "\r\n")
  return bytesOf(lines === "" || lines.endsWith("\r\n") ? lines : `${lines}\r\n`)
}

const recipientsOf = (to: MilterClient.Message["to"]): ReadonlyArray<MilterClient.Recipient> =>
  (typeof to === "string" || to instanceof Uint8Array || !Array.isArray(to) ? [to] : to).map((recipient) =>
    typeof recipient === "string" || recipient instanceof Uint8Array ? { address: recipient } : recipient
  )

interface Progress {
  readonly recipients: Array<MilterClient.Outcome["recipients"][number]>
  modifications: ReadonlyArray<ModificationPacket>
}

export const send = (
  client: Client,
  mta: Manners,
  message: MilterClient.Message
): Effect.Effect<MilterClient.Outcome, ClientError> =>
  Effect.suspend(() => {
    const progress: Progress = { recipients: [], modifications: [] }
    return Effect.map(
      new Transaction(client, mta, message, progress).run(),
      (verdict) => conclude(client, mta, message, progress, verdict)
    )
  })

const conclude = (
  client: Client,
  mta: Manners,
  message: MilterClient.Message,
  { modifications, recipients }: Progress,
  verdict: Verdict
): MilterClient.Outcome => {
  const nothing = { recipients, modifications: [], delivered: undefined }
  if (verdict._tag !== "Accepted") return { ...verdict, ...nothing }
  if (mta.deliver === undefined) return { ...verdict, ...nothing, modifications }
  const steps = client.agreed?.steps ?? 0
  const delivered = mta.deliver(asReceived(message, recipients), modifications, {
    leadingSpace: (steps & Step.leadingSpace) !== 0
  })
  return Result.match(delivered, {
    onSuccess: (delivered) => ({ ...verdict, recipients, modifications, delivered }),
    onFailure: ({ reply }) => ({
      ...nothing,
      _tag: "TempFailed",
      stage: verdict.stage,
      reply: Result.getOrThrow(Reply.parse(ByteString.fromText(reply))) // a constant of the model
    })
  })
}

/** The message as the MTA has it, for those recipients that were not refused. */
const asReceived = (message: MilterClient.Message, recipients: Progress["recipients"]): Delivery.Message => ({
  sender: unbracketed(message.from),
  recipients: recipientsOf(message.to).flatMap(({ address, parameters, refused }, index) => {
    const answer = recipients[index]?.answer
    return refused !== undefined || (answer !== undefined && isRefusal(answer)) ? [] : [{
      address: unbracketed(address),
      // Spaces between bytes are bytes.
      parameters: parameters?.map(byteStringOf).join(" ") as ByteString | undefined
    }]
  }),
  headers: (message.headers ?? []).map(([name, value]) => ({
    name: byteStringOf(name),
    value: ` ${byteStringOf(value).replace(/\r\n/g, "\n")}` as ByteString
  })),
  body: contentOf(message.body ?? "")
})

const unbracketed = (address: MilterClient.Text): ByteString =>
  // A part of a byte string.
  byteStringOf(address).replace(/^<(.*)>$/s, "$1") as ByteString

class Transaction {
  private readonly client: Client
  private readonly mta: Manners
  private readonly message: MilterClient.Message
  private readonly progress: Progress
  private readonly headers: ReadonlyArray<readonly [name: MilterClient.Text, value: MilterClient.Text]>
  private facts: Facts

  constructor(client: Client, mta: Manners, message: MilterClient.Message, progress: Progress) {
    this.client = client
    this.mta = mta
    this.message = message
    this.progress = progress
    this.headers = message.headers ?? []
    const messageId = this.headers.find(([name]) => String(name).toLowerCase() === "message-id")?.[1]
    this.facts = {
      client: client.introduced ?? mta.introduce(message.client),
      queueId: client.nextQueueId(),
      sender: mailboxOf(message.from),
      recipient: undefined,
      refused: undefined,
      accepted: 0,
      messageId: typeof messageId === "string" ? messageId : undefined
    }
  }

  /** One command with the macros before it. */
  private command(
    stage: AnsweredStage,
    step: Effect.Effect<Answer, ClientError>
  ): Effect.Effect<Answer, ClientError> {
    return Effect.andThen(this.macros(stage), step)
  }

  private macros(stage: AnsweredStage): Effect.Effect<void, ClientError> {
    const known = this.mta.macros(stage, this.facts)
    const own = this.message.macros?.[stage]
    if (own === undefined && (known === undefined || (known.sent === undefined && !this.client.wantsMacros(stage)))) {
      return Effect.void
    }
    return this.client.macros(stage, { ...known?.sent, ...own }, known?.onRequest)
  }

  run(): Effect.Effect<Verdict, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const { client, mta } = this
      const before = yield* this.introduce()
      if (before !== undefined) return before
      const verdict = yield* this.stages()
      // Postfix aborts after every message, Sendmail only one that is still open for the filter.
      if (mta.alwaysAborts || client.hasOpenMessage) yield* client.abort()
      return verdict
    })
  }

  /** Connect and HELO, once for each connection. What was said to them counts for every message. */
  private introduce(): Effect.Effect<Verdict | undefined, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const { client, facts, message, mta } = this
      if (client.agreed === undefined) yield* client.negotiate(mta.offer)
      if (client.introduced === undefined) {
        yield* this.command("connect", client.connect(facts.client))
        const decided = client.verdictOnSession
        if (decided === undefined) yield* this.command("helo", client.helo(message.helo ?? facts.client.hostname))
      }
      const decided = client.verdictOnSession
      return decided === undefined ? undefined : verdictOf(decided.answer, decided.stage)
    })
  }

  private stages(): Effect.Effect<Verdict, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const { client, message } = this
      const mail = verdictOf(
        yield* this.command("mail", client.mail(bracketed(message.from), message.parameters)),
        "mail"
      )
      if (mail !== undefined) return mail
      const rcpt = yield* this.recipients()
      if (rcpt !== undefined) return rcpt
      const data = verdictOf(yield* this.command("data", client.data()), "data")
      return data ?? (yield* this.content())
    })
  }

  private recipients(): Effect.Effect<Verdict | undefined, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const { client, message, progress } = this
      let last: Verdict | undefined
      for (const { address, parameters, refused } of recipientsOf(message.to)) {
        this.facts = { ...this.facts, recipient: mailboxOf(address), refused }
        const answer = yield* this.command(
          "rcpt",
          client.rcpt(bracketed(address), parameters, { refused: refused !== undefined })
        )
        progress.recipients.push({ address, answer })
        if (refused !== undefined) continue
        const verdict = verdictOf(answer, "rcpt")
        if (verdict === undefined) this.facts = { ...this.facts, accepted: this.facts.accepted + 1 }
        else if (!isRefusal(answer)) return verdict
        else last = verdict
      }
      if (this.facts.accepted > 0) return undefined
      // Nobody is left to send it to. Without a word of the filter it was the MTA that refused all.
      return last ?? { _tag: "Rejected" as const, stage: "rcpt" as const, reply: undefined }
    })
  }

  private content(): Effect.Effect<Verdict, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const { client, message, progress } = this
      for (const [name, value] of this.headers) {
        const header = verdictOf(yield* this.command("header", client.header(name, value)), "header")
        if (header !== undefined) return header
      }
      const endOfHeaders = verdictOf(yield* this.command("endOfHeaders", client.endOfHeaders()), "endOfHeaders")
      if (endOfHeaders !== undefined) return endOfHeaders
      const bytes = contentOf(message.body ?? "")
      for (let start = 0; start < bytes.length; start += maxPayload) {
        const body = verdictOf(
          yield* this.command("body", client.body(bytes.subarray(start, start + maxPayload))),
          "body"
        )
        if (body !== undefined) return body
      }
      yield* this.macros("endOfMessage")
      const { modifications, verdict } = yield* client.endOfMessage()
      progress.modifications = modifications
      return verdictOf(verdict, "endOfMessage") ??
        { _tag: "Accepted" as const, stage: "endOfMessage" as const, reply: undefined }
    })
  }
}
