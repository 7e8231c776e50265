/** Filters that do what a recorded one did, as far as our types let a filter do that. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Mailbox } from "../../src/Envelope.ts"
import * as Milter from "../../src/Milter.ts"
import { type Editor, type Modification, toPacket } from "../../src/Modification.ts"
import { Step } from "../../src/Negotiation.ts"
import * as Packet from "../../src/Packet.ts"
import * as Recording from "../../src/Recording.ts"
import * as Reply from "../../src/Reply.ts"
import * as Verdict from "../../src/Verdict.ts"
import { ByteString } from "../../src/Wire.ts"
import { capabilities } from "./names.ts"
import { concat } from "./wire.ts"

type Stage = keyof Verdict.ByStage

const stages: { readonly [K in Packet.MtaPacket["_tag"]]?: Stage } = {
  Connect: "connect",
  Helo: "helo",
  Mail: "mail",
  Rcpt: "rcpt",
  Data: "data",
  Header: "header",
  EndOfHeaders: "endOfHeaders",
  Body: "body",
  EndOfMessage: "endOfMessage",
  Unknown: "unknown"
}

/** A recorded answer that our filters do not give: why not. */
class Illegal {
  readonly why: string
  constructor(why: string) {
    this.why = why
  }
}

type Edit = (edit: Editor) => Effect.Effect<void>

interface Answer {
  readonly verdict: Verdict.Verdict
  readonly edits: ReadonlyArray<Edit>
}

const verdictOf = (packet: Packet.FilterPacket, stage: Stage): Verdict.Verdict | Illegal => {
  const outside = stage === "connect" || stage === "helo"
  switch (packet._tag) {
    case "Continue":
      return Verdict.continue
    case "Accept":
      return stage === "unknown"
        ? new Illegal("accept at unknown")
        : outside
        ? Verdict.acceptConnection
        : Verdict.acceptMessage
    case "Reject":
      return Verdict.reject()
    case "TempFail":
      return Verdict.tempFail()
    case "Discard":
      return outside || stage === "unknown" ? new Illegal(`discard at ${stage}`) : Verdict.discardMessage
    case "Skip":
      return stage === "body" ? Verdict.skipBody : new Illegal(`skip at ${stage}`)
    case "ReplyCode":
      return refusalOf(packet)
    default:
      return new Illegal(`${packet._tag} as a verdict`)
  }
}

const refusalOf = ({ text }: Packet.ReplyCode): Verdict.Reject | Verdict.TempFail | Illegal => {
  const parsed = Reply.parse(text)
  if (Result.isFailure(parsed)) return new Illegal(parsed.failure.message)
  const { code, enhanced, lines } = parsed.success
  const input = { code, text: lines.map(ByteString.toText), ...(enhanced === undefined ? {} : { enhanced }) }
  const rendered = code[0] === "5"
    ? Reply.render(input as Reply.ReplyInput<"5">, "5")
    : Reply.render(input as Reply.ReplyInput<"4">, "4")
  if (Result.isFailure(rendered)) return new Illegal(rendered.failure.message)
  return code[0] === "5"
    ? Verdict.reject(input as Reply.ReplyInput<"5">)
    : Verdict.tempFail(input as Reply.ReplyInput<"4">)
}

const editOf = (packet: Packet.FilterPacket, leadingSpace: boolean): Edit | Illegal | undefined => {
  const modification = modificationOf(packet, leadingSpace)
  if (modification === undefined) return undefined
  const [edit, check] = modification
  const checked = toPacket(check, { leadingSpace, smtpUtf8: false })
  if (Result.isFailure(checked)) return new Illegal(checked.failure.message)
  return Packet.format(checked.success) === Packet.format(packet)
    ? edit
    : new Illegal(`${Packet.format(packet)}, which goes out as ${Packet.format(checked.success)}`)
}

/** How an author makes it, and what the editor makes of that. */
const modificationOf = (
  packet: Packet.FilterPacket,
  leadingSpace: boolean
): readonly [Edit, Modification] | undefined => {
  // What an author writes has no leading space; with that step the library puts it there.
  const text = (raw: ByteString) => ByteString.toText(raw).replace(leadingSpace ? /^ / : /^$/, "")
  switch (packet._tag) {
    case "AddHeader": {
      const { name } = packet
      const value = text(packet.value)
      return [(edit) => edit.addHeader(name, value), { _tag: "AddHeader", name, value }]
    }
    case "InsertHeader": {
      const { index, name } = packet
      const value = text(packet.value)
      return [(edit) => edit.insertHeader(index, name, value), { _tag: "InsertHeader", index, name, value }]
    }
    case "ChangeHeader": {
      const { index: occurrence, name } = packet
      const value = text(packet.value)
      return packet.value === ""
        ? [(edit) => edit.deleteHeader(name, occurrence), { _tag: "DeleteHeader", name, occurrence }]
        : [(edit) => edit.changeHeader(name, occurrence, value), { _tag: "ChangeHeader", name, occurrence, value }]
    }
    case "AddRecipient": {
      const address = new Mailbox(packet.recipient)
      return [(edit) => edit.addRecipient(address), { _tag: "AddRecipient", address }]
    }
    case "AddRecipientWithParameters": {
      const address = new Mailbox(packet.recipient)
      const parameters = packet.parameters ?? ""
      return [
        (edit) => edit.addRecipientWithParameters(address, parameters),
        { _tag: "AddRecipientWithParameters", address, parameters }
      ]
    }
    case "DeleteRecipient": {
      const address = new Mailbox(packet.recipient)
      return [(edit) => edit.deleteRecipient(address), { _tag: "DeleteRecipient", address }]
    }
    case "ChangeSender": {
      const address = new Mailbox(packet.sender)
      const { parameters } = packet
      return [(edit) => edit.changeSender(address, parameters), { _tag: "ChangeSender", address, parameters }]
    }
    case "Quarantine": {
      const reason = ByteString.toText(packet.reason)
      return [(edit) => edit.quarantine(reason), { _tag: "Quarantine", reason }]
    }
    default:
      return undefined
  }
}

