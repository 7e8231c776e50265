/** Several filters in a row, and what becomes of mail when one of them fails. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import * as Delivery from "../../src/Delivery.ts"
import * as MilterClient from "../../src/MilterClient.ts"
import * as MilterTest from "../../src/MilterTest.ts"
import { Action, Step } from "../../src/Negotiation.ts"
import * as Packet from "../../src/Packet.ts"
import * as RawMessage from "../../src/RawMessage.ts"
import * as Recording from "../../src/Recording.ts"
import { ByteString } from "../../src/Wire.ts"
import * as recordings from "../support/recordings.ts"
import { agreeTo, network, orContinue, type Script } from "../support/scriptedFilter.ts"
import * as yielding from "../support/yielding.ts"

const text = ByteString.fromText

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: ["bob@example.net", "carol@example.net"],
  headers: [["Subject", "hello"]],
  body: "Hello\n"
}

const goOn = orContinue(() => undefined, { actions: 0x1ff })

const answer = (tag: Packet.MtaPacket["_tag"], ...replies: ReadonlyArray<Packet.FilterPacket | Uint8Array>): Script =>
  orContinue((packet) => packet._tag === tag ? replies : undefined, { actions: 0x1ff })

const tags = (packets: ReadonlyArray<Packet.MtaPacket> | undefined): ReadonlyArray<string> =>
  (packets ?? []).map(({ _tag }) => _tag).filter((tag) => tag !== "Macro")

/** A chain before filters `a`, `b`, …, and what they were told. */
const chainOf = (
  scripts: { readonly [address: string]: Script },
  options?: MilterClient.ChainOptions,
  addresses: ReadonlyArray<string | MilterClient.FilterOptions> = Object.keys(scripts)
) =>
  Effect.gen(function*() {
    const { dialer, filters } = yield* network(scripts)
    const chain = yield* Effect.provide(MilterClient.chain(addresses, options), dialer)
    return [chain, filters] as const
  })

const packetsOf = (connection: Recording.Connection, from: "mta" | "filter") =>
  connection.lines.flatMap((line) =>
    line._tag === "Frame" && line.from === from ? [Result.getOrThrow(Recording.packet(line))] : []
  )

