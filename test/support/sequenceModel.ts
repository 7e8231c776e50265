/**
 * What a sequence of filters has to do, told as plainly as possible: filters are in a row, each takes its turn.
 * The engine does the same while commands come in, and without going over things twice.
 */
import * as Delivery from "effect-milter/Delivery"
import type { Mailbox } from "effect-milter/Envelope"
import * as Milter from "effect-milter/Milter"
import type { ModificationPacket } from "effect-milter/MilterClient"
import type { Editor } from "effect-milter/Modification"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as postfixQueue from "../../src/internal/delivery/postfixQueue.ts"
import * as sendmailQueue from "../../src/internal/delivery/sendmailQueue.ts"
import { order } from "./names.ts"
import type { Random } from "./random.ts"

type Stage = typeof order[number]

export type Edit =
  | { readonly do: "add"; readonly name: string; readonly value: string }
  | { readonly do: "insert"; readonly at: number; readonly name: string; readonly value: string }
  | { readonly do: "change"; readonly name: string; readonly occurrence: number; readonly value: string }
  | { readonly do: "delete"; readonly name: string; readonly occurrence: number }
  | { readonly do: "body"; readonly text: string }
  | { readonly do: "sender"; readonly address: string }

/** A filter that looks at some stages, and has its mind made up. */
export interface Script {
  readonly name: string
  readonly sees: ReadonlySet<Stage>
  /** Its verdict at a stage, for the message or recipient of that number. */
  readonly verdicts: ReadonlyMap<Stage, { readonly tag: Verdict.Verdict["_tag"]; readonly when: number }>
  /** Undefined for a filter that declares no modification. */
  readonly edits: ReadonlyArray<Edit> | undefined
}

export interface Sent {
  readonly sender: string
  readonly recipients: ReadonlyArray<string>
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly pieces: ReadonlyArray<string>
}

// --- random scripts

const legal: { readonly [K in Stage]: ReadonlyArray<Verdict.Verdict["_tag"]> } = {
  connect: ["AcceptConnection"],
  helo: ["AcceptConnection"],
  mail: ["Reject", "TempFail", "AcceptMessage", "DiscardMessage"],
  rcpt: ["Reject", "TempFail", "Reject", "AcceptMessage", "DiscardMessage"],
  data: ["Reject", "TempFail", "AcceptMessage"],
  header: ["Reject", "TempFail", "AcceptMessage", "DiscardMessage"],
  endOfHeaders: ["Reject", "TempFail", "AcceptMessage"],
  body: ["Reject", "SkipBody", "SkipBody", "AcceptMessage"],
  endOfMessage: ["Reject", "TempFail", "AcceptMessage", "DiscardMessage"]
}

const names = ["X-One", "X-Two", "Subject"]

const edit = (random: Random, mta: "postfix" | "sendmail"): Edit => {
  const name = random.pick(names)
  const value = `value ${random.between(0, 99)}`
  switch (random.between(mta === "postfix" ? 0 : 1, 5)) {
    case 0:
      return { do: "add", name, value }
    case 1:
      return { do: "insert", at: random.pick(mta === "postfix" ? [0, 1, 2, 3, 99] : [0, 1, 9999]), name, value }
    case 2:
      return { do: "change", name, occurrence: random.between(1, 3), value }
    case 3:
      // Sendmail goes on counting fields that are gone.
      return { do: "delete", name, occurrence: mta === "postfix" ? random.between(1, 3) : 1 }
    case 4:
      return { do: "body", text: `new body ${value}\r\n` }
    default:
      return { do: "sender", address: `${random.pick(["carol", "dave"])}@example.net` }
  }
}

export const script = (random: Random, name: string, mta: "postfix" | "sendmail"): Script => {
  const verdicts = new Map<Stage, { readonly tag: Verdict.Verdict["_tag"]; readonly when: number }>()
  if (random.chance(0.4)) {
    const stage = random.pick(order)
    verdicts.set(stage, { tag: random.pick(legal[stage]), when: random.between(0, 2) })
  }
  const sees = new Set(order.filter((stage) => verdicts.has(stage) || random.chance(0.5)))
  const edits = random.chance(0.6) ? Array.from({ length: random.between(0, 3) }, () => edit(random, mta)) : undefined
  if (edits !== undefined) sees.add("endOfMessage")
  return { name, sees, verdicts, edits }
}