interface Turn {
  readonly stage: Stage
  readonly packets: Array<Packet.FilterPacket>
}

/** The filter, or why there is none. */
export const make = (connection: Recording.Connection): Milter.Filter<never, never> | string => {
  const turns: Array<Turn> = []
  let steps = 0
  let stage: Stage | undefined
  for (const line of connection.lines) {
    if (line._tag === "Event") {
      if (line.event === "junk") return "bytes that are no frame"
      continue
    }
    if (!Recording.isComplete(line)) return "frames that were cut"
    const decoded = Recording.packet(line)
    if (Result.isFailure(decoded)) return decoded.failure.message
    const packet = decoded.success
    if (line.from === "mta") {
      if (packet._tag === "Macro") continue
      stage = stages[packet._tag as Packet.MtaPacket["_tag"]] // said by `from`
      if (stage !== undefined) turns.push({ stage, packets: [] })
    } else if (packet._tag === "Negotiated") {
      if (packet.version < 2) return `version ${packet.version}`
      steps = packet.steps
      // Ours always take it: messages begin there.
      if ((steps & Step.noMail) !== 0) return "no MAIL"
    } else if (packet._tag !== "Progress") {
      if (stage === undefined) return `${packet._tag} unasked`
      turns[turns.length - 1]!.packets.push(packet as Packet.FilterPacket) // said by `from`
    }
  }
  const answers = new Map<Stage, Array<Answer>>()
  for (const turn of turns) {
    const answer = answerOf(turn, (steps & Step.leadingSpace) !== 0)
    if (answer instanceof Illegal) return answer.why
    answers.set(turn.stage, [...(answers.get(turn.stage) ?? []), answer])
  }
  return filter(answers)
}

const answerOf = ({ packets, stage }: Turn, leadingSpace: boolean): Answer | Illegal => {
  const last = packets[packets.length - 1]
  if (last === undefined) return { verdict: Verdict.continue, edits: [] }
  const verdict = verdictOf(last, stage)
  if (verdict instanceof Illegal) return verdict
  const edits: Array<Edit> = []
  const body: Array<Uint8Array> = []
  let previous: string | undefined
  for (const packet of packets.slice(0, -1)) {
    if (packet._tag === "ReplaceBody") {
      if (body.length > 0 && previous !== "ReplaceBody") return new Illegal("something between two pieces of the body")
      body.push(packet.bytes)
    } else {
      const edit = editOf(packet, leadingSpace)
      if (edit === undefined) return new Illegal("more than one answer")
      if (edit instanceof Illegal) return edit
      edits.push(edit)
    }
    previous = packet._tag
  }
  if (previous !== undefined && stage !== "endOfMessage") return new Illegal(`a modification at ${stage}`)
  if (body.length > 0) edits.push((edit) => edit.replaceBody(concat(body)))
  return { verdict, edits }
}

const filter = (answers: ReadonlyMap<Stage, Array<Answer>>): Milter.Filter<never, never> => {
  const next = (stage: Stage): Answer => {
    const answer = answers.get(stage)?.shift()
    if (answer === undefined) throw new Error(`the recorded filter was not asked again at ${stage}`)
    return answer
  }
  // Which verdict is legal where has been looked at above.
  const at = <K extends Stage>(stage: K) => () => Effect.sync(() => next(stage).verdict as Verdict.ByStage[K])
  return Milter.make("mirror", {
    modify: capabilities,
    rejectedRecipients: true
  }).on({
    connect: at("connect"),
    helo: at("helo"),
    mail: at("mail"),
    rcpt: at("rcpt"),
    data: at("data"),
    header: at("header"),
    endOfHeaders: at("endOfHeaders"),
    body: at("body"),
    endOfMessage: (_, { edit }) =>
      Effect.suspend(() => {
        const { edits, verdict } = next("endOfMessage")
        return Effect.as(
          Effect.forEach(edits, (apply) => apply(edit), { discard: true }),
          verdict as Verdict.OfMessage // as above
        )
      }),
    unknown: at("unknown")
  }, {
    rejectedRecipient: () => Effect.sync(() => void next("rcpt"))
  })
}
