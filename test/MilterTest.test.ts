/** MilterTest: the test kit, for users of the library. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Ref, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Milter from "../src/Milter.ts"
import * as MilterClient from "../src/MilterClient.ts"
import * as MilterServer from "../src/MilterServer.ts"
import * as MilterTest from "../src/MilterTest.ts"
import * as Packet from "../src/Packet.ts"
import * as Recording from "../src/Recording.ts"
import * as Verdict from "../src/Verdict.ts"
import { ByteString } from "../src/Wire.ts"
import * as recordings from "./support/recordings.ts"

const message: MilterClient.Message = {
  from: "alice@example.org",
  to: "bob@example.net",
  headers: [["Subject", "hello"]],
  body: "Hello\n"
}

const NotFromUs = Milter.make("not-from-us", { modify: ["addHeader"] }).on({
  mail: ({ sender }) =>
    Effect.succeed(
      sender.domain === "example.com"
        ? Verdict.reject({ enhanced: "5.7.1", text: "not allowed here!" })
        : Verdict.continue
    ),
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Checked", "yes"), Verdict.continue)
})

describe("MilterTest", () => {
  it.effect("sends a message", () =>
    Effect.gen(function*() {
      const outcome = yield* MilterTest.message(NotFromUs, message)
      assert.include(outcome, { _tag: "Accepted", stage: "endOfMessage" })
      assert.deepStrictEqual(outcome.delivered?.headers.map(({ name, value }) => `${name}:${value}`), [
        "Subject: hello",
        "X-Checked: yes"
      ])
      const refused = yield* NotFromUs.pipe(MilterTest.message({ ...message, from: "mallory@example.com" }))
      assert.include(refused, { _tag: "Rejected", stage: "mail", delivered: undefined })
      assert.deepStrictEqual(refused.reply, {
        code: "550",
        enhanced: "5.7.1",
        lines: [ByteString.fromText("not allowed here!")]
      })
    }))

  it.effect("goes step by step", () =>
    Effect.gen(function*() {
      const answers = yield* MilterTest.run(
        NotFromUs,
        Effect.fnUntraced(function*(mta) {
          assert.strictEqual(mta.agreed?.version, 6)
          yield* mta.connect({ hostname: "client.example.org", address: "192.0.2.1" })
          return [yield* mta.mail("<>"), yield* mta.rcpt("<bob@example.net>"), yield* mta.mail("<x@example.com>")]
        })
      )
      assert.deepStrictEqual(answers.map(({ _tag }) => _tag), ["Continue", "NotAnswered", "Reply"])
    }))

  it.effect("leaves the negotiation to the script if it is told to", () =>
    Effect.gen(function*() {
      const script = (mta: MilterClient.Client) => Effect.flip(mta.negotiate({ actions: 0 }))
      const error = yield* NotFromUs.pipe(MilterTest.run(script, { negotiate: false }))
      assert.strictEqual(error.reason._tag, "Closed")
    }))

  it.effect("time is the test's", () =>
    Effect.gen(function*() {
      const Slow = Milter.make("slow").on({ rcpt: () => Effect.as(Effect.sleep("5 seconds"), Verdict.continue) })
      const fiber = yield* Effect.forkChild(MilterTest.message(Slow, message))
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Accepted")
    }))

  it.effect("finalizers have run, with the outcome", () =>
    Effect.gen(function*() {
      const log = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (what: string) => Ref.update(log, (all) => [...all, what])
      const Audit = Milter.make("audit", {
        connection: () => Effect.addFinalizer((exit) => note(`connection ${exit._tag}`)),
        message: () =>
          Effect.addFinalizer((exit) =>
            note(Option.match(Milter.outcome(exit), { onNone: () => exit._tag, onSome: ({ _tag }) => _tag }))
          )
      }).on({ mail: ({ sender }) => Effect.succeed(sender.isNull ? Verdict.discardMessage : Verdict.continue) })
      yield* MilterTest.run(
        Audit,
        Effect.fnUntraced(function*(mta) {
          yield* mta.sendMessage(message)
          yield* mta.sendMessage({ ...message, from: "" })
          yield* mta.mail("<alice@example.org>")
        })
      )
      assert.deepStrictEqual(yield* Ref.get(log), ["Accepted", "Discarded", "Failure", "connection Success"])
    }))

  it.effect("finalizers have run even if the MTA has left early", () =>
    Effect.gen(function*() {
      for (const as of MilterTest.mtas) {
        const log = yield* Ref.make<ReadonlyArray<string>>([])
        const Refusing = Milter.make("refusing", {
          connection: () =>
            Effect.addFinalizer((exit) =>
              Effect.andThen(Effect.yieldNow, Ref.update(log, (all) => [...all, exit._tag]))
            )
        }).on({ connect: () => Effect.succeed(Verdict.reject()) })
        MilterTest.assertRejected(yield* MilterTest.message(Refusing, message, { as }), { stage: "connect" })
        assert.deepStrictEqual(yield* Ref.get(log), ["Success"], as.name)
      }
    }))

  it.effect("what a filter needs, the test provides", () =>
    Effect.gen(function*() {
      class Blocked extends Context.Service<Blocked, { readonly has: (domain: string) => Effect.Effect<boolean> }>()(
        "test/Blocked"
      ) {}
      const Blocklist = Milter.make("blocklist").on({
        mail: Effect.fnUntraced(function*({ sender }) {
          const blocked = yield* Blocked
          return (yield* blocked.has(sender.domain)) ? Verdict.reject() : Verdict.continue
        })
      })
      const test = MilterTest.message(Blocklist, message)
      const outcome = yield* Effect.provide(
        test,
        Layer.succeed(Blocked, { has: (domain) => Effect.succeed(domain === "example.org") })
      )
      assert.strictEqual(outcome._tag, "Rejected")
    }))

  it.effect("a script that fails closes the connection", () =>
    Effect.gen(function*() {
      const ended = yield* Ref.make("")
      const Watching = Milter.make("watching", {
        connection: () => Effect.addFinalizer((exit) => Ref.set(ended, exit._tag))
      }).on({})
      const exit = yield* Effect.exit(
        MilterTest.run(Watching, (mta) => Effect.andThen(mta.mail("<a@example.org>"), Effect.fail("enough")))
      )
      assert.deepStrictEqual(exit, Exit.fail("enough"))
      assert.strictEqual(yield* Ref.get(ended), "Failure")
    }))

  it.effect("behaves as the MTA that is asked for", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const Watching = Milter.make("watching").on({}, {
        endOfMessage: (_, { session }) =>
          Effect.sync(() => {
            seen.push(
              `${session.macros.get("i")} ${session.macros.get("v")} ${session.client.toString()} ${session.heloName}`
            )
          })
      })
      const sent: Array<string> = []
      for (const as of [MilterTest.postfix, MilterTest.sendmail]) {
        yield* MilterTest.message(Watching, { ...message, client: { address: "2001:db8::25" }, helo: "me" }, {
          as,
          observe: (from, packet) => {
            if (from === "mta" && packet._tag === "Abort") sent.push(as.name)
          }
        })
      }
      assert.deepStrictEqual(seen, [
        "A1B2C30001 Postfix 3.7.11 2001:db8::25 me",
        "A1B2C30001 undefined 2001:db8::25 me"
      ])
      // Once after the message and once before quit.
      assert.deepStrictEqual(sent, ["Postfix 3.7.11", "Postfix 3.7.11"])
    }))

  it.effect("an older MTA is another offer", () =>
    Effect.gen(function*() {
      const as = { ...MilterTest.sendmail, offer: { version: 2, actions: 0x3f, steps: 0x7f } }
      const sent: Array<string> = []
      const outcome = yield* MilterTest.message(NotFromUs, message, {
        as,
        observe: (from, packet) => void (from === "mta" && packet._tag !== "Macro" && sent.push(packet._tag))
      })
      assert.strictEqual(outcome._tag, "Accepted")
      assert.deepStrictEqual(sent, ["Negotiate", "Connect", "Helo", "Mail", "Rcpt", "EndOfMessage", "Quit"])
    }))

  it.effect("the network alone, for a server with options", () =>
    Effect.gen(function*() {
      const client = yield* MilterClient.dial(MilterTest.address)
      const outcome = yield* client.sendMessage(message)
      assert.strictEqual(outcome._tag, "Accepted")
      const error = yield* Effect.flip(MilterClient.dial("memory:other"))
      assert.include(error.message, "there is only memory:filter")
    }).pipe(
      Effect.scoped,
      Effect.provide(
        MilterServer.layer(NotFromUs, { maxFrameLength: 70_000 }).pipe(Layer.provideMerge(MilterTest.layer))
      )
    ))

  it.effect("replays a recording", () =>
    Effect.gen(function*() {
      const [connection] = recordings.connections("postfix-mod-addheader")
      const exchanges = yield* MilterTest.replay(NotFromUs, connection!)
      const changed = exchanges.filter(({ recorded, replayed }) =>
        recorded.map(Packet.format).join() !== replayed.map(Packet.format).join()
      )
      assert.deepStrictEqual(
        changed.map(({ command, recorded, replayed }) => [
          command._tag,
          recorded.map(Packet.format),
          replayed.map(Packet.format)
        ]),
        [
          [
            "Negotiate",
            ["Negotiated version=6 actions=0x1ff steps=0x0 macros=[]"],
            ["Negotiated version=6 actions=0x1 steps=0x0 macros=[]"]
          ],
          [
            "EndOfMessage",
            [`AddHeader name="X-Added" value="one value"`, "Continue"],
            [`AddHeader name="X-Checked" value="yes"`, "Continue"]
          ]
        ]
      )
    }))

  it.effect("replays to a filter that closes", () =>
    Effect.gen(function*() {
      const lines = Result.getOrThrow(Recording.parse(
        `{"conn":1,"t":1,"dir":"M","cmd":"O","name":"Negotiate","len":13,"hex":"000000010000000f0000003f"}`
      ))
      const error = yield* Effect.flip(MilterTest.replay(NotFromUs, Recording.connections(lines)[0]!))
      assert.strictEqual(error.reason._tag, "Closed")
    }))
})

describe("a session that is refused", () => {
  const changing = Milter.make("changing", { modify: ["changeSender", "addHeader"] }).on({})

  it.effect("says which MTA does not offer what", () =>
    Effect.gen(function*() {
      const message = { from: "alice@example.org", to: "bob@example.net" }
      const error = yield* Effect.flip(MilterTest.message(changing, message, { as: MilterTest.postfix23 }))
      assert.strictEqual(error.reason._tag, "NegotiationError")
      assert.strictEqual(
        error.message,
        "Postfix 2.3.19 and memory:filter, at Negotiate: the filter wants what was not offered: changeSender"
      )
      MilterTest.assertAccepted(yield* MilterTest.message(changing, message))
    }))
})

describe("a filter that keeps the bytes of a body", () => {
  const keeping = (keep: (bytes: Uint8Array) => Uint8Array) =>
    Milter.make("keeping", {
      modify: ["replaceBody"],
      message: () => Effect.sync((): Array<Uint8Array> => [])
    }).on({
      body: ({ bytes }, { message }) => Effect.sync(() => (message.push(keep(bytes)), Verdict.continue)),
      endOfMessage: (_, { edit, message }) => Effect.as(edit.replaceBody(Buffer.concat(message)), Verdict.continue)
    })
  const message = { from: "alice@example.org", to: "bob@example.net", body: "Hello\n" }

  it.effect("finds them overwritten, as with sockets, unless it has copied them", () =>
    Effect.gen(function*() {
      for (const mta of [MilterTest.postfix, MilterTest.sendmail]) {
        const kept = yield* MilterTest.message(keeping((bytes) => bytes), message, { as: mta })
        assert.deepStrictEqual(MilterTest.assertAccepted(kept).body.subarray(0, 7), new Uint8Array(7))
        const copied = yield* MilterTest.message(keeping((bytes) => bytes.slice()), message, { as: mta })
        MilterTest.assertAccepted(copied, { body: "Hello\n" })
      }
    }))
})

describe("a body that is replaced by text", () => {
  const replacing = (body: string) =>
    Milter.make("replacing", { modify: ["replaceBody"] }).on({
      endOfMessage: (_, { edit }) => Effect.as(edit.replaceBody(body), Verdict.continue)
    })

  for (const mta of MilterTest.mtas.filter(({ name }) => name !== "Postfix 2.3.19")) {
    it.effect(`goes out as UTF-8 with the line ends of SMTP to ${mta.name}`, () =>
      Effect.gen(function*() {
        const message = { from: "alice@example.org", to: "bob@example.net", body: "Hello\n" }
        for (const body of ["Grüße\nBob", "Grüße\r\nBob\n"]) {
          const outcome = yield* MilterTest.message(replacing(body), message, { as: mta })
          const delivered = MilterTest.assertAccepted(outcome, { body: "Grüße\nBob\n" })
          assert.deepStrictEqual(delivered.body, new TextEncoder().encode("Grüße\r\nBob\r\n"))
        }
        MilterTest.assertAccepted(yield* MilterTest.message(replacing(""), message, { as: mta }), { body: "" })
      }))
  }
})
