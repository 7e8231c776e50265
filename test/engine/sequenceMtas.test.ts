/** A sequence beside the same filters as milters of their own, with each imitated MTA: what they see, and what arrives. */
import { assert, describe } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import * as MilterTest from "effect-milter/MilterTest"
import type { Envelope, Session } from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { dialerOf, type Dialing } from "../../src/internal/net/dialer.ts"
import { listenerOf } from "../../src/internal/net/listener.ts"
import * as memoryNetwork from "../../src/internal/net/memoryNetwork.ts"
import { effect } from "../support/yielding.ts"

const newBody = `${"a line of the new body\r\n".repeat(6000)}its last line\r\n`

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: [
    "bob@example.net",
    { address: "nobody@example.net", refused: { enhanced: "5.1.1", text: "User unknown" } },
    "spam@example.net",
    "carol@example.net"
  ],
  headers: [["X-Note", "one"], ["Subject", "first"], ["X-Note", " two, with a space"], ["X-Folded", "one\n\ttwo"]],
  body: "Hello, Bob.\r\n".repeat(8000)
}

/** What a filter has seen; each has a list of its own, so that its place in the sequence does not matter. */
type Notes = { [filter: string]: Array<string> }

const noteIn = (notes: Notes, filter: string) => (line: string) =>
  Effect.sync(() => void (notes[filter] ??= []).push(line))

/** Puts in, changes and takes out headers; gives another body where it can. */
const editing = (notes: Notes) =>
  Milter.make("editing", {
    modify: ["insertHeader", "changeHeader", "deleteHeader"],
    modifyIfOffered: ["replaceBody"]
  }).on({
    endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
      yield* edit.deleteHeader("X-Note", 1)
      yield* edit.changeHeader("Subject", 1, "second\n and folded")
      yield* edit.insertHeader(0, "X-Top", "above")
      if (Option.isSome(edit.replaceBody)) yield* edit.replaceBody.value(new TextEncoder().encode(newBody))
      yield* noteIn(notes, "editing")(Option.isSome(edit.replaceBody) ? "replaces" : "does not replace")
      return Verdict.continue
    })
  })

const told = ({ macros }: Session, ...names: ReadonlyArray<string>) =>
  names.map((name) => `${name}=${macros.get(name)}`).join(" ")

/** Only in a sequence does a filter know of recipients that a later one has refused. */
const recipientsOf = ({ recipients }: Envelope): string =>
  recipients.map(({ recipient }) => recipient.address).filter((address) => address !== "spam@example.net").join(", ")

/** Looks at all there is, with macros of its own choice, and refused recipients too. */
const asking = (notes: Notes) => {
  const note = noteIn(notes, "asking")
  let body = ""
  return Milter.make("asking", {
    rejectedRecipients: true,
    macros: { connect: ["{client_ptr}"], rcpt: ["{rcpt_addr}"] },
    modify: ["addHeader"]
  }).on({
    rcpt: ({ recipient }, { session }) =>
      Effect.as(note(`rcpt ${recipient.address} ${told(session, "rcpt_addr")}`), Verdict.continue),
    endOfMessage: (_, { edit, envelope }) =>
      note(`to ${recipientsOf(envelope)}: ${body}`).pipe(
        Effect.andThen(edit.addHeader("X-Asked", "yes")),
        Effect.as(Verdict.continue)
      )
  }, {
    connect: (_, { session }) => note(`connect ${told(session, "client_ptr")}`),
    rejectedRecipient: ({ enhanced, recipient, text }) => note(`refused ${recipient.address} ${enhanced} ${text}`),
    header: ({ name, raw, value }) => note(`header ${name}:${raw.replace(/^ /, "")} is ${value}`),
    body: ({ bytes }) =>
      Effect.sync(() => {
        body += new TextDecoder().decode(bytes)
      })
  })
}

/** Has enough of the body after its first piece, and does not like one recipient. */
const skipping = (notes: Notes) => {
  const note = noteIn(notes, "skipping")
  return Milter.make("skipping").on({
    rcpt: ({ recipient }) =>
      Effect.as(
        note(`rcpt ${recipient.address}`),
        recipient.localPart === "spam" ? Verdict.reject({ text: "no" }) : Verdict.continue
      ),
    header: ({ name, value }) => Effect.as(note(`header ${name}: ${value}`), Verdict.continue),
    body: ({ bytes }) => Effect.as(note(`body begins with ${bytes.subarray(0, 6).join(" ")}`), Verdict.skipBody)
  }, {
    mail: (_, { session }) => note(`mail ${told(session, "j", "mail_addr")}`)
  })
}

