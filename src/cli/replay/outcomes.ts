/** What became of each message of a session, seen from its commands and answers, for `replay --outcome`. Pure. */
import * as Result from "effect/Result"
import type * as Delivery from "../../Delivery.ts"
import { isModification } from "../../internal/mta/interpretReply.ts"
import * as MilterClient from "../../MilterClient.ts"
import type { Exchange } from "../../MilterTest.ts"
import { Step } from "../../Negotiation.ts"
import type * as Packet from "../../Packet.ts"
import { ByteString } from "../../Wire.ts"
import { printable } from "../terminal/style.ts"

/** The end of a message, or of the session before its first one. */
export interface MessageOutcome {
  readonly sender: string
  /** `accepted`, or `rejected: 550 5.7.1 no`. */
  readonly verdict: string
  /** Each refused recipient with its reply. */
  readonly refused: ReadonlyArray<string>
  /** What the MTA would deliver, if the message was accepted. */
  readonly delivered: Delivery.Message | undefined
}

type Answers = ReadonlyArray<Packet.FilterPacket>

/** As Postfix words what the filter did not word. */
const rejected = "rejected: 550 5.7.1 Command rejected"
const putOff = "refused for now: 451 4.7.1 Service unavailable - try again later"

/** The refusal or the verdict among the answers to a command; undefined if the message goes on. */
const verdictOf = (answers: Answers): string | undefined => {
  for (const packet of answers) {
    switch (packet._tag) {
      case "Accept":
        return "accepted"
      case "Reject":
        return rejected
      case "TempFail":
        return putOff
      case "Discard":
        return "discarded"
      case "ReplyCode":
        return `${packet.text.startsWith("4") ? "refused for now" : "rejected"}: ${printable(packet.text)}`
      case "ConnectionFail":
      case "Shutdown":
        return "the filter gave up"
    }
  }
  return undefined
}

interface Recipient {
  readonly address: Uint8Array
  readonly parameters: ReadonlyArray<Uint8Array>
}

/** A message as far as its commands have come. */
class OpenMessage {
  private readonly mail: Packet.MtaPacket & { readonly _tag: "Mail" }
  private readonly recipients: Array<Recipient> = []
  private readonly refused: Array<string> = []
  private readonly headers: Array<readonly [name: string, value: Uint8Array, space: ""]> = []
  private readonly body: Array<Uint8Array> = []
  private verdict: string | undefined

  constructor(mail: Packet.MtaPacket & { readonly _tag: "Mail" }) {
    this.mail = mail
  }

  take(command: Packet.MtaPacket, answers: Answers, hasLeadingSpace: boolean): void {
    const verdict = verdictOf(answers)
    if (command._tag === "Rcpt") {
      const isRefusal = verdict !== undefined && verdict !== "accepted" && verdict !== "discarded"
      const address = printable(command.recipient)
      if (isRefusal) this.refused.push(`${address} ${verdict}`)
      else {
        this.verdict ??= verdict
        this.recipients.push({
          address: ByteString.toBytes(command.recipient),
          parameters: command.parameters.map(ByteString.toBytes)
        })
      }
      return
    }
    this.verdict ??= verdict
    if (command._tag === "Header") {
      // Without the step, the MTA has taken away the space that most fields have.
      const value = ByteString.toBytes(command.value)
      const space = hasLeadingSpace ? [] : [0x20]
      this.headers.push([ByteString.toText(command.name), Uint8Array.from([...space, ...value]), ""])
    } else if (command._tag === "Body" || command._tag === "EndOfMessage") {
      this.body.push(command.bytes)
    }
  }

  /** `answers`: those to end of message; undefined if the MTA has given the message up. */
  end(answers: Answers | undefined, steps: number): MessageOutcome {
    const sender = printable(this.mail.sender)
    const verdict = this.verdict ?? (answers === undefined ? "given up by the MTA" : "accepted")
    const base = { sender, verdict, refused: this.refused }
    if (verdict !== "accepted") return { ...base, delivered: undefined }
    const delivered = MilterClient.applyTo(
      {
        from: ByteString.toBytes(this.mail.sender),
        to: this.recipients,
        headers: this.headers,
        body: Buffer.concat(this.body)
      },
      (answers ?? []).filter(isModification),
      { agreed: { version: 6, actions: 0, steps, macros: [] } }
    )
    return Result.isSuccess(delivered)
      ? { ...base, delivered: delivered.success }
      : { ...base, verdict: `its modifications cannot be made: ${delivered.failure.message}`, delivered: undefined }
  }
}

const stepsOf = (answers: Answers): number =>
  answers.reduce((steps, packet) => packet._tag === "Negotiated" ? packet.steps : steps, 0)

/** The outcomes of the messages in a session, with the recorded answers or with those of the replay. */
export const outcomesOf = (
  exchanges: ReadonlyArray<Exchange>,
  which: "recorded" | "replayed"
): ReadonlyArray<MessageOutcome> => {
  const found: Array<MessageOutcome> = []
  let message: OpenMessage | undefined
  let steps = 0
  let hasLeadingSpace = false
  const close = (answers: Answers | undefined): void => {
    if (message !== undefined) found.push(message.end(answers, steps))
    message = undefined
  }
  for (const exchange of exchanges) {
    const { command } = exchange
    const answers = exchange[which]
    switch (command._tag) {
      case "Negotiate":
        steps = stepsOf(answers)
        // The commands are those that the recorded filter got.
        hasLeadingSpace = (stepsOf(exchange.recorded) & Step.leadingSpace) !== 0
        break
      case "Connect":
      case "Helo": {
        const verdict = verdictOf(answers)
        if (verdict !== undefined) found.push({ sender: command._tag, verdict, refused: [], delivered: undefined })
        break
      }
      case "Mail":
        close(undefined)
        message = new OpenMessage(command)
        message.take(command, answers, hasLeadingSpace)
        break
      case "EndOfMessage":
        message?.take(command, answers, hasLeadingSpace)
        close(answers)
        break
      case "Abort":
      case "Quit":
      case "QuitNewConnection":
        close(undefined)
        break
      default:
        message?.take(command, answers, hasLeadingSpace)
    }
  }
  close(undefined)
  return found
}

/** Whether the filters asked for different things in the negotiation, which no client sees. */
export const negotiatesDifferently = (exchanges: ReadonlyArray<Exchange>): boolean =>
  exchanges.some(({ command, recorded, replayed }) =>
    command._tag === "Negotiate" && JSON.stringify(recorded) !== JSON.stringify(replayed)
  )
