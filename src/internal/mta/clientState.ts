/** What the MTA's side knows of a session: what is still to be sent, and what an answer changes. Pure. */
import { Mailbox } from "../../Envelope.ts"
import { type Agreement, Step } from "../../Negotiation.ts"
import { ByteString } from "../bytes/byteString.ts"
import { byteStringOf } from "../bytes/concat.ts"
import { type AnsweredStage, isContent, isOfMessage, stageTable } from "../protocol/stageTable.ts"
import type { Answer, NotSentBecause } from "./answerTypes.ts"
import type { Connect, Text } from "./clientValues.ts"
import { isRefusal } from "./interpretReply.ts"
import { type MacroFacts, type Manners, usualClient } from "./manners/mtaManners.ts"

/** Whether an answer settles the message. A refusal at rcpt is about one recipient, at data perhaps about one attempt. */
const decides = (answer: Answer, stage: AnsweredStage): boolean =>
  answer._tag === "Accept" || answer._tag === "Discard" || (isRefusal(answer) && stage !== "rcpt" && stage !== "data")

const nullSender = new Mailbox(byteStringOf(""))

export class ClientState {
  agreed: Agreement | undefined
  /** The client announced by the connect command. */
  introduced: Connect | undefined
  heloSaid = false
  /** The verdict on the whole session: nothing more is sent. */
  verdictOnSession: { readonly stage: "connect" | "helo"; readonly answer: Answer } | undefined
  /** Whether a message has begun, decided or not. */
  private messageBegun = false
  /** Whether the message has a verdict; true as long as no message has begun. */
  private messageDecided = true
  /** Whether the filter knows of an undecided message, by Sendmail's reckoning. */
  private inMessage = false
  /** Whether the filter is done with the previous message, by Sendmail's reckoning; until the next MAIL or HELO. */
  private isDone = false
  /** The command after which the filter said skip. */
  private skipping: AnsweredStage | undefined
  private queueIds = 0xa1b2c30000
  /** The queue id of the next message, if the chain counts them for all its clients. */
  private given: string | undefined
  private facts: MacroFacts = {
    client: usualClient,
    queueId: "",
    sender: nullSender,
    recipient: undefined,
    refused: undefined,
    accepted: 0,
    began: 0,
    messageId: undefined
  }

  /** Whether a message has begun and has no verdict yet. */
  get hasOpenMessage(): boolean {
    return !this.messageDecided
  }

  // --- what the MTA knows

  get known(): MacroFacts {
    return this.facts
  }

  connected(client: Connect): void {
    this.introduced = client
    this.facts = { ...this.facts, client }
  }

  /** Begins a message of which this filter is not told: an earlier filter of the chain has decided it. */
  messageElsewhere(): void {
    this.messageOver()
    this.messageBegun = true
  }

  heloGiven(): void {
    this.messageOver()
    this.heloSaid = true
    this.isDone = false
  }

  /** `now` in milliseconds. */
  messageFrom(sender: Text, now: number): void {
    this.isDone = false
    this.messageBegun = true
    this.messageDecided = false
    this.inMessage = false
    this.skipping = undefined
    this.facts = {
      ...this.facts,
      queueId: this.given ?? (++this.queueIds).toString(16).toUpperCase(),
      sender: new Mailbox(byteStringOf(sender)),
      recipient: undefined,
      refused: undefined,
      accepted: 0,
      began: now,
      messageId: undefined
    }
  }

  nextQueueId(queueId: string): void {
    this.given = queueId
  }

  queuedAs(queueId: string | undefined): void {
    if (queueId !== undefined) this.facts = { ...this.facts, queueId }
  }

  recipient(recipient: Text, refused: MacroFacts["refused"]): void {
    this.facts = { ...this.facts, recipient: new Mailbox(byteStringOf(recipient)), refused }
  }

  header(name: Text, value: Text): void {
    if (byteStringOf(name).toLowerCase() !== "message-id") return
    this.facts = { ...this.facts, messageId: ByteString.toText(byteStringOf(value)).trim() }
  }

  /** Ends the message in progress: after RSET, HELO, or its end. */
  messageOver(): void {
    this.messageBegun = false
    this.messageDecided = true
    this.inMessage = false
    this.skipping = undefined
  }

  sessionOver(): void {
    this.messageOver()
    this.introduced = undefined
    this.heloSaid = false
    this.isDone = false
    this.verdictOnSession = undefined
  }

  // --- what is sent

  /** Why a command is not sent; undefined if it is. */
  leftOut(stage: AnsweredStage, agreed: Agreement, manners: Manners, refused: boolean): NotSentBecause | undefined {
    const { command, no } = stageTable[stage]
    if (this.verdictOnSession !== undefined) return "decided"
    if (this.messageDecided && isOfMessage(stage)) return "decided"
    // After its verdict on a message, Sendmail sends a filter no unknown commands until the next message.
    if (stage === "unknown" && !manners.unknownAfterMessage && this.isDone) return "decided"
    if (agreed.version < command.since) return "version"
    if ((agreed.steps & no) !== 0) return "step"
    if (refused && (!manners.showsRefused || (agreed.steps & Step.rejectedRecipients) === 0)) return "refused"
    return this.skipping === stage ? "skip" : undefined
  }

  /** Whether the message in progress is aborted ahead of the command. */
  abortsBefore(stage: AnsweredStage, manners: Manners): boolean {
    return manners.aborts === "open" && (stage === "helo" || stage === "mail") && this.inMessage
  }

  /** Whether the MTA aborts now that the message is over, or the SMTP client gives it up. */
  aborts(manners: Manners): boolean {
    if (this.verdictOnSession !== undefined) return false
    return manners.aborts === "onDemand" || (manners.aborts === "always" ? this.messageBegun : this.inMessage)
  }

  /** How many aborts the MTA sends after a HELO: Postfix sends one if HELO came before, and one if a message has begun. */
  abortsAfterHelo(manners: Manners): number {
    return manners.aborts !== "always" ? 0 : (this.heloSaid ? 1 : 0) + (this.messageBegun ? 1 : 0)
  }

  /** The message has been aborted, whether the filter was told or not. */
  aborted(told: boolean): void {
    this.messageOver()
    if (told) this.isDone = true
  }

  sent(stage: AnsweredStage, manners: Manners): void {
    // Postfix skips until it sends another command, Sendmail until the message is over.
    if (manners.skips === "command" && this.skipping !== stage) this.skipping = undefined
    if (isContent(stage)) this.inMessage = true
  }

  // --- what answers change

  record(stage: AnsweredStage, answer: Answer, manners: Manners, refused: boolean): void {
    // The answer about a recipient that is refused already has no effect.
    if (stage === "unknown" || refused) return
    if (stage === "mail") this.inMessage = answer._tag === "Continue"
    if (answer._tag === "Skip") this.skipping = manners.skips === "body" ? "body" : stage
    else if (stage === "connect" || stage === "helo") {
      if (answer._tag === "Accept" || isRefusal(answer)) this.verdictOnSession = { stage, answer }
    } else if (stage === "endOfMessage" || decides(answer, stage)) {
      this.messageDecided = true
      if (answer._tag === "Accept" || isContent(stage)) this.isDone = true
      if (answer._tag !== "Discard" || isContent(stage)) this.inMessage = false
    }
  }

  /** Counts a recipient that neither the MTA nor the filter has refused. */
  recipientAccepted(): void {
    this.facts = { ...this.facts, accepted: this.facts.accepted + 1 }
  }
}