// --- as a filter

const verdictOf: { readonly [K in Verdict.Verdict["_tag"]]: Verdict.Verdict } = {
  Continue: Verdict.continue,
  Reject: Verdict.reject(),
  TempFail: Verdict.tempFail(),
  AcceptConnection: Verdict.acceptConnection,
  AcceptMessage: Verdict.acceptMessage,
  DiscardMessage: Verdict.discardMessage,
  SkipBody: Verdict.skipBody
}

const capabilities = [
  "addHeader",
  "insertHeader",
  "changeHeader",
  "deleteHeader",
  "replaceBody",
  "changeSender"
] as const

const carryOut = (edits: Pick<Editor, typeof capabilities[number]>, edit: Edit): Effect.Effect<void> => {
  switch (edit.do) {
    case "add":
      return edits.addHeader(edit.name, edit.value)
    case "insert":
      return edits.insertHeader(edit.at, edit.name, edit.value)
    case "change":
      return edits.changeHeader(edit.name, edit.occurrence, edit.value)
    case "delete":
      return edits.deleteHeader(edit.name, edit.occurrence)
    case "body":
      return edits.replaceBody(new TextEncoder().encode(edit.text))
    case "sender":
      return edits.changeSender(edit.address)
  }
}

/** The script as a real filter that writes down what it sees, and how its messages end. */
export const filterOf = ({ edits, name, sees, verdicts }: Script, log: Array<string>) => {
  const counts = new Map<Stage, number>()
  const decide = (stage: Stage): Verdict.Verdict => {
    const count = counts.get(stage) ?? 0
    counts.set(stage, count + 1)
    const planned = verdicts.get(stage)
    return planned !== undefined && planned.when === count ? verdictOf[planned.tag] : Verdict.continue
  }
  const hook = (stage: Stage, describe: (event: never, at: never) => string) =>
    sees.has(stage)
      ? {
        [stage]: (event: never, at: { readonly edit: never }) =>
          Effect.gen(function*() {
            log.push(`${name} ${stage} ${describe(event, at as never)}`.trim())
            if (stage === "endOfMessage") {
              for (const edit of edits ?? []) yield* carryOut(at.edit, edit)
            }
            return decide(stage)
          })
      }
      : {}
  interface Rcpt {
    readonly recipient: Mailbox
  }
  const answers = {
    ...hook("connect", () => ""),
    ...hook("helo", () => ""),
    ...hook("mail", () => ""),
    ...hook("rcpt", ({ recipient }: Rcpt) => recipient.address),
    ...hook(
      "data",
      (_, { envelope }: { readonly envelope: { readonly recipients: ReadonlyArray<Rcpt> } }) =>
        envelope.recipients.map(({ recipient }) => recipient.address).join(",")
    ),
    ...hook("header", ({ name, value }: { readonly name: string; readonly value: string }) => `${name}: ${value}`),
    ...hook("endOfHeaders", () => ""),
    ...hook("body", ({ bytes }: { readonly bytes: Uint8Array }) => new TextDecoder().decode(bytes).trim()),
    ...hook("endOfMessage", () => "")
  }
  return Milter.make(name, {
    ...(edits === undefined ? {} : { modify: capabilities }),
    message: () =>
      Effect.addFinalizer((exit) =>
        Effect.sync(() => {
          const outcome = Milter.outcome(exit)
          log.push(`${name} ends ${outcome._tag === "Some" ? outcome.value._tag : "aborted"}`)
        })
      )
  }).on(answers)
}

// --- the filters in a row

const packetOf = (edit: Edit, leadingSpace: boolean): ModificationPacket => {
  const text = ByteString.fromText
  const value = (value: string) => text(leadingSpace ? ` ${value}` : value)
  switch (edit.do) {
    case "add":
      return { _tag: "AddHeader", name: text(edit.name), value: value(edit.value) }
    case "insert":
      return { _tag: "InsertHeader", index: edit.at, name: text(edit.name), value: value(edit.value) }
    case "change":
      return { _tag: "ChangeHeader", index: edit.occurrence, name: text(edit.name), value: value(edit.value) }
    case "delete":
      return { _tag: "ChangeHeader", index: edit.occurrence, name: text(edit.name), value: text("") }
    case "body":
      return { _tag: "ReplaceBody", bytes: new TextEncoder().encode(edit.text) }
    case "sender":
      return { _tag: "ChangeSender", sender: text(`<${edit.address}>`) }
  }
}

