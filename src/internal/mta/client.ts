/** The steps of a milter session on the MTA's side. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { InvalidValue } from "../../InvalidValue.ts"
import * as Negotiation from "../../Negotiation.ts"
import * as Packet from "../../Packet.ts"
import { Writer } from "../../Wire.ts"
import { bytesOf, concat } from "../bytes/concat.ts"
import { takeableSteps } from "../protocol/negotiationBits.ts"
import { type AnsweredStage, isContent, stageTable } from "../protocol/stageTable.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { maxPayload } from "../wire/maxPayload.ts"
import type { Answer } from "./answerTypes.ts"
import { inPackets } from "./bodyPackets.ts"
import { agree, everything } from "./checkAgreement.ts"
import type { ClientConnection } from "./clientConnection.ts"
import type { ClientError } from "./clientError.ts"
import { ClientMacros } from "./clientMacros.ts"
import { ClientState } from "./clientState.ts"
import type * as MilterClient from "./clientTypes.ts"
import type { Connect, MacroValues, Text } from "./clientValues.ts"
import { interpret, isRefusal } from "./interpretReply.ts"
import type { MacroFacts, Manners, MtaTimeouts } from "./manners/mtaManners.ts"
import { type ModificationLimits, ModificationList } from "./modificationList.ts"
import { clientAddress, headerValue, packetText, parameterTexts } from "./packetValues.ts"

interface Answered {
  readonly answer: Answer
  readonly modifications: ReadonlyArray<ModificationPacket>
}

/** A command to be sent. */
interface Command {
  readonly packet: Packet.MtaPacket
  /** Records the command in the state, whether it is then sent or not. */
  readonly given?: (state: ClientState, now: number) => void
  readonly refused?: boolean
}

const nothing: ReadonlyArray<ModificationPacket> = []

const abort: Packet.Abort = { _tag: "Abort" }

const nowhere = new Uint8Array(0)

/** How the client speaks in single steps, and from its first whole message on. */
export interface ClientManners {
  readonly steps: Manners
  readonly messages: Manners
}

export class Client implements MilterClient.Client {
  readonly connection: ClientConnection
  readonly state = new ClientState()
  private readonly forMessages: Manners
  private current: Manners
  private readonly timeouts: MtaTimeouts
  private readonly limits: ModificationLimits
  private readonly writer = new Writer()
  private readonly semaphore = Semaphore.makeUnsafe(1)
  private readonly definitions = new ClientMacros()
  private readonly send: (client: Client, message: MilterClient.Message) => ReturnType<Client["sendMessage"]>
  /** The end of the body, which some MTAs send with end of message. */
  private kept: Uint8Array = nowhere

  constructor(
    connection: ClientConnection,
    { messages, steps }: ClientManners,
    timeouts: MtaTimeouts,
    limits: ModificationLimits,
    send: (client: Client, message: MilterClient.Message) => ReturnType<Client["sendMessage"]>
  ) {
    this.connection = connection
    this.current = steps
    this.forMessages = messages
    this.timeouts = timeouts
    this.limits = limits
    this.send = send
  }

  get manners(): Manners {
    return this.current
  }

  get address(): string {
    return this.connection.address
  }

  get agreed(): Negotiation.Agreement | undefined {
    return this.state.agreed
  }

  /** False before the negotiation. */
  hasAgreedOn(step: number): boolean {
    return ((this.agreed?.steps ?? 0) & step) !== 0
  }

  get closed(): Effect.Effect<void> {
    return this.connection.awaitEnd
  }

  // --- steps

