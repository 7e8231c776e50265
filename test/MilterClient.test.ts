/** MilterClient: sessions with a filter, as an MTA has them. */
import { assert, describe } from "@effect/vitest"
import { Data, Effect, Fiber, Result, Stream } from "effect"
import { dialerOf } from "../src/internal/net/dialer.ts"
import * as MilterClient from "../src/MilterClient.ts"
import { Action, Step } from "../src/Negotiation.ts"
import type * as Packet from "../src/Packet.ts"
import { ByteString } from "../src/Wire.ts"
import { agreeTo, dial, orContinue, type Script } from "./support/scriptedFilter.ts"
import * as yielding from "./support/yielding.ts"

const text = ByteString.fromText

class Refused extends Data.TaggedError("Refused")<{ readonly message: string }> {}

const goOn = orContinue(() => undefined)

const agreeing = (wanted: Partial<Packet.Negotiated>): Script => orContinue(() => undefined, wanted)

const answer = (tag: Packet.MtaPacket["_tag"], ...replies: ReadonlyArray<Packet.FilterPacket | Uint8Array>): Script =>
  orContinue((packet) => packet._tag === tag ? replies : undefined, { actions: 0x1ff })

const noReplies = Step.noReplyConnect | Step.noReplyHelo | Step.noReplyMail | Step.noReplyRcpt | Step.noReplyData |
  Step.noReplyHeader | Step.noReplyEndOfHeaders | Step.noReplyBody | Step.noReplyUnknown

const client = { hostname: "client.example.org", address: "192.0.2.1", port: 4711 }

/** Everything from the negotiation to DATA. */
const upToData = Effect.fnUntraced(function*(mta: MilterClient.Client) {
  yield* mta.negotiate()
  yield* mta.connect(client)
  yield* mta.helo("client.example.org")
  yield* mta.mail("<alice@example.org>")
  yield* mta.rcpt("<bob@example.net>")
  yield* mta.data()
})

const tags = (packets: ReadonlyArray<{ readonly _tag: string }>): ReadonlyArray<string> =>
  packets.map(({ _tag }) => _tag)

