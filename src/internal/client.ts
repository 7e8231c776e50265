/** The steps of a milter session on the MTA's side: what is sent, what is not, and what the answers change. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { InvalidValue } from "../InvalidValue.ts"
import type * as MilterClient from "../MilterClient.ts"
import * as Negotiation from "../Negotiation.ts"
import * as Packet from "../Packet.ts"
import { type ByteString, Writer } from "../Wire.ts"
import { agree, everything } from "./agree.ts"
import { type Answer, interpret, type ModificationPacket, noStep, since } from "./answer.ts"
import type { ClientConnection } from "./clientConnection.ts"
import type { ClientError } from "./clientError.ts"
import { ClientMacros } from "./clientMacros.ts"
import { send } from "./clientMessage.ts"
import type { Manners } from "./mtas.ts"
import { bytesOf, concat, maxPayload, packetText } from "./payload.ts"
import { type AnsweredStage, noReply } from "./replies.ts"

type Text = MilterClient.Text

interface Timeouts {
  readonly command: number
  readonly content: number
}

interface Answered {
  readonly answer: Answer
  readonly modifications: ReadonlyArray<ModificationPacket>
}

const isContent = (stage: AnsweredStage): boolean =>
  stage === "header" || stage === "endOfHeaders" || stage === "body" || stage === "endOfMessage"

const refuses = (answer: Answer): boolean =>
  answer._tag === "Reject" || answer._tag === "TempFail" || answer._tag === "Reply"

/** Whether the filter is done with the message; what it refuses at rcpt is one recipient, at data perhaps one attempt. */
const decides = (answer: Answer, stage: AnsweredStage): boolean =>
  answer._tag === "Accept" || answer._tag === "Discard" || (refuses(answer) && stage !== "rcpt" && stage !== "data")

const nothing: ReadonlyArray<ModificationPacket> = []

const notSent = (because: (Answer & { readonly _tag: "NotSent" })["because"]): Answer => ({ _tag: "NotSent", because })

export class Client implements MilterClient.Client {
  readonly connection: ClientConnection
  private readonly mta: Manners
  private readonly timeouts: Timeouts
  private readonly writer = new Writer()
  private readonly semaphore = Semaphore.makeUnsafe(1)
  private readonly definitions = new ClientMacros()
  private messageDecided = true
  private queueIds = 0xa1b2c30000
  /** Whom connect told of. */
  introduced: MilterClient.Connect | undefined
  /** The verdict on the whole session: nothing more is sent. */
  verdictOnSession: { readonly stage: "connect" | "helo"; readonly answer: Answer } | undefined
  /** The command after which the filter said skip; Postfix keeps to that until it sends another one. */
  private skipping: AnsweredStage | undefined
  agreed: Negotiation.Agreement | undefined

  constructor(connection: ClientConnection, mta: Manners, timeouts: Timeouts) {
    this.connection = connection
    this.mta = mta
    this.timeouts = timeouts
  }

  get address(): string {
    return this.connection.address
  }

  get closed(): Effect.Effect<void> {
    return this.connection.awaitEnd
  }

  /** Whether a message has begun that has no final verdict. */
  get hasOpenMessage(): boolean {
    return !this.messageDecided
  }

  /** Whether the filter asked for macros of its own choice ahead of this command. */
  wantsMacros(stage: AnsweredStage): boolean {
    return this.definitions.isRequested(stage)
  }

  nextQueueId(): string {
    return (++this.queueIds).toString(16).toUpperCase()
  }

  // --- steps

  readonly negotiate = (offer: Partial<Negotiation.Offer> = {}): Effect.Effect<Negotiation.Agreement, ClientError> => {
    const offered = { ...everything, ...offer }
    return this.semaphore.withPermit(Effect.gen({ self: this }, function*() {
      yield* this.write([{ _tag: "Negotiate", ...offered }], "connect")
      const packet = yield* this.connection.receive(this.timeouts.command)
      if (packet._tag !== "Negotiated") {
        return yield* this.connection.fail({
          _tag: "UnexpectedReply",
          packet,
          expected: "the answer to the negotiation"
        })
      }
      const agreed = agree(offered, packet)
      if (Result.isFailure(agreed)) return yield* this.connection.fail(agreed.failure)
      this.agreed = agreed.success
      this.definitions.request(packet.macros)
      return agreed.success
    }))
  }

