/** The MTAs that are imitated, compared with recordings of the real ones, and what is different from release to release. */
import { assert, describe } from "@effect/vitest"
import { Effect, Ref, Result } from "effect"
import * as Milter from "../../src/Milter.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import { Step } from "../../src/Negotiation.ts"
import type * as Packet from "../../src/Packet.ts"
import * as Recording from "../../src/Recording.ts"
import * as Verdict from "../../src/Verdict.ts"
import { ByteString } from "../../src/Wire.ts"
import * as recordings from "../support/recordings.ts"
import { agreeTo, dial, orContinue, type Script } from "../support/scriptedFilter.ts"
import * as yielding from "../support/yielding.ts"

const text = ByteString.fromText

const { toBytes } = ByteString

const goOn = orContinue(() => undefined)

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: ["bob@example.net", "carol@example.net"],
  headers: [["Subject", "hello"], ["Message-Id", "<1@example.org>"]],
  body: "Hello\n"
}

const packetsOf = (connection: Recording.Connection, from: "mta" | "filter") =>
  connection.lines.flatMap((line) =>
    line._tag === "Frame" && line.from === from ? [Result.getOrThrow(Recording.packet(line))] : []
  )

/** Commands by name, macros with theirs; values differ from session to session. */
const shapeOf = (packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>): ReadonlyArray<string> =>
  packets.map((packet) =>
    packet._tag === "Macro"
      // Sendmail knows none on loopback, where the recordings were made.
      ? `${packet.stage} ${packet.macros.map(({ name }) => name).filter((name) => name !== "{if_addr}").join(" ")}`
      : packet._tag
  )

/** Does what the recorded client did: what its MTA made of that is to come out. */
const drive = Effect.fnUntraced(function*(mta: MilterClient.Client, commands: ReadonlyArray<Packet.MtaPacket>) {
  for (const [index, packet] of commands.entries()) {
    const before = commands.slice(0, index).findLast(({ _tag }) => _tag !== "Macro")?._tag
    switch (packet._tag) {
      case "Negotiate":
        yield* mta.negotiate()
        break
      case "Connect":
        yield* mta.connect({
          hostname: packet.hostname,
          ...("address" in packet.address
            ? { address: packet.address.address, port: packet.address.port }
            : {})
        })
        break
      case "Helo":
        yield* mta.helo(toBytes(packet.name))
        break
      case "Mail":
        yield* mta.mail(toBytes(packet.sender), packet.parameters.map(toBytes))
        break
      case "Rcpt":
        yield* mta.rcpt(toBytes(packet.recipient), packet.parameters.map(toBytes))
        break
      case "Data":
        yield* mta.data()
        break
      case "Header":
        yield* mta.header(toBytes(packet.name), toBytes(packet.value))
        break
      case "EndOfHeaders":
        yield* mta.endOfHeaders()
        break
      case "Body":
        yield* mta.body(packet.bytes)
        break
      case "EndOfMessage":
        yield* mta.endOfMessage()
        yield* mta.abort()
        break
      case "Unknown":
        yield* mta.unknown(toBytes(packet.line))
        break
      case "Abort":
        // RSET; others come by themselves.
        if (before === "Mail" || before === "Rcpt") yield* mta.abort()
        break
      default:
        break
    }
  }
  yield* mta.quit()
  yield* yielding.quiet
})

const counting = Milter.make("counting", { modify: ["addHeader"], message: () => Ref.make(0) }).on({
  body: ({ bytes }, { message }) => Effect.as(Ref.update(message, (n) => n + bytes.length), Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, message }) {
    yield* edit.addHeader("X-Bytes", String(yield* Ref.get(message)))
    return Verdict.continue
  })
})

