/** What hooks can look up and change: macros, modifications, refused recipients, local mail. */
import { assert, describe, it } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as MilterTest from "effect-milter/MilterTest"
import type { Capability } from "effect-milter/Modification"
import { Action, Step } from "effect-milter/Negotiation"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { commands, goOn, recorder } from "../support/filters.ts"
import { capabilities, order } from "../support/names.ts"
import * as Mta from "../support/rawMta.ts"

describe("macros", () => {
  /** Shows all macros visible at each stage. */
  const watching = () => {
    const seen: Array<string> = []
    const look = (stage: string) => (_: unknown, { session }: { readonly session: { readonly macros: Macros } }) =>
      Effect.sync(() => {
        const list = session.macros.entries().map(([name, value]) => `${name}=${value}`)
        seen.push(`${stage} ${list.join(" ")}`.trim())
      })
    const filter = Milter.make("test").on({}, {
      connect: look("connect"),
      helo: look("helo"),
      mail: look("mail"),
      rcpt: look("rcpt"),
      data: look("data"),
      header: look("header"),
      endOfHeaders: look("endOfHeaders"),
      body: look("body"),
      endOfMessage: look("endOfMessage"),
      unknown: look("unknown")
    })
    return { filter, take: () => seen.splice(0) }
  }
  interface Macros {
    readonly entries: () => ReadonlyArray<readonly [string, string]>
  }

  it.effect("are readable at every later stage", () =>
    Effect.gen(function*() {
      const { filter, take } = watching()
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(
        Mta.macros("C", { j: "mx", "{daemon_name}": "smtpd" }),
        Mta.connect(),
        Mta.macros("H", { "{tls_version}": "TLSv1.3" }),
        Mta.helo(),
        Mta.macros("M", { i: "Q1", "{auth_authen}": "alice" }),
        Mta.mail(),
        Mta.macros("R", { "{rcpt_addr}": "bob" }),
        Mta.rcpt(),
        Mta.macros("T", {}),
        Mta.data,
        Mta.macros("L", { i: "Q2" }),
        Mta.header(),
        Mta.macros("N", { i: "Q2" }),
        Mta.endOfHeaders,
        Mta.macros("B", { i: "Q2" }),
        Mta.body(),
        Mta.macros("E", { "{msg_id}": "<1@x>" }),
        Mta.endOfMessage(),
        Mta.unknown()
      )
      assert.deepStrictEqual(take(), [
        "connect j=mx daemon_name=smtpd",
        "helo j=mx daemon_name=smtpd tls_version=TLSv1.3",
        "mail j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q1 auth_authen=alice",
        "rcpt j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q1 auth_authen=alice rcpt_addr=bob",
        "data j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q1 auth_authen=alice rcpt_addr=bob",
        "header j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q2 auth_authen=alice rcpt_addr=bob",
        "endOfHeaders j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q2 auth_authen=alice rcpt_addr=bob",
        "body j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q2 auth_authen=alice rcpt_addr=bob",
        "endOfMessage j=mx daemon_name=smtpd tls_version=TLSv1.3 i=Q2 auth_authen=alice rcpt_addr=bob msg_id=<1@x>",
        "unknown j=mx daemon_name=smtpd tls_version=TLSv1.3"
      ])
    }))

  it.effect("of a message end with it, however it ends", () =>
    Effect.gen(function*() {
      for (const end of [[Mta.endOfMessage()], [Mta.abort], [Mta.abort, Mta.abort], []]) {
        const { filter, take } = watching()
        const mta = yield* (yield* Mta.serve(filter)).open()
        yield* mta.say(
          Mta.macros("C", { j: "mx" }),
          Mta.connect(),
          Mta.macros("M", { i: "Q1", "{auth_authen}": "alice" }),
          Mta.mail(),
          Mta.macros("R", { "{rcpt_addr}": "bob" }),
          Mta.rcpt(),
          ...end
        )
        take()
        // Sendmail sends nothing ahead of MAIL when nothing is defined.
        yield* mta.say(Mta.mail(), Mta.rcpt())
        assert.deepStrictEqual(take(), ["mail j=mx", "rcpt j=mx"])
      }
    }))

  it.effect("of a message end with a final verdict", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const filter = Milter.make("test").on({
        rcpt: () => Effect.succeed(Verdict.acceptMessage),
        unknown: (_, { session }) => Effect.sync(() => (seen.push(session.macros.get("i")), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(Mta.macros("M", { i: "Q1" }), Mta.mail())
      yield* mta.say(Mta.unknown())
      yield* mta.say(Mta.rcpt())
      yield* mta.say(Mta.unknown())
      assert.deepStrictEqual(seen, ["Q1", undefined])
    }))

  it.effect("that come ahead of a MAIL inside a message belong to the new one", () =>
    Effect.gen(function*() {
      const { filter, take } = watching()
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(
        Mta.connect(),
        Mta.macros("M", { i: "Q1" }),
        Mta.mail(),
        Mta.macros("R", { "{rcpt_addr}": "bob" }),
        Mta.rcpt()
      )
      take()
      yield* mta.say(Mta.macros("M", { i: "Q2" }), Mta.mail(), Mta.macros("H", { "{cipher}": "X" }), Mta.helo())
      assert.deepStrictEqual(take(), ["mail i=Q2", "helo cipher=X"])
    }))

  it.effect("of a recipient are not those of the next", () =>
    Effect.gen(function*() {
      const { filter, take } = watching()
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(
        Mta.mail(),
        Mta.macros("R", { "{rcpt_addr}": "bob", "{rcpt_host}": "x" }),
        Mta.rcpt(),
        // Sendmail defines those of a recipient that it then hides from the filter.
        Mta.macros("R", { "{rcpt_addr}": "hidden" }),
        Mta.macros("R", { "{rcpt_addr}": "eve" }),
        Mta.rcpt(),
        Mta.rcpt()
      )
      assert.deepStrictEqual(take(), [
        "mail",
        "rcpt rcpt_addr=bob rcpt_host=x",
        "rcpt rcpt_addr=eve",
        "rcpt rcpt_addr=eve"
      ])
    }))

  it.effect("of the connection end with QUIT_NC", () =>
    Effect.gen(function*() {
      const { filter, take } = watching()
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.say(Mta.macros("C", { j: "mx" }), Mta.connect(), Mta.quitNewConnection, Mta.connect())
      assert.deepStrictEqual(take(), ["connect j=mx", "connect"])
    }))

  it.effect("asked for by a filter are in the negotiation", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { macros: { connect: ["client_ptr"], endOfMessage: ["i"] } }).on({})
      const server = yield* Mta.serve(filter)
      const mta = yield* server.dial
      assert.deepStrictEqual(yield* mta.say(Mta.negotiate()), [
        "Negotiated version=6 actions=0x100 steps=0x10b770 macros=[0:\"{client_ptr}\", 6:\"i\", 5:\"i\"]"
      ])
      const old = yield* server.dial
      assert.deepStrictEqual(yield* old.say(Mta.negotiate({ version: 2, actions: 0x3f, steps: 0x7f })), [
        "Negotiated version=2 actions=0x0 steps=0x70 macros=[]"
      ])
    }))

  it("asked for under an impossible name are refused when the filter is made", () => {
    for (const name of ["", "a b", "a,b", "a\0b", "ä"]) {
      assert.throws(() => Milter.make("test", { macros: { mail: [name] } }).on({}), /macro name/, name)
    }
  })
})

