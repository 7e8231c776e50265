/**
 * Sessions as Postfix and Sendmail have them, by seed: an MTA that reacts to the answers of its filter as these two do. All
 * is legal for an MTA; what it says is as odd as SMTP clients can make it.
 */
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import type { Random } from "../support/random.ts"
import type { Difference } from "./differences.ts"
import type { Driver } from "./driver.ts"
import type { Variant } from "./filter.ts"
import { Utterances } from "./utterances.ts"

export interface Mta {
  readonly style: "postfix" | "sendmail"
  readonly offer: { readonly version: number; readonly actions: number; readonly steps: number }
}

/** Postfix 2.3, which sends the last piece of the body with the end of the message. */
const postfix23 = { version: 2, actions: 0x3d, steps: 0x7f }

/** What the releases of the last twenty years offer. */
export const mtas: ReadonlyArray<Mta> = [
  { style: "postfix", offer: { version: 6, actions: 0x1ff, steps: 0x1fffff } },
  { style: "postfix", offer: { version: 6, actions: 0x1ff, steps: 0x1fffff } },
  { style: "sendmail", offer: { version: 6, actions: 0x1ff, steps: 0x1fffff } },
  { style: "sendmail", offer: { version: 6, actions: 0x1ff, steps: 0x1fffff } },
  { style: "sendmail", offer: { version: 6, actions: 0xff, steps: 0x1fffff } },
  { style: "sendmail", offer: { version: 2, actions: 0x3f, steps: 0x7f } },
  { style: "sendmail", offer: { version: 2, actions: 0x1f, steps: 0x7f } },
  { style: "postfix", offer: postfix23 },
  { style: "postfix", offer: { version: 2, actions: 0x3f, steps: 0x7f } },
  { style: "postfix", offer: { version: 2, actions: 0x13f, steps: 0x7f } },
  { style: "postfix", offer: { version: 6, actions: 0x13f, steps: 0x1ff7ff } },
  { style: "postfix", offer: { version: 2, actions: 0x1ff, steps: 0x7f } },
  { style: "postfix", offer: { version: 3, actions: 0x1ff, steps: 0x17f } },
  { style: "postfix", offer: { version: 4, actions: 0x1ff, steps: 0x37f } },
  { style: "postfix", offer: { version: 4, actions: 0x1ff, steps: 0x3ff } },
  // What Stalwart offers unless told otherwise, twice: a Sendmail that was built for larger packets has a script of its own.
  { style: "sendmail", offer: { version: 6, actions: 0xff, steps: 0x42 } },
  { style: "sendmail", offer: { version: 6, actions: 0xff, steps: 0x42 } }
]

const isFinal = (verdict: string): boolean => "artyd".includes(verdict)
const isRefusal = (verdict: string): boolean => "rty".includes(verdict)

interface World {
  readonly driver: Driver
  readonly random: Random
  readonly mta: Mta
  readonly say: Utterances
  /** Whether the filter is asked for anything but to continue. */
  readonly lively: boolean
  /** Where it is asked for that in this message. */
  readonly at: Target | undefined
  readonly tls: boolean
  /** Whether libmilter answers an end of message with body data as it should: see the script on that. */
  readonly bodyAtEnd: boolean
  /** Mail from the MTA's own host, which has to be free of refused recipients: see the script on local mail. */
  readonly local: boolean
}

const targets = ["mail", "rcpt", "data", "header", "endOfHeaders", "body", "endOfMessage", "late"] as const

type Target = (typeof targets)[number]

const sends = ({ driver }: World, step: number): boolean => !driver.has(step)

/** Runs a session of this MTA on open connections. */
export const run = Effect.fnUntraced(function*(driver: Driver, random: Random, variant: Variant, mta: Mta) {
  const lively = random.chance(0.85)
  const tls = random.chance(0.3)
  const agreed = yield* driver.ask(
    { _tag: "Negotiate", ...mta.offer },
    variant.mode === "macros" ? "Macro lists" : undefined
  )
  // The filter demands more than this MTA has.
  if (agreed === "") return yield* driver.end("close")
  const bodyAtEnd = mta.offer === postfix23 && (variant.steps & Step.noReplyBody) === 0
  while (true) {
    const say = new Utterances(random, mta.style)
    const local = random.chance(0.1)
    const last = yield* smtpSession({ driver, random, mta, say, lively, at: undefined, tls, bodyAtEnd, local })
    // Neither MTA does that, but libmilter takes it after a message that may pass and an unknown command.
    if ((last === "E" || last === "U") && random.chance(0.1)) {
      driver.tell({ _tag: "QuitNewConnection" })
      continue
    }
    if (mta.style === "postfix" && last !== "over") {
      for (let times = random.between(0, 2); times > 0; times--) driver.tell({ _tag: "Abort" })
    }
    return yield* driver.end(random.chance(0.7) ? "quit" : "close")
  }
})