describe("as recorded", () => {
  for (
    const name of [
      "postfix-all-steps",
      "postfix-rset-idle",
      "postfix-symlist",
      "sendmail-all-steps",
      "sendmail-ipv6",
      "sendmail-nr-all",
      "sendmail-rset-idle",
      "sendmail-symlist",
      "sendmail-symlist-empty",
      "sendmail-two-messages"
    ]
  ) {
    yielding.effect(name, () =>
      Effect.gen(function*() {
        const [recorded] = recordings.connections(name)
        const commands = packetsOf(recorded!, "mta") as ReadonlyArray<Packet.MtaPacket>
        const negotiated = packetsOf(recorded!, "filter").find(({ _tag }) => _tag === "Negotiated")
        const silent = name === "sendmail-nr-all"
        const script: Script = (packet, filter) => {
          if (packet._tag === "Negotiate") return negotiated as Packet.Negotiated
          return silent && packet._tag !== "EndOfMessage" ? undefined : goOn(packet, filter)
        }
        const [mta, filter] = yield* dial(script, {
          as: name.startsWith("postfix") ? MilterClient.postfix : MilterClient.sendmail
        })
        yield* drive(mta, commands)
        assert.deepStrictEqual(shapeOf(filter.packets), shapeOf(commands))
      }))
  }
})