  readonly connect = (client: MilterClient.Connect): Effect.Effect<Answer, ClientError> =>
    this.step("connect", () => {
      const packet: Packet.Connect = {
        _tag: "Connect",
        hostname: packetText("host name", client.hostname),
        address: this.clientAddress(client)
      }
      this.introduced = client
      return packet
    })

  readonly helo = (name: Text): Effect.Effect<Answer, ClientError> =>
    this.step("helo", () => ({ _tag: "Helo", name: packetText("HELO name", name) }))

  readonly mail = (sender: Text, parameters: ReadonlyArray<Text> = []): Effect.Effect<Answer, ClientError> =>
    this.step("mail", () => ({
      _tag: "Mail",
      sender: packetText("sender", sender),
      parameters: parameters.map((parameter) => packetText("ESMTP parameter", parameter))
    }))

  readonly rcpt = (
    recipient: Text,
    parameters: ReadonlyArray<Text> = [],
    options: { readonly refused?: boolean } = {}
  ): Effect.Effect<Answer, ClientError> =>
    this.step("rcpt", () => ({
      _tag: "Rcpt",
      recipient: packetText("recipient", recipient),
      parameters: parameters.map((parameter) => packetText("ESMTP parameter", parameter))
    }), options.refused === true)

  readonly data = (): Effect.Effect<Answer, ClientError> => this.step("data", () => ({ _tag: "Data" }))

  readonly header = (
    name: Text,
    value: Text,
    options: { readonly verbatim?: boolean } = {}
  ): Effect.Effect<Answer, ClientError> =>
    this.step("header", () => ({
      _tag: "Header",
      name: packetText("header name", name),
      value: this.headerValue(packetText("header value", value), options.verbatim === true)
    }))

  readonly endOfHeaders = (): Effect.Effect<Answer, ClientError> =>
    this.step("endOfHeaders", () => ({ _tag: "EndOfHeaders" }))

  readonly body = <E = never, R = never>(
    body: Text | Stream.Stream<Uint8Array, E, R>
  ): Effect.Effect<Answer, ClientError | E, R> =>
    Stream.isStream(body) ? Effect.suspend(() => this.streamed(body)) : this.pieces(bytesOf(body))

  private streamed<E, R>(body: Stream.Stream<Uint8Array, E, R>): Effect.Effect<Answer, ClientError | E, R> {
    let held: Array<Uint8Array> = []
    let size = 0
    let last: Answer | undefined
    const flush = (length: number): Effect.Effect<void, ClientError> => {
      const bytes = concat(held)
      held = [bytes.subarray(length)]
      size -= length
      return Effect.map(this.pieces(bytes.subarray(0, length)), (answer) => {
        // What stopped it says more than that the rest was not sent.
        if (last === undefined || (length > 0 && answer._tag !== "NotSent")) last = answer
      })
    }
    return body.pipe(
      Stream.takeUntil(() => last !== undefined && last._tag !== "Continue" && last._tag !== "NotAnswered"),
      Stream.runForEach((chunk) => {
        held.push(chunk)
        size += chunk.length
        return size < maxPayload ? Effect.void : flush(size - size % maxPayload)
      }),
      Effect.andThen(Effect.suspend(() => flush(size))),
      Effect.map(() => last!) // set by the last flush at the latest
    )
  }

  /** Full packets and one for the rest, until the filter has had enough. An empty body is no packet at all. */
  private pieces(bytes: Uint8Array): Effect.Effect<Answer, ClientError> {
    return Effect.gen({ self: this }, function*() {
      let answer: Answer = { _tag: "Continue" }
      for (let start = 0; start < bytes.length; start += maxPayload) {
        const piece = bytes.subarray(start, start + maxPayload)
        const next: Answer = yield* this.step("body", () => ({ _tag: "Body", bytes: piece }))
        // What stopped it says more than that the rest was not sent.
        if (next._tag === "NotSent" && start > 0) break
        answer = next
      }
      return answer
    })
  }

