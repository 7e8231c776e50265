/** What filters see of real sessions with a real Sendmail. What their modifications do is in modifications.test.ts. */
import { assert, layer } from "@effect/vitest"
import * as Frame from "effect-milter/Frame"
import * as Milter from "effect-milter/Milter"
import type * as MilterServer from "effect-milter/MilterServer"
import * as Packet from "effect-milter/Packet"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Net from "node:net"
import { socketDirectory } from "../../testbed/mta.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as Editing from "./support/editing.ts"
import * as FilterServer from "./support/filterServer.ts"
import * as Watching from "./support/watching.ts"

const { ended, small } = Watching

class Fixture extends Context.Service<Fixture, {
  readonly edit: Ref.Ref<Editing.Edit>
  readonly events: Watching.Events
}>()("test/Fixture") {}

/** Writes down macros and commands, some of which Sendmail sends to those who ask. */
const listening = (events: Watching.Events) => {
  const note = (line: string) => Ref.update(events, (lines) => [...lines, line])
  return Milter.make("listening", {
    macros: {
      connect: ["{client_addr}", "{client_port}", "j", "v"],
      endOfMessage: ["i", "{nrcpts}"],
      endOfHeaders: ["i"]
    }
  }).on({}, {
    connect: ({ client }, { session }) =>
      note(`connect ${client.toString()} ${session.macros.get("client_addr")} ${session.macros.get("v")?.slice(0, 2)}`),
    unknown: ({ line }) => note(`unknown ${line}`),
    rcpt: (_, { session }) =>
      note(
        `rcpt ${session.macros.get("{rcpt_addr}")} from ${session.macros.get("mail_addr")} to ${
          session.macros.get("rcpt_mailer")
        }`
      ),
    endOfMessage: (_, { session }) => note(`end of message to ${session.macros.get("nrcpts")}`)
  })
}

/** Takes four seconds at end of message. */
const slow = Milter.make("slow").on({ endOfMessage: () => Effect.as(Effect.sleep("4 seconds"), Verdict.continue) })

