/**
 * A filter that makes the edits that it is told to, asked by Postfix and by Sendmail, and what each of them delivers;
 * beside it what `Delivery` says that they deliver.
 */
import * as Delivery from "effect-milter/Delivery"
import * as Milter from "effect-milter/Milter"
import type { ModificationPacket } from "effect-milter/MilterClient"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import { type Delivered, MtaError, socketDirectory } from "../../../testbed/mta.ts"
import * as Postfix from "../../../testbed/postfix.ts"
import * as Sendmail from "../../../testbed/sendmail.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"
import { capabilities } from "../../support/names.ts"
import * as Editing from "./editing.ts"
import * as FilterServer from "./filterServer.ts"

/** What the filter does at end of message. */
export type Edit = Editing.Edit

/** A message as text in the way of the queue: LF, without the Received field of the MTA's own; and its envelope. */
export interface Letter {
  readonly from: string
  /** Sorted. */
  readonly to: ReadonlyArray<string>
  readonly text: string
  /** Why it was not delivered but held. */
  readonly held: string | undefined
}

/** What came out, and what the model says that comes out. */
export interface Outcome {
  readonly delivered: Letter
  readonly modelled: Letter
  /** ENVID of the sender, if the message was held; it is not to be seen of others. */
  readonly envelopeId: string | undefined
  /** What the filter was shown. */
  readonly shown: Delivery.Message
}

/** An MTA with the filter. */
export interface Mta {
  /** Fails with `DeliveryError` if the MTA crashes and the model says that it does. */
  readonly send: (
    mail: SmtpClient.Mail,
    edit: Edit
  ) => Effect.Effect<Outcome, MtaError | SmtpClient.SmtpClientError | Delivery.DeliveryError>
}

const letterOf = (delivered: Delivered, withoutReceived: (message: Delivered) => string, held?: string): Letter => ({
  from: delivered.sender,
  to: delivered.recipients,
  text: withoutReceived(delivered),
  held
})

type Seen = ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>

const isModification = (packet: Seen[number]): packet is ModificationPacket =>
  /^(Add|Insert|Change|Replace|Delete|Quarantine)/.test(packet._tag)

const bare = (address: string): ByteString => ByteString.make(address.replace(/^<|>$/g, ""))

/** The message as the MTA showed it to the filter. */
const shownIn = (packets: Seen): Delivery.Message => {
  let sender = ByteString.make("")
  const recipients: Array<Delivery.Recipient> = []
  const headers: Array<Delivery.HeaderField> = []
  const body: Array<Uint8Array> = []
  for (const packet of packets) {
    if (packet._tag === "Mail") sender = bare(packet.sender)
    if (packet._tag === "Rcpt") recipients.push({ address: bare(packet.recipient), parameters: undefined })
    if (packet._tag === "Header") headers.push({ name: packet.name, value: packet.value })
    if (packet._tag === "Body") body.push(packet.bytes)
  }
  return { sender, recipients, headers, body: Buffer.concat(body) }
}

/** What the model makes of the same packets. */
const modelledBy = (
  model: typeof Delivery.postfix,
  packets: Seen
): Result.Result<Letter, Delivery.DeliveryError> => {
  const leadingSpace = packets.some((packet) =>
    packet._tag === "Negotiated" && (packet.steps & Step.leadingSpace) !== 0
  )
  const result = model(shownIn(packets), packets.filter(isModification), { leadingSpace })
  return Result.map(result, (delivered) => ({
    from: delivered.sender,
    to: delivered.recipients.map(({ address }) => address).toSorted(),
    text: ByteString.fromBytes(Delivery.toBytes(delivered)).replaceAll("\r\n", "\n"),
    held: delivered.quarantined
  }))
}