describe("modifications", () => {
  it.effect("go out as they were made, the body last, then the verdict", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { modify: capabilities }).on({
        endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
          yield* edit.quarantine("looks odd")
          yield* edit.replaceBody(new TextEncoder().encode("new\r\n"))
          yield* edit.addHeader("X-A", "a")
          yield* edit.insertHeader(0, "X-B", "b")
          yield* edit.changeHeader("Subject", 1, "Grüße")
          yield* edit.deleteHeader("X-C", 2)
          yield* edit.addRecipient("new@example.org")
          yield* edit.addRecipientWithParameters("never@example.org", "NOTIFY=NEVER")
          yield* edit.deleteRecipient(envelope.recipients[0]!.recipient)
          yield* edit.changeSender("")
          yield* edit.changeSender("other@example.org", "RET=HDRS")
          return Verdict.acceptMessage
        })
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      yield* mta.each(Mta.connect(), Mta.mail(), Mta.rcpt("bob@example.org"))
      const expected = (space: string) => [
        "Quarantine reason=\"looks odd\"",
        `AddHeader name="X-A" value="${space}a"`,
        `InsertHeader index=0 name="X-B" value="${space}b"`,
        `ChangeHeader index=1 name="Subject" value="${space}=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="`,
        "ChangeHeader index=2 name=\"X-C\" value=\"\"",
        "AddRecipient recipient=\"<new@example.org>\"",
        "AddRecipientWithParameters recipient=\"<never@example.org>\" parameters=\"NOTIFY=NEVER\"",
        "DeleteRecipient recipient=\"bob@example.org\"",
        "ChangeSender sender=\"<>\" parameters=undefined",
        "ChangeSender sender=\"<other@example.org>\" parameters=\"RET=HDRS\"",
        "ReplaceBody bytes=5:6e65770d0a",
        "Accept"
      ]
      const normalize = (replies: ReadonlyArray<string>) => replies.map((reply) => reply.split(" ")[0])
      const modern = yield* mta.say(Mta.endOfMessage())
      assert.deepStrictEqual(normalize(modern), normalize(expected(" ")))
      for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 9]) assert.strictEqual(modern[index], expected(" ")[index])
      // An MTA that puts the space after the colon itself.
      const old = yield* server.open({ steps: 0 })
      yield* old.each(Mta.connect(), Mta.mail(), Mta.rcpt("bob@example.org"))
      const plain = yield* old.say(Mta.endOfMessage())
      for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 9]) assert.strictEqual(plain[index], expected("")[index])
    }))

  it.effect("of a SMTPUTF8 message go out in UTF-8", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { modify: ["addHeader", "addRecipient"] }).on({
        endOfMessage: (_, { edit }) =>
          Effect.as(Effect.andThen(edit.addHeader("X", "ü"), edit.addRecipient("jörg@example.org")), Verdict.continue)
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.mail("<a@x>", "SMTPUTF8"))
      const [header, recipient, verdict] = yield* mta.say(Mta.endOfMessage())
      assert.strictEqual(header, "AddHeader name=\"X\" value=\" \\xC3\\xBC\"")
      assert.strictEqual(recipient, "AddRecipient recipient=\"<j\\xC3\\xB6rg@example.org>\"")
      assert.strictEqual(verdict, "Continue")
    }))

  const replacing = (body: Uint8Array | Stream.Stream<Uint8Array>) =>
    Milter.make("test", { modify: ["replaceBody", "addHeader"] }).on({
      endOfMessage: (_, { edit }) =>
        Effect.as(Effect.andThen(edit.replaceBody(body), edit.addHeader("A", "b")), Verdict.continue)
    })
  it.effect("of the body come in larger pieces where the MTA offers that and the server can take as much", () =>
    Effect.gen(function*() {
      const bytes = Uint8Array.from({ length: 2_500_000 }, (_, index) => index % 251)
      const rows = [
        [Step.payload1M, {}, [1_048_575, 1_048_575, 402_850]],
        [Step.payload256K, {}, [...Array.from({ length: 9 }, () => 262_143), 140_713]],
        [Step.payload1M, { maxFrameLength: 1_048_575 }, [...Array.from({ length: 38 }, () => 65_535), 9_670]],
        [0, {}, [...Array.from({ length: 38 }, () => 65_535), 9_670]]
      ] as const
      for (const [bit, options, lengths] of rows) {
        const mta = yield* (yield* Mta.serve(replacing(bytes), options)).open({ steps: Mta.modern.steps | bit })
        const isEchoed = lengths[0] > 65_535
        assert.strictEqual(mta.agreed.steps & (Step.payload1M | Step.payload256K), isEchoed ? bit : 0)
        yield* mta.each(Mta.mail(), Mta.rcpt())
        yield* mta.write(Mta.endOfMessage())
        const pieces = (yield* mta.packets).flatMap((packet) => packet._tag === "ReplaceBody" ? [packet.bytes] : [])
        assert.deepStrictEqual<ReadonlyArray<number>>(pieces.map(({ length }) => length), lengths)
        assert.isTrue(Buffer.concat(pieces).equals(bytes))
      }
    }))

  it.effect("a piece of the body is taken in the larger size that was agreed on", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({
        body: ({ bytes }) => Effect.succeed(bytes.length === 1_048_575 ? Verdict.continue : Verdict.reject())
      })
      const mta = yield* (yield* Mta.serve(filter)).open({ steps: Mta.modern.steps | Step.payload1M })
      const body = { _tag: "Body", bytes: new Uint8Array(1_048_575) } as const
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), body), ["Continue", "", "Continue"])
    }))

  it.effect("of the body come in pieces of at most 65535 bytes, one after the other", () =>
    Effect.gen(function*() {
      const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251)
      const bodies = [
        bytes,
        Stream.make(bytes),
        Stream.make(bytes.subarray(0, 1), bytes.subarray(1, 65537), bytes.subarray(65537))
      ]
      for (const body of bodies) {
        const mta = yield* (yield* Mta.serve(replacing(body))).open()
        yield* mta.each(Mta.mail(), Mta.rcpt())
        yield* mta.write(Mta.endOfMessage())
        const packets = yield* mta.packets
        assert.deepStrictEqual(packets[0]?._tag, "AddHeader")
        assert.deepStrictEqual(packets.at(-1)?._tag, "Continue")
        const got: Array<number> = []
        for (const packet of packets.slice(1, -1)) {
          assert.isTrue(packet._tag === "ReplaceBody" && packet.bytes.length > 0 && packet.bytes.length <= 65535)
          if (packet._tag === "ReplaceBody") { for (const byte of packet.bytes) got.push(byte) }
        }
        assert.isTrue(Buffer.from(got).equals(bytes))
      }
    }))

  it.effect("to an empty body are one empty piece", () =>
    Effect.gen(function*() {
      for (const body of [new Uint8Array(0), Stream.empty, Stream.make(new Uint8Array(0), new Uint8Array(0))]) {
        const mta = yield* (yield* Mta.serve(replacing(body))).open()
        yield* mta.each(Mta.mail(), Mta.rcpt())
        yield* mta.write(Mta.endOfMessage())
        assert.deepStrictEqual(
          (yield* mta.packets).map((packet) => packet._tag === "ReplaceBody" ? packet.bytes.length : packet._tag),
          ["AddHeader", 0, "Continue"]
        )
      }
    }))

  it.effect("of the body: the last call counts, and an author may reuse the buffer", () =>
    Effect.gen(function*() {
      const buffer = new TextEncoder().encode("first")
      const filter = Milter.make("test", { modify: ["replaceBody"] }).on({
        endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
          yield* edit.replaceBody(new TextEncoder().encode("none of this"))
          yield* edit.replaceBody(buffer)
          buffer.fill(0x21)
          return Verdict.continue
        })
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.mail(), Mta.rcpt())
      yield* mta.write(Mta.endOfMessage())
      const [body] = yield* mta.packets
      assert.isTrue(body?._tag === "ReplaceBody" && new TextDecoder().decode(body.bytes) === "first")
    }))

  it.effect("of the body whose stream fails half-way are not made", () =>
    Effect.gen(function*() {
      const body = Stream.concat(Stream.make(new Uint8Array(10)), Stream.fail("disk" as const))
      const filter = Milter.make("test", { modify: ["replaceBody", "addHeader"] }).on({
        endOfMessage: (_, { edit }) =>
          Effect.as(Effect.andThen(edit.addHeader("A", "b"), edit.replaceBody(body)), Verdict.continue)
      })
      const server = yield* Mta.serve(Milter.onFailure(filter, (error) => {
        assert.strictEqual(error, "disk")
        return Effect.succeed("pass")
      }))
      const mta = yield* server.open()
      assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.endOfMessage()), ["Continue", "", "Accept"])
    }))

  it.effect("are dropped with a message that does not pass", () =>
    Effect.gen(function*() {
      const cases = [
        [Verdict.reject(), "Reject"],
        [Verdict.tempFail({ text: "later" }), "ReplyCode text=\"451 4.7.1 later\""],
        [Verdict.discardMessage, "Discard"]
      ] as const
      for (const [verdict, expected] of cases) {
        const filter = Milter.make("test", { modify: ["addHeader", "replaceBody", "quarantine"] }).on({
          endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
            yield* edit.addHeader("A", "b")
            yield* edit.replaceBody(new Uint8Array(3))
            yield* edit.quarantine("x")
            return verdict
          })
        })
        const mta = yield* (yield* Mta.serve(filter)).open()
        assert.deepStrictEqual(yield* mta.each(Mta.mail(), Mta.rcpt(), Mta.endOfMessage()), ["Continue", "", expected])
      }
    }))

  it.effect("of one message do not reach the next", () =>
    Effect.gen(function*() {
      let count = 0
      const filter = Milter.make("test", { modify: ["addHeader", "replaceBody"] }).on({
        endOfMessage: (_, { edit }) =>
          ++count === 1
            ? Effect.as(Effect.andThen(edit.addHeader("A", "b"), edit.replaceBody(new Uint8Array(1))), Verdict.continue)
            : goOn
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(...Mta.message)
      assert.strictEqual((yield* mta.each(...Mta.message)).at(-1), "Continue")
    }))

  it.effect("with impossible values are defects that say which, and the message is put off", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", {
        modify: ["addHeader", "insertHeader", "changeHeader", "addRecipient", "changeSender", "quarantine"]
      }).on({
        endOfMessage: (_, { edit, envelope }) => {
          const bad = [
            edit.addHeader("X:Y", "b"),
            edit.addHeader("X-Spam", "yes\r\nBcc: all@example.org"),
            edit.insertHeader(-1, "A", "b"),
            edit.changeHeader("A", 0, "b"),
            edit.addRecipient("a@x, b@x"),
            edit.addRecipient(""),
            edit.changeSender("a@x\0"),
            edit.quarantine("")
          ]
          return Effect.as(bad[Number(envelope.sender.localPart)]!, Verdict.continue)
        }
      })
      const server = yield* Mta.serve(filter)
      const mta = yield* server.open()
      for (let index = 0; index < 8; index++) {
        assert.deepStrictEqual(
          yield* mta.each(Mta.mail(`<${index}@x>`), Mta.rcpt(), Mta.endOfMessage()),
          ["Continue", "", "TempFail"],
          String(index)
        )
      }
      assert.strictEqual(server.logs.length, 8)
      for (const { level, text } of server.logs) {
        assert.strictEqual(level, "Error")
        assert.match(text, /InvalidValue/)
      }
    }))

  it.effect("that are not offered end the session before mail is touched, with one line", () =>
    Effect.gen(function*() {
      const { options, take } = recorder()
      const filter = Milter.make("needs", { ...options, modify: ["changeSender", "replaceBody"] }).on({})
      const server = yield* Mta.serve(filter)
      const mta = yield* server.dial
      assert.deepStrictEqual(yield* mta.say(Mta.negotiate({ version: 2, actions: 0x3f, steps: 0x7f })), [])
      assert.isTrue(yield* mta.closed)
      assert.deepStrictEqual(take(), [])
      assert.strictEqual(server.logs.length, 1)
      assert.match(server.logs[0]!.text, /NegotiationError.*changeSender/)
      // A better MTA is served.
      assert.isFalse(yield* (yield* server.open()).closed)
    }))

  it.effect("that are optional come as Option and are requested only where they are offered", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { modify: ["addHeader"], modifyIfOffered: ["quarantine", "replaceBody"] }).on({
        endOfMessage: (_, { edit }) =>
          Effect.as(
            Option.match(edit.quarantine, {
              onNone: () => edit.addHeader("X-Spam", "yes"),
              onSome: (quarantine) => quarantine("spam")
            }),
            Verdict.continue
          )
      })
      const server = yield* Mta.serve(filter)
      const one = yield* server.dial
      const [answer] = yield* one.say(Mta.negotiate({ actions: Action.addHeader | Action.quarantine }))
      assert.match(answer!, /actions=0x21 /)
      assert.deepStrictEqual(yield* one.each(Mta.mail(), Mta.endOfMessage()), [
        "Continue",
        "Quarantine reason=\"spam\", Continue"
      ])
      const other = yield* server.dial
      const [poorer] = yield* other.say(Mta.negotiate({ actions: Action.addHeader }))
      assert.match(poorer!, /actions=0x1 /)
      assert.deepStrictEqual(yield* other.each(Mta.mail(), Mta.endOfMessage()), [
        "Continue",
        "AddHeader name=\"X-Spam\" value=\" yes\", Continue"
      ])
    }))

  it.effect("of the editor are those declared and no others", () =>
    Effect.gen(function*() {
      let keys: ReadonlyArray<string> = []
      const modify: ReadonlyArray<Capability> = ["addHeader"]
      const filter = Milter.make("test", { modify, modifyIfOffered: ["quarantine"] }).on({
        endOfMessage: (_, { edit }) => Effect.sync(() => (keys = Object.keys(edit), Verdict.continue))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      yield* mta.each(Mta.mail(), Mta.endOfMessage())
      assert.deepStrictEqual(keys, ["addHeader", "quarantine"])
    }))
})