/** The same on one connection and on one each. The filters are made anew, since they keep what they see. */
const asSequence = (filters: Filters, as: MilterClient.Mta) =>
  Effect.gen(function*() {
    const notes: Notes = {}
    const outcome = yield* MilterTest.message(Milter.sequence(filters.map((make) => make(notes))), message, { as })
    return { notes, ...resultOf(outcome) }
  })

const asChain = (filters: Filters, as: MilterClient.Mta) =>
  Effect.gen(function*() {
    const notes: Notes = {}
    const dialers = new Map<string, Dialing>()
    for (const [index, make] of filters.entries()) {
      const { dialer, listener } = memoryNetwork.make(`memory:${index}`)
      dialers.set(`memory:${index}`, dialer)
      yield* Layer.build(
        Layer.provide(MilterServer.layer(make(notes)), Layer.succeed(MilterServer.Listener, listenerOf(listener)))
      )
    }
    const dialer: Dialing = {
      reaches: "memory",
      dial: (address) => Effect.suspend(() => dialers.get(address)!.dial(address))
    }
    const chain = yield* MilterClient.chain([...dialers.keys()], { as }).pipe(
      Effect.provideContext(Context.make(MilterClient.Dialer, dialerOf(dialer)))
    )
    const outcome = yield* chain.sendMessage(message)
    yield* chain.quit()
    return { notes, ...resultOf(outcome) }
  }).pipe(Effect.scoped)

type Filters = ReadonlyArray<(notes: Notes) => Milter.Filter<never, never>>

const resultOf = ({ delivered, recipients }: MilterClient.Outcome) => ({
  refused: recipients.filter(({ answer }) => answer._tag === "Reply").map(({ address }) => address),
  fields: delivered?.headers.map(({ name, value }) => `${name}:${value}`),
  body: delivered === undefined ? undefined : ByteString.fromBytes(delivered.body),
  recipients: delivered?.recipients.map(({ address }): string => address).toSorted()
})

describe("a sequence", () => {
  for (const as of MilterTest.mtas) {
    for (
      const [order, filters] of Object.entries<Filters>({
        "an editor in front": [editing, asking, skipping],
        "an editor between": [skipping, editing, asking],
        "an editor behind": [asking, skipping, editing]
      })
    ) {
      effect(
        `is what its filters are as milters of their own: ${order}, with ${as.name}`,
        () =>
          Effect.gen(function*() {
            const sequence = yield* asSequence(filters, as)
            assert.deepStrictEqual(sequence, yield* asChain(filters, as))

            // And both are what was meant.
            const replaces = sequence.notes["editing"]![0] === "replaces"
            assert.strictEqual(replaces, !as.name.startsWith("Postfix 2.3"))
            const body = replaces ? newBody : message.body
            assert.strictEqual(sequence.body, body)
            assert.deepStrictEqual(sequence.recipients, ["bob@example.net", "carol@example.net"])
            const asked = sequence.notes["asking"]!
            assert.strictEqual(
              asked.at(-1)!.slice(asked.at(-1)!.indexOf(": ") + 2),
              filters.indexOf(asking) > filters.indexOf(editing) ? body : message.body
            )
            const tops = Object.values(sequence.notes).flat().filter((line) => line.startsWith("header X-Top"))
            assert.strictEqual(tops.length, filters.length - 1 - filters.indexOf(editing))
            const skipped = sequence.notes["skipping"]!
            assert.lengthOf(skipped.filter((line) => line.startsWith("body")), 1)
            assert.notInclude(skipped, "rcpt nobody@example.net")
          })
      )
    }
  }

  effect("knows the MTA, whatever macros its filters ask for", () =>
    Effect.gen(function*() {
      for (const [as, expected] of [[MilterTest.postfix, "postfix"], [MilterTest.sendmail, "sendmail"]] as const) {
        const seen: Array<string> = []
        const asking = (name: string) =>
          Milter.make(name, { macros: { connect: ["{j}"], mail: ["mail_addr"] } }).on({}, {
            mail: (_, { session: { macros } }) =>
              Effect.sync(() => void seen.push(`${macros.mta} ${macros.get("j")} ${macros.get("v")}`))
          })
        yield* MilterTest.message(Milter.sequence([asking("one"), asking("other")]), message, { as })
        const line = `${expected} mx.example.org undefined`
        assert.deepStrictEqual(seen, [line, line])
      }
    }))
})