/** What is defined for a command goes ahead of it, also of one that then is not sent. */
const define = (world: World, letter: string, packet?: Packet.MtaPacket, firstRecipient = false): void => {
  const { driver, say, tls } = world
  const macros = say.macros(letter, packet === undefined ? { tls, firstRecipient } : { tls, firstRecipient, packet })
  if (macros !== undefined) driver.tell(macros)
}

/** The letter of the last command, or `over` when the filter has settled the whole session. */
const smtpSession = Effect.fnUntraced(function*(world: World) {
  const { driver, lively, local, mta, random, say } = world
  define(world, "C")
  const welcome = yield* driver.ask(say.connect(say.wish("connection", lively ? 0.1 : 0), local))
  if (isFinal(welcome)) return "over"
  let last = "C"
  for (let times = random.pick([0, 1, 1, 1, 2]); times > 0; times--) {
    const greeting = yield* helo(world)
    last = "H"
    if (greeting === "a" || (isRefusal(greeting) && mta.style === "postfix")) return "over"
    // Sendmail refuses what follows by itself, but for another HELO.
    if (isRefusal(greeting) && times === 1) return last
  }
  for (let messages = random.pick([0, 1, 2, 3, 4]); messages > 0; messages--) {
    if (random.chance(0.15)) last = yield* unknown(world, last)
    // RSET: Postfix hands it on wherever it comes, Sendmail only within a message.
    if (mta.style === "postfix" && random.chance(0.15)) driver.tell({ _tag: "Abort" })
    last = yield* message({ ...world, at: lively && random.chance(0.85) ? random.pick(targets) : undefined })
    if (last === "over") return last
    if (mta.style === "postfix") {
      driver.tell({ _tag: "Abort" })
      last = "A"
    }
    if (random.chance(0.1)) {
      const greeting = yield* helo(world)
      last = "H"
      if (greeting !== "c") return "over"
      if (mta.style === "postfix") {
        driver.tell({ _tag: "Abort" })
        last = "A"
      }
    }
  }
  return random.chance(0.1) ? yield* unknown(world, last) : last
})

const helo = (world: World) => {
  define(world, "H")
  return world.driver.ask(world.say.helo(world.say.wish("connection", world.lively ? 0.08 : 0)))
}

const unknown = Effect.fnUntraced(function*(world: World, last: string) {
  const { driver, lively, mta, say } = world
  if (mta.offer.version < 3 || !sends(world, Step.noUnknown)) return last
  define(world, "U")
  yield* driver.ask(say.unknown(say.wish("connection", lively ? 0.5 : 0)))
  return "U"
})

/** A refused message, or one that a client gives up, ends with an abort for Sendmail too; for Postfix all do. */
const giveUp = ({ driver, mta }: World): string => {
  if (mta.style === "sendmail") driver.tell({ _tag: "Abort" })
  return "A"
}

const refusals = ["reject", "tempfail", "discard", "reply550", "reply451", "multi554"]
const verdicts = ["accept", ...refusals]

/** The letter of the last command; `over` if a HELO in between was refused. */
const message = Effect.fnUntraced(function*(world: World) {
  const { at, driver, random, say } = world
  // Stages without an input of their own are asked for in the sender.
  const later = at === "data"
    ? [`data-${random.pick(verdicts)}`]
    : at === "endOfHeaders"
    ? [`eoh-${random.pick(verdicts)}`]
    : at === "endOfMessage"
    ? [`eom-${random.pick(verdicts)}`]
    : at === "late"
    ? [`eom-late${random.pick(refusals)}`]
    : []
  const mail = say.mail(say.wish("message", at === "mail" ? 1 : 0), later)
  define(world, "M", mail)
  if (isFinal(yield* driver.ask(mail))) return "M"

  const envelope = yield* recipients(world)
  if (envelope !== "R" && envelope !== "U") return envelope
  const data = yield* askData(world, envelope)
  return data.last === "over" ? "T" : data.last === "A" ? "A" : yield* content(world, data.known)
})