describe("recipients that the MTA has refused", () => {
  const refused = [
    Mta.macros("R", { "{rcpt_mailer}": "error", "{rcpt_host}": "5.1.1", "{rcpt_addr}": "User unknown" }),
    Mta.rcpt("<nobody@example.org>")
  ]
  const fine = [Mta.macros("R", { "{rcpt_mailer}": "smtp" }), Mta.rcpt("<bob@example.org>")]

  it.effect("reach their observer only, and get continue", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test", { rejectedRecipients: true }).on({
        rcpt: ({ recipient }) => Effect.sync(() => (seen.push(recipient.address), Verdict.continue)),
        data: (_, { envelope }) =>
          Effect.sync(() => (seen.push(`${envelope.recipients.length} recipients`), Verdict.continue))
      }, {
        rejectedRecipient: ({ enhanced, recipient, text }) =>
          Effect.sync(() => void seen.push(`${recipient.address} ${enhanced} ${text}`))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.mail(), ...refused, ...fine, ...refused, Mta.data),
        ["Continue", "", "Continue", "", "Continue", "", "Continue", "Continue"]
      )
      assert.deepStrictEqual(seen, [
        "nobody@example.org 5.1.1 User unknown",
        "bob@example.org",
        "nobody@example.org 5.1.1 User unknown",
        "1 recipients"
      ])
    }))

  it.effect("do not stand in for the next one", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test", { rejectedRecipients: true }).on({}, {
        rcpt: ({ recipient }) => Effect.sync(() => void seen.push(recipient.address)),
        rejectedRecipient: ({ recipient }) => Effect.sync(() => void seen.push(`refused ${recipient.address}`))
      })
      const mta = yield* (yield* Mta.serve(filter)).open()
      // Without macros of its own a recipient is not refused just because the one before was.
      yield* mta.say(Mta.mail(), ...refused, Mta.macros("R", {}), Mta.rcpt("<bob@example.org>"))
      assert.deepStrictEqual(seen, ["refused nobody@example.org", "bob@example.org"])
    }))

  it.effect("are asked for only with the option, and only where offered", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test", { rejectedRecipients: true }).on({
        rcpt: ({ recipient }) => Effect.sync(() => (seen.push(recipient.address), Verdict.continue))
      })
      const server = yield* Mta.serve(filter)
      // Not agreed on: the recipient is an ordinary one, whatever the macro says.
      const mta = yield* server.open({ version: 2, actions: 0x3f, steps: 0x7f })
      yield* mta.each(Mta.mail(), ...refused)
      assert.deepStrictEqual(seen, ["nobody@example.org"])
    }))

  it.effect("are told apart whatever macros the filter asks for", () =>
    Effect.gen(function*() {
      const refusedAtPostfix = "nobody@example.org 5.1.1 User unknown"
      // Sendmail does not send a recipient that it refuses itself.
      for (const [as, told] of [[MilterTest.postfix, [refusedAtPostfix]], [MilterTest.sendmail, []]] as const) {
        const seen: Array<string> = []
        const filter = Milter.make("test", { rejectedRecipients: true, macros: { rcpt: ["i"] } }).on({}, {
          rcpt: ({ recipient }) => Effect.sync(() => void seen.push(recipient.address)),
          rejectedRecipient: ({ enhanced, recipient, text }) =>
            Effect.sync(() => void seen.push(`${recipient.address} ${enhanced} ${text}`))
        })
        yield* MilterTest.message(filter, {
          from: "alice@example.com",
          to: [
            { address: "nobody@example.org", refused: { enhanced: "5.1.1", text: "User unknown" } },
            "bob@example.org"
          ]
        }, { as })
        assert.deepStrictEqual(seen, [...told, "bob@example.org"])
      }
    }))

  it.effect("watched by an observer that fails: the policy comes with the next answer", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test", { rejectedRecipients: true }).on({
        rcpt: () => goOn,
        data: () => goOn
      }, { rejectedRecipient: () => Effect.fail("no") })
      const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(Verdict.tempFail())))
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(Mta.mail(), ...refused, Mta.data),
        ["Continue", "", "Continue", "TempFail"]
      )
    }))
})