  readonly endOfMessage = (): Effect.Effect<MilterClient.EndOfMessage, ClientError> =>
    Effect.map(
      this.answered("endOfMessage", () => ({ _tag: "EndOfMessage", bytes: new Uint8Array(0) })),
      ({ answer, modifications }) => ({ verdict: answer, modifications })
    )

  readonly unknown = (line: Text): Effect.Effect<Answer, ClientError> =>
    this.step("unknown", () => ({ _tag: "Unknown", line: packetText("command", line) }))

  readonly abort = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(Effect.suspend(() => {
      this.messageDecided = true
      this.skipping = undefined
      return this.verdictOnSession === undefined ? this.write([{ _tag: "Abort" }], "mail") : Effect.void
    }))

  readonly quit = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(
      Effect.andThen(
        Effect.suspend(() => this.write([{ _tag: "Quit" }], "mail")),
        Effect.sync(() => this.connection.close())
      )
    )

  /** Quit, but leaving it to the filter to close, which it does once it has taken notice. */
  quitAndWait(): Effect.Effect<void, ClientError> {
    return this.semaphore.withPermit(
      Effect.andThen(
        Effect.suspend(() => this.write([{ _tag: "Quit" }], "mail")),
        Effect.andThen(this.connection.awaitEnd, Effect.sync(() => this.connection.close()))
      )
    )
  }

  readonly quitNewConnection = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(Effect.suspend(() => {
      this.messageDecided = true
      this.skipping = undefined
      this.verdictOnSession = undefined
      this.introduced = undefined
      this.definitions.reset()
      return this.write([{ _tag: "QuitNewConnection" }], "mail")
    }))

  readonly macros = (
    stage: AnsweredStage,
    values: MilterClient.MacroValues,
    onRequest: MilterClient.MacroValues = {}
  ): Effect.Effect<
    void,
    ClientError
  > => this.semaphore.withPermit(this.checked(() => this.definitions.define(stage, values, onRequest)))

  readonly sendMessage = (message: MilterClient.Message): Effect.Effect<MilterClient.Outcome, ClientError> =>
    send(this, this.mta, message)

  // --- how a step goes

  private step(
    stage: AnsweredStage,
    make: () => Packet.MtaPacket,
    refused = false
  ): Effect.Effect<Answer, ClientError> {
    return Effect.map(this.answered(stage, make, refused), ({ answer }) => answer)
  }

  private answered(
    stage: AnsweredStage,
    make: () => Packet.MtaPacket,
    refused = false
  ): Effect.Effect<Answered, ClientError> {
    return this.semaphore.withPermit(Effect.gen({ self: this }, function*() {
      const { agreed } = this
      if (agreed === undefined) {
        yield* this.connection.check
        return yield* Effect.die(new Error("a milter session begins with negotiate"))
      }
      const packet = yield* this.checked(make)
      if (stage === "helo") this.messageDecided = true
      if (stage === "mail") {
        this.messageDecided = false
        this.skipping = undefined
      }
      const because = this.leftOut(stage, agreed, refused)
      if (because !== undefined) {
        yield* this.leaveOut(stage, because)
        return { answer: notSent(because), modifications: nothing }
      }
      if (this.skipping !== stage) this.skipping = undefined
      yield* this.write([packet], stage)
      if ((agreed.steps & noReply[stage]) !== 0) {
        return { answer: { _tag: "NotAnswered" }, modifications: nothing }
      }
      const answered = yield* this.receive(stage, agreed)
      this.record(stage, answered.answer, refused)
      return answered
    }))
  }