  readonly negotiate = (
    offer: Partial<Negotiation.Offer> = this.manners.offer
  ): Effect.Effect<Negotiation.Agreement, ClientError> => {
    const wanted = { ...everything, ...offer }
    const offered = { ...wanted, steps: takeableSteps(wanted.steps, this.connection.frameLength) }
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
      const agreed = agree(offered, packet, this.manners.unoffered)
      if (Result.isFailure(agreed)) return yield* this.connection.fail(agreed.failure)
      this.state.agreed = agreed.success
      this.definitions.request(packet.macros, this.manners.macroLists)
      return agreed.success
    }))
  }

  readonly connect = (client: Connect): Effect.Effect<Answer, ClientError> =>
    this.step("connect", () => {
      const introduced = this.manners.introduce(client)
      return Result.map(
        Result.all({ hostname: packetText("host name", introduced.hostname), address: clientAddress(introduced) }),
        (values) => ({
          packet: { _tag: "Connect", ...values },
          given: (state) => state.connected(introduced)
        })
      )
    })

  readonly helo = (name: Text): Effect.Effect<Answer, ClientError> =>
    this.step("helo", () =>
      Result.map(packetText("HELO name", name), (name) => ({
        packet: { _tag: "Helo", name },
        given: (state) => state.heloGiven()
      })))

  readonly mail = (sender: Text, parameters: ReadonlyArray<Text> = []): Effect.Effect<Answer, ClientError> =>
    this.step("mail", () =>
      Result.map(
        Result.all({ sender: packetText("sender", sender), parameters: parameterTexts(parameters) }),
        (values) => ({
          packet: { _tag: "Mail", ...values },
          given: (state, now) => {
            state.messageFrom(sender, now)
            this.definitions.resetMessage()
            this.kept = nowhere
          }
        })
      ))

  readonly rcpt = (
    recipient: Text,
    parameters: ReadonlyArray<Text> = [],
    { refused = false }: { readonly refused?: boolean | NonNullable<MacroFacts["refused"]> } = {}
  ): Effect.Effect<Answer, ClientError> =>
    this.step("rcpt", () =>
      Result.map(
        Result.all({ recipient: packetText("recipient", recipient), parameters: parameterTexts(parameters) }),
        (values) => ({
          packet: { _tag: "Rcpt", ...values },
          given: (state) =>
            state.recipient(
              recipient,
              refused === true ? { enhanced: "5.1.1", text: "User unknown" } : refused === false ? undefined : refused
            ),
          refused: refused !== false
        })
      ))

  readonly data = (): Effect.Effect<Answer, ClientError> =>
    this.step("data", () => Result.succeed({ packet: { _tag: "Data" } }))

  readonly header = (
    name: Text,
    value: Text,
    options: { readonly verbatim?: boolean } = {}
  ): Effect.Effect<Answer, ClientError> =>
    this.step("header", () =>
      Result.map(
        Result.all({
          name: packetText("header name", name),
          value: headerValue(value, options.verbatim === true, this.agreed?.steps ?? 0)
        }),
        (values) => ({ packet: { _tag: "Header", ...values }, given: (state) => state.header(name, value) })
      ))

  readonly endOfHeaders = (): Effect.Effect<Answer, ClientError> =>
    this.step("endOfHeaders", () => Result.succeed({ packet: { _tag: "EndOfHeaders" } }))

  readonly body = <E = never, R = never>(
    body: Text | Stream.Stream<Uint8Array, E, R>
  ): Effect.Effect<Answer, ClientError | E, R> =>
    Stream.isStream(body) ? inPackets(body, (bytes) => this.pieces(bytes)) : this.pieces(bytesOf(body))

  /** Sends full packets and one for the rest, until the filter gives a verdict or skips. An empty body sends no packet. */
  private pieces(bytes: Uint8Array): Effect.Effect<Answer, ClientError> {
    return Effect.gen({ self: this }, function*() {
      let rest = bytes
      if (this.manners.bodyAtEnd) {
        rest = concat([this.kept, bytes])
        const length = rest.length - rest.length % maxPayload
        this.kept = rest.slice(length)
        rest = rest.subarray(0, length)
      }
      let answer: Answer = { _tag: "Continue" }
      for (let start = 0; start < rest.length; start += maxPayload) {
        const piece = rest.subarray(start, start + maxPayload)
        const next: Answer = yield* this.step("body", () => Result.succeed({ packet: { _tag: "Body", bytes: piece } }))
        // The answer that stopped the body says more than the NotSent of what follows.
        if (next._tag === "NotSent" && start > 0) break
        answer = next
      }
      return answer
    })
  }

  readonly endOfMessage = (): Effect.Effect<MilterClient.EndOfMessage, ClientError> =>
    Effect.map(
      this.answered("endOfMessage", () => {
        const bytes = this.hasAgreedOn(stageTable.body.no) ? nowhere : this.kept
        this.kept = nowhere
        return Result.succeed({ packet: { _tag: "EndOfMessage", bytes } })
      }),
      ({ answer, modifications }) => ({ verdict: answer, modifications })
    )

  readonly unknown = (line: Text): Effect.Effect<Answer, ClientError> =>
    this.step("unknown", () =>
      Result.map(packetText("command", this.manners.unknownLine(line)), (line) => ({
        packet: { _tag: "Unknown", line }
      })))

  readonly abort = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(Effect.suspend(() => {
      const aborts = this.state.aborts(this.manners)
      this.state.aborted(aborts)
      return aborts ? this.write([{ _tag: "Abort" }], "mail") : Effect.void
    }))

  readonly quit = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(
      Effect.andThen(Effect.suspend(() => this.takeLeave()), Effect.sync(() => this.connection.close()))
    )

  /** Sends quit, and waits until the filter closes, which it does once it has read the quit. */
  quitAndWait(): Effect.Effect<void, ClientError> {
    return this.semaphore.withPermit(
      Effect.andThen(
        Effect.suspend(() => this.takeLeave()),
        Effect.andThen(this.connection.awaitEnd, Effect.sync(() => this.connection.close()))
      )
    )
  }

  private takeLeave(): Effect.Effect<void, ClientError> {
    const { manners, state } = this
    // The connection was closed when the filter gave its verdict on the session.
    if (state.verdictOnSession !== undefined && manners.afterVerdictOnSession !== "stays") return Effect.void
    const aborts: Array<Packet.MtaPacket> = []
    if (manners.aborts === "always") {
      // The first abort resets the message, the second one resets HELO.
      if (state.aborts(manners)) aborts.push({ _tag: "Abort" })
      if (state.heloSaid) aborts.push({ _tag: "Abort" })
    }
    return this.write([...aborts, { _tag: "Quit" }], "mail")
  }

  readonly quitNewConnection = (): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(Effect.suspend(() => {
      this.state.sessionOver()
      this.definitions.reset()
      return this.write([{ _tag: "QuitNewConnection" }], "mail")
    }))

  readonly macros = (
    stage: AnsweredStage,
    values: MacroValues,
    onRequest: MacroValues = {}
  ): Effect.Effect<void, ClientError> =>
    this.semaphore.withPermit(Effect.suspend(() => this.checked(this.definitions.define(stage, values, onRequest))))

  readonly sendMessage = (message: MilterClient.Message): Effect.Effect<MilterClient.Outcome, ClientError> =>
    Effect.suspend(() => {
      this.current = this.forMessages
      return this.send(this, message)
    })

  // --- how a step goes

  private step(
    stage: AnsweredStage,
    make: () => Result.Result<Command, InvalidValue>
  ): Effect.Effect<Answer, ClientError> {
    return Effect.map(this.answered(stage, make), ({ answer }) => answer)
  }

  private answered(
    stage: AnsweredStage,
    make: () => Result.Result<Command, InvalidValue>
  ): Effect.Effect<Answered, ClientError> {
    return this.semaphore.withPermit(Effect.gen({ self: this }, function*() {
      const { manners, state } = this
      const { agreed } = state
      if (agreed === undefined) {
        yield* this.connection.check
        return yield* Effect.die(new Error("a milter session begins with negotiate"))
      }
      const { given, packet, refused = false } = yield* this.checked(make())
      const before = state.abortsBefore(stage, manners) ? [abort] : []
      const after = stage === "helo" ? state.abortsAfterHelo(manners) : 0
      given?.(state, yield* Clock.currentTimeMillis)
      // A queue id that the caller defined holds for the macros of all later commands.
      state.queuedAs(this.definitions.definedAt(stage, "i"))
      const macros = yield* this.checked(
        this.definitions.take(stage, manners.macros(stage, state.known), manners.forgets)
      )
      const because = state.leftOut(stage, agreed, manners, refused)
      if (because !== undefined) {
        // Both MTAs send the macros even of a command that the filter does not want, but not of one that its version does
        // not know. Aborts go out in either case. Content is left out with everything that belongs to it.
        if (state.verdictOnSession === undefined && !isContent(stage)) {
          const alone = because === "step" ? macros : []
          yield* this.write([...before, ...alone, ...Array.from({ length: after }, () => abort)], stage)
        }
        if (stage === "rcpt" && because !== "refused") state.recipientAccepted()
        return { answer: { _tag: "NotSent", because }, modifications: nothing }
      }
      state.sent(stage, manners)
      yield* this.write([...before, ...macros, packet], stage)
      const answered: Answered = (agreed.steps & stageTable[stage].noReply) !== 0
        ? { answer: { _tag: "NotAnswered" }, modifications: nothing }
        : yield* this.receive(stage, agreed)
      yield* this.conclude(stage, answered.answer, refused, after)
      return answered
    }))
  }

  private conclude(
    stage: AnsweredStage,
    answer: Answer,
    refused: boolean,
    abortsAfterHelo: number
  ): Effect.Effect<void, ClientError> {
    const { manners, state } = this
    const goesOn = answer._tag === "Continue" || answer._tag === "NotAnswered" || answer._tag === "Accept"
    if (stage === "rcpt" && goesOn && !refused) state.recipientAccepted()
    if (answer._tag !== "NotAnswered") state.record(stage, answer, manners, refused)
    if (state.verdictOnSession !== undefined && manners.afterVerdictOnSession !== "stays") {
      const quits = manners.afterVerdictOnSession === "quits"
      return Effect.andThen(
        // Whether the filter still reads the quit does not matter.
        quits ? Effect.ignore(this.write([{ _tag: "Quit" }], stage)) : Effect.void,
        Effect.sync(() => this.connection.close())
      )
    }
    let aborts = abortsAfterHelo
    // Postfix gives up the message as soon as MAIL is refused.
    if (stage === "mail" && isRefusal(answer) && manners.aborts === "always") {
      aborts++
      state.messageOver()
    }
    return this.write(Array.from({ length: aborts }, () => abort), stage)
  }

  private receive(stage: AnsweredStage, agreed: Negotiation.Agreement): Effect.Effect<Answered, ClientError> {
    return Effect.gen({ self: this }, function*() {
      const modifications = new ModificationList(this.limits)
      const milliseconds = isContent(stage) ? this.timeouts.content : this.timeouts.command
      const { total } = this.timeouts
      const deadline = (yield* Clock.currentTimeMillis) + total
      while (true) {
        const left = deadline - (yield* Clock.currentTimeMillis)
        if (left <= 0) return yield* this.connection.fail({ _tag: "Timeout", milliseconds: total })
        // Any packet, progress above all, restarts this timer, but not the total.
        const packet = yield* left < milliseconds
          ? this.connection.receive(left, total)
          : this.connection.receive(milliseconds)
        const meaning = interpret(packet, stage, agreed.actions, this.manners.progressEverywhere)
        if (Result.isFailure(meaning)) return yield* this.connection.fail(meaning.failure)
        if (meaning.success._tag === "Answer") {
          return { answer: meaning.success.answer, modifications: modifications.packets }
        }
        if (meaning.success._tag === "Modification") {
          const beyond = modifications.add(meaning.success.packet)
          if (beyond !== undefined) return yield* this.connection.fail(beyond)
        }
      }
    })
  }

  private write(packets: ReadonlyArray<Packet.MtaPacket>, stage: AnsweredStage): Effect.Effect<void, ClientError> {
    if (packets.length === 0) return Effect.void
    const largest = Negotiation.maxPayloadOf(this.agreed?.steps ?? 0)
    for (const packet of packets) {
      const before = this.writer.pending
      Packet.write(this.writer, packet)
      if (this.writer.pending - before <= largest + 5) continue
      this.writer.take()
      return this.connection.error(
        new InvalidValue({
          what: packet._tag,
          value: Packet.format(packet),
          reason: `expected at most ${largest} bytes in one packet`
        })
      )
    }
    return this.connection.send(
      packets,
      this.writer.take(),
      isContent(stage) ? this.timeouts.content : this.timeouts.command
    )
  }

  // --- values

  /** The value, or the failure of the client with the reason why there is none. */
  private checked<A>(result: Result.Result<A, InvalidValue>): Effect.Effect<A, ClientError> {
    return Result.isSuccess(result) ? Effect.succeed(result.success) : this.connection.error(result.failure)
  }
}