describe("several filters", () => {
  for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
    const mta = as === MilterTest.postfix ? "postfix" : "sendmail"
    for (const name of [`${mta}-chain`, `${mta}-chain-reject1`, `${mta}-chain-same-reject`]) {
      yielding.effect(`${name}: the second is told what it was told by the real MTA`, () =>
        Effect.gen(function*() {
          const [first] = recordings.connections(`${name}.first`)
          const [second] = recordings.connections(name)
          const told = packetsOf(first!, "mta")
          const all = <Tag extends Packet.MtaPacket["_tag"]>(tag: Tag) =>
            told.filter((packet): packet is Extract<Packet.MtaPacket, { readonly _tag: Tag }> => packet._tag === tag)
          /** Says what the recorded filter said, and to the end what it said there. */
          const replying = (connection: Recording.Connection): Script => {
            const answers = packetsOf(connection, "filter") as ReadonlyArray<Packet.FilterPacket>
            const at = answers.findIndex(({ _tag }) => /^(Add|Insert|Change|Replace|Delete)/.test(_tag))
            let rcpts = 0
            return orContinue((packet) => {
              if (packet._tag === "EndOfMessage") return at === -1 ? answers.slice(-1) : answers.slice(at)
              if (packet._tag !== "Rcpt") return undefined
              return name.endsWith("reject1") && connection === first && ++rcpts === 2 ? { _tag: "Reject" } : undefined
            }, { actions: 0x1ff })
          }
          const [chain, filters] = yield* chainOf({ a: replying(first!), b: replying(second!) }, { as })
          yield* chain.sendMessage({
            from: ByteString.toText(all("Mail")[0]!.sender),
            to: all("Rcpt").map(({ recipient }) => ByteString.toText(recipient)),
            headers: all("Header").map(({ name, value }) => [ByteString.toBytes(name), ByteString.toBytes(value)]),
            body: all("Body")[0]!.bytes
          })
          yield* chain.quit()
          yield* yielding.quiet
          const about = (packets: ReadonlyArray<Packet.MtaPacket | Packet.FilterPacket>) =>
            packets.filter(({ _tag }) => !["Macro", "Negotiate", "Connect", "Helo"].includes(_tag)).map(Packet.format)
          assert.deepStrictEqual(about(filters["a"]!.packets), about(told))
          assert.deepStrictEqual(about(filters["b"]!.packets), about(packetsOf(second!, "mta")))
        }))
    }
  }

  it.effect("one that replaces the body in very many pieces is carried out", () =>
    Effect.gen(function*() {
      const piece: Packet.FilterPacket = { _tag: "ReplaceBody", bytes: new Uint8Array([120]) }
      const replies = Array.from({ length: 130_001 }, (_, at) => at < 130_000 ? piece : { _tag: "Continue" } as const)
      const replacing = orContinue((packet) => packet._tag === "EndOfMessage" ? replies : undefined, { actions: 0x1ff })
      const [chain] = yield* chainOf({ a: replacing, b: goOn })
      const { delivered } = yield* chain.sendMessage(message)
      assert.lengthOf(delivered!.body, 130_002)
    }))

  yielding.effect("one that discards ends it for the others", () =>
    Effect.gen(function*() {
      for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
        const [chain, filters] = yield* chainOf({ a: answer("EndOfMessage", { _tag: "Discard" }), b: goOn }, { as })
        const outcome = yield* chain.sendMessage(message)
        assert.include(outcome, { _tag: "Discarded", stage: "endOfMessage", filter: "a" })
        yield* yielding.quiet
        assert.deepStrictEqual(tags(filters["b"]?.packets).slice(-2), ["Data", "Abort"])
      }
    }))

  yielding.effect("the first that refuses has decided it", () =>
    Effect.gen(function*() {
      const [chain, filters] = yield* chainOf({
        a: orContinue((packet) =>
          packet._tag === "Rcpt" && packet.recipient.includes("bob") ? { _tag: "Reject" } : undefined
        ),
        b: answer("Data", { _tag: "TempFail" }),
        c: goOn
      })
      const outcome = yield* chain.sendMessage(message)
      assert.include(outcome, { _tag: "TempFailed", stage: "data", filter: "b", closes: false })
      assert.deepStrictEqual(outcome.recipients.map(({ answer }) => answer._tag), ["Reject", "Continue"])
      yield* yielding.quiet
      const envelope = ["Negotiate", "Connect", "Helo", "Mail", "Rcpt"]
      assert.deepStrictEqual(tags(filters["a"]?.packets), [...envelope, "Rcpt", "Data", "Abort"])
      assert.deepStrictEqual(tags(filters["b"]?.packets), [...envelope, "Data", "Abort"])
      assert.deepStrictEqual(tags(filters["c"]?.packets), [...envelope, "Abort"])
    }))

  yielding.effect("one that accepts is spared the rest, the others are not", () =>
    Effect.gen(function*() {
      const adds = (name: string) =>
        answer("EndOfMessage", { _tag: "AddHeader", name: text(name), value: text("yes") }, { _tag: "Continue" })
      const [chain, filters] = yield* chainOf({
        a: answer("Connect", { _tag: "Accept" }),
        b: answer("Mail", { _tag: "Accept" }),
        c: adds("X-C"),
        d: adds("X-D")
      })
      const outcome = yield* chain.sendMessage(message)
      MilterTest.assertAccepted(outcome, { headers: { Subject: "hello", "X-C": "yes", "X-D": "yes" } })
      assert.deepStrictEqual(outcome.modifications.length, 2)
      yield* yielding.quiet
      assert.deepStrictEqual(tags(filters["a"]?.packets), ["Negotiate", "Connect"])
      assert.deepStrictEqual(tags(filters["b"]?.packets), ["Negotiate", "Connect", "Helo", "Mail", "Abort"])
    }))

  yielding.effect("header values keep their space, whichever filter wants to see it", () =>
    Effect.gen(function*() {
      const changing = (steps: number, value: string) =>
        orContinue((packet) =>
          packet._tag === "EndOfMessage"
            ? [{ _tag: "AddHeader", name: text("X-A"), value: text(value) }, { _tag: "Continue" }]
            : undefined, { actions: 0x1ff, steps })
      const [chain, filters] = yield* chainOf({
        a: changing(0, "one"),
        b: changing(Step.leadingSpace, "two"),
        c: changing(Step.leadingSpace, " three")
      })
      const outcome = yield* chain.sendMessage(message)
      MilterTest.assertAccepted(outcome, { headers: { "X-A": ["one", "two", "three"] } })
      const seen = (name: string) =>
        filters[name]!.packets.flatMap((packet) => packet._tag === "Header" ? [`${packet.name}:${packet.value}`] : [])
      assert.deepStrictEqual(seen("a"), ["Subject:hello"])
      assert.deepStrictEqual(seen("b"), ["Subject: hello", "X-A: one"])
      assert.deepStrictEqual(seen("c"), ["Subject: hello", "X-A: one", "X-A:two"])
    }))

  yielding.effect("a client without an address is unknown", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const [chain, filters] = yield* chainOf({ a: orContinue(() => undefined) }, { as })
        assert.deepStrictEqual(yield* chain.connect({}), { _tag: "Continue" })
        const connect = filters["a"]!.packets.find(({ _tag }) => _tag === "Connect")
        assert.deepStrictEqual(connect, {
          _tag: "Connect",
          hostname: text("unknown"),
          address: { _tag: "Unknown" }
        }, as.name)
        assert.notInclude(filters["a"]!.reads.flat().join("\n"), "192.0.2.1\"", as.name)
      }
    }))

  yielding.effect(
    "says of itself what it is told to, and gives each message an id of its own",
    () =>
      Effect.gen(function*() {
        const ids = new Set<string>()
        for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
          const [chain, filters] = yield* chainOf({ a: goOn, b: goOn }, {
            as,
            macros: { j: "mail.example.com", v: "Ours 1.0", daemon_name: "submission" }
          })
          for (let count = 0; count < 3; count++) yield* chain.sendMessage(message)
          const told = (name: string) => filters[name]!.reads.flat().filter((line) => line.startsWith("Macro"))
          assert.match(told("a")[0]!, /"j"="mail\.example\.com".*"\{daemon_name\}"="submission"/)
          assert.strictEqual(told("a")[0]!.includes(`"v"="Ours 1.0"`), as === MilterTest.postfix)
          const idsOf = (name: string) => new Set(told(name).flatMap((line) => /"i"="([^"]+)"/.exec(line)?.[1] ?? []))
          assert.strictEqual(idsOf("a").size, 3)
          // Every filter is told the same.
          assert.deepStrictEqual(idsOf("a"), idsOf("b"))
          for (const id of idsOf("a")) ids.add(id)
        }
        assert.strictEqual(ids.size, 6)
      })
  )

  yielding.effect("a header keeps the bytes of its sender", () =>
    Effect.gen(function*() {
      const raw = "From:a@example.org\nSubject:\nTo:\tb@example.net\nX-Fold:\n one\nX-Two:  two\n\nHello\n"
      const [chain, filters] = yield* chainOf({
        a: orContinue(() => undefined, { steps: Step.leadingSpace }),
        b: goOn
      })
      const outcome = yield* chain.sendMessage({ ...message, ...RawMessage.parse(new TextEncoder().encode(raw)) })
      const seen = (name: string) =>
        filters[name]!.packets.flatMap((packet) => packet._tag === "Header" ? [packet.value] : [])
      assert.deepStrictEqual(seen("a"), ["a@example.org", "", "\tb@example.net", "\n one", "  two"].map(text))
      assert.deepStrictEqual(seen("b"), ["a@example.org", "", "\tb@example.net", "\n one", " two"].map(text))
      const bytes = outcome.delivered === undefined ? "" : ByteString.fromBytes(Delivery.toBytes(outcome.delivered))
      assert.strictEqual(bytes.replaceAll("\r\n", "\n"), raw)
    }))

  yielding.effect("goes step by step, as an SMTP server does", () =>
    Effect.gen(function*() {
      const [chain, filters] = yield* chainOf({
        a: orContinue((packet) =>
          packet._tag === "Unknown"
            ? { _tag: "Reject" }
            : packet._tag === "Mail" && packet.sender === "<>"
            ? { _tag: "ReplyCode", text: text("421 4.7.0 not you") }
            : undefined
        ),
        b: goOn
      })
      assert.deepStrictEqual(chain.filters, ["a", "b"])
      assert.deepStrictEqual(yield* chain.connect({ hostname: "client.example.org", address: "192.0.2.1" }), {
        _tag: "Continue"
      })
      yield* chain.helo("client.example.org")
      assert.include(yield* chain.unknown("FOO bar"), { _tag: "Refused", filter: "a", closes: false })
      yield* chain.macros("mail", { "{auth_authen}": "alice" })
      assert.strictEqual((yield* chain.mail("alice@example.org", ["SIZE=100"]))._tag, "Continue")
      assert.strictEqual((yield* chain.rcpt("<bob@example.net>"))._tag, "Continue")
      yield* chain.reset()
      yield* chain.mail("alice@example.org")
      yield* chain.rcpt("bob@example.net", ["NOTIFY=NEVER"])
      yield* chain.rcpt("nobody@example.net", [], { refused: { enhanced: "5.1.1", text: "no such user" } })
      yield* chain.data()
      const outcome = yield* chain.message({ headers: [["A", "b"]], body: "hello" })
      MilterTest.assertAccepted(outcome, { recipients: ["bob@example.net NOTIFY=NEVER"], body: "hello\n" })
      const refused = yield* chain.mail("<>")
      assert.include(refused, { _tag: "Refused", closes: true })
      yield* chain.quit()
      yield* yielding.quiet
      assert.include(filters["b"]!.reads.flat().join("\n"), `"{auth_authen}"="alice"`)
      assert.deepStrictEqual(tags(filters["b"]!.packets), [
        "Negotiate",
        "Connect",
        "Helo",
        "Mail",
        "Rcpt",
        "Abort",
        "Mail",
        "Rcpt",
        "Data",
        "Header",
        "EndOfHeaders",
        "Body",
        "EndOfMessage",
        "Abort",
        // MAIL was refused by the first.
        "Abort",
        "Abort",
        "Quit"
      ])
    }))

  yielding.effect("what was refused at connect or HELO stays so", () =>
    Effect.gen(function*() {
      const [chain] = yield* chainOf({ a: goOn, b: answer("Helo", { _tag: "Reject" }) })
      yield* chain.connect({})
      for (const step of [chain.helo("x"), chain.mail("a@example.org"), chain.rcpt("b@example.org"), chain.data()]) {
        const decision = yield* step
        assert.deepInclude(decision, { _tag: "Refused", filter: "b" })
      }
      MilterTest.assertRejected(yield* chain.message({}), { stage: "helo", reply: "550 5.7.1 Command rejected" })
      MilterTest.assertRejected(yield* chain.sendMessage(message), { stage: "helo" })
    }))

  yielding.effect("the MTA's words for an unknown command", () =>
    Effect.gen(function*() {
      for (const [as, tag] of [[MilterTest.postfix, "Refused"], [MilterTest.postfix38, "Continue"]] as const) {
        const [chain, filters] = yield* chainOf({ a: answer("Unknown", { _tag: "Reject" }) }, { as })
        yield* chain.connect({})
        assert.strictEqual((yield* chain.unknown("FOO bar"))._tag, tag)
        const line = as === MilterTest.postfix ? "FOO" : "FOO bar"
        assert.strictEqual(filters["a"]!.reads.at(-1)?.at(-1), `Unknown line="${line}"`)
      }
    }))

  yielding.effect("a value that fits into no packet is the caller's", () =>
    Effect.gen(function*() {
      const [chain] = yield* chainOf({ a: goOn })
      const error = yield* Effect.flip(chain.mail("a\0b@example.org"))
      assert.strictEqual(error._tag, "InvalidValue")
      assert.strictEqual((yield* chain.sendMessage(message))._tag, "Accepted")
    }))

  yielding.effect("shows packets with their filter", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const [chain] = yield* chainOf({ a: goOn, b: goOn }, {
        observe: (filter, from, packet) => void seen.push(`${filter} ${from} ${packet._tag}`)
      })
      yield* chain.unknown("X")
      assert.deepStrictEqual(seen.filter((line) => !line.includes("Macro")), [
        "a mta Negotiate",
        "a filter Negotiated",
        "b mta Negotiate",
        "b filter Negotiated",
        "a mta Unknown",
        "a filter Continue",
        "b mta Unknown",
        "b filter Continue"
      ])
    }))

  yielding.effect("none at all lets everything pass", () =>
    Effect.gen(function*() {
      const [chain] = yield* chainOf({})
      MilterTest.assertAccepted(yield* chain.sendMessage(message), {
        recipients: ["bob@example.net", "carol@example.net"]
      })
    }))
})