/** `M` if a verdict ended the message, `A` if the client gave it up, `over`, or else the last command. */
const recipients = Effect.fnUntraced(function*(world: World) {
  const { at, driver, local, mta, random, say } = world
  let accepted = 0
  let last = "M"
  for (let count = random.pick([1, 1, 1, 2, 3, 6]); count > 0; count--) {
    if (random.chance(0.03)) last = yield* unknown(world, last)
    const rcpt = say.rcpt(say.wish("message", at === "rcpt" && !local ? 0.5 : 0))
    if (random.chance(0.1)) {
      const rejected = refusedByMta()
      driver.tell(rejected)
      // Otherwise it is hidden from the filter, and Sendmail defines its macros all the same.
      if (driver.has(Step.rejectedRecipients)) {
        yield* driver.ask(rcpt)
        last = "R"
      }
      continue
    }
    define(world, "R", rcpt, accepted === 0)
    const verdict = yield* driver.ask(rcpt)
    last = "R"
    if (verdict === "a" || verdict === "d") return "M"
    if (verdict === "c") accepted++
    if (random.chance(0.03)) {
      // EHLO in the middle: Postfix sends the abort after it, Sendmail before it.
      if (mta.style === "sendmail") driver.tell({ _tag: "Abort" })
      const greeting = yield* helo(world)
      if (mta.style === "postfix") driver.tell({ _tag: "Abort" })
      return greeting === "c" ? "A" : "over"
    }
  }
  if (random.chance(0.03)) last = yield* unknown(world, last)
  return accepted === 0 || random.chance(0.05) ? giveUp(world) : last
})

const refusedByMta = (): Packet.Macro => ({
  _tag: "Macro",
  stage: ByteString.fromText("R"),
  macros: [["{rcpt_mailer}", "error"], ["{rcpt_host}", "5.1.1"], ["{rcpt_addr}", "User unknown"]].map(
    ([name, value]) => ({ name: ByteString.fromText(name!), value: ByteString.fromText(value!) })
  )
})

/** DATA; a client may try again when it is refused. `known` is the difference that may show from here on. */
const askData = Effect.fnUntraced(function*(world: World, before: string) {
  const { driver, mta, random } = world
  let known: Difference | undefined
  const taken = mta.offer.version >= 4 && sends(world, Step.noData)
  if (mta.offer.version >= 4) define(world, "T")
  if (!taken) {
    if (before === "U") known = "An unknown command before the content"
    return { last: before, known }
  }
  const verdict = yield* driver.ask({ _tag: "Data" })
  if (!isRefusal(verdict)) return { last: isFinal(verdict) ? "over" : "T", known }
  const between = random.chance(0.3) ? yield* unknown(world, "T") : "T"
  if (random.chance(0.5)) return { last: giveUp(world), known }
  if (between !== "U") known = "DATA again"
  define(world, "T")
  const second = yield* driver.ask({ _tag: "Data" }, known)
  return { last: isFinal(second) ? "over" : "T", known }
})

const content = Effect.fnUntraced(function*(world: World, envelope: Difference | undefined) {
  const { at, driver, random, say } = world
  const leadingSpace = driver.has(Step.leadingSpace)
  let known = envelope
  let newBody = false
  if (sends(world, Step.noHeaders)) {
    const edits = say.edits(leadingSpace)
    newBody = edits.some(({ value }) => value.includes("body"))
    const fields = Array.from(
      { length: random.between(0, 8) },
      () => say.header(say.wish("message", at === "header" ? 0.4 : 0), leadingSpace)
    )
    if (fields.length + edits.length === 0 && !sends(world, Step.noEndOfHeaders)) known ??= "A message without a header"
    for (const field of [...fields, ...edits]) {
      define(world, "L")
      if (isFinal(yield* driver.ask(field, known))) return "L"
      if (random.chance(0.002)) return giveUp(world)
    }
  }
  if (sends(world, Step.noEndOfHeaders)) {
    define(world, "N")
    if (isFinal(yield* driver.ask({ _tag: "EndOfHeaders" }, known))) return "N"
  }
  const bytes = yield* body(world, known)
  if (bytes === undefined) return "B"
  define(world, "E")
  const changes = at === "late" ? "Changes before a refusal" : newBody ? "The new body" : undefined
  const verdict = yield* driver.ask({ _tag: "EndOfMessage", bytes }, known, changes)
  return verdict === "c" && known === undefined ? "E" : "M"
})

/** Sends the body; gives what is left of it for the end of message, or undefined if a verdict ended the message. */
const body = Effect.fnUntraced(function*(world: World, known: Difference | undefined) {
  const { at, bodyAtEnd, driver, random, say } = world
  const nothing = new Uint8Array(0)
  if (!sends(world, Step.noBody)) return nothing
  const pieces = [...say.body()]
  const word = say.wish("body", at === "body" ? 1 : 0)
  if (word !== undefined) pieces.splice(random.between(0, pieces.length), 0, say.piece(word))
  // A piece with a wish would be answered twice: see the script on body data in the end of message.
  const end = bodyAtEnd && random.chance(0.5) ? ByteString.toBytes(ByteString.fromText("the end\r\n")) : nothing
  for (const bytes of pieces) {
    define(world, "B")
    const verdict = yield* driver.ask({ _tag: "Body", bytes }, known)
    if (isFinal(verdict)) return undefined
    if (verdict === "s") return nothing
  }
  return end
})