/** The body packets of one filter come together, and the last body it gave counts. */
const packetsOf = (edits: ReadonlyArray<Edit>, leadingSpace: boolean): ReadonlyArray<ModificationPacket> => {
  const packets = edits.map((edit) => packetOf(edit, leadingSpace))
  const bodies = packets.filter(({ _tag }) => _tag === "ReplaceBody")
  return [...packets.filter(({ _tag }) => _tag !== "ReplaceBody"), ...bodies.slice(-1)]
}

export const delivered = (
  mta: "postfix" | "sendmail",
  message: Delivery.Message,
  packets: ReadonlyArray<ModificationPacket>,
  leadingSpace: boolean
): Delivery.Delivered =>
  Result.getOrThrow((mta === "postfix" ? Delivery.postfix : Delivery.sendmail)(message, packets, { leadingSpace }))

export const asMessage = ({ headers, pieces, sender }: Sent, recipients: ReadonlyArray<string>): Delivery.Message => ({
  sender: ByteString.fromText(sender),
  recipients: recipients.map((address) => ({ address: ByteString.fromText(address), parameters: undefined })),
  headers: headers.map(([name, value]) => ({
    name: ByteString.fromText(name),
    value: ByteString.fromText(` ${value}`)
  })),
  body: new TextEncoder().encode(pieces.join(""))
})

export interface Expected {
  /** The answer to each command up to the end of the message or session. */
  readonly replies: ReadonlyArray<string>
  readonly log: ReadonlyArray<string>
  readonly message: Delivery.Message | undefined
}

interface Actor extends Script {
  out: boolean
  readonly counts: Map<Stage, number>
}

export class Model {
  private readonly mta: "postfix" | "sendmail"
  private readonly leadingSpace: boolean
  private readonly actors: ReadonlyArray<Actor>
  private log: Array<string> = []

  constructor(mta: "postfix" | "sendmail", scripts: ReadonlyArray<Script>, leadingSpace: boolean) {
    this.mta = mta
    this.leadingSpace = leadingSpace
    this.actors = scripts.map((script) => ({ ...script, out: false, counts: new Map() }))
  }

  private turn(actor: Actor, stage: Stage, detail = ""): Verdict.Verdict["_tag"] {
    if (!actor.sees.has(stage)) return "Continue"
    this.log.push(`${actor.name} ${stage} ${detail}`.trim())
    const count = actor.counts.get(stage) ?? 0
    actor.counts.set(stage, count + 1)
    const planned = actor.verdicts.get(stage)
    return planned !== undefined && planned.when === count ? planned.tag : "Continue"
  }

  /** Connect and helo: here filters can only leave. */
  session(): { readonly replies: ReadonlyArray<string>; readonly log: ReadonlyArray<string> } {
    this.log = []
    const replies: Array<string> = []
    for (const stage of ["connect", "helo"] as const) {
      const left = this.actors.every(({ out }) => out)
      for (const actor of this.actors) {
        if (!actor.out && this.turn(actor, stage) === "AcceptConnection") actor.out = true
      }
      replies.push(!left && this.actors.every(({ out }) => out) ? "Accept" : "Continue")
      if (replies.at(-1) === "Accept") break
    }
    return { replies, log: this.log }
  }