describe("a filter that fails", () => {
  const close: Script = orContinue((packet, filter) => packet._tag === "Body" ? (filter.close(), []) : undefined)

  const halfAnswer: Script = orContinue((packet, filter) => {
    if (packet._tag !== "EndOfMessage") return undefined
    filter.send({ _tag: "AddHeader", name: text("X-Half"), value: text("yes") })
    filter.close()
    return []
  }, { actions: 0x1ff })

  const silent: Script = orContinue((packet) => packet._tag === "Rcpt" ? [] : undefined)

  /** The table of docs/reference/client.md. */
  const cases: ReadonlyArray<readonly [what: string, script: Script | undefined, reason: string, stage: string]> = [
    ["is not there", undefined, "Unreachable", "connect"],
    ["sends bytes that are no frame", answer("Mail", new TextEncoder().encode("HTTP/1.1 400")), "FrameError", "mail"],
    ["sends a packet that is none", answer("Mail", Uint8Array.of(0, 0, 0, 1, 90)), "PacketError", "mail"],
    [
      "sends a reply that is none",
      answer("Mail", { _tag: "ReplyCode", text: text("550 5.7.1 100% no") }),
      "ReplyError",
      "mail"
    ],
    ["negotiates what was not offered", answer("Negotiate", agreeTo({ version: 7 })), "NegotiationError", "connect"],
    ["does not negotiate", answer("Negotiate", { _tag: "Continue" }), "UnexpectedReply", "connect"],
    [
      "changes the message too early",
      answer("Mail", { _tag: "Quarantine", reason: text("x") }),
      "UnexpectedReply",
      "mail"
    ],
    ["answers twice", answer("Mail", { _tag: "Continue" }, { _tag: "Continue" }), "UnexpectedReply", "rcpt"],
    ["answers unasked", answer("Negotiate", agreeTo(), { _tag: "Continue" }), "UnexpectedReply", "connect"],
    ["gives a verdict that is illegal there", answer("Connect", { _tag: "Discard" }), "UnexpectedReply", "connect"],
    [
      "does what it did not ask for",
      orContinue((packet) =>
        packet._tag === "EndOfMessage"
          ? [{ _tag: "Quarantine", reason: text("x") }, { _tag: "Continue" }]
          : undefined, { actions: Action.addHeader }),
      "UnrequestedAction",
      "endOfMessage"
    ],
    ["closes in the middle of a message", close, "Closed", "endOfMessage"],
    ["closes in the middle of its answer", halfAnswer, "Closed", "endOfMessage"],
    ["never answers", silent, "Timeout", "rcpt"],
    [
      "takes its time for ever",
      orContinue((packet, filter) => {
        if (packet._tag !== "EndOfMessage") return undefined
        const again = () => filter.send({ _tag: "Progress" })
        return (ticks.push(again), [])
      }),
      "Timeout",
      "endOfMessage"
    ]
  ]
  const ticks: Array<() => void> = []

  const verdicts: {
    readonly [K in MilterClient.DefaultAction]: (outcome: MilterClient.Outcome, misconfigured: boolean) => void
  } = {
    tempFail: (outcome, misconfigured) =>
      MilterTest.assertTempFailed(outcome, {
        reply: misconfigured
          ? "451 4.3.5 Server configuration problem - try again later"
          : "451 4.7.1 Service unavailable - try again later"
      }),
    reject: (outcome, misconfigured) =>
      misconfigured
        ? MilterTest.assertTempFailed(outcome, { reply: /^451 4\.3\.5 / })
        : MilterTest.assertRejected(outcome, { reply: "550 5.5.0 Service unavailable" }),
    accept: (outcome) => {
      // None of its changes, all of the next one's.
      MilterTest.assertAccepted(outcome, { headers: { "X-Next": "yes", "X-Half": undefined }, quarantined: undefined })
    },
    quarantine: (outcome) => {
      MilterTest.assertAccepted(outcome, { headers: { "X-Next": "yes" }, quarantined: "the filter at bad failed" })
    },
    shutdown: (outcome) => {
      MilterTest.assertTempFailed(outcome, { reply: "421 4.7.1 Service unavailable - try again later" })
      assert.isTrue(outcome.closes)
    }
  }

  for (const [what, script, reason, stage] of cases) {
    for (const policy of ["tempFail", "reject", "accept", "quarantine", "shutdown"] as const) {
      yielding.effect(`${what}: ${policy}`, () =>
        Effect.gen(function*() {
          const next = answer("EndOfMessage", { _tag: "AddHeader", name: text("X-Next"), value: text("yes") }, {
            _tag: "Continue"
          })
          const [chain, filters] = yield* chainOf(
            script === undefined ? { next } : { bad: script, next },
            { onFailure: "reject" },
            [{ address: "bad", onFailure: policy }, "next"]
          )
          const fiber = yield* Effect.forkChild(chain.sendMessage(message))
          if (reason === "Timeout") {
            // Half an hour of nothing, and an hour of progress.
            for (let minutes = 0; minutes < 61; minutes++) {
              yield* yielding.adjust("1 minute")
              ticks.splice(0).forEach((tick) => {
                tick()
                ticks.push(tick)
              })
            }
            ticks.length = 0
          }
          const outcome = yield* Fiber.join(fiber)
          verdicts[policy](outcome, reason === "ReplyError")
          assert.strictEqual(outcome.failures.length, 1)
          const { error, ...failure } = outcome.failures[0]!
          assert.deepStrictEqual(failure, { filter: "bad", policy })
          assert.strictEqual(error.reason._tag, reason)
          if (outcome._tag !== "Accepted") {
            assert.strictEqual(outcome.stage, stage)
            assert.strictEqual(outcome.filter, "bad")
          }
          // It holds for the whole session, and the filter is told no more.
          const told = filters["bad"]?.packets.length
          verdicts[policy](yield* chain.sendMessage(message), reason === "ReplyError")
          yield* yielding.quiet
          assert.strictEqual(filters["bad"]?.packets.length, told)
          assert.strictEqual(chain.failures.length, 1)
        }))
    }
  }

  yielding.effect("the MTA's own policy, if there is no other", () =>
    Effect.gen(function*() {
      const policies: Array<string> = []
      for (const as of [MilterTest.postfix, MilterTest.postfix311, MilterTest.sendmail]) {
        const [chain] = yield* chainOf({}, { as }, ["nowhere"])
        const outcome = yield* chain.sendMessage(message)
        policies.push(`${outcome.failures[0]?.policy} ${outcome.reply?.code} ${outcome.closes}`)
      }
      assert.deepStrictEqual(policies, ["tempFail 451 false", "shutdown 421 true", "tempFail 451 false"])
    }))

  yielding.effect("changes that Postfix would not carry out", () =>
    Effect.gen(function*() {
      const piece = { _tag: "ReplaceBody", bytes: Uint8Array.of(120, 10) } as const
      const twice = answer("EndOfMessage", piece, { _tag: "Quarantine", reason: text("x") }, piece, {
        _tag: "Continue"
      })
      for (const [onFailure, tag] of [["reject", "TempFailed"], ["accept", "Accepted"]] as const) {
        const [chain] = yield* chainOf({ a: twice, b: goOn }, { onFailure })
        const outcome = yield* chain.sendMessage(message)
        assert.strictEqual(outcome._tag, tag)
        assert.strictEqual(outcome.failures[0]?.error.reason._tag, "DeliveryError")
        if (tag === "Accepted") MilterTest.assertAccepted(outcome, { body: "Hello\n", quarantined: undefined })
      }
      // Sendmail has no objection.
      const [chain] = yield* chainOf({ a: twice }, { as: MilterTest.sendmail })
      MilterTest.assertAccepted(yield* chain.sendMessage(message), { body: "x\nx\n", quarantined: "x" })
    }))

  yielding.effect("more changes than the chain takes from it", () =>
    Effect.gen(function*() {
      const many = answer(
        "EndOfMessage",
        ...Array.from({ length: 3 }, () => ({ _tag: "AddHeader", name: text("X-Half"), value: text("x") }) as const),
        { _tag: "Continue" }
      )
      const [chain] = yield* chainOf({ a: many, b: goOn }, { onFailure: "accept", maxModifications: 2 })
      const outcome = yield* chain.sendMessage(message)
      MilterTest.assertAccepted(outcome, { headers: { "X-Half": undefined } })
      assert.strictEqual(outcome.failures[0]?.error.reason._tag, "TooManyModifications")
    }))

  yielding.effect("a second verdict at the end is noticed, the first one holds", () =>
    Effect.gen(function*() {
      const [chain] = yield* chainOf({ a: answer("EndOfMessage", { _tag: "Continue" }, { _tag: "Reject" }) }, {
        onFailure: "accept"
      })
      const outcome = yield* chain.sendMessage(message)
      assert.strictEqual(outcome._tag, "Accepted")
      assert.strictEqual(outcome.failures[0]?.error.reason._tag, "UnexpectedReply")
    }))

  yielding.effect("a step that is interrupted counts as a failure", () =>
    Effect.gen(function*() {
      const [chain] = yield* chainOf({ a: silent }, { onFailure: "reject" })
      yield* chain.mail("alice@example.org")
      const fiber = yield* Effect.forkChild(chain.rcpt("bob@example.net"))
      yield* yielding.quiet
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(yield* chain.mail("alice@example.org"), { _tag: "Refused", filter: "a" })
    }))
})