describe("local mail", () => {
  const local = Mta.connect("localhost", "127.0.0.1", 0)

  it.effect("is recognised", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const filter = Milter.make("test").on({}, {
        connect: (_, { session }) => Effect.sync(() => void seen.push(session.origin))
      })
      const server = yield* Mta.serve(filter)
      const connects = [
        local,
        Mta.connect("localhost", "::1", 0),
        { ...local, address: { _tag: "Unknown" } } as const,
        Mta.connect("localhost", "127.0.0.1", 4711),
        Mta.connect("client.example", "127.0.0.1", 0)
      ]
      for (const connect of connects) yield* (yield* server.open()).say(connect)
      assert.deepStrictEqual(seen, ["local", "local", "local", "smtp", "smtp"])
    }))

  it.effect("has its recipients refused as a whole message, since Postfix would keep the mail for ever", () =>
    Effect.gen(function*() {
      const outcomes = [
        [Verdict.reject({ text: "no such user" }), "ReplyCode text=\"550 5.7.1 no such user\"", "Rejected by test"],
        [Verdict.tempFail(), "TempFail", "TempFailed by test"]
      ] as const
      for (const [verdict, expected, outcome] of outcomes) {
        const { options, take } = recorder()
        const filter = Milter.make("test", options).on({
          rcpt: ({ recipient }) => Effect.succeed(recipient.localPart === "bad" ? verdict : Verdict.continue),
          endOfMessage: () => goOn
        })
        const server = yield* Mta.serve(filter)
        const mta = yield* server.open()
        assert.deepStrictEqual(
          yield* mta.each(
            local,
            Mta.mail(""),
            Mta.rcpt("good@x"),
            Mta.rcpt("bad@x"),
            Mta.rcpt("good@y"),
            Mta.endOfMessage()
          ),
          ["", "Continue", "Continue", "Continue", "Continue", expected]
        )
        assert.deepStrictEqual(take().slice(2), [`message 1 closes: ${outcome}`])
        // The next message on the connection starts afresh.
        assert.deepStrictEqual(
          yield* mta.each(Mta.mail("a"), Mta.rcpt("good@x"), Mta.endOfMessage()),
          ["Continue", "Continue", "Continue"]
        )
        // By SMTP it is refused there.
        const smtp = yield* server.open()
        assert.deepStrictEqual(
          yield* smtp.each(Mta.connect(), Mta.mail(), Mta.rcpt("bad@x"), Mta.endOfMessage()),
          ["", "Continue", expected, "Continue"]
        )
      }
    }))

  it.effect("over the limit of recipients is put off as a whole too", () =>
    Effect.gen(function*() {
      const server = yield* Mta.serve(Milter.make("test").on({}), { maxRecipients: 1 })
      const mta = yield* server.open()
      const replies = yield* mta.each(local, Mta.mail(""), Mta.rcpt("a@x"), Mta.rcpt("b@x"), Mta.endOfMessage())
      assert.deepStrictEqual(replies.slice(0, 4), ["", "Continue", "Continue", "Continue"])
      assert.match(replies[4]!, /^ReplyCode text="452 4\.5\.3 Too many recipients/)
    }))

  it.effect("keeps the answer of a failed rcpt hook for the message", () =>
    Effect.gen(function*() {
      const filter = Milter.make("test").on({ rcpt: () => Effect.fail("down"), endOfMessage: () => goOn })
      const server = yield* Mta.serve(Milter.onFailure(filter, () => Effect.succeed(Verdict.tempFail())))
      const mta = yield* server.open()
      assert.deepStrictEqual(
        yield* mta.each(local, Mta.mail(""), Mta.rcpt("a@x"), Mta.rcpt("b@x"), Mta.endOfMessage()),
        ["", "Continue", "Continue", "Continue", "TempFail"]
      )
    }))
})