  message(sent: Sent): Expected {
    this.log = []
    const replies: Array<string> = []
    const left = new Set(this.actors.filter(({ out }) => out))
    const joined: Array<Actor> = []
    const ends = (outcome: string, message?: Delivery.Message): Expected => {
      for (const { name } of joined.toReversed()) this.log.push(`${name} ends ${outcome}`)
      return { replies, log: this.log, message }
    }
    const wire: { readonly [K in Verdict.Verdict["_tag"]]?: string } = {
      Reject: "Reject",
      TempFail: "TempFail",
      DiscardMessage: "Discard"
    }
    const outcomes: { readonly [K in Verdict.Verdict["_tag"]]?: string } = {
      Reject: "Rejected",
      TempFail: "TempFailed",
      DiscardMessage: "Discarded"
    }
    /** The verdict of the first who has a final one. */
    const ask = (actors: ReadonlyArray<Actor>, stage: Stage, detail?: string): Verdict.Verdict["_tag"] => {
      for (const actor of actors) {
        if (left.has(actor)) continue
        const verdict = this.turn(actor, stage, detail)
        if (verdict === "AcceptMessage") left.add(actor)
        else if (wire[verdict] !== undefined) return verdict
      }
      return "Continue"
    }
    const all = (): boolean => this.actors.every((actor) => left.has(actor))
    /** What is said to the MTA; undefined while the message goes on. */
    const after = (verdict: Verdict.Verdict["_tag"], goesOn = "Continue"): Expected | undefined => {
      const final = wire[verdict]
      if (final !== undefined) {
        replies.push(final)
        return ends(outcomes[verdict]!)
      }
      if (!all()) {
        replies.push(goesOn)
        return undefined
      }
      replies.push("Accept")
      return ends("Accepted")
    }

    // MAIL
    let verdict: Verdict.Verdict["_tag"] = "Continue"
    for (const actor of this.actors) {
      joined.push(actor)
      // Its state is not built for a session that it has left.
      if (left.has(actor)) joined.pop()
      else verdict = ask([actor], "mail")
      if (wire[verdict] !== undefined) break
    }
    const refused = after(verdict)
    if (refused !== undefined) return refused
    // RCPT
    const recipients: Array<string> = []
    for (const recipient of sent.recipients) {
      const verdict = ask(this.actors, "rcpt", recipient)
      if (verdict === "Reject" || verdict === "TempFail") {
        replies.push(verdict)
        continue
      }
      recipients.push(recipient)
      const ended = after(verdict)
      if (ended !== undefined) return ended
    }
    if (recipients.length === 0) return ends("aborted")
    const ended = after(ask(this.actors, "data", recipients.join(",")))
    if (ended !== undefined) return ended

    // The content, to one group of filters after the other.
    const groups: Array<Array<Actor>> = [[]]
    for (const actor of this.actors) {
      groups.at(-1)!.push(actor)
      if (actor.edits !== undefined) groups.push([])
    }
    const file = (this.mta === "postfix" ? postfixQueue : sendmailQueue).make(asMessage(sent, recipients))
    let message = file.shown()
    for (const [index, group] of groups.entries()) {
      const isFirst = index === 0
      const say = (verdict: Verdict.Verdict["_tag"], goesOn?: string): Expected | undefined => {
        if (isFirst) return after(verdict, goesOn)
        return wire[verdict] === undefined ? undefined : after(verdict)
      }
      for (const { name, value } of message.headers) {
        const ended = say(ask(group, "header", `${name}:${value}`))
        if (ended !== undefined) return ended
      }
      const ended = say(ask(group, "endOfHeaders"))
      if (ended !== undefined) return ended
      const skipped = new Set<Actor>()
      const isKept = groups.slice(1).some((later) => later.some(({ sees }) => sees.has("body")))
      for (const piece of isFirst ? sent.pieces : [new TextDecoder().decode(message.body)]) {
        let verdict: Verdict.Verdict["_tag"] = "Continue"
        for (const actor of group) {
          if (left.has(actor) || skipped.has(actor)) continue
          const said = this.turn(actor, "body", piece.trim())
          if (said === "SkipBody") skipped.add(actor)
          else if (said === "AcceptMessage") left.add(actor)
          else if (wire[said] !== undefined) {
            verdict = said
            break
          }
        }
        const isSkipped = isFirst && !isKept && skipped.size > 0 &&
          group.every((actor) => left.has(actor) || skipped.has(actor) || !actor.sees.has("body"))
        const ended = say(verdict, isSkipped ? "Skip" : "Continue")
        if (ended !== undefined) return ended
        if (isSkipped) break
      }
      for (const actor of group) {
        if (left.has(actor)) continue
        const verdict = this.turn(actor, "endOfMessage")
        if (wire[verdict] !== undefined) return after(verdict)!
        if (verdict === "AcceptMessage") left.add(actor)
        file.apply(packetsOf(actor.edits ?? [], this.leadingSpace), this.leadingSpace)
        message = file.shown()
      }
    }
    replies.push(all() ? "Accept" : "Continue")
    return ends("Accepted", file.delivered())
  }
}