  private leftOut(
    stage: AnsweredStage,
    agreed: Negotiation.Agreement,
    refused: boolean
  ): (Answer & { readonly _tag: "NotSent" })["because"] | undefined {
    if (this.verdictOnSession !== undefined) return "decided"
    if (this.messageDecided && stage !== "connect" && stage !== "helo" && stage !== "unknown") return "decided"
    if (agreed.version < since[stage]) return "version"
    if ((agreed.steps & noStep[stage]) !== 0) return "step"
    if (refused && (agreed.steps & Negotiation.Step.rejectedRecipients) === 0) return "refused"
    return this.skipping === stage ? "skip" : undefined
  }

  /**
   * Macros go out even for a command that the filter does not want, as from both MTAs; not for content and not for a
   * command that its version does not know.
   */
  private leaveOut(stage: AnsweredStage, because: string): Effect.Effect<void, ClientError> {
    if (because === "decided" || because === "version" || because === "skip" || isContent(stage)) {
      this.definitions.take()
      return Effect.void
    }
    return this.write([], stage)
  }

  private receive(stage: AnsweredStage, agreed: Negotiation.Agreement): Effect.Effect<Answered, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const modifications: Array<ModificationPacket> = []
      const milliseconds = isContent(stage) ? this.timeouts.content : this.timeouts.command
      while (true) {
        const meaning = interpret(yield* this.connection.receive(milliseconds), stage, agreed.actions)
        if (Result.isFailure(meaning)) return yield* this.connection.fail(meaning.failure)
        if (meaning.success._tag === "Answer") return { answer: meaning.success.answer, modifications }
        // Any packet, progress above all, starts the timer anew.
        if (meaning.success._tag === "Modification") modifications.push(meaning.success.packet)
      }
    })
  }

  private record(stage: AnsweredStage, answer: Answer, refused: boolean): void {
    // The answer about a recipient that is refused already has no effect.
    if (stage === "unknown" || refused) return
    if (answer._tag === "Skip") this.skipping = stage
    else if (stage === "connect" || stage === "helo") {
      if (answer._tag === "Accept" || refuses(answer)) this.verdictOnSession = { stage, answer }
    } else if (stage === "endOfMessage" || decides(answer, stage)) this.messageDecided = true
  }

  private write(packets: ReadonlyArray<Packet.MtaPacket>, stage: AnsweredStage): Effect.Effect<void, ClientError> {
    const all = [...this.definitions.take(), ...packets]
    if (all.length === 0) return Effect.void
    for (const packet of all) {
      const before = this.writer.pending
      Packet.write(this.writer, packet)
      if (this.writer.pending - before <= maxPayload + 5) continue
      this.writer.take()
      return this.connection.error(
        new InvalidValue({
          what: packet._tag,
          value: Packet.format(packet),
          reason: `expected at most ${maxPayload} bytes in one packet`
        })
      )
    }
    return this.connection.send(
      all,
      this.writer.take(),
      isContent(stage) ? this.timeouts.content : this.timeouts.command
    )
  }

  // --- values

  /** Runs what may find an `InvalidValue`. */
  private checked<A>(make: () => A): Effect.Effect<A, ClientError> {
    return Effect.catch(
      Effect.try({
        try: make,
        catch: (error) => {
          if (error instanceof InvalidValue) return error
          throw error
        }
      }),
      (reason) => this.connection.error(reason)
    )
  }

  private clientAddress({ address, port = 0 }: MilterClient.Connect): Packet.Connect["address"] {
    if (address === undefined) return { _tag: "Unknown" }
    const text = packetText("client address", address)
    if (address.startsWith("/")) return { _tag: "Unix", port: 0, path: text }
    return { _tag: address.includes(":") ? "IPv6" : "IPv4", port, address: text }
  }

  /** Folds are LF on the wire; the space after the colon is the filter's affair only if it asked for it. */
  private headerValue(value: ByteString, verbatim: boolean): ByteString {
    // Taking characters from bytes, or putting a space in front of them, leaves bytes.
    const folded = value.replace(/\r\n/g, "\n") as ByteString
    const leadingSpace = (this.agreed!.steps & Negotiation.Step.leadingSpace) !== 0
    if (!verbatim) return leadingSpace ? ` ${folded}` as ByteString : folded
    return leadingSpace || folded[0] !== " " ? folded : folded.slice(1) as ByteString
  }
}