/** The filter, on a UNIX socket that a tap records. */
const editingFilter = Effect.fnUntraced(function*(mode: number) {
  const directory = yield* socketDirectory
  const edit = yield* Ref.make(Editing.nothing)
  // Takes every stage, so that the tap sees the message.
  const filter = Milter.make("editing", { modify: capabilities }).on({
    endOfMessage: (_, at) => Effect.flatMap(Ref.get(edit), (f) => Effect.as(f(at.edit), Verdict.continue))
  }, {
    header: () => Effect.void,
    body: () => Effect.void
  })
  const address = yield* FilterServer.serve(filter, { listen: `unix:${directory}/filter` })
  const tap = yield* FilterServer.tap(address, `${directory}/tap`, mode)
  return { edit, tap }
})

/** One message on a connection of its own. */
const sending = (
  { edit, tap }: Effect.Success<ReturnType<typeof editingFilter>>,
  port: number,
  model: typeof Delivery.postfix,
  take: (
    queueId: string | undefined,
    isHeld: boolean
  ) => Effect.Effect<{ readonly delivered: Letter; readonly envelopeId: string | undefined }, MtaError>
): Mta["send"] =>
  Effect.fnUntraced(function*(mail, wanted) {
    yield* Ref.set(edit, wanted)
    tap.takePackets()
    const client = yield* SmtpClient.connect(port)
    const { last, queueId } = yield* client.sendMail(mail)
    const packets = tap.takePackets()
    const result = modelledBy(model, packets)
    if (last.text === "<end>" && Result.isFailure(result)) return yield* result.failure
    if (last.code !== 250) return yield* new MtaError({ message: `the MTA says ${last.text}` })
    yield* client.quit
    const modelled = Result.getOrThrow(result)
    return { modelled, shown: shownIn(packets), ...yield* take(queueId, modelled.held !== undefined) }
  }, Effect.scoped)

const passed = (delivered: Letter) => ({ delivered, envelopeId: undefined })

/** Postfix with the filter. */
export const makePostfix = Effect.gen(function*() {
  const filter = yield* editingFilter(0o666)
  const postfix = yield* Postfix.make({ milters: filter.tap.address })
  const made: Mta = {
    send: sending(filter, postfix.port, Delivery.postfix, (queueId, isHeld) =>
      isHeld
        ? Effect.map(postfix.takeHeld(1, { queueId }), ([held]) => ({
          // Nobody can read the reason again.
          delivered: letterOf(held!, Postfix.withoutReceived, ""),
          envelopeId: held?.records.findLast(([name]) => name === "envelope_id")?.[1]
        }))
        : Effect.map(postfix.takeOne({ queueId }), (mail) => passed(letterOf(mail, Postfix.withoutReceived))))
  }
  return made
})

/** Sendmail with the filter; its mailer is one that makes nothing of upper case in addresses, as the local one. */
export const makeSendmail = Effect.gen(function*() {
  const filter = yield* editingFilter(0o600)
  const sendmail = yield* Sendmail.make({ filters: [{ address: filter.tap.address }], mailerFlags: "" })
  const model = Sendmail.mergesRecipients() ? Delivery.sendmail818 : Delivery.sendmail
  const send = sending(filter, sendmail.port, model, (queueId, isHeld) =>
    isHeld
      ? Effect.map(sendmail.takeHeld(1, { queueId }), ([held]) => ({
        delivered: letterOf(held!, Sendmail.withoutReceived, held?.reason),
        envelopeId: held?.envelopeId
      }))
      : Effect.map(sendmail.takeOne({ queueId }), (mail) => passed(letterOf(mail, Sendmail.withoutReceived))))
  // The mailer gets recipients in lower case; what is held still has their own.
  const lower = (letter: Letter): Letter => ({
    ...letter,
    to: letter.to.map((address) => address.toLowerCase()).toSorted(),
    // The mailer writes lists of addresses anew. The model does not, and 8.18 makes lists.
    text: Sendmail.mergesRecipients()
      ? letter.text.replace(/^To:.*$/gim, (field) => field.replaceAll(/,[ ]+/g, ", "))
      : letter.text
  })
  const made: Mta = {
    send: (mail, edit) =>
      Effect.map(
        send(mail, edit),
        (outcome) => ({ ...outcome, delivered: lower(outcome.delivered), modelled: lower(outcome.modelled) })
      )
  }
  return made
})