describe("each release", () => {
  const reads = (as: MilterClient.Mta, script: Script = goOn) =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(script, { as })
      yield* mta.negotiate()
      yield* mta.connect({ hostname: "[2001:db8::1]", address: "2001:db8::1" })
      yield* mta.helo("client.example.org")
      return [mta, filter] as const
    })

  yielding.effect("offers what it knows", () =>
    Effect.gen(function*() {
      const offers = MilterTest.mtas.map(({ name, offer: { actions, steps, version } }) =>
        `${name}: ${version} ${actions.toString(16)} ${steps.toString(16)}`
      )
      assert.deepStrictEqual(offers, [
        "Postfix 3.7.11: 6 1ff 1fffff",
        "Postfix 2.3.19: 2 3d 7f",
        "Postfix 2.6.19: 6 1ff 1fffff",
        "Postfix 3.8.0: 6 1ff 1fffff",
        "Postfix 3.11.0: 6 1ff 1fffff",
        "Sendmail 8.17.1: 6 1ff 1fffff",
        "Sendmail 8.18.2: 6 1ff 1fffff"
      ])
    }))

  yielding.effect("introduces the client", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      for (const as of MilterTest.mtas) {
        const [, filter] = yield* reads(as)
        const [macro, connect] = filter.reads[1]!
        found.push(`${/"_"="([^"]*)"/.exec(macro!)?.[1]} ${connect}`)
      }
      const short = `Connect hostname="[2001:db8::1]" address=IPv6("2001:db8::1", port 50000)`
      assert.deepStrictEqual(found, [
        `unknown [2001:db8::1] ${short}`,
        `undefined Connect hostname="unknown" address=IPv6("2001:db8::1", port 0)`,
        `undefined ${short}`,
        `unknown [2001:db8::1] ${short}`,
        `unknown [2001:db8::1] ${short}`,
        `[2001:db8::1] Connect hostname="[2001:db8::1]" address=IPv6("IPv6:2001:db8:0:0:0:0:0:1", port 50000)`,
        `[2001:db8::1] Connect hostname="[2001:db8::1]" address=IPv6("IPv6:2001:db8:0:0:0:0:0:1", port 50000)`
      ])
    }))

  yielding.effect("shows unknown commands", () =>
    Effect.gen(function*() {
      const lines: Array<string | undefined> = []
      for (const as of [MilterTest.postfix, MilterTest.postfix38, MilterTest.sendmail]) {
        const [mta, filter] = yield* reads(as)
        yield* mta.unknown("FOO bar")
        lines.push(filter.reads.at(-1)?.at(-1))
      }
      assert.deepStrictEqual(lines, [`Unknown line="FOO"`, `Unknown line="FOO bar"`, `Unknown line="FOO bar"`])
    }))

  yielding.effect("aborts after a second HELO or before it", () =>
    Effect.gen(function*() {
      for (
        const [as, expected] of [
          [MilterTest.postfix, "Mail Helo Abort Abort Abort Quit"],
          [MilterTest.sendmail, "Mail Abort Helo Quit"]
        ] as const
      ) {
        const [mta, filter] = yield* reads(as)
        yield* mta.mail("<alice@example.org>")
        yield* mta.helo("again")
        yield* mta.quit()
        yield* yielding.quiet
        const tags = filter.packets.map(({ _tag }) => _tag).filter((tag) => tag !== "Macro")
        assert.strictEqual(tags.slice(3).join(" "), expected)
      }
    }))

  yielding.effect("leaves a filter that has given its verdict on the session", () =>
    Effect.gen(function*() {
      const accept = orContinue((packet) => packet._tag === "Helo" ? { _tag: "Accept" } : undefined)
      for (const [as, last] of [[MilterTest.postfix, "Helo"], [MilterTest.sendmail, "Quit"]] as const) {
        const [mta, filter] = yield* reads(as, accept)
        yield* yielding.quiet
        yield* yielding.quiet
        assert.isTrue(filter.closed, as.name)
        assert.strictEqual(filter.packets.at(-1)?._tag, last)
        assert.deepStrictEqual(yield* mta.mail("<alice@example.org>"), { _tag: "NotSent", because: "decided" })
        yield* mta.quit()
      }
    }))

  yielding.effect("2.3 keeps the end of the body for end of message", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(goOn, { as: MilterTest.postfix23 })
      const body = new Uint8Array(70_000).fill(120)
      yield* mta.sendMessage({ ...message, body })
      const pieces = filter.packets.flatMap((packet) =>
        packet._tag === "Body" || packet._tag === "EndOfMessage" ? [`${packet._tag} ${packet.bytes.length}`] : []
      )
      // With the line end that Postfix gives it.
      assert.deepStrictEqual(pieces, ["Body 65535", "EndOfMessage 4467"])
      const outcome = yield* MilterTest.message(
        counting, // what our own filters make of it
        { ...message, body },
        { as: MilterTest.postfix23 }
      )
      MilterTest.assertAccepted(outcome, { headers: { "X-Bytes": "70002" } })
      const [spared, other] = yield* dial(orContinue(() => undefined, { version: 2, steps: Step.noBody }), {
        as: MilterTest.postfix23
      })
      yield* spared.sendMessage({ ...message, body })
      assert.deepInclude(other.packets.find(({ _tag }) => _tag === "EndOfMessage"), { bytes: new Uint8Array(0) })
    }))

  yielding.effect("2.3 knows no lists of macros", () =>
    Effect.gen(function*() {
      const asking = orContinue(() => undefined, { version: 2, macros: [{ stage: 0, names: text("j") }] })
      for (const as of [MilterTest.postfix23, MilterTest.postfix26]) {
        const [mta] = yield* dial(asking, { as })
        const exit = yield* Effect.result(mta.negotiate())
        assert.strictEqual(Result.isFailure(exit), as === MilterTest.postfix23)
        if (Result.isFailure(exit)) assert.include(exit.failure.message, "macro lists")
      }
    }))

  yielding.effect("what skip leaves out", () =>
    Effect.gen(function*() {
      for (const at of ["Header", "EndOfHeaders", "Body"] as const) {
        const skip: Script = orContinue((packet) => packet._tag === at ? { _tag: "Skip" } : undefined)
        const sent: Array<ReadonlyArray<string>> = []
        for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
          const [mta, filter] = yield* dial(skip, { as })
          yield* mta.sendMessage({ ...message, body: new Uint8Array(70_000) })
          const content = filter.packets.map(({ _tag }) => _tag)
          sent.push(content.slice(content.indexOf("Data") + 1).filter((tag) => tag !== "Macro" && tag !== "Abort"))
        }
        const [postfix, sendmail] = {
          Header: [["Header", "EndOfHeaders", "Body", "Body"], ["Header", "Header", "EndOfHeaders"]],
          EndOfHeaders: [["Header", "Header", "EndOfHeaders", "Body", "Body"], ["Header", "Header", "EndOfHeaders"]],
          Body: [["Header", "Header", "EndOfHeaders", "Body"], ["Header", "Header", "EndOfHeaders", "Body"]]
        }[at]
        assert.deepStrictEqual(sent, [[...postfix!, "EndOfMessage"], [...sendmail!, "EndOfMessage"]])
      }
    }))

  yielding.effect("Sendmail's reading of macro lists", () =>
    Effect.gen(function*() {
      const asking = (...macros: Packet.Negotiated["macros"]) => orContinue(() => undefined, { macros, actions: 0x100 })
      const stagesOf = Effect.fnUntraced(function*(script: Script) {
        const [mta, filter] = yield* dial(script, { as: MilterTest.sendmail })
        yield* mta.sendMessage({ ...message, to: "bob@example.net" })
        return shapeOf(filter.packets.filter(({ _tag }) => _tag === "Macro")).slice(3)
      })
      // What it sends anyway: only at end of message.
      assert.deepStrictEqual(yield* stagesOf(asking()), ["R {rcpt_mailer} {rcpt_host} {rcpt_addr}", "E {msg_id}"])
      // A list for end of message is forgotten without one for end of headers, and the other way round nothing is left.
      assert.deepStrictEqual((yield* stagesOf(asking({ stage: 5, names: text("i") }))).slice(1), ["E {msg_id}"])
      assert.deepStrictEqual((yield* stagesOf(asking({ stage: 6, names: text("i") }))).slice(1), ["N i"])
      const both = asking({ stage: 6, names: text("i") }, { stage: 5, names: text("i j") })
      assert.deepStrictEqual((yield* stagesOf(both)).slice(1), ["N i", "E i j"])
      // Names of several letters need braces, an unknown stage ends the list, an empty list is nothing at all.
      const odd = asking({ stage: 3, names: text("rcpt_addr,{rcpt_host}") }, { stage: 9, names: text("j") }, {
        stage: 4,
        names: text("i")
      })
      assert.deepStrictEqual(yield* stagesOf(odd), ["R {rcpt_host}", "E {msg_id}"])
      assert.deepStrictEqual(yield* stagesOf(asking({ stage: 3, names: text("") })), ["E {msg_id}"])
    }))

  yielding.effect(
    "Sendmail is stricter with what was not offered, and with signs of life",
    () =>
      Effect.gen(function*() {
        const as = { ...MilterTest.sendmail, offer: { version: 6, actions: 0x1ff, steps: 0x7f } }
        const [mta] = yield* dial((packet) => packet._tag === "Negotiate" ? agreeTo({ steps: Step.skip }) : undefined, {
          as
        })
        assert.include((yield* Effect.flip(mta.negotiate())).message, "wants what was not offered: skip")
        const progress = orContinue((packet) =>
          packet._tag === "Mail" ? [{ _tag: "Progress" }, { _tag: "Continue" }] : undefined
        )
        const [postfix] = yield* dial(progress, { as: MilterTest.postfix })
        assert.strictEqual((yield* postfix.sendMessage(message))._tag, "Accepted")
        const [sendmail] = yield* dial(progress, { as: MilterTest.sendmail })
        assert.include((yield* Effect.flip(sendmail.sendMessage(message))).message, "not Progress")
      })
  )

  yielding.effect("words refusals", () =>
    Effect.gen(function*() {
      const replies = Effect.fnUntraced(function*(as: MilterClient.Mta, reply: Packet.FilterPacket) {
        const found: Array<string> = []
        for (const command of ["Connect", "Helo", "Mail", "Rcpt", "EndOfMessage"] as const) {
          const [mta] = yield* dial(orContinue((packet) => packet._tag === command ? reply : undefined), { as })
          const { closes, reply: said } = yield* mta.sendMessage({ ...message, to: "bob@example.net" })
          found.push(`${said?.code} ${said?.enhanced} ${said?.lines.join("/")}${closes ? " closes" : ""}`)
        }
        return found
      })
      const rejected = "550 5.7.1 Command rejected"
      assert.deepStrictEqual(
        yield* replies(MilterTest.postfix, { _tag: "Reject" }),
        Array.from({ length: 5 }, () => rejected)
      )
      assert.deepStrictEqual(yield* replies(MilterTest.sendmail, { _tag: "Reject" }), [
        "550 5.0.0 Command rejected",
        "550 5.0.0 Command rejected",
        "550 5.7.1 <alice@example.org>... Command rejected",
        "550 5.7.1 <bob@example.net>... Command rejected",
        "554 5.7.1 Command rejected"
      ])
      const closing: Packet.FilterPacket = { _tag: "ReplyCode", text: text("521 5.7.0 go away") }
      assert.deepStrictEqual((yield* replies(MilterTest.postfix, closing))[0], "521 5.7.0 go away closes")
      assert.deepStrictEqual((yield* replies(MilterTest.sendmail, closing))[4], "521 5.7.0 go away")
      const later: Packet.FilterPacket = { _tag: "ReplyCode", text: text("421 4.7.0 not now") }
      assert.deepStrictEqual((yield* replies(MilterTest.sendmail, later)).slice(0, 2), [
        "421 4.7.0 mx.example.org closing connection closes",
        "421 4.7.0 not now closes"
      ])
      assert.deepStrictEqual(
        (yield* replies(MilterTest.sendmail, { _tag: "TempFail" }))[4],
        "451 4.3.2 Please try again later"
      )
      // Sendmail puts the address in front of the first line, with these codes only.
      const atRcpt = Effect.fnUntraced(function*(reply: string) {
        return (yield* replies(MilterTest.sendmail, { _tag: "ReplyCode", text: text(reply) }))[3]
      })
      for (const code of ["450 4.2.1", "550 5.7.0", "553 5.1.8"]) {
        assert.strictEqual(yield* atRcpt(`${code} no`), `${code} <bob@example.net>... no`)
      }
      for (const code of ["451 4.3.2", "452 4.5.3", "551 5.7.1", "552 5.2.2", "554 5.7.1", "521 5.7.1", "571 5.7.1"]) {
        assert.strictEqual(yield* atRcpt(`${code} no`), `${code} no`)
      }
      // Without a status it puts one there: what the real one said to the clients of sendmail-rcpt-reply-nostatus.
      assert.strictEqual(yield* atRcpt("550 go away"), "550 5.0.0 <bob@example.net>... go away")
      assert.strictEqual(yield* atRcpt("450 later"), "450 4.0.0 <bob@example.net>... later")
      assert.strictEqual(yield* atRcpt("554 no"), "554 5.0.0 no")
      assert.strictEqual(
        (yield* replies(MilterTest.sendmail, { _tag: "ReplyCode", text: text("550 no") }))[4],
        "550 5.0.0 no"
      )
      assert.strictEqual(
        (yield* replies(MilterTest.postfix, { _tag: "ReplyCode", text: text("550 no") }))[3],
        "550 undefined no"
      )
      assert.strictEqual(
        yield* atRcpt("550-5.7.1 one\r\n550 5.7.1 two"),
        "550 5.7.1 <bob@example.net>... one/two"
      )
    }))

  yielding.effect("Sendmail makes up a Message-Id for a message without one", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const filter = Milter.make("seeing").on({
        endOfMessage: (_, { session }) =>
          Effect.sync(() => {
            seen.push(session.macros.messageId)
            return Verdict.continue
          })
      })
      for (const headers of [message.headers!, [["Subject", "hello"]] as const]) {
        yield* MilterTest.message(filter, { ...message, headers }, { as: MilterTest.sendmail })
      }
      assert.deepStrictEqual(seen, ["<1@example.org>", "<197001010000.A1B2C30001@mx.example.org>"])
    }))
})