const reasonOf = <A>(effect: Effect.Effect<A, MilterClient.ClientError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("MilterClient", () => {
  yielding.effect("sends a command with its macros in one write", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(goOn)
      yield* mta.negotiate()
      yield* mta.macros("connect", { j: "mx.example.org", client_addr: "192.0.2.1" })
      yield* mta.connect(client)
      yield* mta.macros("helo", {})
      yield* mta.helo("client.example.org")
      yield* mta.mail("<alice@example.org>", ["SIZE=1000", "BODY=8BITMIME"])
      yield* mta.unknown("FOO bar")
      yield* mta.quit()
      yield* mta.closed
      assert.deepStrictEqual(filter.reads, [
        ["Negotiate version=6 actions=0x1ff steps=0x1fffff"],
        [
          `Macro stage="C" macros=["j"="mx.example.org", "{client_addr}"="192.0.2.1"]`,
          `Connect hostname="client.example.org" address=IPv4("192.0.2.1", port 4711)`
        ],
        [`Macro stage="H" macros=[]`, `Helo name="client.example.org"`],
        [`Mail sender="<alice@example.org>" parameters=["SIZE=1000", "BODY=8BITMIME"]`],
        [`Unknown line="FOO bar"`],
        ["Quit"]
      ])
    }))

  yielding.effect("writes client addresses of all kinds", () =>
    Effect.gen(function*() {
      const addresses: Array<Packet.Connect["address"]> = []
      for (const address of ["IPv6:2001:db8::1", "/run/socket", undefined]) {
        const [mta, filter] = yield* dial(goOn)
        yield* mta.negotiate()
        yield* mta.connect(address === undefined ? { hostname: "x" } : { hostname: "x", address })
        for (const packet of filter.packets) if (packet._tag === "Connect") addresses.push(packet.address)
      }
      assert.deepStrictEqual(addresses, [
        { _tag: "IPv6", port: 0, address: text("IPv6:2001:db8::1") },
        { _tag: "Unix", port: 0, path: text("/run/socket") },
        { _tag: "Unknown" }
      ])
    }))

  yielding.effect("tells what was answered", () =>
    Effect.gen(function*() {
      const replies: { readonly [K in Packet.MtaPacket["_tag"]]?: Packet.FilterPacket } = {
        Rcpt: { _tag: "ReplyCode", text: text("450-4.2.1 100%% full\r\n450 4.2.1 later") },
        Header: { _tag: "Skip" },
        Body: { _tag: "Discard" }
      }
      const [mta] = yield* dial(orContinue((packet) => replies[packet._tag]))
      yield* upToData(mta)
      assert.deepStrictEqual(yield* mta.rcpt("<carol@example.net>"), {
        _tag: "Reply",
        code: "450",
        enhanced: "4.2.1",
        lines: [text("100% full"), text("later")]
      })
      assert.deepStrictEqual(yield* mta.header("Subject", "hello"), { _tag: "Skip" })
      assert.deepStrictEqual(yield* mta.header("To", "bob"), { _tag: "NotSent", because: "skip" })
      assert.deepStrictEqual(yield* mta.endOfHeaders(), { _tag: "Continue" })
      // Another command in between ended that.
      assert.deepStrictEqual(yield* mta.header("To", "bob"), { _tag: "Skip" })
      assert.deepStrictEqual(yield* mta.body("hello"), { _tag: "Discard" })
      assert.deepStrictEqual(yield* mta.body("again"), { _tag: "NotSent", because: "decided" })
      assert.deepStrictEqual(yield* mta.endOfMessage(), {
        verdict: { _tag: "NotSent", because: "decided" },
        modifications: []
      })
      assert.deepStrictEqual(yield* mta.mail("<>"), { _tag: "Continue" })
    }))

  yielding.effect("asks no more after a verdict on the session", () =>
    Effect.gen(function*() {
      for (const tag of ["Accept", "Reject", "TempFail"] as const) {
        const [mta, filter] = yield* dial(answer("Helo", { _tag: tag }))
        yield* mta.negotiate()
        yield* mta.connect(client)
        assert.deepStrictEqual(yield* mta.helo("x"), { _tag: tag })
        assert.deepStrictEqual(yield* mta.mail("<a@example.org>"), { _tag: "NotSent", because: "decided" })
        yield* mta.abort()
        yield* mta.quit()
        yield* mta.closed
        assert.deepStrictEqual(tags(filter.packets), ["Negotiate", "Connect", "Helo", "Quit"])
      }
    }))

  yielding.effect("leaves out what the filter does not want, but not its macros", () =>
    Effect.gen(function*() {
      const steps = Step.noConnect | Step.noHelo | Step.noMail | Step.noRcpt | Step.noData | Step.noHeaders |
        Step.noEndOfHeaders | Step.noBody | Step.noUnknown
      const [mta, filter] = yield* dial(agreeing({ steps }))
      yield* mta.negotiate()
      const left: MilterClient.Answer = { _tag: "NotSent", because: "step" }
      yield* mta.macros("connect", { j: "mx" })
      assert.deepStrictEqual(yield* mta.connect(client), left)
      assert.deepStrictEqual(yield* mta.helo("x"), left)
      assert.deepStrictEqual(yield* mta.mail("<a@example.org>"), left)
      assert.deepStrictEqual(yield* mta.rcpt("<b@example.org>"), left)
      assert.deepStrictEqual(yield* mta.data(), left)
      // Not for content, as from Postfix.
      yield* mta.macros("header", { i: "1" })
      assert.deepStrictEqual(yield* mta.header("Subject", "x"), left)
      assert.deepStrictEqual(yield* mta.endOfHeaders(), left)
      assert.deepStrictEqual(yield* mta.body("x"), left)
      assert.deepStrictEqual(yield* mta.unknown("X"), left)
      assert.deepStrictEqual((yield* mta.endOfMessage()).verdict, { _tag: "Continue" })
      assert.deepStrictEqual(tags(filter.packets), ["Negotiate", "Macro", "EndOfMessage"])
    }))

  yielding.effect("leaves out what the filter's version does not know", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(agreeing({ version: 2 }))
      yield* upToData(mta)
      yield* mta.macros("unknown", { j: "mx" })
      assert.deepStrictEqual(yield* mta.unknown("X"), { _tag: "NotSent", because: "version" })
      assert.deepStrictEqual(tags(filter.packets), ["Negotiate", "Connect", "Helo", "Mail", "Rcpt"])
    }))

  yielding.effect("does not wait for answers that were given up", () =>
    Effect.gen(function*() {
      const [mta] = yield* dial((packet) =>
        packet._tag === "Negotiate"
          ? agreeTo({ steps: noReplies })
          : packet._tag === "EndOfMessage"
          ? { _tag: "Accept" }
          : undefined
      )
      const none: MilterClient.Answer = { _tag: "NotAnswered" }
      yield* mta.negotiate()
      assert.deepStrictEqual(yield* mta.connect(client), none)
      assert.deepStrictEqual(yield* mta.mail("<a@example.org>"), none)
      assert.deepStrictEqual(yield* mta.rcpt("<b@example.org>"), none)
      assert.deepStrictEqual(yield* mta.header("Subject", "x"), none)
      assert.deepStrictEqual(yield* mta.body("x"), none)
      assert.deepStrictEqual((yield* mta.endOfMessage()).verdict, { _tag: "Accept" })
    }))

  yielding.effect("shows refused recipients only to a filter that asked for them", () =>
    Effect.gen(function*() {
      for (const steps of [0, Step.rejectedRecipients]) {
        const [mta, filter] = yield* dial(orContinue(
          (packet) => packet._tag === "Rcpt" ? { _tag: "Discard" } : undefined,
          { steps }
        ))
        yield* mta.negotiate()
        yield* mta.mail("<a@example.org>")
        const refused = yield* mta.rcpt("<nobody@example.org>", [], { refused: true })
        assert.deepStrictEqual(refused, steps === 0 ? { _tag: "NotSent", because: "refused" } : { _tag: "Discard" })
        // What is said about it has no effect.
        assert.deepStrictEqual(yield* mta.rcpt("<bob@example.org>"), { _tag: "Discard" })
        assert.strictEqual(filter.packets.length, steps === 0 ? 3 : 4)
      }
    }))

  yielding.effect("sends the macros that were asked for, spelled as they were", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(agreeing({
        macros: [
          { stage: 2, names: text("{auth_authen} j,i client_addr") },
          { stage: 3, names: text("") },
          { stage: 6, names: text("{i}") }
        ]
      }))
      yield* mta.negotiate()
      yield* mta.macros("connect", { j: "mx" }, { "{client_addr}": "192.0.2.1" })
      yield* mta.connect(client)
      yield* mta.macros("mail", { i: "4711", "{mail_addr}": "a@example.org" })
      yield* mta.mail("<a@example.org>")
      yield* mta.macros("rcpt", { "{rcpt_addr}": "b@example.org" })
      yield* mta.rcpt("<b@example.org>")
      yield* mta.macros("header", { "{msg_id}": "x" })
      yield* mta.header("Subject", "x")
      assert.deepStrictEqual(filter.reads.map(([first]) => first).slice(1), [
        `Macro stage="C" macros=["j"="mx"]`,
        `Macro stage="M" macros=["j"="mx", "i"="4711", "client_addr"="192.0.2.1"]`,
        // An empty list is Postfix's "your defaults".
        `Macro stage="R" macros=["{rcpt_addr}"="b@example.org"]`,
        `Macro stage="L" macros=["{i}"="4711"]`
      ])
    }))

  yielding.effect("leaves the space after the colon to a filter that wants it", () =>
    Effect.gen(function*() {
      for (const steps of [0, Step.leadingSpace]) {
        const [mta, filter] = yield* dial(agreeing({ steps }))
        yield* upToData(mta)
        yield* mta.header("A", "one\r\n two")
        yield* mta.header("B", " b", { verbatim: true })
        yield* mta.header("C", "c", { verbatim: true })
        yield* mta.header("D", "  d", { verbatim: true })
        const values = filter.packets.flatMap((packet) => packet._tag === "Header" ? [packet.value] : [])
        assert.deepStrictEqual(
          values,
          (steps === 0 ? ["one\n two", "b", "c", " d"] : [" one\n two", " b", "c", "  d"]).map(text)
        )
      }
    }))

  yielding.effect("sends a body in full packets, from bytes and from a stream", () =>
    Effect.gen(function*() {
      const body = Uint8Array.from({ length: 150_000 }, (_, index) => index % 251)
      const chunks = Stream.fromIterable(
        Array.from({ length: 15 }, (_, index) => body.subarray(index * 10_000, (index + 1) * 10_000))
      )
      for (const source of [body, chunks]) {
        const [mta, filter] = yield* dial(goOn)
        yield* upToData(mta)
        assert.deepStrictEqual(yield* mta.body(source), { _tag: "Continue" })
        const pieces = filter.packets.flatMap((packet) => packet._tag === "Body" ? [packet.bytes] : [])
        assert.deepStrictEqual(pieces.map(({ length }) => length), [65535, 65535, 18930])
        assert.deepStrictEqual(pieces.flatMap((piece) => Array.from(piece)), Array.from(body))
      }
      for (const source of ["", Stream.empty]) {
        const [mta, filter] = yield* dial(goOn)
        yield* upToData(mta)
        assert.deepStrictEqual(yield* mta.body(source), { _tag: "Continue" })
        assert.isFalse(filter.packets.some(({ _tag }) => _tag === "Body"))
      }
    }))

  yielding.effect("stops at skip, and pulls no more of the stream", () =>
    Effect.gen(function*() {
      let pulled = 0
      const chunks = Stream.fromIterable(Array.from({ length: 100 }, () => new Uint8Array(65535))).pipe(
        Stream.rechunk(1),
        Stream.map((chunk) => {
          pulled++
          return chunk
        })
      )
      const [mta, filter] = yield* dial(answer("Body", { _tag: "Skip" }))
      yield* upToData(mta)
      assert.deepStrictEqual(yield* mta.body(chunks), { _tag: "Skip" })
      assert.strictEqual(filter.packets.filter(({ _tag }) => _tag === "Body").length, 1)
      assert.isBelow(pulled, 5)
      assert.deepStrictEqual(yield* mta.body(new Uint8Array(200_000)), { _tag: "NotSent", because: "skip" })
      assert.deepStrictEqual((yield* mta.endOfMessage()).verdict, { _tag: "Continue" })
    }))

  yielding.effect("gives modifications in their order", () =>
    Effect.gen(function*() {
      const modifications: ReadonlyArray<MilterClient.ModificationPacket> = [
        { _tag: "AddHeader", name: text("X-A"), value: text("a") },
        { _tag: "ReplaceBody", bytes: Uint8Array.of(1, 2) },
        { _tag: "ChangeSender", sender: text("<>") },
        { _tag: "AddHeader", name: text("X-B"), value: text("b") }
      ]
      const [mta] = yield* dial(answer("EndOfMessage", ...modifications, { _tag: "Progress" }, { _tag: "Accept" }))
      yield* upToData(mta)
      assert.deepStrictEqual(yield* mta.endOfMessage(), { verdict: { _tag: "Accept" }, modifications })
    }))

  yielding.effect("takes a new body in larger pieces, if it has offered that", () =>
    Effect.gen(function*() {
      const bytes = new Uint8Array(1_048_575).fill(120)
      const larger = (packet: Packet.MtaPacket): ReadonlyArray<Packet.FilterPacket> | undefined =>
        packet._tag === "EndOfMessage" ? [{ _tag: "ReplaceBody", bytes }, { _tag: "Continue" }] : undefined
      const [mta] = yield* dial(orContinue(larger, { actions: 0x1ff, steps: Step.payload1M }))
      const agreed = yield* mta.negotiate({ steps: 0x1fffff | Step.payload1M })
      assert.strictEqual(agreed.steps, Step.payload1M)
      yield* mta.connect(client)
      yield* mta.mail("<alice@example.org>")
      yield* mta.rcpt("<bob@example.net>")
      assert.deepStrictEqual((yield* mta.endOfMessage()).modifications, [{ _tag: "ReplaceBody", bytes }])
    }))

  yielding.effect("offers no larger pieces than it takes", () =>
    Effect.gen(function*() {
      const both = Step.payload256K | Step.payload1M
      for (
        const [maxFrameLength, offered] of [[262_143, 0], [262_144, Step.payload256K], [1_048_576, both]] as const
      ) {
        const [mta, filter] = yield* dial(orContinue(() => undefined), { maxFrameLength })
        yield* mta.negotiate({ steps: 0x1fffff | both })
        const [asked] = filter.packets
        assert.isTrue(asked?._tag === "Negotiate" && asked.steps === (0x1fffff | offered), String(maxFrameLength))
      }
    }))

  yielding.effect("sends header fields in larger packets, if that was agreed on", () =>
    Effect.gen(function*() {
      const long = "x".repeat(100_000)
      for (const steps of [Step.payload256K, 0]) {
        const [mta, filter] = yield* dial(orContinue(() => undefined, { steps }))
        yield* mta.negotiate({ steps: 0x1fffff | Step.payload256K })
        yield* mta.connect(client)
        yield* mta.mail("<alice@example.org>")
        yield* mta.rcpt("<bob@example.net>")
        if (steps === 0) {
          assert.strictEqual((yield* reasonOf(mta.header("X-Long", long)))._tag, "InvalidValue")
        } else {
          yield* mta.header("X-Long", long)
          assert.isTrue(filter.packets.some((packet) => packet._tag === "Header" && packet.value === long))
          assert.strictEqual((yield* reasonOf(mta.header("X-Longer", long.repeat(3))))._tag, "InvalidValue")
        }
      }
    }))

  yielding.effect("waits as long as Postfix does, and longer with progress", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial((packet) => {
        if (packet._tag === "Negotiate") return agreeTo()
        return packet._tag === "EndOfMessage" || packet._tag === "Rcpt" ? undefined : { _tag: "Continue" }
      })
      yield* mta.negotiate()
      yield* mta.mail("<a@example.org>")
      const slow = yield* Effect.forkChild(mta.rcpt("<b@example.org>"))
      yield* yielding.adjust("29 seconds")
      filter.send({ _tag: "Progress" })
      yield* yielding.adjust("29 seconds")
      filter.send({ _tag: "Continue" })
      assert.deepStrictEqual(yield* Fiber.join(slow), { _tag: "Continue" })
      const silent = yield* Effect.forkChild(Effect.flip(mta.endOfMessage()))
      yield* yielding.adjust("299 seconds")
      filter.send({ _tag: "Progress" })
      yield* yielding.adjust("299 seconds")
      assert.isUndefined(silent.pollUnsafe())
      yield* yielding.adjust("1 second")
      const error = yield* Fiber.join(silent)
      assert.strictEqual(error.message, "memory:script, at EndOfMessage: no answer within 300 s")
      // It is over: the answer might still come.
      assert.strictEqual((yield* reasonOf(mta.mail("<a@example.org>")))._tag, "Timeout")
      assert.isTrue(filter.closed)
    }))

  yielding.effect("takes other timeouts", () =>
    Effect.gen(function*() {
      const [mta] = yield* dial(() => undefined, { timeouts: { command: "2 seconds" } })
      const fiber = yield* Effect.forkChild(reasonOf(mta.negotiate()))
      yield* yielding.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), { _tag: "Timeout", milliseconds: 2000 })
    }))

  describe("a filter that breaks the rules", () => {
    const cases: ReadonlyArray<readonly [what: string, script: Script, reason: string, message: string]> = [
      ["no frame", answer("Mail", Uint8Array.of(0, 0, 0, 0)), "FrameError", "Frame at byte"],
      ["HTTP", answer("Mail", new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n")), "FrameError", "over the cap"],
      ["an unknown code", answer("Mail", Uint8Array.of(0, 0, 0, 1, 90)), "PacketError", "not the code 0x5a"],
      ["a payload too many", answer("Mail", Uint8Array.of(0, 0, 0, 2, 99, 1)), "PacketError", "the end of the packet"],
      [
        "a modification too early",
        answer("Mail", { _tag: "DeleteRecipient", recipient: text("x") }),
        "UnexpectedReply",
        `at Mail: expected a verdict (modifications come at end of message only), not DeleteRecipient recipient="x"`
      ],
      ["discard at connect", answer("Connect", { _tag: "Discard" }), "UnexpectedReply", "not Discard"],
      ["accept at unknown", answer("Unknown", { _tag: "Accept" }), "UnexpectedReply", "not Accept"],
      ["skip at mail", answer("Mail", { _tag: "Skip" }), "UnexpectedReply", "not Skip"],
      ["shutdown", answer("Mail", { _tag: "Shutdown" }), "UnexpectedReply", "not Shutdown"],
      ["a second negotiation", answer("Mail", agreeTo()), "UnexpectedReply", "not Negotiated"],
      [
        "a reply that is none",
        answer("Mail", { _tag: "ReplyCode", text: text("550 5.7.1 100% no") }),
        "ReplyError",
        "percent"
      ],
      [
        "two answers",
        answer("Helo", { _tag: "Continue" }, { _tag: "Continue" }),
        "UnexpectedReply",
        "nothing before the next"
      ],
      ["an answer unasked", answer("Negotiate", agreeTo(), { _tag: "Continue" }), "UnexpectedReply", "nothing before"],
      ["no negotiation", answer("Negotiate", { _tag: "Continue" }), "UnexpectedReply", "answer to the negotiation"],
      ["a higher version", answer("Negotiate", agreeTo({ version: 7 })), "NegotiationError", "version 7"],
      ["version 1", answer("Negotiate", agreeTo({ version: 1 })), "NegotiationError", "version 1"],
      ["an action unknown", answer("Negotiate", agreeTo({ actions: 0x200 })), "NegotiationError", "actions 0x200"],
      [
        "a close",
        orContinue((packet, filter) => packet._tag === "Mail" ? (filter.close(), []) : undefined),
        "Closed",
        "closed"
      ]
    ]
    for (const [what, script, reason, message] of cases) {
      yielding.effect(what, () =>
        Effect.gen(function*() {
          const [mta, filter] = yield* dial(script)
          const error = yield* Effect.flip(Effect.andThen(
            Effect.andThen(mta.negotiate(), mta.connect(client)),
            Effect.andThen(mta.helo("x"), Effect.andThen(mta.mail("<a@example.org>"), mta.unknown("X")))
          ))
          assert.strictEqual(error._tag, "ClientError")
          assert.strictEqual(error.reason._tag, reason)
          assert.include(error.message, message)
          // Nothing is said to it any more.
          const sent = filter.packets.length
          yield* Effect.flip(mta.mail("<a@example.org>"))
          yield* yielding.quiet
          assert.strictEqual(filter.packets.length, sent)
          assert.isTrue(filter.closed)
        }))
    }

    yielding.effect("a modification that it did not ask for", () =>
      Effect.gen(function*() {
        const [mta] = yield* dial(orContinue(
          (packet) =>
            packet._tag === "EndOfMessage"
              ? [{ _tag: "Quarantine", reason: text("x") }, { _tag: "Continue" }]
              : undefined,
          { actions: Action.addHeader }
        ))
        yield* upToData(mta)
        const error = yield* Effect.flip(mta.endOfMessage())
        assert.strictEqual(
          error.message,
          `memory:script, at EndOfMessage: the filter did not ask for quarantine, but sent Quarantine reason="x"`
        )
      }))

    yielding.effect("more modifications than are taken", () =>
      Effect.gen(function*() {
        const added = { _tag: "AddHeader", name: text("X-Tag"), value: text("x") } as const
        const piece = { _tag: "ReplaceBody", bytes: new Uint8Array(1000) } as const
        const cases: ReadonlyArray<
          readonly [count: number, Packet.FilterPacket, MilterClient.Options, expected: string | number]
        > = [
          [10_000, added, {}, 10_000],
          [10_001, added, {}, "the filter sent more than 10000 modifications of one message"],
          [10_001, piece, {}, 10_001],
          [3, added, { maxModifications: 2 }, "the filter sent more than 2 modifications of one message"],
          // A piece counts 1,256 bytes.
          [2, piece, { maxModificationBytes: 2512 }, 2],
          [
            2,
            piece,
            { maxModificationBytes: 2511 },
            "the filter sent more than 2511 bytes of modifications of one message"
          ]
        ]
        for (const [count, packet, options, expected] of cases) {
          const [mta, filter] = yield* dial(
            answer("EndOfMessage", ...Array.from({ length: count }, () => packet), { _tag: "Continue" }),
            options
          )
          yield* upToData(mta)
          const result = yield* Effect.result(mta.endOfMessage())
          if (Result.isSuccess(result)) assert.strictEqual(result.success.modifications.length, expected)
          else {
            assert.strictEqual(result.failure.reason._tag, "TooManyModifications")
            assert.strictEqual(result.failure.message, `memory:script, at EndOfMessage: ${expected}`)
            yield* yielding.quiet
            assert.isTrue(filter.closed)
          }
        }
      }))

    yielding.effect("an action that was not offered", () =>
      Effect.gen(function*() {
        const [mta] = yield* dial(agreeing({ actions: Action.changeSender | Action.addHeader }))
        const error = yield* Effect.flip(mta.negotiate({ version: 2, actions: 0x3f, steps: 0x7f }))
        assert.strictEqual(error.reason._tag, "NegotiationError")
        const [lower] = yield* dial(agreeing({ version: 2 }))
        assert.strictEqual((yield* lower.negotiate({ version: 2 })).version, 2)
      }))

    yielding.effect("steps that were not offered are left out", () =>
      Effect.gen(function*() {
        const [mta] = yield* dial(agreeing({ steps: Step.noBody | Step.skip | 0x10000000 }))
        assert.strictEqual((yield* mta.negotiate({ steps: 0x7f })).steps, Step.noBody)
      }))
  })

  yielding.effect("a verdict that came before the close counts", () =>
    Effect.gen(function*() {
      const [mta] = yield* dial(orContinue((packet, filter) => {
        if (packet._tag !== "Mail") return undefined
        filter.send({ _tag: "Reject" })
        filter.close()
        return []
      }))
      yield* mta.negotiate()
      assert.deepStrictEqual(yield* mta.mail("<a@example.org>"), { _tag: "Reject" })
      assert.strictEqual((yield* reasonOf(mta.unknown("x")))._tag, "Closed")
    }))

  yielding.effect("values that do not fit are refused, and the session goes on", () =>
    Effect.gen(function*() {
      const [mta] = yield* dial(goOn)
      yield* mta.negotiate()
      const error = yield* Effect.flip(mta.mail("<a\0b@example.org>"))
      assert.strictEqual(error.reason._tag, "InvalidValue")
      assert.include(error.message, "expected no NUL")
      assert.strictEqual((yield* reasonOf(mta.helo("x".repeat(70_000))))._tag, "InvalidValue")
      const many = Array.from({ length: 3 }, () => "x".repeat(30_000))
      assert.strictEqual((yield* reasonOf(mta.mail("<a@example.org>", many)))._tag, "InvalidValue")
      assert.deepStrictEqual(yield* mta.mail("<a@example.org>"), { _tag: "Continue" })
    }))

  yielding.effect("a step that is interrupted ends the connection", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(orContinue((packet) => packet._tag === "Mail" ? [] : undefined))
      yield* mta.negotiate()
      const fiber = yield* Effect.forkChild(mta.mail("<a@example.org>"))
      yield* yielding.quiet
      yield* Fiber.interrupt(fiber)
      yield* yielding.quiet
      assert.isTrue(filter.closed)
      assert.strictEqual((yield* reasonOf(mta.unknown("x")))._tag, "Closed")
    }))

  yielding.effect("steps go one at a time", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(goOn)
      yield* mta.negotiate()
      yield* mta.mail("<a@example.org>")
      yield* Effect.all([mta.rcpt("<b@example.org>"), mta.rcpt("<c@example.org>"), mta.rcpt("<d@example.org>")], {
        concurrency: "unbounded"
      })
      assert.strictEqual(filter.reads.length, 5)
    }))

  yielding.effect("begins another session on the same connection", () =>
    Effect.gen(function*() {
      const [mta, filter] = yield* dial(
        orContinue((packet) => packet._tag === "Helo" && packet.name === "bad" ? { _tag: "Reject" } : undefined)
      )
      yield* mta.negotiate()
      yield* mta.connect(client)
      assert.deepStrictEqual(yield* mta.helo("bad"), { _tag: "Reject" })
      yield* mta.quitNewConnection()
      assert.deepStrictEqual(yield* mta.connect(client), { _tag: "Continue" })
      assert.deepStrictEqual(yield* mta.helo("good"), { _tag: "Continue" })
      assert.deepStrictEqual(tags(filter.packets), [
        "Negotiate",
        "Connect",
        "Helo",
        "QuitNewConnection",
        "Connect",
        "Helo"
      ])
    }))

  yielding.effect("a session begins with negotiate", () =>
    Effect.gen(function*() {
      const [mta] = yield* dial(goOn)
      const exit = yield* Effect.exit(mta.mail("<a@example.org>"))
      assert.include(String(exit), "begins with negotiate")
    }))

  yielding.effect("closes with its scope", () =>
    Effect.gen(function*() {
      const filter = yield* Effect.scoped(Effect.map(dial(goOn), ([, filter]) => filter))
      yield* yielding.quiet
      assert.isTrue(filter.closed)
    }))

  yielding.effect("nobody there", () =>
    Effect.gen(function*() {
      const dialer = dialerOf({ reaches: "nobody", dial: () => new Refused({ message: "nobody listens there" }) })
      const error = yield* MilterClient.dial("memory:nowhere").pipe(
        Effect.provideService(MilterClient.Dialer, dialer),
        Effect.flip
      )
      assert.strictEqual(error.message, "memory:nowhere: nobody listens there")
      const silent = dialerOf({ reaches: "nobody", dial: () => Effect.never })
      const fiber = yield* Effect.forkChild(
        Effect.flip(Effect.provideService(MilterClient.dial("memory:silent"), MilterClient.Dialer, silent))
      )
      yield* yielding.adjust("30 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).message, "memory:silent: no connection within 30 s")
    }))

  describe("sendMessage", () => {
    const message: MilterClient.Message = {
      from: "alice@example.org",
      to: ["bob@example.net", "carol@example.net"],
      headers: [["From", "alice@example.org"], ["Message-Id", "<1@example.org>"], ["Subject", "hello\r\n there"]],
      body: "Hello,\nBob"
    }

    /** What is not answered has also arrived then. */
    const deliver = (mta: MilterClient.Client, message: MilterClient.Message) =>
      Effect.tap(mta.sendMessage(message), () => yielding.quiet)

    yielding.effect("is what Postfix sends", () =>
      Effect.gen(function*() {
        const [mta, filter] = yield* dial(goOn)
        const outcome = yield* deliver(mta, message)
        assert.strictEqual(outcome._tag, "Accepted")
        assert.deepStrictEqual(filter.reads, [
          ["Negotiate version=6 actions=0x1ff steps=0x1fffff"],
          [
            `Macro stage="C" macros=["j"="mx.example.org", "{daemon_name}"="mx.example.org", ` +
            `"{daemon_addr}"="192.0.2.25", "v"="Postfix 3.7.11", "_"="client.example.org [192.0.2.1]"]`,
            `Connect hostname="client.example.org" address=IPv4("192.0.2.1", port 50000)`
          ],
          [`Macro stage="H" macros=[]`, `Helo name="client.example.org"`],
          [
            `Macro stage="M" macros=["{mail_addr}"="alice@example.org", "{mail_host}"="example.org", "{mail_mailer}"="smtp"]`,
            `Mail sender="<alice@example.org>" parameters=[]`
          ],
          [
            `Macro stage="R" macros=["{rcpt_addr}"="bob@example.net", "{rcpt_host}"="example.net", "{rcpt_mailer}"="local"]`,
            `Rcpt recipient="<bob@example.net>" parameters=[]`
          ],
          [
            `Macro stage="R" macros=["i"="A1B2C30001", "{rcpt_addr}"="carol@example.net", "{rcpt_host}"="example.net", ` +
            `"{rcpt_mailer}"="local"]`,
            `Rcpt recipient="<carol@example.net>" parameters=[]`
          ],
          [`Macro stage="T" macros=["i"="A1B2C30001"]`, "Data"],
          [`Macro stage="L" macros=["i"="A1B2C30001"]`, `Header name="From" value="alice@example.org"`],
          [`Macro stage="L" macros=["i"="A1B2C30001"]`, `Header name="Message-Id" value="<1@example.org>"`],
          [`Macro stage="L" macros=["i"="A1B2C30001"]`, `Header name="Subject" value="hello\\n there"`],
          [`Macro stage="N" macros=["i"="A1B2C30001"]`, "EndOfHeaders"],
          [`Macro stage="B" macros=["i"="A1B2C30001"]`, `Body bytes=13:"Hello,\\r\\nBob\\r\\n"`],
          [`Macro stage="E" macros=["i"="A1B2C30001"]`, `EndOfMessage bytes=0:""`],
          ["Abort"]
        ])
      }))

    yielding.effect("is what Sendmail sends", () =>
      Effect.gen(function*() {
        const [mta, filter] = yield* dial(goOn, { as: MilterClient.sendmail })
        const outcome = yield* deliver(mta, { ...message, client: { address: "2001:db8::1" }, helo: "[x]" })
        assert.strictEqual(outcome._tag, "Accepted")
        assert.deepStrictEqual(filter.reads.slice(1), [
          [
            `Macro stage="C" macros=["j"="mx.example.org", "_"="[IPv6:2001:db8:0:0:0:0:0:1]", "{daemon_name}"="MTA6", ` +
            `"{if_name}"="mx.example.org", "{if_addr}"="192.0.2.25"]`,
            `Connect hostname="[IPv6:2001:db8:0:0:0:0:0:1]" address=IPv6("IPv6:2001:db8:0:0:0:0:0:1", port 50000)`
          ],
          [`Macro stage="H" macros=[]`, `Helo name="[x]"`],
          [
            `Macro stage="M" macros=["i"="A1B2C30001", "{mail_mailer}"="esmtp", "{mail_host}"="example.org", ` +
            `"{mail_addr}"="alice@example.org"]`,
            `Mail sender="<alice@example.org>" parameters=[]`
          ],
          [
            `Macro stage="R" macros=["{rcpt_mailer}"="local", "{rcpt_host}"="example.net", "{rcpt_addr}"="bob@example.net"]`,
            `Rcpt recipient="<bob@example.net>" parameters=[]`
          ],
          [
            `Macro stage="R" macros=["{rcpt_mailer}"="local", "{rcpt_host}"="example.net", ` +
            `"{rcpt_addr}"="carol@example.net"]`,
            `Rcpt recipient="<carol@example.net>" parameters=[]`
          ],
          ["Data"],
          [`Header name="From" value="alice@example.org"`],
          [`Header name="Message-Id" value="<1@example.org>"`],
          [`Header name="Subject" value="hello\\n there"`],
          ["EndOfHeaders"],
          [`Body bytes=13:"Hello,\\r\\nBob\\r\\n"`],
          [`Macro stage="E" macros=["{msg_id}"="<1@example.org>"]`, `EndOfMessage bytes=0:""`]
        ])
      }))

    yielding.effect("stops where the filter decides", () =>
      Effect.gen(function*() {
        const commands = {
          Connect: "connect",
          Helo: "helo",
          Mail: "mail",
          Data: "data",
          Header: "header",
          EndOfHeaders: "endOfHeaders",
          Body: "body",
          EndOfMessage: "endOfMessage"
        } as const
        for (const [command, stage] of Object.entries(commands)) {
          for (
            const [reply, tag] of [["Reject", "Rejected"], ["TempFail", "TempFailed"], ["Accept", "Accepted"]] as const
          ) {
            for (const as of [MilterClient.postfix, MilterClient.sendmail]) {
              const [mta, filter] = yield* dial(
                orContinue((packet) => packet._tag === command ? { _tag: reply } : undefined),
                { as }
              )
              const outcome = yield* deliver(mta, message)
              assert.strictEqual(outcome._tag, tag, `${reply} at ${stage}`)
              assert.strictEqual(outcome.stage, stage)
              // Sendmail refuses with another code after DATA.
              const content = as === MilterClient.sendmail && stage !== "connect" && stage !== "helo" &&
                stage !== "mail" && stage !== "data"
              const code = { Reject: content ? "554" : "550", TempFail: "451", Accept: undefined }[reply]
              assert.strictEqual(outcome.reply?.code, code)
              const sent = filter.packets.filter(({ _tag }) => _tag !== "Macro" && _tag !== "Abort" && _tag !== "Quit")
              assert.strictEqual(sent[sent.length - 1]?._tag, command)
              const aborted = filter.packets.some(({ _tag }) => _tag === "Abort")
              const inMessage = stage !== "connect" && stage !== "helo"
              // Postfix always, Sendmail where the message goes on for the filter: another DATA might come.
              assert.strictEqual(
                aborted,
                inMessage && (as === MilterClient.postfix || (stage === "data" && reply !== "Accept"))
              )
            }
          }
        }
      }))

    yielding.effect("goes on with the recipients that are left", () =>
      Effect.gen(function*() {
        const refuse = (...refused: ReadonlyArray<string>) =>
          dial(orContinue((packet) => {
            if (packet._tag !== "Rcpt" || !refused.includes(packet.recipient)) return undefined
            return { _tag: "ReplyCode", text: text("452 4.2.2 full") }
          }, { actions: 0x1ff }))
        const [some] = yield* refuse("<bob@example.net>")
        const outcome = yield* deliver(some, message)
        assert.strictEqual(outcome._tag, "Accepted")
        assert.deepStrictEqual(tags(outcome.recipients.map(({ answer }) => answer)), ["Reply", "Continue"])
        assert.deepStrictEqual(outcome.delivered?.recipients.map(({ address }) => address), [text("carol@example.net")])
        const [all, filter] = yield* refuse("<bob@example.net>", "<carol@example.net>")
        const refused = yield* deliver(all, message)
        assert.strictEqual(refused._tag, "TempFailed")
        assert.deepStrictEqual(refused.reply, { code: "452", enhanced: "4.2.2", lines: [text("full")] })
        assert.isFalse(filter.packets.some(({ _tag }) => _tag === "Data"))
        assert.strictEqual(filter.packets[filter.packets.length - 1]?._tag, "Abort")
        const [discarding] = yield* dial(answer("Rcpt", { _tag: "Discard" }))
        assert.include(yield* discarding.sendMessage(message), { _tag: "Discarded", stage: "rcpt" })
      }))

    yielding.effect("does not ask about recipients that the MTA has refused", () =>
      Effect.gen(function*() {
        const to = { address: "nobody@example.net", refused: { enhanced: "5.1.1", text: "no such user" } }
        const [mta, filter] = yield* dial(agreeing({ steps: Step.rejectedRecipients }))
        const outcome = yield* deliver(mta, { ...message, to: [to, "bob@example.net"] })
        assert.strictEqual(outcome._tag, "Accepted")
        assert.deepStrictEqual(outcome.delivered?.recipients.map(({ address }) => address), [text("bob@example.net")])
        assert.deepStrictEqual(filter.reads[4], [
          `Macro stage="R" macros=["{rcpt_addr}"="no such user", "{rcpt_host}"="5.1.1", "{rcpt_mailer}"="error"]`,
          `Rcpt recipient="<nobody@example.net>" parameters=[]`
        ])
        assert.include(yield* deliver(mta, { ...message, to }), { _tag: "Rejected", stage: "rcpt", reply: undefined })
      }))

    yielding.effect("sends several on one connection", () =>
      Effect.gen(function*() {
        const [mta, filter] = yield* dial(goOn)
        yield* deliver(mta, message)
        yield* deliver(mta, { ...message, macros: { mail: { "{auth_authen}": "alice" } } })
        const count = (tag: string) => filter.packets.filter(({ _tag }) => _tag === tag).length
        assert.deepStrictEqual(["Negotiate", "Connect", "Helo", "Mail", "EndOfMessage", "Abort"].map(count), [
          1,
          1,
          1,
          2,
          2,
          2
        ])
        const second = filter.reads.flat().filter((line) => line.startsWith(`Macro stage="M"`))[1]
        assert.include(second, `"{auth_authen}"="alice"`)
        assert.include(filter.reads[filter.reads.length - 2]?.[0], "A1B2C30002")
      }))

    yielding.effect("shows what Postfix would deliver", () =>
      Effect.gen(function*() {
        for (const steps of [0, Step.leadingSpace]) {
          const value = text(steps === 0 ? "yes" : " yes")
          const [mta] = yield* dial(orContinue((packet) =>
            packet._tag === "EndOfMessage"
              ? [
                { _tag: "AddHeader", name: text("X-Checked"), value },
                { _tag: "ReplaceBody", bytes: new TextEncoder().encode("new\n") },
                { _tag: "Continue" }
              ]
              : undefined, { actions: 0x1ff, steps }))
          const { delivered } = yield* deliver(mta, message)
          assert.deepStrictEqual(delivered, {
            sender: text("alice@example.org"),
            recipients: ["bob@example.net", "carol@example.net"].map((address) => ({
              address: text(address),
              parameters: undefined
            })),
            headers: [
              { name: text("From"), value: text(" alice@example.org") },
              { name: text("Message-Id"), value: text(" <1@example.org>") },
              { name: text("Subject"), value: text(" hello\n there") },
              { name: text("X-Checked"), value: text(" yes") }
            ],
            body: new TextEncoder().encode("new\r\n"),
            quarantined: undefined
          })
        }
      }))

    yielding.effect("a body in two runs fails the message, as in Postfix", () =>
      Effect.gen(function*() {
        const piece = { _tag: "ReplaceBody", bytes: Uint8Array.of(120) } as const
        const [mta] = yield* dial(
          answer("EndOfMessage", piece, { _tag: "Quarantine", reason: text("x") }, piece, { _tag: "Continue" })
        )
        const outcome = yield* deliver(mta, message)
        assert.include(outcome, { _tag: "TempFailed", delivered: undefined })
        assert.strictEqual(outcome.reply?.enhanced, "4.3.5")
      }))
  })
})