/** A filter that nobody checks: it answers each command with these packets and continue, and takes every stage. */
const careless = Effect.fnUntraced(function*(
  path: string,
  answer: (packet: Packet.MtaPacket) => ReadonlyArray<Packet.FilterPacket>
) {
  const server = Net.createServer((socket) => {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    const send = (packet: Packet.FilterPacket) => socket.write(Packet.encode(packet))
    socket.on("error", () => undefined).on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const frame of frames.splice(0)) {
        const packet = Result.getOrThrow(Packet.decodeMta(frame))
        if (packet._tag === "Negotiate") send({ _tag: "Negotiated", version: 6, actions: 0x1ff, steps: 0, macros: [] })
        else if (!["Macro", "Abort", "Quit"].includes(packet._tag)) {
          for (const each of answer(packet)) send(each)
          send({ _tag: "Continue" })
        }
      }
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(path, () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  return `unix:${path}`
})

const fixture = Layer.effectContext(Effect.gen(function*() {
  const directory = yield* socketDirectory
  const serve = <R>(name: string, filter: Milter.Filter<never, R>, options?: MilterServer.Options) =>
    FilterServer.serve(filter, { listen: `unix:${directory}/${name}` }, options)
  const edit = yield* Ref.make(Editing.nothing)
  const events = yield* Ref.make<ReadonlyArray<string>>([])
  const editor = yield* serve("editor", Editing.make(edit))
  const watcher = yield* serve("watcher", Watching.make(events))
  const listener = yield* serve("listener", listening(events))
  const alive = yield* serve("alive", slow, { progressInterval: "300 millis" })
  const silent = yield* serve("silent", slow, { progressInterval: "1 hour" })
  const sendmail = yield* Sendmail.make<string>({
    filters: [{ address: editor }],
    listeners: {
      watched: [{ address: watcher }],
      both: [{ address: editor }, { address: watcher }],
      listened: [{ address: listener }],
      alive: [{ address: alive, timeouts: "R:2s;E:30s" }],
      silent: [{ address: silent, timeouts: "R:2s;E:30s" }],
      impatient: [{ address: alive, timeouts: "R:2s;E:2s" }]
    }
  })
  return Context.make(Fixture, { edit, events }).pipe(Context.add(Sendmail.Sendmail, sendmail))
}))

Sendmail.describeSendmail("filters with Sendmail", () => {
  // By the real clock, which Sendmail's timeouts go by.
  layer(fixture, { excludeTestServices: true })((it) => {
    /** Runs a session with a filter that takes notes, and gives them once there are as many as expected. */
    const watched = Effect.fnUntraced(function*<E, R>(
      count: number,
      session: (client: SmtpClient.SmtpClient) => Effect.Effect<unknown, E, R>,
      { host = "127.0.0.1", listener = "watched" } = {}
    ) {
      const sendmail = yield* Sendmail.Sendmail
      const { events } = yield* Fixture
      yield* Ref.set(events, [])
      const client = yield* SmtpClient.connect(sendmail.portOf(listener), { host })
      yield* session(client)
      yield* client.close
      const notes = yield* Watching.notes(events, count)
      yield* sendmail.awaitIdle()
      yield* sendmail.clear
      return notes
    }, Effect.scoped)

    /** Up to RCPT. */
    const begin = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient) {
      yield* client.command("EHLO client.example.org")
      yield* client.pipeline(["MAIL FROM:<a@example.org>", "RCPT TO:<bob@test.example>"])
    })

    it.effect("keeps two messages and a RSET between them apart", () =>
      Effect.gen(function*() {
        const lines = yield* watched(16, Watching.twoMessages)
        // Unlike Postfix, it shows no fields that it adds, and knows the queue id from the beginning.
        assert.deepStrictEqual(lines, [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail one@example.org",
          "rcpt bob@test.example queue id known",
          "header Subject: hi",
          ended("bob@test.example"),
          "end of one@example.org: Accepted",
          "mail two@example.org",
          "rcpt carol@test.example queue id known",
          "end of two@example.org: given up",
          "mail three@example.org",
          "rcpt dave@test.example queue id known",
          "rcpt refused@test.example queue id known",
          "header Subject: hi",
          ended("dave@test.example"),
          "end of three@example.org: Accepted"
        ])
      }))

    it.effect("shows parameters, and nothing of recipients that the MTA refused", () =>
      Effect.gen(function*() {
        const lines = yield* watched(5, (client) =>
          Effect.gen(function*() {
            yield* client.command("EHLO client.example.org")
            yield* client.command("MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME")
            assert.strictEqual((yield* client.command("RCPT TO:<unknown@test.example>")).code, 550)
            yield* client.command("RCPT TO:<bob@test.example> NOTIFY=NEVER")
          }))
        assert.deepStrictEqual(lines, [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail a@example.org SIZE=100 BODY=8BITMIME",
          "rcpt bob@test.example queue id known",
          "end of a@example.org: given up"
        ])
      }))

    it.effect("takes a body of 3 MB and headers that are folded or not UTF-8", () =>
      Effect.gen(function*() {
        const large = "0123456789".repeat(7) + "\r\n"
        const content = "Subject: one\r\n two\r\n\tthree\r\nX-Bytes: gr\xfc\xdfe\r\nX-None:none\r\n\r\n" +
          large.repeat(42_000)
        const lines = yield* watched(9, (client) =>
          client.sendMail({ from: "a@example.org", to: "bob@test.example", message: content }))
        assert.deepStrictEqual(lines.slice(4), [
          "header Subject: one\n two\n\tthree",
          "header X-Bytes: gr\xfc\xdfe",
          "header X-None:none",
          `body ${42_000 * large.length} ${Watching.sha256(large.repeat(42_000))} to bob@test.example, queue id known`,
          "end of a@example.org: Accepted"
        ])
      }))

    it.effect("answers a pipelining client", () =>
      Effect.gen(function*() {
        const lines = yield* watched(8, Watching.pipelined)
        assert.deepStrictEqual(lines.slice(2), [
          "mail a@example.org",
          "rcpt bob@test.example queue id known",
          "rcpt refused@test.example queue id known",
          "end of a@example.org: given up",
          "mail b@example.org",
          "end of b@example.org: given up"
        ])
      }))

    it.effect("gives up a message whose client goes away, or says EHLO again", () =>
      Effect.gen(function*() {
        const first = [
          "connect IPv4 smtp",
          "helo client.example.org",
          "mail a@example.org",
          "rcpt bob@test.example queue id known",
          "end of a@example.org: given up"
        ]
        assert.deepStrictEqual(yield* watched(5, (client) => begin(client)), first)
        assert.deepStrictEqual(
          yield* watched(5, (client) => Effect.andThen(begin(client), client.reset)),
          first
        )
        // Sendmail says nothing to the filter: neither ABORT nor QUIT.
        assert.deepStrictEqual(
          yield* watched(5, (client) =>
            begin(client).pipe(
              Effect.andThen(client.command("DATA")),
              Effect.andThen(client.raw("Subject: half\r\n\r\nhal"))
            )),
          first
        )
        assert.deepStrictEqual(
          yield* watched(6, (client) => Effect.andThen(begin(client), client.command("EHLO again.example.org"))),
          [...first, "helo again.example.org"]
        )
      }))

    it.effect("lets nobody smuggle with line ends that are none", () =>
      Effect.gen(function*() {
        const lines = yield* watched(5, (client) =>
          Effect.gen(function*() {
            yield* begin(client)
            yield* client.command("DATA")
            yield* client.raw("Subject: bare\r\n\r\nLF\nhere\r\n.\r\n")
            assert.strictEqual((yield* client.read).code, 421)
          }))
        assert.deepStrictEqual(lines.slice(2), [
          "mail a@example.org",
          "rcpt bob@test.example queue id known",
          "end of a@example.org: given up"
        ])
      }))

    it.effect("tells of clients, macros and unknown commands", () =>
      Effect.gen(function*() {
        const { ipv6 } = yield* Sendmail.Sendmail
        for (
          const [host, shown] of [
            ["127.0.0.1", "127.0.0.1"],
            ...(ipv6 ? [["::1", "IPv6:0:0:0:0:0:0:0:1"]] : [])
          ] as const
        ) {
          const lines = yield* watched(5, (client) =>
            Effect.gen(function*() {
              yield* client.command("FOO bar  baz")
              yield* client.sendMail({
                from: "a@example.org",
                to: ["b@test.example", "c@test.example"],
                message: small
              })
              // The filter does not hear of these before the next MAIL.
              yield* client.command("FOO again")
            }), { host, listener: "listened" })
          assert.deepStrictEqual(lines, [
            `connect ${host} ${shown} 8.`,
            "unknown FOO bar  baz",
            "rcpt b@test.example from a@example.org to capture",
            "rcpt c@test.example from a@example.org to capture",
            "end of message to 2"
          ])
        }
      }))

    it.effect("tells who has logged in", () =>
      Effect.gen(function*() {
        const directory = yield* socketDirectory
        const logins = yield* Ref.make<ReadonlyArray<string | undefined>>([])
        const filter = Milter.make("logins").on({}, {
          mail: (_, { session }) => Ref.update(logins, (all) => [...all, session.macros.get("auth_authen")])
        })
        const address = yield* FilterServer.serve(filter, { listen: `unix:${directory}/logins` })
        const sendmail = yield* Sendmail.make({
          filters: [{ address }],
          mc: ["define(`confAUTH_MECHANISMS', `ANONYMOUS')dnl"]
        })
        const client = yield* SmtpClient.connect(sendmail.port)
        // A plug-in of SASL, which needs no passwords.
        const { text } = yield* client.command("EHLO client.example.org")
        assert.include(text, "AUTH ANONYMOUS", "SASL's plug-ins are missing (Debian: libsasl2-modules)")
        yield* client.command("MAIL FROM:<a@example.org>")
        yield* client.command("RSET")
        assert.strictEqual((yield* client.command("AUTH ANONYMOUS dGVzdA==")).code, 235)
        yield* client.command("EHLO client.example.org")
        yield* client.command("MAIL FROM:<a@example.org>")
        assert.deepStrictEqual(yield* Ref.get(logins), [undefined, "anonymous"])
      }).pipe(Effect.scoped))

    it.effect("shows the edits of one filter to the next", () =>
      Effect.gen(function*() {
        yield* Ref.set((yield* Fixture).edit, (edit) => edit.addHeader("X-Added", "seen by the next"))
        const lines = yield* watched(
          7,
          (client) => client.sendMail({ from: "alice@example.org", to: "bob@test.example", message: small }),
          { listener: "both" }
        )
        assert.include(lines, "header X-Added: seen by the next")
      }))

    /** Sends a message through the editing filter. */
    const edited = Effect.fnUntraced(function*(edit: Editing.Edit, mail: Partial<SmtpClient.Mail> = {}) {
      const sendmail = yield* Sendmail.Sendmail
      yield* Ref.set((yield* Fixture).edit, edit)
      const client = yield* SmtpClient.connect(sendmail.port)
      return yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message: small, ...mail })
    }, Effect.scoped)

    it.effect("keeps or forgets the parameters of MAIL when the sender changes", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const envelopeId = Effect.fnUntraced(function*(edit: Editing.Edit) {
          yield* edited((all) => Effect.andThen(edit(all), all.quarantine("to look at it")), {
            mailParameters: "ENVID=given"
          })
          const [held] = yield* sendmail.takeHeld(1)
          return [held?.sender, held?.envelopeId]
        })
        assert.deepStrictEqual(yield* envelopeId((edit) => edit.changeSender("carol@example.org")), [
          "carol@example.org",
          "given"
        ])
        assert.deepStrictEqual(yield* envelopeId((edit) => edit.changeSender("carol@example.org", "ENVID=new")), [
          "carol@example.org",
          "new"
        ])
        assert.deepStrictEqual(yield* envelopeId((edit) => edit.changeSender("carol@example.org", "RET=HDRS")), [
          "carol@example.org",
          undefined
        ])
      }))

    it.effect("takes upper and lower case of an address apart for mailers that do", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        yield* edited((edit) =>
          Effect.andThen(edit.deleteRecipient("BOB@test.example"), edit.addRecipient("bob@TEST.example"))
        )
        assert.deepStrictEqual((yield* sendmail.takeOne()).recipients, ["bob@TEST.example", "bob@test.example"])
      }))

    it.effect("drops a message without recipients", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const { message } = yield* edited((edit) => edit.deleteRecipient("bob@test.example"))
        assert.strictEqual(message?.code, 250)
        assert.deepStrictEqual(yield* sendmail.awaitIdle(), [])
      }))

    it.effect("tempfails a message when an edit cannot be made", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const { message } = yield* edited((edit) => edit.addHeader("X-Bad", "one\r\nBcc: eve@example.org"))
        assert.strictEqual(message?.code, 451)
        assert.deepStrictEqual(yield* sendmail.awaitIdle(), [])
      }))

    it.effect("spoils its dialogue with the client over parameters that it does not know", () =>
      Effect.gen(function*() {
        const directory = yield* socketDirectory
        const added = yield* careless(`${directory}/careless`, (packet) =>
          packet._tag === "EndOfMessage"
            ? [{
              _tag: "AddRecipientWithParameters",
              recipient: ByteString.fromText("<carol@test.example>"),
              parameters: ByteString.fromText("FOO=BAR")
            }]
            : [])
        const sendmail = yield* Sendmail.make({ filters: [{ address: added }] })
        const client = yield* SmtpClient.connect(sendmail.port, { timeout: 500 })
        const sent = yield* Effect.result(
          client.sendMail({ from: "a@x.example", to: "bob@test.example", message: small })
        )
        // What comes is no reply, yet the message is accepted; the client will send it again.
        assert.isTrue(Result.isFailure(sent))
        assert.deepStrictEqual((yield* sendmail.takeOne()).recipients, ["bob@test.example"])
        // A filter of ours cannot.
        const refused = yield* edited((edit) => edit.addRecipientWithParameters("carol@test.example", "FOO=BAR"))
        assert.strictEqual(refused.message?.code, 451)
      }).pipe(Effect.scoped))

    it.effect("waits for a slow filter as long as it shows signs of life, up to the limit of the whole", () =>
      Effect.gen(function*() {
        const sendmail = yield* Sendmail.Sendmail
        const answers = yield* Effect.forEach(
          ["alive", "silent", "impatient"],
          (listener) =>
            Effect.scoped(Effect.gen(function*() {
              const client = yield* SmtpClient.connect(sendmail.portOf(listener))
              const { last } = yield* client.sendMail({ from: "a@example.org", to: "bob@test.example", message: small })
              return last.text.replace(/\w+ Message/, "ID Message")
            })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers, [
          "250 2.0.0 ID Message accepted for delivery",
          "451 4.3.2 Please try again later",
          "451 4.3.2 Please try again later"
        ])
        yield* sendmail.takeDelivered(1)
        assert.deepStrictEqual(yield* sendmail.awaitIdle(), [])
      }))
  })
})