describe("acceptConnection", () => {
  it.effect("lets everything pass if the MTA goes on all the same, without a hook", () =>
    Effect.gen(function*() {
      for (const stage of ["connect", "helo"] as const) {
        let hooks = 0
        const count = Effect.sync(() => (hooks++, Verdict.reject()))
        const accept = Effect.succeed(Verdict.acceptConnection)
        const filter = Milter.make("test").on({
          connect: () => stage === "connect" ? accept : goOn,
          helo: () => stage === "helo" ? accept : Effect.sync(() => (hooks++, Verdict.reject())),
          mail: () => count,
          rcpt: () => count,
          endOfMessage: () => count,
          unknown: () => count
        })
        const mta = yield* (yield* Mta.serve(filter)).open({ steps: 0 })
        const replies = yield* mta.each(...order.map((stage) => commands[stage]), Mta.unknown(), Mta.helo(), Mta.mail())
        assert.deepStrictEqual(
          replies,
          [
            stage === "connect" ? "Accept" : "Continue",
            stage === "helo" ? "Accept" : "Continue",
            ...order.slice(2).map(() => "Accept"),
            "Continue",
            "Continue",
            "Accept"
          ],
          stage
        )
        assert.strictEqual(hooks, 0, stage)
      }
    }))

  it.effect("reject and tempFail at connect and helo: the same for an MTA that goes on", () =>
    Effect.gen(function*() {
      for (const stage of ["connect", "helo"] as const) {
        const filter = Milter.make("test").on({
          [stage]: () => Effect.succeed(Verdict.reject({ text: "out" })),
          mail: () => goOn
        })
        const mta = yield* (yield* Mta.serve(filter)).open({ steps: 0 })
        const out = "ReplyCode text=\"550 5.7.1 out\""
        assert.deepStrictEqual(
          yield* mta.each(Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.abort, Mta.mail()),
          [stage === "connect" ? out : "Continue", stage === "connect" ? "Continue" : out, out, out, "", out]
        )
      }
    }))
})
